/* SPDX-License-Identifier: Apache-2.0 */
/* Wires files to their watch, their counter and the hot list, and tells of what is gone. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "collector_armed.h"
#include "collector_changes.h"
#include "collector_counts.h"
#include "collector_docker.h"
#include "collector_end.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "collector_leave.h"
#include "collector_pods.h"
#include "collector_state.h"
#include "collector_status.h"
#include "config.h"
#include "drain/account.h"
#include "drain/copy.h"
#include "drain/join.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "output/batch.h"
#include "output/outlet.h"
#include "watch/tree.h"
#include "watch/watch.h"

#define COPY_WAIT_NS (10 * NS_PER_SEC)
#define GONE_MAX     1000
#define SWEEP_PARTS  60 /* each file's size is looked at every so many seconds */

static void make_hot(struct collector *c, struct file *f, int64_t now_ns)
{
	collector_detach(c, f);
	list_add_tail(&c->hot, &f->in_hot);
	f->changed_ns = now_ns;
	collector_file_changed(c, f);
	if (file_dirty(f) && !f->dirty_ns)
		f->dirty_ns = f->served_ns = now_ns;
	c->look_ns = 0;
}

static void opened(void *ctx, struct file *f)
{
	struct collector *c = ctx;
	int64_t now = clock_now_ns();
	struct write_total total = {0};
	int slot, r;

	if (!f->compressed) {
		r = write_count_add(c->counts, f->fd, f, &slot);
		if (r == 0)
			f->slot = slot;
		else if (r != -EOPNOTSUPP)
			c->n_uncountable++;
	}
	if (f->slot >= 0)
		write_count_read(c->counts, f->slot, &total);
	heat_look_size(f, now); /* after the counter, so that nothing falls between */
	f->uncounted_bytes = (int64_t)(f->size - total.bytes);
	f->seen_shrinks = (uint32_t)total.shrinks;
	account_begin(f, c->counts, ACCOUNT_UNKNOWN);
	collector_restore_chain(c, f->chain);
	collector_docker_found(c, f->chain);
	if (!collector_back_file(c, f))
		collector_resume_file(c, f);
	collector_pods_found(c, f->chain);
	c->active_ns = now;
	c->found_new = true;
	collector_file_changed(c, f);
	collector_changed(c, now);
	list_init(&f->in_hot);
	if (f->maybe_copy && f->resumed)
		files_settle_copy(c->files, f, false);
	else if (f->maybe_copy)
		collector_settle_copy(c, f, now);
	if (file_dirty(f) || f->displaced)
		make_hot(c, f, now);
	else
		collector_cool_down(c, f, now);
}

static void look(void *ctx, struct file *f)
{
	struct collector *c = ctx;
	int64_t now = clock_now_ns();

	f->probe = f->probe || f->fd >= 0;
	f->unwatchable = false;
	collector_changed(c, now);
	make_hot(c, f, now);
}

static void released(void *ctx, struct file *f)
{
	struct collector *c = ctx;

	if (c->state)
		collector_identify(f);
	collector_changed(c, clock_now_ns());
	collector_detach(c, f);
	if (f->wd >= 0)
		watch_del(c->watch, f->wd);
	if (f->leave_at)
		account_leave(f, c->counts);
	else
		account_end(f, c->counts);
	collector_file_leaves(c, f);
	if (f->slot >= 0)
		write_count_del(c->counts, f->slot);
	f->slot = -1;
}

static void ended(void *ctx, struct chain *chain)
{
	struct collector *c = ctx;

	collector_chain_leaves(c, chain);
	collector_docker_lost(c, chain);
	for (size_t i = 0; i < chain->n_joins; i++)
		join_done(&chain->joins[i], &c->joins);
	tally_add(&c->ended, &chain->tally);
	collector_status_ended(c, chain);
	c->n_ended++;
	/* That of a container which is still there stays in its figures, which never go back. */
	if (tally_lost(&chain->tally) || files_directory_is_there(chain->key))
		collector_remember(c, chain->key, strlen(chain->key), &chain->tally);
}

/* The oldest one that lost nothing makes room: it stays in the sum. */
static void forget_lossless(struct collector *c)
{
	list_for_each (l, next, &c->gone) {
		struct gone *g = container_of(l, struct gone, in_gone);

		if (tally_lost(&g->tally))
			continue;
		list_del(l);
		free(g);
		c->n_gone--;
		return;
	}
}

void collector_remember(struct collector *c, const char *key, size_t len, const struct tally *t)
{
	struct gone *g = NULL;

	list_for_each (l, next, &c->gone) {
		struct gone *o = container_of(l, struct gone, in_gone);

		if (strncmp(o->key, key, len) == 0 && !o->key[len]) {
			tally_add(&o->tally, t);
			return;
		}
	}
	if (c->n_gone == GONE_MAX && tally_lost(t))
		forget_lossless(c);
	g = c->n_gone < GONE_MAX ? calloc(1, sizeof(*g) + len + 1) : NULL;
	if (!g)
		return; /* it is in the sum */
	memcpy(g->key, key, len);
	g->tally = *t;
	list_add_tail(&c->gone, &g->in_gone);
	c->n_gone++;
}

void collector_lose(struct collector *c, const char *key, size_t len, enum lost_reason why,
		    uint64_t bytes)
{
	struct chain *chain = files_chain(c->files, key, len);
	struct tally t = {0};

	if (chain) {
		tally_lose_unseen(&chain->tally, why, bytes);
		collector_chain_changed(c, chain);
		return;
	}
	tally_lose_unseen(&t, why, bytes);
	tally_add(&c->ended, &t);
	collector_remember(c, key, len, &t);
}

static void closing(void *ctx, struct file *f)
{
	struct collector *c = ctx;

	if (c->state)
		collector_identify(f);
}

static int64_t deadline(void *ctx, const struct file *f)
{
	const struct collector *c = ctx;
	struct claim claim;

	heat_claim(f, &c->limits, &claim);
	return priority_deadline_ns(&claim);
}

struct files_hooks collector_file_hooks(struct collector *c)
{
	return (struct files_hooks){.ctx = c,
				    .opened = opened,
				    .look = look,
				    .released = released,
				    .freed = collector_freed,
				    .ended = ended,
				    .compressed = collector_resume_compressed,
				    .closing = closing,
				    .vanished = collector_vanished,
				    .deadline = deadline};
}

static void found(void *ctx, const char *path, const char *alias)
{
	files_found(((struct collector *)ctx)->files, path, alias);
}

static void born(void *ctx, const char *path, const char *from)
{
	files_born(((struct collector *)ctx)->files, path, from);
}

static void written(void *ctx, const char *path)
{
	files_written(((struct collector *)ctx)->files, path);
}

static void vanished(void *ctx, const char *path)
{
	files_vanished(((struct collector *)ctx)->files, path);
}

static void gone(void *ctx, const char *path)
{
	files_gone(((struct collector *)ctx)->files, path);
}

static void gone_below(void *ctx, const char *dir)
{
	files_gone_below(((struct collector *)ctx)->files, dir);
}

static void starting(void *ctx, bool begin)
{
	struct collector *c = ctx;

	if (begin)
		files_start(c->files, c->cfg->start == CONFIG_START_END && !c->restarted);
	else
		files_started(c->files);
}

struct tree_hooks collector_tree_hooks(struct collector *c)
{
	return (struct tree_hooks){.ctx = c,
				   .found = found,
				   .born = born,
				   .written = written,
				   .dir_added = collector_dir_added,
				   .dir_removed = collector_dir_removed,
				   .vanished = vanished,
				   .gone = gone,
				   .gone_below = gone_below,
				   .starting = starting,
				   .unfollowed = collector_unfollowed,
				   .between = collector_drain_found};
}

void collector_touched(struct collector *c, struct file *f)
{
	f->probe = true;
	make_hot(c, f, clock_now_ns());
}

/* Nothing will tell when it is due for the next step: a container's partial line that may never be
 * ended, a file without a watch, without a name, or held open by somebody else. */
bool collector_wants_slow(const struct file *f)
{
	return f->unwatchable || (f->displaced && (f->unlinked || f->lingering || !f->path)) ||
	       (f == f->chain->live && chain_joins_pending(f->chain));
}

/*
 * Arms the one-shot watch, then looks whether something came meanwhile. What grew without a counted
 * write will do so again: from then on its size is looked at instead.
 */
void collector_cool_down(struct collector *c, struct file *f, int64_t now_ns)
{
	struct write_total total;
	int wd;

	if (files_open(c->files, f) < 0)
		return; /* no descriptor for it now: at the next tick */
	wd = watch_add_file(c->watch, f->fd);
	if (wd == -EEXIST && f->wd < 0)
		return; /* the spent one is still being taken down: at the next tick */
	if (wd >= 0) {
		files_set_wd(c->files, f, wd);
		f->unwatchable = false;
	} else if (wd != -EEXIST) {
		f->unwatchable = true;
	}
	collector_detach(c, f);
	collector_arm(c, f); /* where inotify has no watch left, or loses an event */
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

bool collector_settle_copy(struct collector *c, struct file *f, int64_t now_ns)
{
	struct file *live = f->chain->live;
	enum copy_verdict verdict;

	if (live && files_open(c->files, live) < 0)
		return false;
	verdict = copy_judge(f);
	if (verdict == COPY_WAIT && now_ns - MAX(f->changed_ns, f->displaced_ns) < COPY_WAIT_NS)
		return false;
	if (verdict == COPY_RESUME)
		account_begin(f, c->counts, ACCOUNT_UNKNOWN);
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

static void span_acked(void *ctx, const struct span *s, int64_t acked_ns, bool delivered)
{
	struct collector *c = ctx;
	struct file *f = s->file;

	if (delivered) {
		if (s->epoch == f->epoch && s->end_offset >= f->acked) {
			f->acked = s->end_offset;
			memcpy(f->open, s->open, sizeof(f->open));
		}
		if (s->since_ns)
			collector_status_acked(c, acked_ns - s->since_ns);
		c->acked = true;
		f->chain->tally.delivered_bytes += s->read_bytes;
		f->chain->tally.records += s->count;
		collector_file_changed(c, f);
	}
	files_put(c->files, f);
}

void collector_take_acks(struct collector *c)
{
	c->acked = false;
	outlet_acks(c->outlet, span_acked, c);
	if (c->acked)
		collector_changed(c, clock_now_ns());
}
