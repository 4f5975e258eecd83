/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the state directory stand on: a directory of their own, texts that say which
 * save they are, the log in a file, and a system-call table in which one call fails.
 */
#ifndef STATE_WORLD_H
#define STATE_WORLD_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "account/checkpoint.h"
#include "account/state.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/sys.h"

#define WAIT_MS 30000 /* a bound for what takes milliseconds */

struct world {
	char *dir;       /* the test's own; state is below it */
	char state[128]; /* DIR/state */
	char log[128];   /* DIR/log: standard error */
	struct state *s;
	struct checkpoint loaded;
	bool found, bad;
};

static struct sys sys_real;

/* The failing table: calls are counted, the fail_at'th fails with fail_errno (0: none does). */
static atomic_int calls, fail_at, fail_errno;
static const char *_Atomic fail_name; /* only calls of this name are counted; NULL: all */

/* What was called, in order. Written by one thread at a time, read when it has ended its save. */
static char trace[4096];
static size_t trace_len;

static inline bool call_fails(const char *name)
{
	const char *only = atomic_load(&fail_name);
	int at = atomic_load(&fail_at), err = atomic_load(&fail_errno);

	if (trace_len + strlen(name) + 2 < sizeof(trace))
		trace_len += (size_t)sprintf(trace + trace_len, "%s ", name);
	if (only && strcmp(only, name) != 0)
		return false;
	if (atomic_fetch_add(&calls, 1) + 1 != at && at != -1)
		return false;
	if (!err)
		return false;
	errno = err;
	return true;
}

static inline int fake_open(const char *path, int flags, mode_t mode)
{
	return call_fails("open") ? -1 : sys_real.open(path, flags, mode);
}

static inline int fake_close(int fd)
{
	bool fails = call_fails("close");
	int err = errno;

	sys_real.close(fd);
	errno = err;
	return fails ? -1 : 0;
}

static inline ssize_t fake_read(int fd, void *buf, size_t n)
{
	return call_fails("read") ? -1 : sys_real.read(fd, buf, n);
}

/* Never more than 1000 bytes at once. */
static inline ssize_t fake_write(int fd, const void *buf, size_t n)
{
	return call_fails("write") ? -1 : sys_real.write(fd, buf, MIN(n, (size_t)1000));
}

static inline int fake_fstat(int fd, struct stat *st)
{
	return call_fails("fstat") ? -1 : sys_real.fstat(fd, st);
}

static inline int fake_lstat(const char *path, struct stat *st)
{
	return call_fails("lstat") ? -1 : sys_real.lstat(path, st);
}

static inline int fake_fsync(int fd)
{
	return call_fails("fsync") ? -1 : sys_real.fsync(fd);
}

static inline int fake_rename(const char *from, const char *to)
{
	return call_fails("rename") ? -1 : sys_real.rename(from, to);
}

static inline int fake_mkdir(const char *path, mode_t mode)
{
	return call_fails("mkdir") ? -1 : sys_real.mkdir(path, mode);
}

static inline int fake_flock(int fd, int operation)
{
	return call_fails("flock") ? -1 : sys_real.flock(fd, operation);
}

/* at: the how manieth call, -1: each. */
static inline void world_fail(const char *name, int at, int err)
{
	atomic_store(&fail_errno, 0);
	atomic_store(&calls, 0);
	trace[trace_len = 0] = '\0';
	atomic_store(&fail_name, name);
	atomic_store(&fail_at, at);
	atomic_store(&fail_errno, err);
}

static int stderr_saved = -1; /* -1: the log is not redirected */

static inline void log_restore(void)
{
	assert_true(dup2(stderr_saved, STDERR_FILENO) >= 0);
	close(stderr_saved);
	stderr_saved = -1;
}

static inline void world_make(struct world *w)
{
	memset(w, 0, sizeof(*w));
	/* What a test that failed has left. */
	if (stderr_saved >= 0)
		log_restore();
	if (sys_real.open)
		sys = sys_real;
	sys_real = sys;
	w->dir = test_dir_make();
	snprintf(w->state, sizeof(w->state), "%s/state", w->dir);
	snprintf(w->log, sizeof(w->log), "%s/log", w->dir);
	world_fail(NULL, 0, 0);
	sys.open = fake_open;
	sys.close = fake_close;
	sys.read = fake_read;
	sys.write = fake_write;
	sys.fstat = fake_fstat;
	sys.lstat = fake_lstat;
	sys.fsync = fake_fsync;
	sys.rename = fake_rename;
	sys.mkdir = fake_mkdir;
	sys.flock = fake_flock;
}

static inline void world_remove(struct world *w)
{
	assert_null(w->s);
	sys = sys_real;
	test_dir_remove(w->dir);
}

static inline const char *world_path(const char *dir, const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* The log of what follows goes to a file; what is in it, until the next time. */
static inline void log_begin(struct world *w)
{
	int fd = open(w->log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	stderr_saved = dup(STDERR_FILENO);
	assert_true(stderr_saved >= 0 && dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
}

static inline const char *log_end(struct world *w)
{
	static char text[65536];
	FILE *f = fopen(w->log, "r");

	log_restore();
	assert_non_null(f);
	text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
	fclose(f);
	return text;
}

static inline void assert_says(const char *text, const char *want)
{
	if (!strstr(text, want))
		fail_msg("\"%s\" is not in \"%s\"", want, text);
}

static inline size_t count_of(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

/* Without an interval, so that a test does not wait. */
static inline int world_open_as(struct world *w, const char *dir, bool required)
{
	struct state_options o = {.dir = dir, .required = required};

	return state_open(&o, &w->s, &w->loaded, &w->found, &w->bad);
}

static inline int world_open(struct world *w)
{
	return world_open_as(w, w->state, true);
}

static inline void world_opened(struct world *w)
{
	assert_int_equal(world_open(w), 0);
}

static inline int world_close(struct world *w, struct buf *last)
{
	checkpoint_done(&w->loaded);
	return state_close(take_ptr(w->s), last);
}

/* The text of save number n: n lines of n. */
static inline struct buf text_make(uint64_t n)
{
	struct checkpoint_entry e = {.ino = n, .path = (char *)"/var/log/pods/some/0.log"};
	struct buf b = {0};

	assert_int_equal(checkpoint_begin(&b, (int64_t)n), 0);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(checkpoint_add(&b, &e), 0);
	assert_int_equal(checkpoint_end(&b, n, 0), 0);
	return b;
}

/* Which save a file is: -1 where it is not there, -2 where it is not whole. */
static inline long text_number(const char *path)
{
	FILE *f = fopen(path, "r");
	struct checkpoint c;
	struct buf b = {0};
	char why[CHECKPOINT_WHY_MAX];
	long n = -2;
	size_t got;

	if (!f)
		return -1;
	do {
		assert_int_equal(buf_reserve(&b, 65536), 0);
		got = fread(b.data + b.len, 1, 65536, f);
		b.len += got;
	} while (got);
	fclose(f);
	if (checkpoint_parse(b.data, b.len, &c, why, sizeof(why)) == 0) {
		n = (long)c.time_ns == (long)c.n ? (long)c.n : -2;
		checkpoint_done(&c);
	}
	buf_done(&b);
	return n;
}

static inline long world_number(const struct world *w)
{
	return text_number(world_path(w->state, "checkpoint"));
}

/* Waits for the end of a save by the descriptor, as the event loop does. */
static inline void world_wait(struct world *w)
{
	struct pollfd p = {.fd = state_fd(w->s), .events = POLLIN};

	assert_int_equal(poll(&p, 1, WAIT_MS), 1);
	state_ended(w->s);
	assert_int_equal(poll(&p, 1, 0), 0);
}

/* One save to its end: did it work? */
static inline bool world_save(struct world *w, uint64_t n)
{
	struct buf b = text_make(n);

	assert_true(state_due(w->s, clock_now_ns()));
	state_save(w->s, &b);
	assert_true(!b.data && !b.len && !b.cap);
	world_wait(w);
	return !state_take_failed(w->s);
}

static inline struct state_stats world_stats(const struct world *w)
{
	struct state_stats st;

	state_stats(w->s, &st);
	return st;
}

/* Names in the state directory that begin so. */
static inline size_t world_count(const char *dir, const char *prefix)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	size_t n = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	closedir(d);
	return n;
}

#endif
