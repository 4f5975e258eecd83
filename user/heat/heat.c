/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A counter says that something was written; how much there is to read only the read itself knows.
 * So a changed counter sets probe, and the size in the slot is an estimate for the order: right
 * after the write on the exit rungs, before it on the kprobe rung, where the data may also land
 * after the count was seen. There a file is probed for a little longer.
 */
#include "heat/heat.h"

#include "base/clock.h"
#include "base/sys.h"
#include "files/file.h"
#include "heat/write_count.h"

#define RATE_STEP_NS   (20 * NS_PER_MS)
#define RATE_SMOOTH_NS (500 * NS_PER_MS)
#define LATE_NS        (20 * NS_PER_MS)

/* at_ns: when it was written to, as far as that is known. */
static void grown(struct file *f, int64_t now_ns, int64_t at_ns)
{
	f->changed_ns = now_ns;
	if (!f->dirty_ns && file_dirty(f))
		f->dirty_ns = f->served_ns = MIN(at_ns, now_ns);
}

/*
 * Of the container's log, not of the file: a log that is rotated five times a second would have no
 * rate worth the name in any of its files. Smoothed over half a second: long enough for a burst's
 * pauses, short against most rotations.
 */
static void update_rate(struct file *f, uint64_t written, int64_t now_ns)
{
	struct chain *c = f->chain;
	int64_t dt = now_ns - c->rate_ns;
	double rate;

	if (written > f->rate_mark)
		c->rate_bytes += written - f->rate_mark;
	f->rate_mark = written;
	if (dt < RATE_STEP_NS)
		return;
	rate = (double)c->rate_bytes * NS_PER_SEC / (double)dt;
	if (c->rate_ns)
		c->rate = (uint64_t)(((double)c->rate * RATE_SMOOTH_NS + rate * (double)dt) /
				     (double)(RATE_SMOOTH_NS + dt));
	c->rate_ns = now_ns;
	c->rate_bytes = 0;
}

/* Without a counter: written, and yet not longer. Truncated and grown to the same size between two
 * looks, it can be. */
static bool rewritten(struct file *f, const struct stat *st)
{
	uint64_t mtime_ns = (uint64_t)(st->st_mtim.tv_sec * NS_PER_SEC + st->st_mtim.tv_nsec);
	bool changed = f->stat_mark && f->stat_mark != mtime_ns;

	f->stat_mark = mtime_ns;
	return changed && (f->slot < 0 || f->uncounted) && (uint64_t)st->st_size == f->size;
}

bool heat_look_size(struct file *f, int64_t now_ns)
{
	struct stat st;
	uint64_t size;

	if (f->compressed || file_stat(f, &st) < 0)
		return false;
	size = (uint64_t)st.st_size;
	if (!f->offset)
		f->sure = MAX(f->sure, size);
	f->unlinked = st.st_nlink == 0;
	if (rewritten(f, &st)) {
		f->probe = true;
		grown(f, now_ns, now_ns);
		return true;
	}
	if (size == f->offset + f->torn || (size == f->size && size > f->offset))
		return false;
	if (size < f->offset + f->torn)
		f->probe = true;
	else
		f->size = size;
	grown(f, now_ns, now_ns);
	return true;
}

/*
 * A program at the end of a system call counts what can be read before that, so a read may be ahead
 * of the counter. Size and sum must both agree: a file that was cut and written to its old size
 * again has the one, but not the other. Without it one visit in forty finds nothing.
 */
static bool all_read(const struct file *f, const struct write_total *t)
{
	return !f->epoch && t->size == f->offset + f->torn &&
	       (int64_t)(f->consumed + f->torn - t->bytes) == f->uncounted_bytes;
}

void heat_look(const struct write_count *wc, struct file *f, int64_t now_ns)
{
	struct write_total total;

	if (f->slot < 0 || f->uncounted) {
		heat_look_size(f, now_ns);
		update_rate(f, f->size, now_ns);
		return;
	}
	write_count_read(wc, f->slot, &total);
	if (total.calls != f->seen_calls) {
		f->seen_calls = total.calls;
		f->size = MAX(f->size, total.size);
		f->probe = f->probe || !all_read(f, &total);
		grown(f, now_ns, total.last_ns);
	} else if (write_count_rung(wc) == RUNG_KPROBE && now_ns - f->changed_ns < LATE_NS) {
		f->probe = true;
	}
	update_rate(f, total.bytes, now_ns);
}

void heat_claim(const struct file *f, const struct heat_limits *limits, struct claim *ret_claim)
{
	const struct chain *c = f->chain;
	const struct file *writing = c->live ? c->live : f;
	uint64_t size = c->rotate_bytes ? c->rotate_bytes : limits->rotate_bytes;
	unsigned newer = 0, kept = c->newer_kept ? c->newer_kept : limits->rotate_files - 1;

	/* Generations behind f; the live one still grows to its size before the next rotation. */
	for (const struct list *l = f->in_chain.next; l && l != &c->queue && newer < kept;
	     l = l->next)
		newer++;
	*ret_claim = (struct claim){
		.owner = (void *)f,
		.backlog_bytes = MAX(file_backlog(f), UINT64_C(1)),
		.left_bytes =
			(size > writing->size ? size - writing->size : 0) + (kept - newer) * size,
		.rate = c->rate,
		.dirty_ns = f->dirty_ns,
		.served_ns = f->served_ns,
		.held = f->unlinked,
	};
}
