/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rooms that `run` has for finding files and counting writes, wired without those that read:
 *
 *   watch (thread) -> event queue -> tree -> top_files: names -> files -> counters
 *
 * It runs beside a daemon and takes nothing from it: it has BPF programs and maps of its own, an
 * inotify instance of its own, opens no log and writes nowhere. Two things belong to both, as they
 * are counted per user: inotify's instances, of which it takes one, and its watches. Of these it
 * takes a quarter at most; a directory beyond is listed each second.
 *
 * Rejected: finding files by listing alone (a file that is rotated within the interval is missed,
 * and 10,000 directories a second are not cheap), the daemon's pinned maps (their slots are the
 * daemon's to give back).
 */
#include "cli/top_own.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "cli/top_columns.h"
#include "cli/top_dirs.h"
#include "cli/top_files.h"
#include "cli/top_frame.h"
#include "cli/top_text.h"
#include "event/event.h"
#include "event/event_queue.h"
#include "heat/write_told.h"
#include "watch/tree.h"
#include "watch/watch.h"

#define SLOTS_N     32768
#define EXPIRE_NS   (3 * NS_PER_SEC)
#define QUEUE_LEN   4096
#define QUEUE_NS    (10 * NS_PER_MS)
#define WATCH_SHARE 4
#define SHORT_NS    (50 * NS_PER_MS) /* no rate is told of a shorter interval */

struct own {
	struct write_count *wc;
	struct event_queue *queue;
	struct watch *watch;
	struct tree *tree;
	struct top_files files;
	struct top_dirs dirs;
	char *const *roots;
	size_t n_roots;
	struct top_sums before; /* at the last frame */
	int64_t frame_ns, expire_ns;
	bool wanted;
};

/* Belongs to the system-call table, into which it is put: how many watches may still be added. */
static struct {
	int (*add)(int fd, const char *path, uint32_t mask);
	long most, left;
} watches;

static int add_watch_sparingly(int fd, const char *path, uint32_t mask)
{
	int wd;

	if (watches.left <= 0) {
		errno = ENOSPC;
		return -1;
	}
	wd = watches.add(fd, path, mask);
	watches.left -= wd >= 0;
	return wd;
}

/* Those of directories that are gone are free again. */
static void count_watches(const struct own *o)
{
	struct tree_stats t;

	tree_stats(o->tree, &t);
	watches.left = watches.most - (long)(t.dirs - t.unwatched);
}

static void found(void *ctx, const char *path, const char *alias)
{
	struct own *o = ctx;

	top_files_found(&o->files, path, alias);
}

static void gone(void *ctx, const char *path)
{
	struct own *o = ctx;

	top_files_gone(&o->files, path);
}

/* Which names were there the look finds out, once for all directories that went. */
static void gone_below(void *ctx, const char *dir)
{
	struct own *o = ctx;

	o->files.verify = true;
}

static void vanished(void *ctx, const char *path)
{
}

static void dir_added(void *ctx, const char *path, int fd)
{
	struct own *o = ctx;

	top_dirs_add(&o->dirs, path, fd);
}

static void dir_removed(void *ctx, const char *path)
{
	struct own *o = ctx;

	top_dirs_remove(&o->dirs, path);
}

/* inotify tells of it as well, and sooner or later of all that is there. */
static void enrolled(void *ctx, const struct write_enrolled *e)
{
}

static void woken(void *ctx, void *const *owners, size_t n)
{
}

static void expired(void *ctx, const struct write_enrolled *e)
{
	struct file_id id = {makedev(e->file.dev >> 20, e->file.dev & 0xfffff), e->file.ino};
	struct own *o = ctx;

	top_files_unseen(&o->files, id, e->name, e->written);
}

static int take_events(void *ctx, struct event *events, size_t n)
{
	struct own *o = ctx;

	for (size_t i = 0; i < n; i++) {
		if (events[i].type == EVENT_FILE)
			tree_event(o->tree, &events[i]);
		if (events[i].type != EVENT_CONTROL)
			continue;
		o->files.verify = true;
		watches.left = watches.most; /* most of them will be added again */
		tree_rescan(o->tree);
	}
	return 0;
}

static size_t own_fds(const void *ctx, struct pollfd fds[TOP_FDS])
{
	const struct own *o = ctx;

	fds[0] = (struct pollfd){.fd = event_queue_fd(o->queue), .events = POLLIN};
	return 1;
}

static int64_t own_turn(void *ctx, int64_t now_ns)
{
	struct write_hooks_user hooks = {
		.ctx = ctx, .woken = woken, .enrolled = enrolled, .expired = expired};
	struct own *o = ctx;

	event_queue_flush(o->queue);
	count_watches(o);
	if (now_ns >= tree_next_ns(o->tree))
		tree_turn(o->tree, now_ns);
	if (now_ns >= o->expire_ns) {
		write_count_take(o->wc, &hooks);
		write_count_expire(o->wc, EXPIRE_NS, &hooks);
		o->expire_ns = now_ns + EXPIRE_NS;
	}
	return MIN(tree_next_ns(o->tree), o->expire_ns);
}

static bool is_counted(const struct own *o)
{
	return write_count_rung(o->wc) != RUNG_OFF;
}

static void own_want(void *ctx)
{
	struct own *o = ctx;

	o->wanted = true;
}

struct rates { /* of all files; NAN: unknown */
	double bytes, writes;
};

static void put_files(const struct own *o, struct buf *b)
{
	const struct top_files *fs = &o->files;
	struct write_count_stats s;
	struct tree_stats t;
	char n[16], m[16];

	write_count_stats(o->wc, &s);
	tree_stats(o->tree, &t);
	buf_printf(b, "files %zu (%u written to", fs->by_id.count, fs->n_active);
	if (fs->uncounted && is_counted(o))
		buf_printf(b, ", %u without a counter", fs->uncounted);
	buf_printf(b, ")  directories %u", t.dirs);
	if (t.unwatched || t.roots_missing)
		buf_printf(b, " (%u without a watch, %u roots missing)", t.unwatched,
			   t.roots_missing);
	if (fs->sums.unseen_files)
		buf_printf(b, "  came and went unseen: %s files, %s",
			   top_number((double)fs->sums.unseen_files, n, sizeof(n)),
			   top_number((double)fs->sums.unseen_bytes, m, sizeof(m)));
	if (s.misses + s.refused)
		buf_printf(b, "  counts left out by the kernel: %s",
			   top_number((double)(s.misses + s.refused), n, sizeof(n)));
	buf_printf(b, "\n");
}

static void put_head(const struct own *o, const struct rates *r, struct top_frame *f)
{
	_cleanup_(buf_done) struct buf b = {0};
	char n[16], m[16], k[16];

	buf_printf(&b, "counting by itself, no daemon asked  rung %s%s  below",
		   rung_name(write_count_rung(o->wc)),
		   is_counted(o) ? "" : ": sizes are looked at, writes not counted");
	for (size_t i = 0; i < o->n_roots; i++)
		buf_printf(&b, " %s", o->roots[i]);
	buf_printf(&b, "\nall %s/s  %s writes/s  %s bytes each  written so far ",
		   top_number(r->bytes, n, sizeof(n)), top_number(r->writes, m, sizeof(m)),
		   top_number(r->writes > 0 ? r->bytes / r->writes : NAN, k, sizeof(k)));
	buf_printf(&b, "%s\n", top_number((double)o->files.sums.bytes, n, sizeof(n)));
	put_files(o, &b);
	f->head = top_frame_text(f, b.data, b.len);
}

static int put_total(const struct own *o, const struct rates *rates, struct buf *b)
{
	const struct top_files *fs = &o->files;
	struct write_count_stats s;
	struct watch_stats w;
	struct tree_stats t;
	int r = buf_printf(b, ",\"total\":{\"files\":%zu", fs->by_id.count);

	write_count_stats(o->wc, &s);
	watch_stats(o->watch, &w);
	tree_stats(o->tree, &t);
	if (r == 0)
		r = top_text_number(b, "rate", rates->bytes);
	if (r == 0)
		r = top_text_number(b, "writes_per_s", rates->writes);
	if (r == 0)
		r = top_text_number(b, "writes", is_counted(o) ? (double)fs->sums.writes : NAN);
	if (r < 0)
		return r;
	return buf_printf(b,
			  ",\"written\":%" PRIu64 ",\"active\":%u,\"uncounted\":%u"
			  ",\"unseen_files\":%" PRIu64 ",\"unseen_bytes\":%" PRIu64
			  ",\"dirs\":%u,\"dirs_unwatched\":%u,\"overflows\":%" PRIu64
			  ",\"misses\":%" PRIu64 "}",
			  fs->sums.bytes, fs->n_active, fs->uncounted, fs->sums.unseen_files,
			  fs->sums.unseen_bytes, t.dirs, t.unwatched, w.overflows,
			  s.misses + s.refused);
}

static int put_members(const struct own *o, const struct rates *rates, struct top_frame *f)
{
	_cleanup_(buf_done) struct buf b = {0};
	int r = top_text_member(&b, "rung", rung_name(write_count_rung(o->wc)));

	if (r == 0)
		r = buf_printf(&b, ",\"roots\":[");
	for (size_t i = 0; i < o->n_roots && r == 0; i++) {
		if (i)
			r = buf_add(&b, ",", 1);
		if (r == 0)
			r = top_text_string(&b, o->roots[i]);
	}
	if (r == 0)
		r = buf_add(&b, "]", 1);
	if (r == 0)
		r = put_total(o, rates, &b);
	if (r == 0)
		f->members = top_frame_text(f, b.data, b.len);
	return r == 0 && !f->members ? -ENOMEM : r;
}

static int own_take(void *ctx, struct top_frame *f, char why[TOP_WHY_MAX])
{
	struct own *o = ctx;
	int64_t now = clock_now_ns();
	double interval = now - o->frame_ns < SHORT_NS ? NAN : (double)(now - o->frame_ns) / 1e9;
	struct timespec wall;
	struct rates rates;
	int r;

	if (!o->wanted)
		return -EAGAIN;
	o->wanted = false;
	event_queue_flush(o->queue);
	clock_gettime(CLOCK_REALTIME, &wall);
	top_frame_clear(f);
	f->from = TOP_OWN;
	f->now_s = (double)wall.tv_sec + (double)wall.tv_nsec / NS_PER_SEC;
	f->interval_s = interval;
	r = top_files_look(&o->files, interval, now, f);
	rates.bytes = (double)(o->files.sums.bytes - o->before.bytes) / interval;
	rates.writes = (double)(o->files.sums.writes - o->before.writes) / interval;
	if (!is_counted(o))
		rates.writes = NAN;
	o->before = o->files.sums;
	o->frame_ns = now;
	put_head(o, &rates, f);
	if (r == 0)
		r = put_members(o, &rates, f);
	if (r < 0)
		snprintf(why, TOP_WHY_MAX, "%s", strerror(-r));
	return r;
}

static void own_free(void *ctx)
{
	struct own *o = ctx;

	if (o->queue)
		event_queue_cancel(o->queue);
	watch_free(o->watch);
	if (o->wc)
		top_files_done(&o->files);
	top_dirs_done(&o->dirs);
	tree_free(o->tree);
	event_queue_free(o->queue);
	write_count_free(o->wc);
	free(o);
}

/* A descriptor for each file, which are more than is usual. */
static void raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static void spare_watches(void)
{
	FILE *f = fopen("/proc/sys/fs/inotify/max_user_watches", "re");
	long most = 8192;

	if (f && fscanf(f, "%ld", &most) != 1)
		most = 8192;
	if (f)
		fclose(f);
	watches.left = watches.most = most / WATCH_SHARE;
	watches.add = sys.inotify_add_watch;
	sys.inotify_add_watch = add_watch_sparingly;
}

static int rooms_open(struct own *o, enum rung bpf)
{
	struct event_queue_options queue = {
		.capacity = QUEUE_LEN, .interval_ns = QUEUE_NS, .ctx = o, .on_flush = take_events};
	struct tree_hooks hooks = {.ctx = o,
				   .found = found,
				   .gone = gone,
				   .gone_below = gone_below,
				   .vanished = vanished,
				   .dir_added = dir_added,
				   .dir_removed = dir_removed};
	int r = write_count_new(bpf, SLOTS_N, NULL, &o->wc);

	if (r < 0)
		return log_err(r, "bpf: %s", strerror(-r));
	if (bpf != RUNG_AUTO && bpf != RUNG_OFF && write_count_rung(o->wc) == RUNG_OFF)
		log_warn(0, "bpf: rung %s refused: %s; looking at sizes instead", rung_name(bpf),
			 write_count_refusal(o->wc, bpf));
	top_files_init(&o->files, o->wc);
	o->dirs.wc = o->wc;
	r = event_queue_new(&queue, &o->queue);
	if (r == 0)
		r = watch_new(o->queue, &o->watch);
	if (r < 0)
		return log_err(r, "top: %s", strerror(-r));
	return tree_new(o->watch, o->roots, o->n_roots, NULL, 0, &hooks, &o->tree);
}

int top_own_open(char *const *roots, size_t n_roots, enum rung bpf, struct top_source *ret_source)
{
	static const struct top_source_ops ops = {.fds = own_fds,
						  .turn = own_turn,
						  .want = own_want,
						  .take = own_take,
						  .free = own_free};
	struct own *o = calloc(1, sizeof(*o));
	int r;

	if (!o)
		return log_err(-ENOMEM, "top: %s", strerror(ENOMEM));
	o->roots = roots;
	o->n_roots = n_roots;
	raise_open_files();
	spare_watches();
	r = rooms_open(o, bpf);
	if (r < 0) {
		own_free(o);
		return r;
	}
	tree_scan(o->tree);
	write_count_dirs_known(o->wc);
	o->files.scanned = true;
	o->frame_ns = clock_now_ns();
	*ret_source = (struct top_source){.ops = &ops, .ctx = o};
	return 0;
}
