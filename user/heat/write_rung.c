// SPDX-License-Identifier: Apache-2.0
/*
 * Only the test writes prove anything: loading succeeds where attaching fails, and attaching
 * succeeds where the program can see nothing. They go to a memory file, which is tmpfs, so RUNG_FS
 * is proven on that filesystem; on another one the same program is attached to its namesake.
 */
#include "heat/write_rung.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/sys.h"
#include "heat/write_maps.h"

#define PROOF_WRITES 5

static const struct {
	enum hook_set set;
	uint32_t slot_rung;
} rungs[] = {
	[RUNG_FS] = {HOOKS_TMPFS, WRITE_RUNG_FS},
	[RUNG_VFS] = {HOOKS_VFS, WRITE_RUNG_VFS},
	[RUNG_KPROBE] = {HOOKS_KPROBE, WRITE_RUNG_KPROBE},
	[RUNG_SYSCALL] = {HOOKS_SYSCALL, WRITE_RUNG_SYSCALL},
};

static const enum hook_set fs_sets[] = {[WRITE_FS_TMPFS] = HOOKS_TMPFS,
					[WRITE_FS_EXT4] = HOOKS_EXT4,
					[WRITE_FS_XFS] = HOOKS_XFS,
					[WRITE_FS_BTRFS] = HOOKS_BTRFS};

/* One byte by each call; true when all went well. */
static bool write_each_way(int fd)
{
	struct iovec iov = {.iov_base = (char *)"b", .iov_len = 1};

	return write(fd, "a", 1) == 1 && pwrite(fd, "a", 1, 0) == 1 && writev(fd, &iov, 1) == 1 &&
	       pwritev(fd, &iov, 1, 0) == 1 && pwritev2(fd, &iov, 1, 0, 0) == 1;
}

/* How many of the test writes were counted, or -errno. */
static int try_count(struct write_maps *maps, uint32_t n, int fd, const struct write_key *key,
		     uint32_t slot_rung)
{
	struct write_slot *slot = &maps->slots[n];
	uint64_t calls = __atomic_load_n(&slot->calls, __ATOMIC_ACQUIRE);
	int r;

	slot->dev = key->dev;
	slot->ino = key->ino;
	slot->rung = slot_rung;
	r = write_maps_watch(maps, key, n);
	if (r < 0)
		return r;
	if (!write_each_way(fd))
		r = -errno;
	write_maps_unwatch(maps, key);
	slot->rung = WRITE_RUNG_NONE;
	slot->flags = WRITE_SLOT_RESTING; /* a late count could still go there */
	return r < 0 ? r : (int)(__atomic_load_n(&slot->calls, __ATOMIC_ACQUIRE) - calls);
}

/* Not needed again where counting goes on. Several tries, because a program that interrupts itself
 * is left out (write_hooks_misses). The slot is used no more, as a late count could still go there.
 */
static int prove(struct write_maps *maps, enum rung rung, char why[WRITE_WHY_MAX])
{
	_cleanup_fd_ int fd = memfd_create("hotdrain-proof", MFD_CLOEXEC);
	const char *what = write_hooks_what(rungs[rung].set);
	struct write_key key;
	struct stat st;
	uint32_t slot;
	int seen = 0;

	if (fd < 0 || fstat(fd, &st) < 0 || !write_maps_take(maps, &slot))
		return 0;
	/* Its mount is the kernel's own and in no table, but tmpfs shows s_dev and i_ino as is. */
	key = (struct write_key){.dev = write_key_dev(st.st_dev), .ino = st.st_ino};
	for (int i = 0; i < 3 && seen != PROOF_WRITES; i++) {
		seen = try_count(maps, slot, fd, &key, rungs[rung].slot_rung);
		if (seen < 0) {
			snprintf(why, WRITE_WHY_MAX, "%s: %s", what, strerror(-seen));
			return seen;
		}
	}
	if (seen == PROOF_WRITES)
		return 0;
	snprintf(why, WRITE_WHY_MAX, "%s: attached, but counted %d of %d test writes", what, seen,
		 PROOF_WRITES);
	return -ENODATA;
}

int write_rung_attach(struct write_hooks *hooks, struct write_maps *maps, enum rung rung,
		      char why[WRITE_WHY_MAX])
{
	enum hook_set set = rungs[rung].set;
	int r = write_hooks_attach(hooks, set);

	if (r < 0) {
		const char *refusal = write_hooks_why(hooks, set);

		snprintf(why, WRITE_WHY_MAX, "%s", refusal ? refusal : strerror(-r));
		return r;
	}
	r = write_maps_share_slots(maps);
	if (r == 0 && !maps->adopted)
		r = prove(maps, rung, why);
	if (r < 0) {
		write_hooks_detach(hooks, set);
		return r;
	}
	if (rung == RUNG_FS || rung == RUNG_VFS)
		write_hooks_attach(hooks, HOOKS_POSITIONS);
	return 0;
}

static bool fs_attach(struct write_hooks *hooks, enum hook_set set)
{
	const char *why = write_hooks_why(hooks, set);
	int r;

	if (why)
		return false; /* was said */
	r = write_hooks_attach(hooks, set);
	why = write_hooks_why(hooks, set);
	if (r < 0 && why)
		log_info("bpf: %s", why);
	return r == 0;
}

uint32_t write_rung_of(struct write_hooks *hooks, enum rung rung, bool fallback, enum write_fs fs)
{
	assert(rung < RUNG_OFF);
	if (rung == RUNG_FS) {
		if (fs < ARRAY_SIZE(fs_sets) && fs != WRITE_FS_OTHER &&
		    fs_attach(hooks, fs_sets[fs]))
			return WRITE_RUNG_FS;
		if (!fallback || fs == WRITE_FS_BTRFS || !fs_attach(hooks, HOOKS_VFS))
			return WRITE_RUNG_NONE;
		return WRITE_RUNG_VFS;
	}
	return fs == WRITE_FS_BTRFS ? WRITE_RUNG_NONE : rungs[rung].slot_rung;
}

bool write_rung_positions(const struct write_hooks *hooks, enum write_fs fs)
{
	return write_hooks_attached(hooks, fs == WRITE_FS_BTRFS ? HOOKS_BTRFS : HOOKS_POSITIONS);
}
