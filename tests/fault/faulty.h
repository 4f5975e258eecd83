/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system-call table with one call in it that fails, and a malloc that does.
 *
 * An entry is a call as the program uses it: write is told apart by what is written (the sink, the
 * state directory), read likewise (inotify, the state directory), because they fail in their own
 * ways. Calls are counted per entry, over all threads and over all phases of a run (the counts are
 * in memory shared with the parent); the at'th and burst - 1 more after it fail.
 *
 * "short" is one byte, "half" is half of what was there. fsync is not carried out: nothing here
 * outlives a power failure, and the disk is spared.
 */
#ifndef FAULTY_H
#define FAULTY_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"

#define ENTRIES(X)                                                                                \
	X(open_plain)                                                                             \
	X(open)                                                                                   \
	X(close)                                                                                  \
	X(pread)                                                                                  \
	X(read_inotify)                                                                           \
	X(read_state)                                                                             \
	X(write_sink)                                                                             \
	X(write_state)                                                                            \
	X(fstat) X(lstat) X(birth) X(lseek) X(fsync) X(rename) X(mkdir) X(flock) X(inotify_init1) \
		X(inotify_add_watch) X(inotify_rm_watch) X(malloc)

#define AS_ENUM(name) ENTRY_##name,
#define AS_TEXT(name) #name,
enum entry { ENTRIES(AS_ENUM) ENTRY_COUNT };
static const char *const entry_names[] = {ENTRIES(AS_TEXT)};

#define FAULT_SHORT (-1)
#define FAULT_HALF  (-2)
#define BURST       3

static const struct fault_kind {
	enum entry entry;
	const char *name;
	int error; /* errno, or one of the above */
} fault_kinds[] = {
	{ENTRY_open_plain, "EMFILE", EMFILE},
	{ENTRY_open_plain, "ENOMEM", ENOMEM},
	{ENTRY_open_plain, "EIO", EIO},
	{ENTRY_open_plain, "EINTR", EINTR},
	{ENTRY_open, "EMFILE", EMFILE},
	{ENTRY_open, "ENOMEM", ENOMEM},
	{ENTRY_open, "EIO", EIO},
	{ENTRY_open, "EINTR", EINTR},
	{ENTRY_open, "ENOSPC", ENOSPC},
	{ENTRY_close, "EIO", EIO},
	{ENTRY_close, "EINTR", EINTR},
	{ENTRY_pread, "EINTR", EINTR},
	{ENTRY_pread, "EIO", EIO},
	{ENTRY_pread, "short", FAULT_SHORT},
	{ENTRY_pread, "half", FAULT_HALF},
	{ENTRY_read_inotify, "EINTR", EINTR},
	{ENTRY_read_inotify, "EIO", EIO},
	{ENTRY_read_state, "EINTR", EINTR},
	{ENTRY_read_state, "EIO", EIO},
	{ENTRY_read_state, "short", FAULT_SHORT},
	{ENTRY_write_sink, "EINTR", EINTR},
	{ENTRY_write_sink, "EIO", EIO},
	{ENTRY_write_sink, "ENOSPC", ENOSPC},
	{ENTRY_write_sink, "short", FAULT_SHORT},
	{ENTRY_write_sink, "half", FAULT_HALF},
	{ENTRY_write_state, "EINTR", EINTR},
	{ENTRY_write_state, "EIO", EIO},
	{ENTRY_write_state, "ENOSPC", ENOSPC},
	{ENTRY_write_state, "short", FAULT_SHORT},
	{ENTRY_fstat, "EIO", EIO},
	{ENTRY_fstat, "ENOMEM", ENOMEM},
	{ENTRY_lstat, "EIO", EIO},
	{ENTRY_lstat, "ENOMEM", ENOMEM},
	{ENTRY_birth, "EIO", EIO},
	{ENTRY_birth, "ENOMEM", ENOMEM},
	{ENTRY_lseek, "EINVAL", EINVAL},
	{ENTRY_fsync, "EINTR", EINTR},
	{ENTRY_fsync, "EIO", EIO},
	{ENTRY_fsync, "ENOSPC", ENOSPC},
	{ENTRY_rename, "EIO", EIO},
	{ENTRY_rename, "ENOSPC", ENOSPC},
	{ENTRY_mkdir, "EIO", EIO},
	{ENTRY_mkdir, "ENOSPC", ENOSPC},
	{ENTRY_flock, "EINTR", EINTR},
	{ENTRY_flock, "ENOLCK", ENOLCK},
	{ENTRY_inotify_init1, "EMFILE", EMFILE},
	{ENTRY_inotify_init1, "ENOMEM", ENOMEM},
	{ENTRY_inotify_add_watch, "ENOSPC", ENOSPC},
	{ENTRY_inotify_add_watch, "ENOMEM", ENOMEM},
	{ENTRY_inotify_rm_watch, "EINVAL", EINVAL},
	{ENTRY_malloc, "ENOMEM", ENOMEM},
};

/* Shared with the parent. */
struct faulty {
	atomic_uint calls[ENTRY_COUNT], hits;
	atomic_bool armed; /* only while the program runs, and not in a run that is to be whole */
	bool in_state;     /* what the first failing call was about was in the state directory */
	int phase, hit_phase; /* now, and of the last failing call */
	char what[PATH_MAX];  /* the first failing call */
};

/* Of this process: a copy of what the parent has set. */
static struct {
	struct faulty *shared; /* NULL: nothing fails */
	const struct fault_kind *kind;
	unsigned at, burst;
	const char *state_dir, *sink_path;
	atomic_int inotify_fd, sink_fd;
} plan;

static struct sys sys_real;

/* The first one is described; path: NULL for what has none. */
static void note_hit(enum entry e, unsigned n, const char *path, int fd)
{
	struct faulty *s = plan.shared;
	char link[64], name[PATH_MAX - 128] = "";
	ssize_t len;

	if (fd >= 0) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, name, sizeof(name) - 1);
		name[len > 0 ? len : 0] = '\0';
		path = name;
	}
	s->in_state = path && strncmp(path, plan.state_dir, strlen(plan.state_dir)) == 0;
	snprintf(s->what, sizeof(s->what), "call %u of %s(%.3000s) in phase %d", n, entry_names[e],
		 path ? path : "", s->phase);
}

/* 0: this call works; else the kind's error, and errno when it is one. */
static int fails(enum entry e, const char *path, int fd)
{
	struct faulty *s = plan.shared;
	unsigned n;

	if (!s || !atomic_load(&s->armed))
		return 0;
	n = atomic_fetch_add(&s->calls[e], 1) + 1;
	if (!plan.kind || plan.kind->entry != e || n < plan.at || n >= plan.at + plan.burst)
		return 0;
	if (atomic_fetch_add(&s->hits, 1) == 0)
		note_hit(e, n, path, fd);
	s->hit_phase = s->phase;
	if (plan.kind->error > 0)
		errno = plan.kind->error;
	return plan.kind->error;
}

static int bad_open_plain(const char *path, int flags)
{
	return fails(ENTRY_open_plain, path, -1) ? -1 : sys_real.open_plain(path, flags);
}

static int bad_open(const char *path, int flags, mode_t mode)
{
	int fd = fails(ENTRY_open, path, -1) ? -1 : sys_real.open(path, flags, mode);

	if (fd >= 0 && strcmp(path, plan.sink_path) == 0)
		atomic_store(&plan.sink_fd, fd);
	return fd;
}

/* Whatever it returns, it has closed. */
static int bad_close(int fd)
{
	int r = fails(ENTRY_close, NULL, fd), err = errno;

	if (!r)
		return sys_real.close(fd);
	sys_real.close(fd);
	errno = err;
	return -1;
}

static ssize_t bad_pread(int fd, void *buf, size_t n, off_t offset)
{
	int r = fails(ENTRY_pread, NULL, fd);
	ssize_t got;

	if (r > 0)
		return -1;
	got = sys_real.pread(fd, buf, r == FAULT_SHORT ? MIN(n, (size_t)1) : n, offset);
	return r == FAULT_HALF && got > 1 ? got / 2 : got;
}

static ssize_t bad_read(int fd, void *buf, size_t n)
{
	bool events = fd == atomic_load(&plan.inotify_fd);
	int r = fails(events ? ENTRY_read_inotify : ENTRY_read_state, NULL, fd);

	if (r > 0)
		return -1;
	return sys_real.read(fd, buf, r == FAULT_SHORT ? MIN(n, (size_t)1) : n);
}

static ssize_t bad_write(int fd, const void *buf, size_t n)
{
	bool sink = fd == atomic_load(&plan.sink_fd);
	int r = fails(sink ? ENTRY_write_sink : ENTRY_write_state, NULL, fd);

	if (r > 0)
		return -1;
	return sys_real.write(fd, buf, r == FAULT_SHORT ? 1 : r == FAULT_HALF ? (n + 1) / 2 : n);
}

static int bad_fstat(int fd, struct stat *st)
{
	return fails(ENTRY_fstat, NULL, fd) ? -1 : sys_real.fstat(fd, st);
}

static int bad_lstat(const char *path, struct stat *st)
{
	return fails(ENTRY_lstat, path, -1) ? -1 : sys_real.lstat(path, st);
}

static int bad_birth(int fd, const char *path, int64_t *ret_ns)
{
	return fails(ENTRY_birth, path, fd) ? -1 : sys_real.birth(fd, path, ret_ns);
}

static off_t bad_lseek(int fd, off_t offset, int whence)
{
	return fails(ENTRY_lseek, NULL, fd) ? -1 : sys_real.lseek(fd, offset, whence);
}

static int bad_fsync(int fd)
{
	return fails(ENTRY_fsync, NULL, fd) ? -1 : 0;
}

static int bad_rename(const char *from, const char *to)
{
	return fails(ENTRY_rename, to, -1) ? -1 : sys_real.rename(from, to);
}

static int bad_mkdir(const char *path, mode_t mode)
{
	return fails(ENTRY_mkdir, path, -1) ? -1 : sys_real.mkdir(path, mode);
}

static int bad_flock(int fd, int operation)
{
	return fails(ENTRY_flock, NULL, fd) ? -1 : sys_real.flock(fd, operation);
}

static int bad_inotify_init1(int flags)
{
	int fd = fails(ENTRY_inotify_init1, NULL, -1) ? -1 : sys_real.inotify_init1(flags);

	atomic_store(&plan.inotify_fd, fd);
	return fd;
}

static int bad_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	int target = -1; /* path is /proc/self/fd/N */

	sscanf(path, "/proc/self/fd/%d", &target);
	return fails(ENTRY_inotify_add_watch, path, target)
		       ? -1
		       : sys_real.inotify_add_watch(fd, path, mask);
}

static int bad_inotify_rm_watch(int fd, int wd)
{
	return fails(ENTRY_inotify_rm_watch, NULL, -1) ? -1 : sys_real.inotify_rm_watch(fd, wd);
}

static void faulty_install(void)
{
	sys_real = sys;
	plan.inotify_fd = plan.sink_fd = -1;
	sys = (struct sys){
		.open_plain = bad_open_plain,
		.open = bad_open,
		.close = bad_close,
		.pread = bad_pread,
		.read = bad_read,
		.write = bad_write,
		.fstat = bad_fstat,
		.lstat = bad_lstat,
		.birth = bad_birth,
		.lseek = bad_lseek,
		.fsync = bad_fsync,
		.rename = bad_rename,
		.mkdir = bad_mkdir,
		.flock = bad_flock,
		.inotify_init1 = bad_inotify_init1,
		.inotify_add_watch = bad_inotify_add_watch,
		.inotify_rm_watch = bad_inotify_rm_watch,
	};
}

/* The sanitizer has its own allocator, which cannot be replaced. */
#ifdef __SANITIZE_ADDRESS__
static const bool malloc_can_fail = false;
#else
static const bool malloc_can_fail = true;

extern void *__libc_malloc(size_t n);
extern void *__libc_calloc(size_t n, size_t size);
extern void *__libc_realloc(void *p, size_t n);

void *malloc(size_t n)
{
	return fails(ENTRY_malloc, NULL, -1) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails(ENTRY_malloc, NULL, -1) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails(ENTRY_malloc, NULL, -1) ? NULL : __libc_realloc(p, n);
}
#endif

#endif
