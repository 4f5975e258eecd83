/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wires files to their watch, their counter and the hot list.
 *
 * When may the successor of a rotated file be read? When the file is drained and nobody has it open
 * for writing: asked of the kernel by trying a read lease (file_writers), so that nothing has to be
 * guessed from a grace time, and the usual answer comes within a tick of the writer's close. Only
 * where a writer never lets go (a daemon that was not told to reopen) does the successor start
 * after rotate_quiet; the old file is then still followed, outside the order.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "collector_impl.h"
#include "config.h"
#include "drain/copy.h"
#include "drain/join.h"
#include "event/source.h"
#include "files/files.h"
#include "output/batch.h"
#include "output/encode.h"
#include "output/outlet.h"
#include "watch/tree.h"
#include "watch/watch.h"

#define PARTIAL_WAIT_NS (5 * NS_PER_SEC)
#define COPY_WAIT_NS    (10 * NS_PER_SEC)
#define ROTATE_PATIENCE 5  /* times rotate_quiet: an old writer that never pauses */
#define SWEEP_PARTS     60 /* each file's size is looked at every so many seconds */

static void make_hot(struct collector *c, struct file *f, int64_t now_ns)
{
	list_del(&f->in_hot); /* it may be on the slow list */
	list_add_tail(&c->hot, &f->in_hot);
	f->changed_ns = now_ns;
	if (file_dirty(f) && !f->dirty_ns)
		f->dirty_ns = f->served_ns = now_ns;
	c->look_ns = 0;
}

static void opened(void *ctx, struct file *f)
{
	struct collector *c = ctx;
	int64_t now = clock_now_ns();
	int slot, r;

	r = encode_source(f->source);
	if (r < 0)
		log_err(r, "%s: %s, its records have no names", f->path, strerror(-r));
	if (write_count_add(c->counts, f->fd, &slot) == 0)
		f->slot = slot;
	heat_look_size(f, now); /* after the counter, so that nothing falls between */
	c->active_ns = now;
	c->found_new = true;
	list_init(&f->in_hot);
	if (f->maybe_copy)
		collector_settle_copy(c, f, now);
	if (file_dirty(f) || f->displaced)
		make_hot(c, f, now);
	else
		collector_cool_down(c, f, now);
}

static void look(void *ctx, struct file *f)
{
	f->probe = true;
	f->unwatchable = false;
	make_hot(ctx, f, clock_now_ns());
}

static void released(void *ctx, struct file *f)
{
	struct collector *c = ctx;

	list_del(&f->in_hot);
	if (f->wd >= 0)
		watch_del(c->watch, f->wd);
	if (f->slot >= 0)
		write_count_del(c->counts, f->slot);
	f->slot = -1;
}

static void ended(void *ctx, struct chain *chain)
{
	struct collector *c = ctx;

	for (size_t i = 0; i < ARRAY_SIZE(chain->joins); i++)
		join_done(&chain->joins[i], &c->joins);
	tally_add(&c->ended, &chain->tally);
}

struct files_hooks collector_file_hooks(struct collector *c)
{
	return (struct files_hooks){
		.ctx = c, .opened = opened, .look = look, .released = released, .ended = ended};
}

static void found(void *ctx, const char *path, const char *alias)
{
	files_found(((struct collector *)ctx)->files, path, alias);
}

static void gone(void *ctx, const char *path)
{
	files_gone(((struct collector *)ctx)->files, path);
}

static void gone_below(void *ctx, const char *dir)
{
	files_gone_below(((struct collector *)ctx)->files, dir);
}

struct tree_hooks collector_tree_hooks(struct collector *c)
{
	return (struct tree_hooks){
		.ctx = c, .found = found, .gone = gone, .gone_below = gone_below};
}

void collector_touched(struct collector *c, struct file *f)
{
	f->probe = true;
	make_hot(c, f, clock_now_ns());
}

static bool joins_pending(const struct chain *chain)
{
	for (size_t i = 0; i < ARRAY_SIZE(chain->joins); i++)
		if (join_pending(&chain->joins[i]))
			return true;
	return false;
}

/* Nothing will tell when it is due for the next step: a container's partial line that may never be
 * ended, a file without a watch, without a name, or held open by somebody else. */
bool collector_wants_slow(const struct file *f)
{
	return f->unwatchable || (f->displaced && (f->unlinked || f->lingering || !f->path)) ||
	       (f == f->chain->live && joins_pending(f->chain));
}

/*
 * Arms the one-shot watch, then looks whether something came meanwhile. What grew without a counted
 * write will do so again: from then on its size is looked at instead.
 */
void collector_cool_down(struct collector *c, struct file *f, int64_t now_ns)
{
	int wd = watch_add_file(c->watch, f->fd);
	struct write_total total;

	if (wd == -EEXIST && f->wd < 0)
		return; /* the spent one is still being taken down: at the next tick */
	if (wd >= 0) {
		files_set_wd(c->files, f, wd);
		f->unwatchable = false;
	} else if (wd != -EEXIST) {
		f->unwatchable = true;
	}
	list_del(&f->in_hot);
	if (heat_look_size(f, now_ns)) {
		if (f->slot >= 0) {
			write_count_read(c->counts, f->slot, &total);
			f->uncounted = total.calls == f->seen_calls;
		}
		make_hot(c, f, now_ns);
	} else if (collector_wants_slow(f)) {
		list_add_tail(&c->slow, &f->in_hot);
	}
}

/* Nothing continues what the chain's joins hold: f was its last file. */
static bool last_of_chain(const struct file *f)
{
	const struct list *queue = &f->chain->queue;

	return !f->chain->live && file_leaves(f) &&
	       (queue->next == queue ||
		(queue->next == &f->in_chain && queue->prev == queue->next));
}

/* Emits the torn tail and the container's partials. False: no room now. */
static bool emit_tail(struct collector *c, struct file *f, bool torn, bool joins)
{
	struct batch *b = outlet_batch(c->outlet);
	int r = 0;

	if (!b)
		return false;
	if (torn)
		r = reader_finish(&c->reader, f, b);
	if (r == 0 && joins)
		r = reader_flush_joins(&c->reader, f->chain, b, f);
	if (r == -ENOBUFS) {
		outlet_hand_on(c->outlet);
		return false;
	}
	return true;
}

void collector_close_displaced(struct collector *c, struct file *f, int64_t now_ns)
{
	int64_t quiet_ns = now_ns - MAX(f->changed_ns, f->displaced_ns);
	bool joins;
	int writers;

	if (!file_eligible(f))
		return; /* its predecessor first */
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
	joins = last_of_chain(f) && joins_pending(f->chain);
	if ((f->torn || joins) && !emit_tail(c, f, true, joins))
		return;
	if (!f->unlinked && quiet_ns >= c->cfg->hot_quiet_ns)
		collector_cool_down(c, f, now_ns);
	files_finish(c->files, f); /* may free f */
}

void collector_flush_ended(struct collector *c, struct file *f, int64_t now_ns)
{
	struct batch *b = outlet_batch(c->outlet);

	if (b && f == f->chain->live && file_eligible(f) && !file_dirty(f) &&
	    joins_pending(f->chain) && now_ns - f->changed_ns > PARTIAL_WAIT_NS &&
	    file_writers(f) <= 0)
		reader_flush_joins(&c->reader, f->chain, b, f);
}

bool collector_settle_copy(struct collector *c, struct file *f, int64_t now_ns)
{
	enum copy_verdict verdict = copy_judge(f);

	if (verdict == COPY_WAIT && now_ns - MAX(f->changed_ns, f->displaced_ns) < COPY_WAIT_NS)
		return false;
	files_settle_copy(c->files, f, verdict == COPY_RESUME);
	return true;
}

static void sweep_file(void *ctx, struct file *f)
{
	int64_t now = clock_now_ns();

	if (heat_look_size(f, now))
		make_hot(ctx, f, now);
}

void collector_sweep(struct collector *c)
{
	struct files_stats stats;

	files_stats(c->files, &stats);
	files_some(c->files, stats.open / SWEEP_PARTS + 8, sweep_file, c);
}

static void span_acked(void *ctx, const struct span *s, bool delivered)
{
	struct collector *c = ctx;
	struct file *f = s->file;

	if (delivered) {
		f->acked = s->end_offset;
		f->chain->tally.delivered_bytes += s->read_bytes;
		f->chain->tally.records += s->count;
	}
	files_put(c->files, f);
}

void collector_take_acks(struct collector *c)
{
	outlet_acks(c->outlet, span_acked, c);
}

struct flush {
	struct collector *c;
	bool tails;
	int64_t deadline_ns;
};

static void flush_file(void *ctx, struct file *f)
{
	struct flush *fl = ctx;
	struct pollfd fd = {outlet_fd(fl->c->outlet), POLLIN, 0};

	while (((fl->tails && f->torn) || joins_pending(f->chain)) &&
	       clock_now_ns() < fl->deadline_ns && !emit_tail(fl->c, f, fl->tails, true)) {
		if (!outlet_want_ack(fl->c->outlet))
			poll(&fd, 1, 10);
		outlet_clear(fl->c->outlet);
		collector_take_acks(fl->c);
	}
}

void collector_flush_tails(struct collector *c, bool tails, int64_t deadline_ns)
{
	struct flush fl = {c, tails, deadline_ns};

	files_each(c->files, flush_file, &fl);
}
