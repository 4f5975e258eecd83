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

enum entry {
	ENTRY_OPEN_PLAIN,
	ENTRY_OPEN,
	ENTRY_CLOSE,
	ENTRY_PREAD,
	ENTRY_READ_INOTIFY,
	ENTRY_READ_STATE,
	ENTRY_WRITE_SINK,
	ENTRY_WRITE_STATE,
	ENTRY_FSTAT,
	ENTRY_LSTAT,
	ENTRY_BIRTH,
	ENTRY_LSEEK,
	ENTRY_FSYNC,
	ENTRY_RENAME,
	ENTRY_MKDIR,
	ENTRY_FLOCK,
	ENTRY_INOTIFY_INIT1,
	ENTRY_INOTIFY_ADD_WATCH,
	ENTRY_INOTIFY_RM_WATCH,
	ENTRY_MALLOC,
	ENTRY_COUNT
};

static const char *const entry_names[] = {
	[ENTRY_OPEN_PLAIN] = "open_plain",
	[ENTRY_OPEN] = "open",
	[ENTRY_CLOSE] = "close",
	[ENTRY_PREAD] = "pread",
	[ENTRY_READ_INOTIFY] = "read_inotify",
	[ENTRY_READ_STATE] = "read_state",
	[ENTRY_WRITE_SINK] = "write_sink",
	[ENTRY_WRITE_STATE] = "write_state",
	[ENTRY_FSTAT] = "fstat",
	[ENTRY_LSTAT] = "lstat",
	[ENTRY_BIRTH] = "birth",
	[ENTRY_LSEEK] = "lseek",
	[ENTRY_FSYNC] = "fsync",
	[ENTRY_RENAME] = "rename",
	[ENTRY_MKDIR] = "mkdir",
	[ENTRY_FLOCK] = "flock",
	[ENTRY_INOTIFY_INIT1] = "inotify_init1",
	[ENTRY_INOTIFY_ADD_WATCH] = "inotify_add_watch",
	[ENTRY_INOTIFY_RM_WATCH] = "inotify_rm_watch",
	[ENTRY_MALLOC] = "malloc",
};

#define FAULT_SHORT (-1)
#define FAULT_HALF  (-2)
#define BURST       3

static const struct fault_kind {
	enum entry entry;
	const char *name;
	int error; /* errno, or one of the above */
} fault_kinds[] = {
	{ENTRY_OPEN_PLAIN, "EMFILE", EMFILE},
	{ENTRY_OPEN_PLAIN, "ENOMEM", ENOMEM},
	{ENTRY_OPEN_PLAIN, "EIO", EIO},
	{ENTRY_OPEN_PLAIN, "EINTR", EINTR},
	{ENTRY_OPEN, "EMFILE", EMFILE},
	{ENTRY_OPEN, "ENOMEM", ENOMEM},
	{ENTRY_OPEN, "EIO", EIO},
	{ENTRY_OPEN, "EINTR", EINTR},
	{ENTRY_OPEN, "ENOSPC", ENOSPC},
	{ENTRY_CLOSE, "EIO", EIO},
	{ENTRY_CLOSE, "EINTR", EINTR},
	{ENTRY_PREAD, "EINTR", EINTR},
	{ENTRY_PREAD, "EIO", EIO},
	{ENTRY_PREAD, "short", FAULT_SHORT},
	{ENTRY_PREAD, "half", FAULT_HALF},
	{ENTRY_READ_INOTIFY, "EINTR", EINTR},
	{ENTRY_READ_INOTIFY, "EIO", EIO},
	{ENTRY_READ_STATE, "EINTR", EINTR},
	{ENTRY_READ_STATE, "EIO", EIO},
	{ENTRY_READ_STATE, "short", FAULT_SHORT},
	{ENTRY_WRITE_SINK, "EINTR", EINTR},
	{ENTRY_WRITE_SINK, "EIO", EIO},
	{ENTRY_WRITE_SINK, "ENOSPC", ENOSPC},
	{ENTRY_WRITE_SINK, "short", FAULT_SHORT},
	{ENTRY_WRITE_SINK, "half", FAULT_HALF},
	{ENTRY_WRITE_STATE, "EINTR", EINTR},
	{ENTRY_WRITE_STATE, "EIO", EIO},
	{ENTRY_WRITE_STATE, "ENOSPC", ENOSPC},
	{ENTRY_WRITE_STATE, "short", FAULT_SHORT},
	{ENTRY_FSTAT, "EIO", EIO},
	{ENTRY_FSTAT, "ENOMEM", ENOMEM},
	{ENTRY_LSTAT, "EIO", EIO},
	{ENTRY_LSTAT, "ENOMEM", ENOMEM},
	{ENTRY_BIRTH, "EIO", EIO},
	{ENTRY_BIRTH, "ENOMEM", ENOMEM},
	{ENTRY_LSEEK, "EINVAL", EINVAL},
	{ENTRY_FSYNC, "EINTR", EINTR},
	{ENTRY_FSYNC, "EIO", EIO},
	{ENTRY_FSYNC, "ENOSPC", ENOSPC},
	{ENTRY_RENAME, "EIO", EIO},
	{ENTRY_RENAME, "ENOSPC", ENOSPC},
	{ENTRY_MKDIR, "EIO", EIO},
	{ENTRY_MKDIR, "ENOSPC", ENOSPC},
	{ENTRY_FLOCK, "EINTR", EINTR},
	{ENTRY_FLOCK, "ENOLCK", ENOLCK},
	{ENTRY_INOTIFY_INIT1, "EMFILE", EMFILE},
	{ENTRY_INOTIFY_INIT1, "ENOMEM", ENOMEM},
	{ENTRY_INOTIFY_ADD_WATCH, "ENOSPC", ENOSPC},
	{ENTRY_INOTIFY_ADD_WATCH, "ENOMEM", ENOMEM},
	{ENTRY_INOTIFY_RM_WATCH, "EINVAL", EINVAL},
	{ENTRY_MALLOC, "ENOMEM", ENOMEM},
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
	return fails(ENTRY_OPEN_PLAIN, path, -1) ? -1 : sys_real.open_plain(path, flags);
}

static int bad_open(const char *path, int flags, mode_t mode)
{
	int fd = fails(ENTRY_OPEN, path, -1) ? -1 : sys_real.open(path, flags, mode);

	if (fd >= 0 && strcmp(path, plan.sink_path) == 0)
		atomic_store(&plan.sink_fd, fd);
	return fd;
}

/* Whatever it returns, it has closed. */
static int bad_close(int fd)
{
	int r = fails(ENTRY_CLOSE, NULL, fd), err = errno;

	if (!r)
		return sys_real.close(fd);
	sys_real.close(fd);
	errno = err;
	return -1;
}

static ssize_t bad_pread(int fd, void *buf, size_t n, off_t offset)
{
	int r = fails(ENTRY_PREAD, NULL, fd);
	ssize_t got;

	if (r > 0)
		return -1;
	got = sys_real.pread(fd, buf, r == FAULT_SHORT ? MIN(n, (size_t)1) : n, offset);
	return r == FAULT_HALF && got > 1 ? got / 2 : got;
}

static ssize_t bad_read(int fd, void *buf, size_t n)
{
	bool events = fd == atomic_load(&plan.inotify_fd);
	int r = fails(events ? ENTRY_READ_INOTIFY : ENTRY_READ_STATE, NULL, fd);

	if (r > 0)
		return -1;
	return sys_real.read(fd, buf, r == FAULT_SHORT ? MIN(n, (size_t)1) : n);
}

static ssize_t bad_write(int fd, const void *buf, size_t n)
{
	bool sink = fd == atomic_load(&plan.sink_fd);
	int r = fails(sink ? ENTRY_WRITE_SINK : ENTRY_WRITE_STATE, NULL, fd);

	if (r > 0)
		return -1;
	return sys_real.write(fd, buf, r == FAULT_SHORT ? 1 : r == FAULT_HALF ? (n + 1) / 2 : n);
}

static int bad_fstat(int fd, struct stat *st)
{
	return fails(ENTRY_FSTAT, NULL, fd) ? -1 : sys_real.fstat(fd, st);
}

static int bad_lstat(const char *path, struct stat *st)
{
	return fails(ENTRY_LSTAT, path, -1) ? -1 : sys_real.lstat(path, st);
}

static int bad_birth(int fd, const char *path, int64_t *ret_ns)
{
	return fails(ENTRY_BIRTH, path, fd) ? -1 : sys_real.birth(fd, path, ret_ns);
}

static off_t bad_lseek(int fd, off_t offset, int whence)
{
	return fails(ENTRY_LSEEK, NULL, fd) ? -1 : sys_real.lseek(fd, offset, whence);
}

static int bad_fsync(int fd)
{
	return fails(ENTRY_FSYNC, NULL, fd) ? -1 : 0;
}

static int bad_rename(const char *from, const char *to)
{
	return fails(ENTRY_RENAME, to, -1) ? -1 : sys_real.rename(from, to);
}

static int bad_mkdir(const char *path, mode_t mode)
{
	return fails(ENTRY_MKDIR, path, -1) ? -1 : sys_real.mkdir(path, mode);
}

static int bad_flock(int fd, int operation)
{
	return fails(ENTRY_FLOCK, NULL, fd) ? -1 : sys_real.flock(fd, operation);
}

static int bad_inotify_init1(int flags)
{
	int fd = fails(ENTRY_INOTIFY_INIT1, NULL, -1) ? -1 : sys_real.inotify_init1(flags);

	atomic_store(&plan.inotify_fd, fd);
	return fd;
}

static int bad_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	int target = -1; /* path is /proc/self/fd/N */

	sscanf(path, "/proc/self/fd/%d", &target);
	return fails(ENTRY_INOTIFY_ADD_WATCH, path, target)
		       ? -1
		       : sys_real.inotify_add_watch(fd, path, mask);
}

static int bad_inotify_rm_watch(int fd, int wd)
{
	return fails(ENTRY_INOTIFY_RM_WATCH, NULL, -1) ? -1 : sys_real.inotify_rm_watch(fd, wd);
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
	return fails(ENTRY_MALLOC, NULL, -1) ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return fails(ENTRY_MALLOC, NULL, -1) ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return fails(ENTRY_MALLOC, NULL, -1) ? NULL : __libc_realloc(p, n);
}
#endif

#endif
