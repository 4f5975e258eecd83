/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where reading goes on after a restart. For each line of the checkpoint its file is looked for:
 *
 *   1. by identity, when a file is found: inode, time of birth, its first bytes and those before
 *      the offset. Same inode, other content: it was truncated or rewritten and begins anew.
 *   2. by content, when the start-up scan is over, among the files of the same log that are still
 *      strangers: the copy that copytruncate made, and .gz files, inflated up to the offset.
 *   3. nowhere: it was rotated out of existence, which is counted, unless all was delivered.
 *
 * A .gz that nobody knows, born since the checkpoint (by the wall clock) and with no plain file
 * beside it, is a generation that came and went meanwhile. What lies where nothing can be looked
 * into now (a root not mounted yet, another one than last time) is kept for a later start.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "account/checkpoint.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "collector_end.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "collector_resume_impl.h"
#include "collector_state.h"
#include "config.h"
#include "drain/account.h"
#include "drain/gz.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "files/pod_path.h"
#include "watch/tree.h"

#define ORDER_WAIT_NS (NS_PER_SEC / 2) /* a .gz that cannot be opened is not waited for longer */
#define GIVE_UP_NS    (10 * NS_PER_SEC)
#define HEAD_TELLS    32 /* bytes of a head that tell a file from its siblings */

/* Length of the part that all generations of a log have in common. */
size_t resume_log_len(const char *path)
{
	const char *name = strrchr(path, '/') + 1;

	return (size_t)(name - path) + pod_path_live_len(name);
}

static int want(struct resume *r, struct wanted *w, const struct checkpoint_entry *e)
{
	struct table_node *n;
	size_t len = resume_log_len(e->path);
	int rc = 0;

	w->e = e;
	w->key.ino = e->ino;
	w->key.btime_ns = e->btime_ns;
	n = table_get(&r->by_inode, &w->key, sizeof(w->key));
	if (n) {
		struct wanted *first = container_of(n, struct wanted, by_inode);

		w->same_inode = first->same_inode;
		first->same_inode = w;
	} else {
		rc = table_add(&r->by_inode, &w->by_inode, &w->key, sizeof(w->key));
	}
	n = table_get(&r->by_log, e->path, len);
	if (n) {
		struct wanted *first = container_of(n, struct wanted, by_log);

		w->same_log = first->same_log;
		first->same_log = w;
	} else if (rc == 0) {
		rc = table_add(&r->by_log, &w->by_log, e->path, len);
	}
	return rc;
}

int collector_resume_new(struct collector *c, struct checkpoint *loaded)
{
	struct resume *r = calloc(1, sizeof(*r));
	struct timespec now;
	int rc = 0;

	if (!r)
		return -ENOMEM;
	c->resume = r;
	clock_gettime(CLOCK_REALTIME, &now);
	r->born_until_ns = now.tv_sec * NS_PER_SEC + now.tv_nsec;
	r->give_up_ns = clock_now_ns() + GIVE_UP_NS;
	r->loaded = *loaded;
	*loaded = (struct checkpoint){0};
	r->wanted = calloc(r->loaded.n, sizeof(*r->wanted));
	if (r->loaded.n && !r->wanted)
		return -ENOMEM;
	for (size_t i = 0; i < r->loaded.n && rc == 0; i++)
		rc = want(r, &r->wanted[i], &r->loaded.entries[i]);
	return rc;
}

void collector_resume_free(struct collector *c)
{
	struct resume *r = take_ptr(c->resume);

	if (!r)
		return;
	table_done(&r->by_inode);
	table_done(&r->by_log);
	buf_done(&r->compressed);
	free(r->wanted);
	checkpoint_done(&r->loaded);
	free(r);
}

bool resume_holds(struct file *f, uint64_t offset, uint32_t len, uint32_t sum)
{
	char bytes[CHECKPOINT_HEAD_MAX];

	return reader_pread_all(f, bytes, len, offset) == (ssize_t)len &&
	       checkpoint_sum(bytes, len) == sum;
}

/* A .gz that cannot be inflated (or is not written) up to the offset holds nothing else either. */
bool resume_is_of(struct file *f, const struct checkpoint_entry *e)
{
	struct stat st;

	if (!f->compressed && sys.fstat(f->fd, &st) == 0 && (uint64_t)st.st_size < e->offset)
		return false;
	if (!resume_holds(f, 0, e->head_len, e->head_sum))
		return false;
	return resume_holds(f, e->offset - e->mark_len, e->mark_len, e->mark_sum) ||
	       (f->gz && gz_state(f->gz) != GZ_END && gz_inflated(f->gz) < e->offset);
}

/* Reading begins where the first record begins that was open, or at the offset. */
static void set_place(struct file *f, const struct checkpoint_entry *e)
{
	char bytes[MARK_BYTES];
	size_t n;

	f->offset = f->acked = e->offset;
	memcpy(f->open, e->open, sizeof(f->open));
	for (size_t i = 0; i < CHECKPOINT_STREAMS; i++)
		if (e->open[i] && e->open[i] - 1 < f->offset)
			f->offset = e->open[i] - 1;
	free(f->replay);
	f->replay = f->offset < e->offset ? malloc(sizeof(*f->replay)) : NULL;
	if (f->replay) { /* without memory all of it comes twice */
		f->replay->before = e->offset;
		memcpy(f->replay->open, e->open, sizeof(f->replay->open));
	} else if (f->offset == e->offset) {
		f->skip_line = e->flags & CHECKPOINT_SKIP;
	}
	f->sync_line = false;
	f->hole = !f->offset;
	n = MIN(f->offset, (uint64_t)MARK_BYTES);
	if (reader_pread_all(f, bytes, n, 0) == (ssize_t)n)
		f->head = mark_of(bytes, n);
	if (reader_pread_all(f, bytes, n, f->offset - n) == (ssize_t)n)
		f->mark = mark_of(bytes, n);
}

/* What is taken again is in the log's account already. */
static void take_back(struct tally *t, uint64_t bytes)
{
	if (t->delivered_bytes < bytes)
		return;
	t->delivered_bytes -= bytes;
	t->read_bytes -= bytes;
	t->written_bytes -= bytes;
}

void resume_set_place(struct file *f, const struct checkpoint_entry *e)
{
	f->resumed = true;
	f->expected = e->size;
	set_place(f, e);
	take_back(&f->chain->tally, e->offset - f->offset);
	f->identity.head_len = e->head_len;
	f->identity.head_sum = e->head_sum;
}

/* f's counter has gone on since e was saved. */
static bool left_at(const struct collector *c, const struct file *f,
		    const struct checkpoint_entry *e)
{
	return f->slot >= 0 && write_count_left_at(c->counts, f->slot, e->consumed);
}

void resume_go_on(struct collector *c, struct wanted *w, struct file *f)
{
	const struct checkpoint_entry *e = w->e;
	struct resume *r = c->resume;

	w->fate = FATE_FOUND;
	r->found++;
	resume_set_place(f, e);
	account_begin(f, c->counts,
		      left_at(c, f, e) ? e->consumed - (e->offset - f->offset) : ACCOUNT_UNKNOWN);
	gz_free(take_ptr(f->gz)); /* it may wait long for its turn, and its window is large */
}

void collector_resume_file(struct collector *c, struct file *f)
{
	struct resume *r = c->resume;
	struct wanted key = {.key = {f->id.ino, f->identity.btime_ns}}, *w;
	struct table_node *n = r ? table_get(&r->by_inode, &key.key, sizeof(key.key)) : NULL;

	if (f->compressed || f->offset)
		return;
	for (w = n ? container_of(n, struct wanted, by_inode) : NULL; w; w = w->same_inode) {
		const struct checkpoint_entry *e = w->e;

		if (w->fate != FATE_OPEN || e->flags & CHECKPOINT_GZ ||
		    (e->dev != f->id.dev && e->head_len < HEAD_TELLS))
			continue;
		if (resume_is_of(f, e)) {
			resume_go_on(c, w, f);
			return;
		}
		/* Not the file of that name any more: then its inode was handed on. */
		if (e->btime_ns && strcmp(e->path, f->path) == 0)
			w->fate = left_at(c, f, e) && account_resume_cut(f, c->counts, e->consumed)
					  ? FATE_FOUND
					  : FATE_REWRITTEN;
	}
}

bool collector_resume_waits(const struct collector *c, int64_t now_ns)
{
	const struct resume *r = c->resume;

	return r && !r->judged && r->compressed.len && now_ns < c->start_ns + ORDER_WAIT_NS;
}

struct wanted *resume_of_log(const struct resume *r, const char *path)
{
	struct table_node *n = table_get(&r->by_log, path, resume_log_len(path));

	return n ? container_of(n, struct wanted, by_log) : NULL;
}

/* Its first bytes are enough, or all there is. */
static bool head_tells(const struct checkpoint_entry *e)
{
	return e->head_len >= HEAD_TELLS ||
	       (e->head_len && e->head_len == e->size && e->flags & CHECKPOINT_DONE);
}

/* The entry whose content a file that nobody knew holds. A plain one can only be the copy of a file
 * that was then rewritten; else two files that begin alike would be taken for one. */
struct wanted *resume_by_content(const struct resume *r, struct file *f, const char *path)
{
	for (struct wanted *w = resume_of_log(r, path); w; w = w->same_log)
		if (((w->fate == FATE_OPEN && f->compressed) || w->fate == FATE_REWRITTEN) &&
		    !(w->e->flags & CHECKPOINT_GZ) && head_tells(w->e) && resume_is_of(f, w->e))
			return w;
	return NULL;
}

static void resume_stranger(void *ctx, struct file *f)
{
	struct collector *c = ctx;
	struct resume *r = c->resume;
	struct wanted *w;

	if (f->resumed || f->offset || f->compressed || !f->path)
		return;
	w = resume_by_content(r, f, f->path);
	if (w)
		resume_go_on(c, w, f);
	else /* one that was empty may have become anything */
		for (w = resume_of_log(r, f->path); w; w = w->same_log)
			if (w->fate == FATE_OPEN && !w->e->size)
				w->fate = FATE_FOUND;
}

/* Can it be told that nothing is there? Not while the root is missing or a directory refuses. */
static bool can_tell(const struct collector *c, const struct checkpoint_entry *e)
{
	int64_t btime;
	struct stat st;

	if (!tree_covers(c->tree, e->path) ||
	    files_waits_for(c->files, (struct file_id){e->dev, e->ino}))
		return false;
	if (sys.lstat(e->path, &st) < 0 || sys.birth(AT_FDCWD, e->path, &btime) < 0)
		return errno == ENOENT || errno == ENOTDIR;
	return st.st_ino != e->ino || btime != e->btime_ns; /* else it is there, and refuses */
}

static void judge(struct collector *c, struct wanted *w)
{
	const struct checkpoint_entry *e = w->e;
	uint64_t unread = e->size > e->offset ? e->size - e->offset : 0;
	struct write_left left;
	bool counted;

	if (w->fate == FATE_REWRITTEN) {
		w->fate = FATE_GONE;
		collector_lose(c, e->path, resume_log_len(e->path), LOST_TRUNCATED, unread);
		return;
	}
	if (w->fate == FATE_FOUND) /* elsewhere, perhaps: its counter has nothing more to tell */
		write_count_left(c->counts, e->dev, e->ino, &left);
	if (w->fate != FATE_OPEN || !can_tell(c, e))
		return;
	w->fate = FATE_GONE;
	/* Unless a run without these counters has followed the file since. */
	counted = write_count_left(c->counts, e->dev, e->ino, &left) && left.acked == e->consumed;
	if (counted)
		unread = left.written - MIN(left.written, left.positions ? e->consumed : e->offset);
	if (!unread && (counted || e->flags & CHECKPOINT_DONE)) {
		collector_keep_recent(c, e);
		return;
	}
	c->resume->gone++;
	collector_lose(c, e->path, resume_log_len(e->path), LOST_ROTATED_AWAY, unread);
}

void collector_resume_rest(struct collector *c, int64_t now_ns)
{
	struct resume *r = c->resume;
	size_t open = 0;

	if (!r || r->judged)
		return;
	collector_resume_gz(c);
	files_each(c->files, resume_stranger, c);
	if ((files_settling(c->files) || tree_settling(c->tree) || r->compressed.len) &&
	    now_ns < r->give_up_ns)
		return;
	r->judged = true;
	for (size_t i = 0; i < r->loaded.n; i++) {
		judge(c, &r->wanted[i]);
		open += r->wanted[i].fate == FATE_OPEN;
	}
	log_info("resumed %u files, %u of them inside a .gz; %u new .gz, %u gone, %zu kept for "
		 "later",
		 r->found, r->inside_gz, r->new_gz, r->gone, open);
	if (!open)
		collector_resume_free(c);
}

bool collector_resume_judged(const struct collector *c)
{
	return !c->resume || c->resume->judged;
}

void collector_resume_each_open(const struct collector *c,
				void (*visit)(void *ctx, const struct checkpoint_entry *e),
				void *ctx)
{
	const struct resume *r = c->resume;

	for (size_t i = 0; r && i < r->loaded.n; i++)
		if (r->wanted[i].fate == FATE_OPEN || r->wanted[i].fate == FATE_REWRITTEN)
			visit(ctx, r->wanted[i].e);
}
