/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts on real kernels, on every rung and filesystem given. The programs that include this run
 * natively (where a rung that this kernel refuses is skipped) and inside the virtual machines of
 * tests/vm, which say through the environment what must work:
 *
 *   WRITE_COUNT_RUNGS   rungs to prove ("fs,vfs"); one that does not attach is a failure.
 *                       Unset: all, and one that does not attach is a skip.
 *   WRITE_COUNT_DIRS    directories to write in. Unset: /dev/shm and a new one in $TMPDIR
 *   WRITE_COUNT_LOSSY   writes that the kernel says it left out may be missing (preempt=full)
 */
#ifndef TESTS_WRITE_WORLD_H
#define TESTS_WRITE_WORLD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/sys.h"
#include "heat/write_count.h"

#define DIRS_MAX  8
#define TESTS_MAX 256

struct place {
	struct world *world;
	enum rung rung;
	const char *dir;
	const void *arg; /* the test's own */
};

struct world {
	struct write_count
		*counts[RUNG_OFF]; /* one for all tests of a rung: loading takes its time */
	bool wanted[RUNG_OFF], required, lossy, own_mounts;
	char scratch[64];
	char *dirs[DIRS_MAX];
	size_t dirs_n;
	struct CMUnitTest tests[TESTS_MAX];
	struct place places[TESTS_MAX];
	size_t tests_n;
};

/* A watched file. */
struct watched {
	struct write_count *wc;
	int fd, slot;
	uint64_t misses;
};

static inline bool kernel_confidential(void)
{
	char text[100] = "";
	int fd = open("/sys/kernel/security/lockdown", O_RDONLY | O_CLOEXEC);
	bool found;

	found = fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 &&
		strstr(text, "[confidentiality]");
	close(fd);
	return found;
}

/*
 * Only the filesystem's own hooks tell the subvolumes of btrfs apart, by reading kernel memory, and
 * find the real file below an overlay whose layers lie on several filesystems.
 */
static inline bool may_lack_counter(const char *dir, enum rung rung)
{
	struct statfs st;

	if (statfs(dir, &st) < 0)
		return false;
	return (st.f_type == BTRFS_SUPER_MAGIC && (rung > RUNG_FS || kernel_confidential())) ||
	       (st.f_type == OVERLAYFS_SUPER_MAGIC && rung > RUNG_FS);
}

static inline struct write_count *place_count(struct place *place)
{
	struct world *w = place->world;
	struct write_count **wc = &w->counts[place->rung];

	if (write_count_rung(*wc) == place->rung)
		return *wc;
	print_message("# %s: %s\n", rung_name(place->rung), write_count_refusal(*wc, place->rung));
	/* Refused is this kernel's affair, attached but blind is ours. */
	if (w->required || strstr(write_count_refusal(*wc, place->rung), "attached, but"))
		fail();
	skip();
	return NULL;
}

static inline int file_new(const char *dir, int flags)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/proof.XXXXXX", dir);
	fd = mkostemp(path, flags | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	return fd;
}

static inline struct watched watched_new(struct place *place, int flags)
{
	struct watched w = {.wc = place_count(place)};

	w.fd = file_new(place->dir, flags);
	w.misses = write_count_misses(w.wc);
	assert_int_equal(write_count_add(w.wc, w.fd, NULL, &w.slot), 0);
	return w;
}

static inline void watched_done(struct watched *w)
{
	write_count_del(w->wc, w->slot);
	close(w->fd);
}

/* Exact; with WRITE_COUNT_LOSSY at most what the kernel says it missed is missing. */
static inline void expect_counts(struct place *place, struct watched *w, uint64_t calls,
				 uint64_t bytes)
{
	uint64_t missed = write_count_misses(w->wc) - w->misses;
	struct write_total t;

	write_count_read(w->wc, w->slot, &t);
	if (place->world->lossy && missed) {
		print_message("# %s missed %llu, counted %llu of %llu\n", rung_name(place->rung),
			      (unsigned long long)missed, (unsigned long long)t.calls,
			      (unsigned long long)calls);
		assert_in_range(t.calls, calls > missed ? calls - missed : 0, calls);
		assert_true(t.bytes <= bytes);
		return;
	}
	assert_int_equal(t.calls, calls);
	assert_int_equal(t.bytes, bytes);
}

static inline bool mount_tmpfs(struct world *world, const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", world->scratch, name);
	return world->own_mounts && mkdir(path, 0700) == 0 &&
	       mount("none", path, "tmpfs", 0, "size=64k") == 0;
}

static inline void tmpfs_gone(const char *path)
{
	umount2(path, MNT_DETACH);
	rmdir(path);
}

static const char *const calls_names[] = {"write",   "pwrite64", "writev",
					  "pwritev", "pwritev2", "pwritev2 at the position"};

/* The n-th of the calls, writing len > 2 bytes. */
static inline ssize_t call_write(size_t call, int fd, size_t len)
{
	static char data[4096];
	struct iovec iov[3] = {{data, 1}, {data, len - 2}, {data, 1}};

	switch (call) {
	case 0:
		return write(fd, data, len);
	case 1:
		return pwrite(fd, data, len, 7);
	case 2:
		return writev(fd, iov, 3);
	case 3:
		return pwritev(fd, iov, 3, 11);
	case 4:
		return pwritev2(fd, iov, 3, 3, 0);
	default:
		return pwritev2(fd, iov, 3, -1, 0);
	}
}

/* Adds the directories named, with blanks between, by this variable: false when it is not set. */
static inline bool world_dirs_add(struct world *world, const char *variable)
{
	const char *given = getenv(variable);
	char *list, *save = NULL;

	if (!given)
		return false;
	list = strdup(given);
	for (char *d = strtok_r(list, " ", &save); d && world->dirs_n < DIRS_MAX;
	     d = strtok_r(NULL, " ", &save))
		world->dirs[world->dirs_n++] = strdup(d);
	free(list);
	return true;
}

static inline void world_dirs(struct world *world)
{
	if (world_dirs_add(world, "WRITE_COUNT_DIRS"))
		return;
	if (access("/dev/shm", W_OK) == 0)
		world->dirs[world->dirs_n++] = strdup("/dev/shm");
	world->dirs[world->dirs_n++] = strdup(world->scratch);
}

/* "fs" is not in "vfs,kprobe". */
static inline bool list_has(const char *list, const char *name)
{
	for (const char *p = list; *p; p += strcspn(p, ", "), p += strspn(p, ", "))
		if (strcspn(p, ", ") == strlen(name) && strncmp(p, name, strlen(name)) == 0)
			return true;
	return false;
}

static inline void world_init(struct world *world)
{
	const char *rungs = getenv("WRITE_COUNT_RUNGS"), *tmp = getenv("TMPDIR");

	world->required = rungs != NULL;
	world->lossy = getenv("WRITE_COUNT_LOSSY") != NULL;
	for (enum rung r = RUNG_AUTO + 1; r < RUNG_OFF; r++)
		world->wanted[r] = !rungs || list_has(rungs, rung_name(r));
	snprintf(world->scratch, sizeof(world->scratch), "%.40s/hotdrain.XXXXXX",
		 tmp ? tmp : "/tmp");
	if (!mkdtemp(world->scratch)) {
		perror(world->scratch);
		exit(1);
	}
	/* Mounts made here are seen by nobody else and end with this process. */
	world->own_mounts = unshare(CLONE_NEWNS) == 0 &&
			    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
	world_dirs(world);
}

static inline void world_done(struct world *world)
{
	/* by tests that failed half-way */
	static const char *const left[] = {"both",  "twin",  "twin2",  "full", "upper",
					   "lower", "bound", "merged", "ram"};
	char path[128];

	for (size_t r = 0; r < RUNG_OFF; r++)
		write_count_free(world->counts[r]);
	for (size_t d = 0; d < world->dirs_n; d++)
		free(world->dirs[d]);
	for (size_t i = 0; i < world->tests_n; i++)
		free((char *)world->tests[i].name);
	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		snprintf(path, sizeof(path), "%s/%s", world->scratch, left[i]);
		tmpfs_gone(path);
	}
	rmdir(world->scratch);
}

struct proof {
	const char *name;
	CMUnitTestFunction run;
	bool everywhere; /* on each filesystem, not only on the first */
	bool kprobe;     /* holds on kprobe too, which counts requests */
};

static inline void rung_attaches(void **state)
{
	place_count(*state);
}

static inline void world_add(struct world *world, const char *name, CMUnitTestFunction run,
			     struct place place)
{
	size_t n = world->tests_n++;

	assert_true(n < TESTS_MAX);
	world->places[n] = place;
	world->tests[n] = (struct CMUnitTest){strdup(name), run, NULL, NULL, &world->places[n]};
}

static inline bool world_attaches(struct world *world, enum rung rung)
{
	struct write_count **wc = &world->counts[rung];

	return write_count_new(rung, 65536, NULL, wc) == 0 && write_count_rung(*wc) == rung;
}

static inline const char *world_dir_name(const struct world *world, size_t d)
{
	return strcmp(world->dirs[d], world->scratch) ? world->dirs[d] : "TMPDIR";
}

/* Every proof for every wanted rung; for one that does not attach, one test that says why. */
static inline void world_add_proofs(struct world *world, enum rung rung, const struct proof *proofs,
				    size_t n)
{
	char name[200];

	snprintf(name, sizeof(name), "%s attaches", rung_name(rung));
	world_add(world, name, rung_attaches, (struct place){world, rung, NULL, NULL});
	if (!world_attaches(world, rung))
		return;
	for (size_t d = 0; d < world->dirs_n; d++)
		for (size_t i = 0; i < n; i++) {
			if ((d > 0 && !proofs[i].everywhere) ||
			    may_lack_counter(world->dirs[d], rung) ||
			    (rung == RUNG_KPROBE && !proofs[i].kprobe))
				continue;
			snprintf(name, sizeof(name), "%s %s %s", rung_name(rung),
				 world_dir_name(world, d), proofs[i].name);
			world_add(world, name, proofs[i].run,
				  (struct place){world, rung, world->dirs[d], NULL});
		}
}

static inline void world_add_all_proofs(struct world *world, const struct proof *proofs, size_t n)
{
	for (enum rung rung = RUNG_AUTO + 1; rung < RUNG_OFF; rung++)
		if (world->wanted[rung])
			world_add_proofs(world, rung, proofs, n);
}

/* Runs what was added: the exit status. */
static inline int world_finish(struct world *world, const char *group)
{
	int r = _cmocka_run_group_tests(group, world->tests, world->tests_n, NULL, NULL);

	world_done(world);
	return r != 0;
}

static inline int world_run(struct world *world, const char *group, const struct proof *proofs,
			    size_t n)
{
	world_add_all_proofs(world, proofs, n);
	return world_finish(world, group);
}

#endif
