/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a generation ends: drained and closed, given up, or flushed because the program ends.
 *
 * When may the successor of a rotated file be read? When the file is drained and nobody has it open
 * for writing: asked of the kernel by trying a read lease (file_writers), so that nothing has to be
 * guessed from a grace time, and the usual answer comes within a tick of the writer's close. Only
 * where a writer never lets go (a daemon that was not told to reopen) does the successor start
 * after rotate_quiet; the old file is then still followed, outside the order.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "base/clock.h"
#include "base/sys.h"
#include "collector_end.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "config.h"
#include "drain/gz.h"
#include "event/source.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "output/batch.h"
#include "output/outlet.h"

#define PARTIAL_WAIT_NS (5 * NS_PER_SEC)
#define SUCCESSOR_NS    NS_PER_SEC /* from a rotated file's end to its successor's event, at most */
#define ROTATE_PATIENCE 5          /* times rotate_quiet: an old writer that never pauses */
#define GZ_PATIENCE     5          /* likewise, for a .gz that is still being written */

bool collector_is_held(const struct file *f)
{
	return f->fd >= 0 && (f->unlinked || !f->path) && file_dirty(f);
}

uint64_t collector_held_bytes(const struct file *f)
{
	return f->displaced && f->unlinked && f->fd >= 0 && f->size > f->offset
		       ? f->size - f->offset
		       : 0;
}

static void drop(struct collector *c, struct file *f)
{
	uint64_t acked = f->acked, unread;

	heat_look_size(f, clock_now_ns());
	unread = f->size > f->offset ? f->size - f->offset : 0;
	tally_lose(&f->chain->tally, LOST_HELD_CAP, unread);
	f->consumed += unread;
	c->held_bytes -= MIN(unread, c->held_bytes);
	chain_break_joins(f->chain, true);
	file_skip_to_end(f);
	f->acked = acked;
	f->torn = 0;
	f->probe = false;
	f->dirty_ns = 0;
	if (log_allow(&c->held_limit, 10 * NS_PER_SEC))
		log_warn(0,
			 "%s: removed, and %" PRIu64 " unread bytes given up: more than held-max "
			 "is held that way",
			 f->source->path, unread);
}

void collector_drop_held(struct collector *c)
{
	while (c->held_bytes > c->cfg->held_max_bytes) {
		struct file *oldest = NULL;

		list_for_each (l, next, &c->hot) {
			struct file *f = container_of(l, struct file, in_hot);

			if (collector_held_bytes(f) &&
			    (!oldest || f->displaced_ns < oldest->displaced_ns))
				oldest = f;
		}
		if (!oldest)
			break;
		drop(c, oldest);
	}
}

/* Nothing continues what the chain's joins hold: f was its last file. */
static bool last_of_chain(const struct file *f)
{
	const struct list *queue = &f->chain->queue;

	return !f->chain->live && file_leaves(f) &&
	       ((queue->next == queue && f->chain->members == 1) ||
		(queue->next == &f->in_chain && queue->prev == queue->next));
}

/* Emits the torn tail and the container's partials. False: no room now. */
static bool emit_tail(struct collector *c, struct file *f, bool torn, bool joins, bool nameless)
{
	struct batch *b = outlet_batch(c->outlet);
	int r = 0;

	if (!b)
		return false;
	if (torn)
		r = reader_finish(&c->reader, f, b);
	if (r == 0 && joins)
		r = reader_flush_joins(&c->reader, f->chain, b, f, nameless);
	if (r == -ENOBUFS) {
		outlet_hand_on(c->outlet);
		return false;
	}
	return true;
}

/* A .gz is at its end when its trailer says so, or when nobody goes on with it. */
static void close_gz(struct collector *c, struct file *f, int64_t now_ns)
{
	enum gz_state state = f->gz ? gz_state(f->gz) : GZ_MORE;
	uint64_t missing = f->gz ? gz_lost(f->gz) : 0, had = f->gz ? gz_inflated(f->gz) : 0;
	bool joins = last_of_chain(f) && chain_joins_pending(f->chain);
	struct stat st;

	if (state == GZ_MORE) {
		f->probe = true;
		return;
	}
	if (state == GZ_SHORT && sys.fstat(f->fd, &st) == 0 &&
	    (uint64_t)st.st_size != f->stat_mark) {
		f->stat_mark = (uint64_t)st.st_size;
		f->probe = true;
		f->changed_ns = now_ns;
		return;
	}
	if (state == GZ_SHORT && file_writers(f) != 0 &&
	    now_ns - f->changed_ns < GZ_PATIENCE * c->cfg->rotate_quiet_ns)
		return;
	if ((f->torn || joins) && !emit_tail(c, f, true, joins, false))
		return;
	if (state != GZ_END) {
		missing = MAX(missing, f->expected > had ? f->expected - had : 0);
		tally_lose(&f->chain->tally, LOST_GZ_CORRUPT, missing);
		f->consumed += missing;
		chain_break_joins(f->chain, true);
		log_warn(0, "%s: %s after %" PRIu64 " bytes of its content, the rest is lost",
			 f->source->path, state == GZ_SHORT ? "cut short" : "corrupt", had);
	}
	files_finish(c->files, f);
}

void collector_close_displaced(struct collector *c, struct file *f, int64_t now_ns)
{
	int64_t quiet_ns = now_ns - MAX(f->changed_ns, f->displaced_ns);
	bool joins;
	int writers;

	if (!file_eligible(f))
		return; /* its predecessor first */
	if (files_open(c->files, f) < 0)
		return;
	if (f->compressed) {
		close_gz(c, f, now_ns);
		return;
	}
	if (heat_look_size(f, now_ns))
		return;
	writers = file_writers(f);
	if (writers != 0 && quiet_ns < c->cfg->rotate_quiet_ns &&
	    (f->lingering || now_ns - f->displaced_ns < ROTATE_PATIENCE * c->cfg->rotate_quiet_ns))
		return;
	if (writers > 0) {
		files_linger(c->files, f);
		collector_cool_down(c, f, now_ns);
		return;
	}
	if (heat_look_size(f, now_ns)) /* nobody writes now, so this is its real end */
		return;
	joins = last_of_chain(f) && chain_joins_pending(f->chain);
	if (joins && !c->ending && quiet_ns < SUCCESSOR_NS)
		return; /* the file that goes on with the line may not be known yet */
	if ((f->torn || joins) && !emit_tail(c, f, true, joins, false))
		return;
	if (!f->unlinked && quiet_ns >= c->cfg->hot_quiet_ns)
		collector_cool_down(c, f, now_ns);
	files_finish(c->files, f); /* may free f */
}

void collector_flush_ended(struct collector *c, struct file *f, int64_t now_ns)
{
	struct batch *b = outlet_batch(c->outlet);

	if (b && f == f->chain->live && file_eligible(f) && !file_dirty(f) &&
	    chain_joins_pending(f->chain) &&
	    (f->chain->exited || now_ns - f->changed_ns > PARTIAL_WAIT_NS) && file_writers(f) <= 0)
		reader_flush_joins(&c->reader, f->chain, b, f, false);
}

struct flush {
	struct collector *c;
	bool tails, nameless;
	int64_t deadline_ns;
};

/* Emits f's torn tail and its container's partials, waiting for a batch if need be. */
static void flush(struct flush *fl, struct file *f, bool torn)
{
	struct pollfd fd = {outlet_fd(fl->c->outlet), POLLIN, 0};

	while (clock_now_ns() < fl->deadline_ns && !emit_tail(fl->c, f, torn, true, fl->nameless)) {
		if (!outlet_want_ack(fl->c->outlet))
			poll(&fd, 1, 10);
		outlet_clear(fl->c->outlet);
		collector_take_acks(fl->c);
	}
}

static void flush_file(void *ctx, struct file *f)
{
	struct flush *fl = ctx;

	if ((fl->tails && f->torn) || chain_joins_pending(f->chain))
		flush(fl, f, fl->tails);
}

void collector_flush_tails(struct collector *c, bool tails, int64_t deadline_ns)
{
	struct flush fl = {c, tails, false, deadline_ns};

	files_each(c->files, flush_file, &fl);
}

static void flush_nameless(void *ctx, struct file *f)
{
	if (f->torn && f->fd >= 0 && !f->path)
		flush(ctx, f, true);
}

static void flush_chain(void *ctx, struct chain *chain)
{
	for (size_t i = 0; i < chain->n_joins; i++) {
		const struct join *j = &chain->joins[i];

		if (join_pending(j) && j->file && !j->file->path)
			flush(ctx, j->file, false);
	}
}

void collector_flush_held(struct collector *c, int64_t deadline_ns)
{
	struct flush fl = {c, true, true, deadline_ns};

	files_each(c->files, flush_nameless, &fl);
	files_each_chain(c->files, flush_chain, &fl);
}
