/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed files at the start: what is wanted may lie inside one, and one that nobody knows may
 * be a generation that came and went meanwhile (collector_resume.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/sys.h"
#include "collector_impl.h"
#include "collector_resume_impl.h"
#include "collector_state.h"
#include "drain/gz.h"
#include "drain/reader.h"
#include "files/files.h"

#define CLOCK_TICK_NS NS_PER_SEC /* between the clocks of births and of checkpoints */
#define YOUNG_S       3

/* A .gz that is not to be read, now or at the next start: one that is hardly older than the
 * checkpoint would look as if it had been born since. */
static void leave_out(struct collector *c, const char *path, const struct stat *st, int64_t btime)
{
	struct checkpoint_entry e = {.dev = st->st_dev,
				     .ino = st->st_ino,
				     .btime_ns = btime,
				     .flags = CHECKPOINT_GZ | CHECKPOINT_DONE,
				     .path = (char *)path};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (btime > (now.tv_sec - YOUNG_S) * NS_PER_SEC)
		collector_keep_recent(c, &e);
}

void collector_resume_compressed(void *ctx, const char *path)
{
	struct collector *c = ctx;
	size_t len = strlen(path);
	int64_t btime;
	struct stat st;

	if (len <= 3 || strcmp(path + len - 3, ".gz") != 0)
		return;
	if (c->resume && !c->resume->judged)
		buf_add(&c->resume->compressed, path, len + 1);
	else if (c->scanning_ns && sys.lstat(path, &st) == 0 &&
		 sys.birth(AT_FDCWD, path, &btime) == 0)
		leave_out(c, path, &st, btime);
}

/* Not only alike in a header that all generations have: as much of its head as is ever kept, or all
 * of it. */
static bool is_same(struct file *f, const struct checkpoint_entry *e)
{
	bool all = e->flags & CHECKPOINT_DONE && e->head_len == e->size;
	char more;

	return e->head_len && (all || e->head_len == CHECKPOINT_HEAD_MAX) &&
	       resume_holds(f, 0, e->head_len, e->head_sum) &&
	       (!all || reader_pread(f, &more, 1, e->size) == 0);
}

/* Is the compressed file, of which nothing is wanted, nevertheless to be read? */
static bool is_new(const struct resume *r, struct file *probe, const char *path, const char *stem,
		   int64_t born_ns)
{
	struct stat st;

	if (born_ns < r->loaded.time_ns - CLOCK_TICK_NS ||
	    born_ns > r->born_until_ns + CLOCK_TICK_NS || sys.lstat(stem, &st) == 0)
		return false;
	if (!resume_of_log(r, stem) && resume_log_len(stem) == strlen(stem))
		return false; /* not the name of a generation of any log */
	for (struct wanted *w = resume_of_log(r, stem); w; w = w->same_log)
		if (w->fate == FATE_FOUND && is_same(probe, w->e))
			return false;
	return true;
}

static struct wanted *by_gz_identity(const struct resume *r, const struct stat *st, int64_t btime)
{
	struct wanted key = {.key = {st->st_ino, btime}}, *w;
	struct table_node *n = table_get(&r->by_inode, &key.key, sizeof(key.key));

	for (w = n ? container_of(n, struct wanted, by_inode) : NULL; w; w = w->same_inode)
		if (w->fate == FATE_OPEN && w->e->flags & CHECKPOINT_GZ)
			return w;
	return NULL;
}

/* 0, also when it is none that is wanted, or -errno: worth another try. */
static int resume_gz(struct collector *c, const char *path)
{
	struct resume *r = c->resume;
	_cleanup_fd_ int fd = sys.open_plain(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	struct file probe = {.fd = fd, .compressed = true}, *f;
	char stem[PATH_MAX];
	struct wanted *w;
	int64_t btime = 0;
	struct stat st;
	int rc = 0;

	snprintf(stem, sizeof(stem), "%.*s", (int)(strlen(path) - 3), path);
	if (fd < 0 || sys.fstat(fd, &st) < 0 || sys.birth(fd, "", &btime) < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	w = by_gz_identity(r, &st, btime);
	if (!w)
		w = resume_by_content(r, &probe, stem);
	if (!btime)
		btime = st.st_ctim.tv_sec * NS_PER_SEC + st.st_ctim.tv_nsec;
	if (w && w->e->flags & CHECKPOINT_DONE) {
		w->fate = FATE_FOUND;
		collector_keep_recent(c, w->e);
	} else if (w || is_new(r, &probe, path, stem, btime)) {
		rc = files_add_gz(c->files, path, take_fd(fd), &f);
		if (rc == 0 && w)
			resume_go_on(c, w, f);
		r->inside_gz += rc == 0 && w;
		r->new_gz += rc == 0 && !w;
	} else {
		leave_out(c, path, &st, btime);
	}
	gz_free(probe.gz);
	return rc == -EEXIST ? 0 : rc; /* two names of it */
}

struct candidate {
	int64_t btime_ns;
	const char *path;
};

static int older_first(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->btime_ns > y->btime_ns) - (x->btime_ns < y->btime_ns);
}

/* The oldest first: where several begin alike, it is the one that was being read. */
void collector_resume_gz(struct collector *c)
{
	_cleanup_(buf_done) struct buf paths = c->resume->compressed, list = {0};
	struct candidate next, *candidates;
	size_t n = 0;

	c->resume->compressed = (struct buf){0};
	for (size_t at = 0; at < paths.len; at += strlen(next.path) + 1, n++) {
		next = (struct candidate){0, paths.data + at};
		sys.birth(AT_FDCWD, next.path, &next.btime_ns);
		if (buf_add(&list, &next, sizeof(next)) < 0)
			break;
	}
	candidates = (struct candidate *)(void *)list.data;
	if (n)
		qsort(candidates, n, sizeof(*candidates), older_first);
	for (size_t i = 0; i < n; i++)
		if (resume_gz(c, candidates[i].path) < 0)
			collector_resume_compressed(c, candidates[i].path);
}
