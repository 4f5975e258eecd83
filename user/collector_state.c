/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is saved, and when: for each file how far every sink has acknowledged it, at most once a
 * second and only when that has changed. The text is built between two turns (collector_changes.c:
 * of all files, or of those that changed); the disk is the state room's thread's business.
 *
 * The sums that identify a file's content are kept with it (struct file_identity) and cost a read
 * of the file only where the acknowledged offset has moved, so that a node with thousands of silent
 * files pays for its few busy ones.
 *
 * A file that has left the tables but of which a sink still holds something keeps the place it had
 * when it left: after a crash a little too much is read again, and nothing is missing.
 */
#include <errno.h>
#include <string.h>

#include "account/checkpoint.h"
#include "account/state.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "collector_changes.h"
#include "collector_impl.h"
#include "collector_leave.h"
#include "collector_state.h"
#include "config.h"
#include "drain/account.h"
#include "files/files.h"

#define SAVE_NS       NS_PER_SEC
#define SAVE_LATER_NS (100 * NS_PER_MS) /* after a change, as more is about to follow */
#define RECENT_NS     (3 * NS_PER_SEC)
#define RECENT_MAX    4096

int collector_open_state(struct collector *c, struct checkpoint *ret_loaded)
{
	const char *dir = c->cfg->state;
	struct state_options options = {.dir = dir,
					.required = strcmp(dir, CONFIG_STATE_DEFAULT) != 0,
					.interval_ns = SAVE_NS};
	bool bad = false;
	int r;

	if (strcmp(dir, "none") == 0)
		return 0;
	r = state_open(&options, &c->state, ret_loaded, &c->resuming, &bad);
	c->restarted = c->resuming || bad;
	if (r < 0 && !options.required && r != -EBUSY) {
		log_info("state %s: %s, going on without: every start begins anew", dir,
			 strerror(-r));
		return 0;
	}
	return r < 0 ? r : collector_changes_new(c);
}

void collector_changed(struct collector *c, int64_t now_ns)
{
	if (!c->changed_ns)
		c->changed_ns = now_ns;
}

void collector_identify(struct file *f)
{
	struct file_identity *id = &f->identity;
	bool other = id->epoch != f->epoch;
	uint32_t mark_len = (uint32_t)MIN(f->acked, (uint64_t)CHECKPOINT_MARK_MAX);
	char bytes[CHECKPOINT_HEAD_MAX];
	ssize_t n;

	if (f->compressed) { /* its inode says it all */
		id->offset = f->acked;
		memcpy(id->open, f->open, sizeof(id->open));
		return;
	}
	if (f->fd < 0)
		return;
	if (other || (id->head_len < CHECKPOINT_HEAD_MAX && id->head_len < f->size)) {
		n = reader_pread_all(f, bytes, sizeof(bytes), 0);
		if (n >= 0 || other) { /* else what was read of it before still holds */
			id->head_len = (uint32_t)MAX(n, (ssize_t)0);
			id->head_sum = checkpoint_sum(bytes, id->head_len);
		}
	}
	if (other || id->offset != f->acked) {
		if (reader_pread_all(f, bytes, mark_len, f->acked - mark_len) != (ssize_t)mark_len)
			mark_len = 0; /* better one sign less than an older place */
		id->mark_len = mark_len;
		id->mark_sum = checkpoint_sum(bytes, mark_len);
		id->offset = f->acked;
		id->inside = mark_len && bytes[mark_len - 1] != '\n';
	}
	memcpy(id->open, f->open, sizeof(id->open));
	id->epoch = f->epoch;
}

struct recent {
	struct list in_recent;
	int64_t until_ns;
	struct checkpoint_entry e;
	char path[];
};

static struct checkpoint_entry entry_of(const struct file *f)
{
	const struct file_identity *id = &f->identity;
	struct checkpoint_entry e = {.dev = f->id.dev, .ino = f->id.ino, .btime_ns = id->btime_ns};

	e.offset = f->released ? MAX(f->acked, id->offset) : id->offset;
	e.size = MAX(f->size, e.offset);
	e.consumed = MAX(account_position(f, e.offset), e.offset);
	e.head_len = id->head_len;
	e.head_sum = id->head_sum;
	e.mark_len = id->mark_len;
	e.mark_sum = id->mark_sum;
	memcpy(e.open, id->open, sizeof(e.open));
	if (e.offset != id->offset) {
		e.mark_len = e.mark_sum = 0; /* it cannot be read any more */
		memcpy(e.open, f->open, sizeof(e.open));
	}
	e.flags = f->compressed ? CHECKPOINT_GZ : 0;
	/* Only a line that was cut is left at such a place, or the last one of a file. */
	if (f->acked == f->offset ? f->skip_line || f->sync_line : id->inside)
		e.flags |= CHECKPOINT_SKIP;
	if (!list_linked(&f->in_chain) && !f->lingering && !f->maybe_copy && !f->released &&
	    f->acked == f->offset && !id->open[0] && !id->open[1] && !id->open[2])
		e.flags |= CHECKPOINT_DONE;
	e.path = f->path ? f->path : f->chain->key;
	return e;
}

void collector_entry(const struct file *f, struct checkpoint_entry *ret_entry)
{
	*ret_entry = entry_of(f);
}

/* What is beyond the limits of a checkpoint is left out. */
static int put(struct buf *text, const struct checkpoint_entry *e)
{
	int r = checkpoint_add(text, e);

	return r == 0 ? 1 : r == -ENOMEM ? r : 0;
}

int collector_put_file(struct collector *c, struct file *f, struct buf *text)
{
	struct checkpoint_entry e;

	if (!f->released)
		collector_identify(f);
	e = entry_of(f);
	if (f->slot >= 0)
		write_count_acked(c->counts, f->slot, e.consumed);
	return put(text, &e);
}

static void forget_recent(struct collector *c, struct recent *r)
{
	list_del(&r->in_recent);
	c->n_recent--;
	free(r);
}

void collector_keep_recent(struct collector *c, const struct checkpoint_entry *e)
{
	size_t len = strlen(e->path) + 1;
	struct recent *r = c->state ? calloc(1, sizeof(*r) + len) : NULL;

	if (!r)
		return;
	if (c->n_recent == RECENT_MAX)
		forget_recent(c, container_of(c->recent.next, struct recent, in_recent));
	r->until_ns = clock_now_ns() + RECENT_NS;
	r->e = *e;
	r->e.flags |= CHECKPOINT_DONE;
	memcpy(r->path, e->path, len);
	r->e.path = r->path;
	list_add_tail(&c->recent, &r->in_recent);
	c->n_recent++;
}

void collector_freed(void *ctx, struct file *f)
{
	struct checkpoint_entry e = entry_of(f);

	if (!f->displaced || f->leave_at)
		return;
	e.size = e.offset = MAX(f->offset, e.offset);
	e.consumed = MAX(account_position(f, e.offset), e.offset);
	e.mark_len = e.mark_sum = 0;
	memset(e.open, 0, sizeof(e.open));
	collector_keep_recent(ctx, &e);
}

static bool recent_is_over(const struct collector *c, int64_t now_ns)
{
	return c->n_recent &&
	       container_of(c->recent.next, struct recent, in_recent)->until_ns < now_ns;
}

struct others {
	struct collector *c;
	struct buf *text;
	uint64_t *n;
	int failure;
};

static void put_other(void *ctx, const struct checkpoint_entry *e)
{
	struct others *o = ctx;
	int r = o->failure ? 0 : put(o->text, e);

	if (r < 0)
		o->failure = r;
	*o->n += r > 0;
}

static void put_leaving(void *ctx, struct file *f)
{
	struct others *o = ctx;
	struct checkpoint_entry e = entry_of(f);

	put_other(ctx, &e);
	if (f->slot >= 0)
		write_count_acked(o->c->counts, f->slot, e.consumed);
}

int collector_put_others(struct collector *c, struct buf *text, uint64_t *n)
{
	struct others o = {.c = c, .text = text, .n = n};

	files_each_leaving(c->files, put_leaving, &o);
	collector_resume_each_open(c, put_other, &o);
	list_for_each (l, next, &c->recent)
		put_other(&o, &container_of(l, struct recent, in_recent)->e);
	return o.failure ? o.failure : collector_put_left(c, text, n);
}

int64_t collector_save_ns(const struct collector *c)
{
	if (!c->state || !c->changed_ns)
		return INT64_MAX;
	return MAX(state_due_ns(c->state), c->changed_ns + SAVE_LATER_NS);
}

void collector_save(struct collector *c, int64_t now_ns)
{
	struct buf text;
	bool changes;
	int r;

	if (!c->state)
		return;
	if (state_take_failed(c->state)) {
		collector_all_changed(c);
		collector_changed(c, now_ns);
	} else if (recent_is_over(c, now_ns)) {
		collector_changed(c, now_ns);
	}
	if (collector_save_ns(c) > now_ns)
		return;
	while (recent_is_over(c, now_ns))
		forget_recent(c, container_of(c->recent.next, struct recent, in_recent));
	r = collector_save_build(c, false, &text, &changes);
	if (r < 0 && log_allow(&c->save_limit, 60 * NS_PER_SEC))
		log_warn(r, "state: %s, retrying", strerror(-r));
	if (r == 0 && changes)
		state_save_changes(c->state, &text);
	else if (r == 0)
		state_save(c->state, &text);
	c->changed_ns = r < 0 ? now_ns : 0;
}

void collector_close_state(struct collector *c, bool save)
{
	_cleanup_(buf_done) struct buf text = {0};
	bool changes;
	int r = c->state && save ? collector_save_build(c, true, &text, &changes) : 0;
	struct state *s = take_ptr(c->state);

	if (r < 0)
		log_err(r, "state: %s", strerror(-r));
	list_for_each (l, next, &c->recent)
		forget_recent(c, container_of(l, struct recent, in_recent));
	if (s) /* what could not be saved was said, and is read again */
		state_close(s, save && r == 0 ? &text : NULL);
}
