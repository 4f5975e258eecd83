/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   hot   looked at each tick          --read to the end--> armed: nothing, until the kernel says
 *   slow  looked at a few times a second                     that there is more, or it was quiet
 *
 * An armed file is on a list in the order in which they will have been quiet for long enough.
 */
#include "collector_armed.h"

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
#define ARMED_WAKE_MAX   128 /* at a look: each costs a watch of inotify */
#define ARMED_NS         NS_PER_SEC

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

/* When it has been quiet for long enough. */
static int64_t armed_until_ns(const struct collector *c, const struct list *in_hot)
{
	const struct file *f = container_of(in_hot, struct file, in_hot);

	return f->changed_ns +
	       (f->seen_calls ? ARMED_QUIETS : ARMED_QUIETS_NEW) * c->cfg->hot_quiet_ns;
}

/* In the order of that: nearly the one in which they come. */
static void armed_add(struct collector *c, struct file *f)
{
	int64_t until_ns = armed_until_ns(c, &f->in_hot);
	struct list *at = c->armed.prev;

	while (at != &c->armed && armed_until_ns(c, at) > until_ns)
		at = at->prev;
	list_add_after(at, &f->in_hot);
}

void collector_rest(struct collector *c, struct file *f)
{
	if (c->ending || f->displaced || f->maybe_copy || file_dirty(f) || !collector_arm(c, f))
		return;
	list_del(&f->in_hot);
	armed_add(c, f);
}

int64_t collector_armed_ns(const struct collector *c)
{
	return list_linked(&c->armed) ? armed_until_ns(c, c->armed.next) : INT64_MAX;
}

void collector_wake_armed(struct collector *c, int64_t now_ns)
{
	for (unsigned n = 0; collector_armed_ns(c) <= now_ns && list_linked(&c->armed) &&
			     (n < ARMED_WAKE_MAX || c->ending);
	     n++)
		collector_wake(c, container_of(c->armed.next, struct file, in_hot));
}

void collector_look_armed(struct collector *c, int64_t now_ns)
{
	uint64_t no_records = c->counts ? write_count_no_records(c->counts) : 0;

	if (no_records == c->seen_no_records && now_ns < c->armed_look_ns)
		return;
	c->seen_no_records = no_records;
	c->armed_look_ns = now_ns + ARMED_NS;
	list_for_each (l, next, &c->armed) {
		struct file *f = container_of(l, struct file, in_hot);

		heat_look(c->counts, f, now_ns);
		if (file_dirty(f))
			collector_wake(c, f);
	}
}
