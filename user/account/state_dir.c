/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A save is: make checkpoint.tmp anew, write, fsync, close, rename over checkpoint, fsync the
 * directory. At any moment checkpoint is either the old one or the new one, whole: the rename is
 * one step, and the bytes are on the disk before it. A left over .tmp is removed first and made
 * with O_EXCL, so that a link or a FIFO somebody put there is neither followed nor waited for.
 *
 * Changes are saved in the same way beside it. They name the checkpoint that they change, so those
 * which a newer one has left behind, between its rename and their unlink, mean nothing.
 *
 * The lock is flock on a file of its own: the checkpoint itself is replaced each second, so a lock
 * on it would be on a file without a name. The lock file is never removed (whoever waits for it
 * would then hold one nobody else sees); that its name still leads to what is locked is looked at
 * before each save, because an administrator may remove the directory. The kernel releases it with
 * the process, so there is no stale one; the pid in it is for people, written at a fixed width over
 * the old one.
 *
 * Rejected: link() and pid files (stale after a crash), fcntl locks (dropped by any close of the
 * file), O_TMPFILE and linkat (cannot replace a name).
 */
#include "account/state_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "account/checkpoint.h"
#include "account/checkpoint_changes.h"
#include "base/sys.h"

#define FILE_BYTES_MAX (INT64_C(1) << 30)
#define BAD_KEPT       10
#define BAD_SAME_TIME  100
#define BAD_PREFIX     "checkpoint.bad-"
#define PID_WIDTH      10

static int open_again(const char *path, int flags)
{
	int fd;

	do
		fd = sys.open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	while (fd < 0 && errno == EINTR);
	return fd < 0 ? -errno : fd;
}

/* An interrupted close has closed (Linux), and must not be repeated. */
static int close_checked(int fd)
{
	return sys.close(fd) < 0 && errno != EINTR ? -errno : 0;
}

static int fsync_again(int fd)
{
	int r;

	do
		r = sys.fsync(fd);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = sys.write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

/* Bytes read: less than len where the file is shorter. */
static ssize_t read_all(int fd, char *data, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = sys.read(fd, data + got, len - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

int state_dir_init(struct state_dir *d, const char *path)
{
	*d = (struct state_dir){.lock = -1, .tmp_fd = -1, .path = strdup(path)};
	if (!d->path || asprintf(&d->file, "%s/checkpoint", path) < 0)
		d->file = NULL;
	if (!d->file || asprintf(&d->changes, "%s/checkpoint.changes", path) < 0)
		d->changes = NULL;
	if (!d->changes || asprintf(&d->tmp, "%s/checkpoint.tmp", path) < 0)
		d->tmp = NULL;
	if (!d->tmp || asprintf(&d->lock_path, "%s/lock", path) < 0)
		d->lock_path = NULL;
	if (d->lock_path)
		return 0;
	state_dir_done(d);
	return -ENOMEM;
}

/* What was begun is in the directory that was locked. */
static void unlock(struct state_dir *d)
{
	if (d->tmp_fd >= 0) {
		sys.close(d->tmp_fd);
		d->tmp_fd = -1;
		d->tmp_error = -EAGAIN;
	}
	if (d->lock >= 0)
		sys.close(d->lock);
	d->lock = -1;
}

void state_dir_done(struct state_dir *d)
{
	unlock(d);
	free(d->path);
	free(d->file);
	free(d->changes);
	free(d->tmp);
	free(d->lock_path);
	*d = (struct state_dir){.lock = -1, .tmp_fd = -1};
}

/* The name still leads to what is locked. */
static bool lock_holds(const struct state_dir *d)
{
	struct stat named, held;

	return d->lock >= 0 && sys.lstat(d->lock_path, &named) == 0 &&
	       sys.fstat(d->lock, &held) == 0 && named.st_dev == held.st_dev &&
	       named.st_ino == held.st_ino;
}

static int pid_read(int fd)
{
	char text[PID_WIDTH + 2] = "";
	ssize_t n = read_all(fd, text, sizeof(text) - 1);

	return n > 0 ? (int)strtol(text, NULL, 10) : 0;
}

static int lock_open(struct state_dir *d, int *ret_pid)
{
	char text[PID_WIDTH + 2];
	int r;

	d->lock = open_again(d->lock_path, O_RDWR | O_CREAT | O_NONBLOCK);
	if (d->lock < 0) {
		r = d->lock;
		d->lock = -1;
		return r;
	}
	do
		r = sys.flock(d->lock, LOCK_EX | LOCK_NB);
	while (r < 0 && errno == EINTR);
	if (r < 0) {
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
		if (r == -EBUSY)
			*ret_pid = pid_read(d->lock);
		unlock(d);
		return r;
	}
	if (!lock_holds(d)) {
		unlock(d);
		return -EAGAIN;
	}
	snprintf(text, sizeof(text), "%*d\n", PID_WIDTH, (int)getpid());
	/* Locked it is also where the disk is too full for the pid. */
	(void)write_all(d->lock, text, strlen(text));
	return 0;
}

int state_dir_lock(struct state_dir *d, int *ret_pid, bool *ret_missing)
{
	int r;

	*ret_pid = 0;
	*ret_missing = false;
	if (lock_holds(d))
		return 0;
	unlock(d);
	/* An empty name would be the root directory. */
	r = d->path[0] ? lock_open(d, ret_pid) : -ENOENT;
	if (r != -ENOENT)
		return r;
	if (sys.mkdir(d->path, 0700) < 0 && errno != EEXIST) {
		r = -errno;
		*ret_missing = true;
		return r;
	}
	return lock_open(d, ret_pid);
}

/* What is no regular file is not read: it could block, or never end. */
static int read_file(int fd, char **ret_text, size_t *ret_len, char *why, size_t why_size)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;

	if (sys.fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, why_size, "not a regular file");
		return -EBADMSG;
	}
	if (st.st_size > FILE_BYTES_MAX) {
		snprintf(why, why_size, "%lld bytes, at most %lld are read", (long long)st.st_size,
			 (long long)FILE_BYTES_MAX);
		return -EFBIG;
	}
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	n = read_all(fd, text, (size_t)st.st_size);
	if (n < 0)
		return (int)n;
	*ret_text = take_ptr(text);
	*ret_len = (size_t)n;
	return 0;
}

static int load_text(const char *path, char **ret_text, size_t *ret_len, char *why, size_t why_size)
{
	int fd = open_again(path, O_RDONLY | O_NONBLOCK), r;

	snprintf(why, why_size, "%s", fd == -ELOOP ? "a symbolic link" : strerror(-fd));
	if (fd < 0)
		return fd;
	why[0] = '\0';
	r = read_file(fd, ret_text, ret_len, why, why_size);
	sys.close(fd);
	return r;
}

static int why_not(int r, char *why, size_t why_size)
{
	if (r < 0 && !why[0])
		snprintf(why, why_size, "%s", strerror(-r));
	return r;
}

int state_dir_load(const struct state_dir *d, struct checkpoint *ret, char *why, size_t why_size)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = load_text(d->file, &text, &len, why, why_size);

	if (r == 0)
		r = checkpoint_parse(text, len, ret, why, why_size);
	return why_not(r, why, why_size);
}

int state_dir_load_changes(const struct state_dir *d, struct checkpoint *c, char *why,
			   size_t why_size)
{
	_cleanup_free_ char *text = NULL;
	size_t len = 0;
	int r = load_text(d->changes, &text, &len, why, why_size);

	if (r == -ESTALE) /* NFS; not what the same number says of their content */
		r = why_not(-EIO, why, why_size);
	if (r == 0)
		r = changes_apply(c, text, len, why, why_size);
	return why_not(r, why, why_size);
}

static int is_bad(const struct dirent *e)
{
	return strncmp(e->d_name, BAD_PREFIX, strlen(BAD_PREFIX)) == 0;
}

/* Their names are their times, so the first in order are the oldest. */
static void bad_prune(const struct state_dir *d)
{
	struct dirent **names;
	int n = scandir(d->path, &names, is_bad, versionsort);

	if (n < 0)
		return;
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = NULL;

		if (i < n - BAD_KEPT && asprintf(&path, "%s/%s", d->path, names[i]->d_name) >= 0)
			unlink(path);
		free(names[i]);
	}
	free(names);
}

/* The first free name of this second. */
static int bad_name(const struct state_dir *d, char name[STATE_NAME_MAX], char **ret_path)
{
	char stamp[32];
	time_t now = time(NULL);
	struct tm tm;
	struct stat st;

	if (!gmtime_r(&now, &tm))
		return -EOVERFLOW;
	strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%S", &tm);
	snprintf(name, STATE_NAME_MAX, BAD_PREFIX "%s", stamp);
	for (int i = 2;; i++) {
		char *path;

		if (asprintf(&path, "%s/%s", d->path, name) < 0)
			return -ENOMEM;
		if (sys.lstat(path, &st) < 0) {
			*ret_path = path;
			return 0;
		}
		free(path);
		if (i > BAD_SAME_TIME)
			return -EEXIST;
		snprintf(name, STATE_NAME_MAX, BAD_PREFIX "%s.%d", stamp, i);
	}
}

static int keep_aside(const struct state_dir *d, const char *file, char ret_name[STATE_NAME_MAX])
{
	_cleanup_free_ char *path = NULL;
	int r = bad_name(d, ret_name, &path);

	if (r < 0)
		return r;
	if (sys.rename(file, path) < 0 && errno != ENOENT)
		return -errno;
	bad_prune(d);
	return 0;
}

int state_dir_keep_aside(struct state_dir *d, char ret_name[STATE_NAME_MAX])
{
	int r = keep_aside(d, d->file, ret_name);

	d->aside_due = r < 0;
	return r;
}

int state_dir_keep_changes_aside(struct state_dir *d, char ret_name[STATE_NAME_MAX])
{
	return keep_aside(d, d->changes, ret_name);
}

/* Some filesystems have no fsync of a directory: there the rename is all there is. */
static int dir_sync(const struct state_dir *d)
{
	int fd, r;

	/* A link to the directory is the user's choice, so no O_NOFOLLOW. */
	do
		fd = sys.open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return -errno;
	r = fsync_again(fd);
	sys.close(fd);
	return r == -EINVAL || r == -ENOTSUP ? 0 : r;
}

static int tmp_add(struct state_dir *d, const char *data, size_t len)
{
	int fd;

	if (d->tmp_error)
		return d->tmp_error;
	if (d->tmp_fd < 0) {
		unlink(d->tmp);
		fd = open_again(d->tmp, O_WRONLY | O_CREAT | O_EXCL);
		if (fd < 0)
			return fd;
		d->tmp_fd = fd;
	}
	return write_all(d->tmp_fd, data, len);
}

void state_dir_put(struct state_dir *d, const char *data, size_t len)
{
	d->tmp_error = d->lock < 0 ? -EAGAIN : tmp_add(d, data, len);
}

void state_dir_drop(struct state_dir *d)
{
	if (d->tmp_fd >= 0) {
		sys.close(d->tmp_fd);
		unlink(d->tmp);
	}
	d->tmp_fd = -1;
	d->tmp_error = 0;
}

/* Written aside and renamed to path. */
static int save_as(struct state_dir *d, const char *path, const char *data, size_t len,
		   struct stat *ret_st)
{
	struct stat st = {0};
	int fd, closed, r = tmp_add(d, data, len);

	d->tmp_error = 0;
	fd = take_fd(d->tmp_fd);
	if (fd < 0)
		return r;
	if (r == 0)
		r = fsync_again(fd);
	if (r == 0)
		fstat(fd, &st);
	closed = close_checked(fd);
	r = r < 0 ? r : closed;
	if (r == 0 && sys.rename(d->tmp, path) < 0)
		r = -errno;
	if (r < 0) {
		/* On a full disk its blocks are somebody's. */
		unlink(d->tmp);
		return r;
	}
	*ret_st = st;
	return dir_sync(d);
}

int state_dir_save(struct state_dir *d, const char *data, size_t len)
{
	char name[STATE_NAME_MAX];
	struct stat st = {0};
	int r;

	if (d->aside_due) {
		r = state_dir_keep_aside(d, name);
		if (r < 0)
			return r;
	}
	d->ino = 0;
	r = save_as(d, d->file, data, len, &st);
	if (r < 0)
		return r;
	d->dev = st.st_dev;
	d->ino = st.st_ino;
	unlink(d->changes); /* of the one before */
	return 0;
}

int state_dir_save_changes(struct state_dir *d, const char *data, size_t len)
{
	struct stat st;

	if (!d->ino || lstat(d->file, &st) < 0 || st.st_dev != d->dev || st.st_ino != d->ino)
		return -ESTALE;
	return save_as(d, d->changes, data, len, &st);
}
