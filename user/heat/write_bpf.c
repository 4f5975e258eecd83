// SPDX-License-Identifier: Apache-2.0
/*
 * One rung of the ladder: opens the skeleton, turns on the programs of that rung alone, sizes the
 * maps, loads, attaches, maps the slots into memory, and then writes to a memory file and looks
 * whether the writes were counted. Only that last step proves anything: loading succeeds where
 * attaching fails, and attaching succeeds where the program can see nothing.
 *
 * Each rung has its own skeleton and so its own maps: a refused rung leaves nothing behind. Locked
 * memory (RLIMIT_MEMLOCK) counts for BPF maps on kernels before 5.11; libbpf raises the limit there
 * by itself.
 *
 * Rejected: libbpf's probes (libbpf_probe_bpf_prog_type and the like), which load but never attach.
 */
#include "heat/write_bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/sys.h"
#include "heat/write_key.h"
#include "write_count.skel.h"

#define KERNEL_ENOTSUPP 524 /* include/linux/errno.h; has no name in user space */

#define PROGRAMS_MAX 2
#define PROOF_WRITES 5

static const struct rung_programs {
	uint32_t slot_rung;
	const char *what;
	const char *names[PROGRAMS_MAX]; /* in bpf/write_count.bpf.c */
} rungs[] = {
	[RUNG_VFS] = {WRITE_RUNG_VFS,
		      "fexit on vfs_write and vfs_writev",
		      {"fexit_vfs_write", "fexit_vfs_writev"}},
	[RUNG_KPROBE] = {WRITE_RUNG_KPROBE,
			 "kprobe on vfs_write and vfs_writev",
			 {"kprobe_vfs_write", "kprobe_vfs_writev"}},
	[RUNG_SYSCALL] = {WRITE_RUNG_SYSCALL, "tracepoint sys_exit", {"tp_sys_exit"}},
};

struct write_bpf {
	struct write_count_bpf *skel;
	struct bpf_program *programs[PROGRAMS_MAX]; /* NULL after the last */
	struct bpf_link *links[PROGRAMS_MAX];
	struct write_slot *slots;
	size_t slots_len; /* bytes mapped */
	int watch_fd;     /* the skeleton's */
	uint32_t slot_rung;
};

static int print_debug(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char text[1000], *save = NULL;

	vsnprintf(text, sizeof(text), fmt, ap);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		log_debug("%s", line);
	return 0;
}

static bool may_bpf(void)
{
	if (capng_get_caps_process() < 0)
		return true;
	return capng_have_capability(CAPNG_EFFECTIVE, CAP_SYS_ADMIN) ||
	       (capng_have_capability(CAPNG_EFFECTIVE, CAP_BPF) &&
		capng_have_capability(CAPNG_EFFECTIVE, CAP_PERFMON));
}

/* Reading kernel memory by helper is then refused: kprobe and syscall do not load. */
static bool kernel_confidential(void)
{
	_cleanup_fd_ int fd = open("/sys/kernel/security/lockdown", O_RDONLY | O_CLOEXEC);
	char text[100];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, "[confidentiality]");
}

static const char *refusal_words(int r)
{
	switch (-r) {
	case KERNEL_ENOTSUPP:
		return "not supported by this kernel";
	case ESRCH:
		return "not in the kernel's BTF";
	case ENOENT:
		return "this kernel lacks the function or the mechanism";
	case EPERM:
		return may_bpf() ? "Operation not permitted, though the capabilities are there"
				 : "Operation not permitted (needs CAP_BPF and CAP_PERFMON)";
	case EINVAL:
	case EACCES:
	case E2BIG:
		return kernel_confidential() ? "refused under lockdown=confidentiality"
					     : "rejected by this kernel (-v shows why)";
	default:
		return strerror(-r);
	}
}

/* Writes "WHAT: the error in words" and returns r. */
static int why_set(char why[WRITE_WHY_MAX], int r, const char *what)
{
	snprintf(why, WRITE_WHY_MAX, "%s: %s", what, refusal_words(r));
	return r;
}

static int bpf_load(struct write_bpf *bpf, const struct rung_programs *rung, uint32_t slots_n)
{
	int r;

	bpf->skel = write_count_bpf__open();
	if (!bpf->skel)
		return -errno;
	for (size_t i = 0; i < PROGRAMS_MAX && rung->names[i]; i++) {
		bpf->programs[i] = bpf_object__find_program_by_name(bpf->skel->obj, rung->names[i]);
		if (!bpf->programs[i])
			return -ENOENT;
		bpf_program__set_autoload(bpf->programs[i], true);
	}
	r = bpf_map__set_max_entries(bpf->skel->maps.watch, slots_n);
	if (r == 0)
		r = bpf_map__set_max_entries(bpf->skel->maps.slots, slots_n);
	return r < 0 ? r : write_count_bpf__load(bpf->skel);
}

static int bpf_attach(struct write_bpf *bpf, const char **ret_section)
{
	for (size_t i = 0; i < PROGRAMS_MAX && bpf->programs[i]; i++) {
		bpf->links[i] = bpf_program__attach(bpf->programs[i]);
		if (!bpf->links[i]) {
			*ret_section = bpf_program__section_name(bpf->programs[i]);
			return -errno;
		}
	}
	return 0;
}

static int bpf_map_slots(struct write_bpf *bpf, uint32_t slots_n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t len = (slots_n * sizeof(*bpf->slots) + page - 1) / page * page;
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED,
		       bpf_map__fd(bpf->skel->maps.slots), 0);

	if (p == MAP_FAILED)
		return -errno;
	bpf->slots = p;
	bpf->slots_len = len;
	bpf->watch_fd = bpf_map__fd(bpf->skel->maps.watch);
	return 0;
}

/* One byte by each call; true when all went well. */
static bool write_each_way(int fd)
{
	struct iovec iov = {.iov_base = (char *)"b", .iov_len = 1};

	return write(fd, "a", 1) == 1 && pwrite(fd, "a", 1, 0) == 1 && writev(fd, &iov, 1) == 1 &&
	       pwritev(fd, &iov, 1, 0) == 1 && pwritev2(fd, &iov, 1, 0, 0) == 1;
}

/* How many of the test writes slot 0 saw, or -errno. */
static int bpf_try_count(struct write_bpf *bpf, int fd, const struct write_key *key)
{
	struct write_slot *slot = &bpf->slots[0];
	uint64_t calls = __atomic_load_n(&slot->calls, __ATOMIC_ACQUIRE);
	int r;

	slot->dev = key->dev;
	slot->ino = key->ino;
	slot->rung = bpf->slot_rung;
	r = write_bpf_watch(bpf, key, 0);
	if (r < 0)
		return r;
	if (!write_each_way(fd))
		r = -errno;
	write_bpf_unwatch(bpf, key);
	slot->rung = WRITE_RUNG_NONE;
	return r < 0 ? r : (int)(__atomic_load_n(&slot->calls, __ATOMIC_ACQUIRE) - calls);
}

/* Several tries, because a program that interrupts itself is left out (write_bpf_misses). */
static int bpf_prove(struct write_bpf *bpf, const char *what, char why[WRITE_WHY_MAX])
{
	_cleanup_fd_ int fd = memfd_create("hotdrain-proof", MFD_CLOEXEC);
	struct write_key key;
	struct stat st;
	int seen = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	/* Its mount is the kernel's own and in no table, but tmpfs shows s_dev and i_ino as is. */
	key = (struct write_key){.dev = write_key_dev(st.st_dev), .ino = st.st_ino};
	for (int i = 0; i < 3 && seen != PROOF_WRITES; i++) {
		seen = bpf_try_count(bpf, fd, &key);
		if (seen < 0)
			return why_set(why, seen, what);
	}
	if (seen == PROOF_WRITES)
		return 0;
	snprintf(why, WRITE_WHY_MAX, "%s: attached, but counted %d of %d test writes", what, seen,
		 PROOF_WRITES);
	return -ENODATA;
}

static void bpf_freep(struct write_bpf **bpf)
{
	write_bpf_free(*bpf);
}

int write_bpf_new(enum rung wanted, uint32_t slots_n, char why[WRITE_WHY_MAX],
		  struct write_bpf **ret_bpf)
{
	const struct rung_programs *rung = &rungs[wanted];
	_cleanup_(bpf_freep) struct write_bpf *bpf = calloc(1, sizeof(*bpf));
	const char *section = NULL;
	char what[WRITE_WHY_MAX / 2];
	int r;

	if (!bpf)
		return -ENOMEM;
	bpf->slot_rung = rung->slot_rung;
	libbpf_set_print(print_debug);
	r = bpf_load(bpf, rung, slots_n);
	if (r < 0) {
		snprintf(what, sizeof(what), "loading %s", rung->what);
		return why_set(why, r, what);
	}
	r = bpf_attach(bpf, &section);
	if (r < 0) {
		snprintf(what, sizeof(what), "attaching %s", section);
		return why_set(why, r, what);
	}
	r = bpf_map_slots(bpf, slots_n);
	if (r < 0)
		return why_set(why, r, "mapping the counters");
	r = bpf_prove(bpf, rung->what, why);
	if (r < 0)
		return r;
	*ret_bpf = take_ptr(bpf);
	return 0;
}

void write_bpf_free(struct write_bpf *bpf)
{
	if (!bpf)
		return;
	for (size_t i = 0; i < PROGRAMS_MAX; i++)
		bpf_link__destroy(bpf->links[i]);
	if (bpf->slots)
		munmap(bpf->slots, bpf->slots_len);
	write_count_bpf__destroy(bpf->skel);
	free(bpf);
}

struct write_slot *write_bpf_slots(struct write_bpf *bpf)
{
	return bpf->slots;
}

uint32_t write_bpf_slot_rung(const struct write_bpf *bpf)
{
	return bpf->slot_rung;
}

int write_bpf_watch(struct write_bpf *bpf, const struct write_key *key, uint32_t slot)
{
	if (bpf_map_update_elem(bpf->watch_fd, key, &slot, BPF_NOEXIST) == 0)
		return 0;
	return errno == E2BIG ? -ENOSPC : -errno;
}

int write_bpf_find(struct write_bpf *bpf, const struct write_key *key, uint32_t *ret_slot)
{
	uint32_t slot;

	if (bpf_map_lookup_elem(bpf->watch_fd, key, &slot) < 0)
		return -errno;
	*ret_slot = slot;
	return 0;
}

void write_bpf_unwatch(struct write_bpf *bpf, const struct write_key *key)
{
	bpf_map_delete_elem(bpf->watch_fd, key);
}

uint64_t write_bpf_misses(struct write_bpf *bpf)
{
	uint64_t misses = 0;

	for (size_t i = 0; i < PROGRAMS_MAX && bpf->programs[i]; i++) {
		struct bpf_prog_info info = {};
		uint32_t len = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(bpf->programs[i]), &info, &len) == 0)
			misses += info.recursion_misses;
	}
	return misses;
}
