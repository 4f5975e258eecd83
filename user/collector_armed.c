/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   hot   looked at each tick          --read to the end--> armed: nothing, until the kernel says
 *   slow  looked at a few times a second                     that there is more, or it was quiet
 *
 * The armed files are an array without an order. Rejected: a list. To take one out of its middle
 * touches its neighbours, among thousands of files two misses of the cache for each record.
 */
#include "collector_armed.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/sys.h"
#include "collector_changes.h"
#include "collector_impl.h"
#include "config.h"
#include "files/file.h"
#include "heat/heat.h"
#include "heat/write_count.h"
#include "heat/write_told.h"

/* Times hot_quiet: inotify costs each write, an armed file nothing; but for files that were there
 * and are not written to, each of which is one more that is looked at and saved. */
#define ARMED_QUIETS     40
#define ARMED_QUIETS_NEW 1
#define ARMED_WAKE_MAX   128 /* at a tick: each costs a watch of inotify */
#define ARMED_NS         NS_PER_SEC
#define ARMED_LOST_NS    (250 * NS_PER_MS)
#define ARMED_MIN        256

bool collector_arm(struct collector *c, struct file *f)
{
	struct write_total total;

	if (f->slot < 0 || f->uncounted || f->compressed)
		return false;
	write_count_read(c->counts, f->slot, &total);
	if (!write_count_arm(c->counts, f->slot, total.cuts + f->offset + f->torn, 1))
		return false;
	/* Nothing of what it has seen so far will be told. */
	write_count_read(c->counts, f->slot, &total);
	return total.calls == f->seen_calls;
}

/* In at most a quarter of what there is room for, half of that is given back. */
static bool armed_room(struct collector *c)
{
	size_t max = c->armed_max;
	struct file **armed;

	if (c->n_armed == max)
		max = max ? 2 * max : ARMED_MIN;
	else if (max > ARMED_MIN && c->n_armed < max / 4)
		max /= 2;
	if (max == c->armed_max)
		return true;
	armed = realloc(c->armed, max * sizeof(struct file *));
	if (!armed)
		return c->n_armed < c->armed_max;
	c->armed = armed;
	c->armed_max = max;
	return true;
}

void collector_detach(struct collector *c, struct file *f)
{
	list_del(&f->in_hot);
	if (!f->armed_at)
		return;
	c->armed[f->armed_at - 1] = c->armed[--c->n_armed];
	c->armed[f->armed_at - 1]->armed_at = f->armed_at;
	f->armed_at = 0;
}

void collector_rest(struct collector *c, struct file *f)
{
	if (c->ending || f->displaced || f->maybe_copy || file_dirty(f) || !armed_room(c) ||
	    !collector_arm(c, f))
		return;
	collector_detach(c, f);
	c->armed[c->n_armed++] = f;
	f->armed_at = (uint32_t)c->n_armed;
}

void collector_wake(struct collector *c, struct file *f)
{
	collector_detach(c, f);
	list_add_tail(&c->hot, &f->in_hot);
	collector_file_changed(c, f);
}

void collector_wake_armed(struct collector *c)
{
	while (c->n_armed)
		collector_wake(c, c->armed[c->n_armed - 1]);
}

int64_t collector_armed_ns(const struct collector *c)
{
	if (!c->n_armed)
		return INT64_MAX;
	return c->armed_next ? 0 : c->armed_look_ns + ARMED_NS;
}

static bool was_quiet(const struct collector *c, const struct file *f, int64_t now_ns)
{
	return now_ns - f->changed_ns >=
	       (f->seen_calls ? ARMED_QUIETS : ARMED_QUIETS_NEW) * c->cfg->hot_quiet_ns;
}

/* The first of a look, which can go on at the next ticks? A record that is lost during a look is
 * looked for in the next one. */
static bool begins(struct collector *c, int64_t now_ns)
{
	uint64_t no_records = c->counts ? write_count_no_records(c->counts) : 0;
	int64_t since_ns = now_ns - c->armed_look_ns;

	if (since_ns < (no_records == c->seen_no_records ? ARMED_NS : ARMED_LOST_NS))
		return false;
	c->seen_no_records = no_records;
	c->armed_look_ns = now_ns;
	c->armed_next = c->n_armed;
	return true;
}

/* Backwards: what takes the place of one that is woken has been looked at. */
void collector_look_armed(struct collector *c, int64_t now_ns)
{
	if (!c->armed_next && !begins(c, now_ns))
		return;
	for (unsigned quiet = 0; c->armed_next && quiet < ARMED_WAKE_MAX; c->armed_next--) {
		struct file *f;

		if (c->armed_next > c->n_armed)
			continue;
		f = c->armed[c->armed_next - 1];
		heat_look(c->counts, f, now_ns);
		if (file_dirty(f)) {
			collector_wake(c, f);
		} else if (was_quiet(c, f, now_ns)) {
			collector_wake(c, f);
			quiet++;
		}
	}
}
