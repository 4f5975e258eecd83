/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn: look at the hot files' counters (at most once a tick), let heat/priority say who is
 * first, and read into batches until the turn's budget is spent, nothing is left or the pool is
 * dry.
 *
 * A turn is short (a megabyte, about a millisecond) so that events, above all new names, are never
 * kept waiting: a rotated file can only be held if it was opened in time.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "collector_armed.h"
#include "collector_counts.h"
#include "collector_end.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "collector_leave.h"
#include "collector_state.h"
#include "collector_status.h"
#include "config.h"
#include "event/source.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "output/batch.h"
#include "output/outlet.h"

#define TURN_BYTES    ((size_t)1 << 20)
#define QUANTUM_BYTES ((size_t)16 << 10)
#define INFLATING_MAX 4 /* compressed files at once: each has a window in memory */
#define SLOW_NS       (250 * NS_PER_MS)
#define PROMPT_NS     (NS_PER_MS / 10)
#define LIVELY_NS     (NS_PER_MS / 2)
#define LOOK_SHARE    5 /* of the time that looking may take; it is measured where it may be more */
#define LOOK_FILE_NS  400

/* Closed, and without a name to open it by. */
static bool is_lost(const struct file *f)
{
	return f->fd < 0 && !f->path;
}

static void look_at_hot(struct collector *c, struct file *f, int64_t now_ns)
{
	heat_look(c->counts, f, now_ns);
	if (is_lost(f)) {
		files_seek(c->files, f, now_ns);
		return;
	}
	c->held_bytes += collector_held_bytes(f);
	if (f->maybe_copy && !collector_settle_copy(c, f, now_ns))
		return;
	if (file_dirty(f)) {
		if (!f->dirty_ns)
			f->dirty_ns = f->served_ns = now_ns;
		return;
	}
	f->dirty_ns = 0;
	if (f->displaced)
		collector_close_displaced(c, f, now_ns);
	else if (now_ns - f->changed_ns >= c->cfg->hot_quiet_ns)
		collector_cool_down(c, f, now_ns);
	else
		collector_rest(c, f);
}

/*
 * A file that is written to now and then is looked at when its record comes, at once. When there
 * was something in two ticks running, records wait for the next tick, and many cost one wake-up.
 */
static void look_at_all_hot(struct collector *c, int64_t now_ns)
{
	/* With --linger 0 nothing waits, but a wake-up for every line would be too many. Lines of a
	 * thousand files at 10 MB/s: p99 0.5 ms and 12.5 % of a core with a quarter of a
	 * millisecond, 0.3 and 16.5 with this. */
	int64_t tick_ns = c->cfg->linger_ns ? c->cfg->tick_ns : MIN(c->cfg->tick_ns, PROMPT_NS);
	bool any = list_linked(&c->hot);
	bool many = (int64_t)c->hot_n * LOOK_FILE_NS * LOOK_SHARE >= tick_ns;
	int64_t begin_ns = many ? clock_thread_ns() : 0;

	c->hot_n = 0;
	c->lively = any && now_ns - c->busy_ns <= MAX(2 * tick_ns, LIVELY_NS);
	if (any) {
		c->busy_ns = now_ns;
		c->look_ns = now_ns + tick_ns;
	}
	c->held_bytes = 0;
	list_for_each (l, next, &c->hot) {
		look_at_hot(c, container_of(l, struct file, in_hot), now_ns);
		c->hot_n++;
	}
	collector_drop_held(c);
	/* Thousands of files without a counter, unread before a sink that is stuck. */
	if (many && any)
		c->look_ns = MAX(c->look_ns, now_ns + LOOK_SHARE * (clock_thread_ns() - begin_ns));
}

void collector_look(struct collector *c, int64_t now_ns)
{
	if (now_ns >= c->look_ns) {
		collector_look_armed(c, now_ns);
		look_at_all_hot(c, now_ns);
	}
	if (now_ns < c->slow_ns)
		return;
	c->slow_ns = now_ns + SLOW_NS;
	list_for_each (l, next, &c->slow) {
		struct file *f = container_of(l, struct file, in_hot);

		heat_look(c->counts, f, now_ns);
		collector_flush_ended(c, f, now_ns);
		if (file_dirty(f) || f->displaced || !collector_wants_slow(f)) {
			list_del(l);
			list_add_tail(&c->hot, l);
			c->look_ns = 0;
		}
	}
}

/* Room for one more claim and for the two orders of all of them. */
static bool claims_room(struct collector *c)
{
	size_t max = c->max_claims ? c->max_claims * 2 : 256;
	struct claim *claims;
	struct claim **scratch;

	if (c->n_claims < c->max_claims)
		return true;
	claims = realloc(c->claims, max * sizeof(*claims));
	if (!claims)
		return false;
	c->claims = claims;
	scratch = realloc(c->scratch, 2 * max * sizeof(*scratch));
	if (!scratch)
		return false;
	c->scratch = scratch;
	c->max_claims = max;
	return true;
}

/* The container's log, up to where the next start can go on. */
static bool is_held(const struct chain *chain)
{
	list_for_each (l, next, &chain->queue)
		if (collector_is_held(container_of(l, struct file, in_chain)))
			return true;
	for (size_t i = 0; i < chain->n_joins; i++)
		if (chain->joins[i].file && !chain->joins[i].file->path)
			return true;
	return false;
}

bool collector_holds(const struct collector *c, bool partials)
{
	list_for_each (l, next, &c->hot) {
		const struct file *f = container_of(l, struct file, in_hot);

		if (collector_is_held(f) || (partials && is_held(f->chain)))
			return true;
	}
	return false;
}

/*
 * During the first scan no event is taken, so a file that was made since could be the successor of
 * one not found yet; so could one found by a link, before its directory is listed. The clock that
 * stamps births is up to 10 ms behind.
 */
static bool may_have_elders(const struct collector *c, const struct file *f)
{
	int64_t born_ns = f->identity.btime_ns;

	return c->scanning_ns &&
	       (f->chain->alias || !born_ns || born_ns > c->scanning_ns - 20 * NS_PER_MS);
}

static void collect_claims(struct collector *c, int64_t now_ns)
{
	unsigned inflating = 0;

	c->n_claims = 0;
	list_for_each (l, next, &c->hot) {
		struct file *f = container_of(l, struct file, in_hot);

		if (!file_dirty(f) || !file_eligible(f) || is_lost(f) || may_have_elders(c, f) ||
		    collector_has_left(c, f) || (f->compressed && inflating++ >= INFLATING_MAX) ||
		    (c->ending && !collector_is_held(f) && !is_held(f->chain)))
			continue;
		if (!claims_room(c))
			return; /* those that fit are served, the rest in a later turn */
		heat_claim(f, &c->limits, &c->claims[c->n_claims]);
		c->claims[c->n_claims++].held |= f->chain->first_until_ns > now_ns;
	}
}

/* Reads one grant. False: the pool is dry. */
static bool serve(struct collector *c, struct priority *p, struct claim *claim, size_t grant,
		  int64_t now_ns)
{
	struct batch *b = outlet_batch(c->outlet);
	struct file *f = claim->owner;
	enum read_outcome outcome = READ_END;
	bool empty;
	size_t bytes;
	int r;

	if (!b)
		return false;
	if (f->after_gap)
		chain_break_joins(f->chain, true);
	f->after_gap = false;
	empty = b->n_spans == 0;
	bytes = 0;
	r = files_open(c->files, f);
	if (r == 0)
		r = reader_read(&c->reader, f, b, grant, &outcome, &bytes);
	if (r == -ESTALE) { /* closed meanwhile, and not to be found: files_seek */
		outcome = READ_END;
	} else if (r < 0) {
		if (log_allow(&c->read_limit, 10 * NS_PER_SEC))
			log_warn(0, "%s: %s, retrying", f->source->path, strerror(-r));
		f->probe = false;
		outcome = READ_END;
		if (!f->failed_ns)
			f->failed_ns = now_ns;
		else if (file_given_up(f, now_ns) && f->displaced)
			files_linger(c->files, f); /* its successor can be read */
	} else {
		f->failed_ns = 0;
	}
	if (bytes) {
		c->active_ns = now_ns;
		f->served_ns = now_ns;
	}
	if (outcome == READ_FULL)
		outlet_hand_on(c->outlet);
	if (outcome == READ_TRUNCATED)
		c->unsettled = true;
	if (outcome == READ_END)
		f->dirty_ns = 0;
	if (outcome == READ_END && r == 0)
		collector_rest(c, f);
	priority_served(p, claim, bytes,
			outcome == READ_END || (outcome == READ_FULL && empty && !bytes), now_ns);
	return true;
}

bool collector_drain(struct collector *c, int64_t now_ns)
{
	struct priority p;
	struct claim *claim;
	size_t grant;

	if (collector_resume_waits(c, now_ns))
		return false;
	collect_claims(c, now_ns);
	if (!c->n_claims)
		return false;
	c->blocked = !outlet_batch(c->outlet);
	collector_status_blocked(c, c->blocked, now_ns);
	if (c->blocked) {
		c->blocked_turns++;
		return true;
	}
	priority_begin(&p, c->cfg->order, &c->shares, c->claims, c->n_claims, c->scratch,
		       TURN_BYTES, QUANTUM_BYTES);
	while ((claim = priority_next(&p, &grant))) {
		c->blocked = !serve(c, &p, claim, grant, now_ns);
		if (c->blocked)
			collector_status_blocked(c, true, now_ns);
		if (c->blocked || c->unsettled)
			return true;
	}
	for (size_t i = 0; i < c->n_claims; i++)
		if (!c->claims[i].done)
			return true;
	return false;
}

/* The scan of many files takes a while, and the first of them need not wait for the last: but for a
 * restart, where what a file is can depend on all that is there. */
void collector_drain_found(void *ctx)
{
	struct collector *c = ctx;
	int64_t now_ns = clock_now_ns();

	collector_answer_status(c);
	if (now_ns < c->look_ns || c->unsettled || c->restarted)
		return;
	collector_take_acks(c);
	if (c->blocked && !outlet_batch(c->outlet))
		return; /* each look is at all that was found so far, and nothing could be read */
	look_at_all_hot(c, now_ns);
	collector_drain(c, now_ns);
	outlet_hand_on(c->outlet);
}
