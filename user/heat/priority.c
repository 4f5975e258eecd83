/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two sorted arrays of the same claims, made once a turn. Sorting costs about 100 us for 1,000
 * files beside a turn of a megabyte (a millisecond); it is left out where the order cannot matter
 * because everything fits. Within a turn the waiting line is gone through in rounds.
 *
 * The shares are kept over turns and halved now and then, so that a turn cut short by back-pressure
 * does not give one class more than its part.
 */
#include "heat/priority.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"

#define DEADLINE_WEIGHT 3 /* to 1 for the waiting */
#define SHARES_HALVE    (UINT64_C(64) << 20)

int64_t priority_deadline_ns(const struct claim *c)
{
	unsigned __int128 ns;

	if (c->held || c->left_bytes == 0)
		return 0;
	if (c->rate == 0)
		return INT64_MAX;
	ns = (unsigned __int128)c->left_bytes * (uint64_t)NS_PER_SEC / c->rate;
	return ns > INT64_MAX ? INT64_MAX : (int64_t)ns;
}

static int by_number(int64_t a, int64_t b)
{
	return a < b ? -1 : a > b;
}

/* Held files are all due now: the one that waits longest first. */
static int by_deadline(const void *a, const void *b)
{
	const struct claim *x = *(struct claim *const *)a, *y = *(struct claim *const *)b;
	int r = by_number(x->deadline_ns, y->deadline_ns);

	return r ? r : by_number(x->dirty_ns, y->dirty_ns);
}

static int by_dirty(const void *a, const void *b)
{
	return by_number((*(struct claim *const *)a)->dirty_ns,
			 (*(struct claim *const *)b)->dirty_ns);
}

static int by_served(const void *a, const void *b)
{
	return by_number((*(struct claim *const *)a)->served_ns,
			 (*(struct claim *const *)b)->served_ns);
}

void priority_begin(struct priority *p, enum order order, struct priority_shares *shares,
		    struct claim *claims, size_t n, struct claim **scratch, size_t budget,
		    size_t quantum)
{
	uint64_t backlog = 0;

	*p = (struct priority){.order = order,
			       .shares = shares,
			       .by_deadline = scratch,
			       .by_wait = scratch + n,
			       .n = n,
			       .budget = budget,
			       .quantum = quantum};
	for (size_t i = 0; i < n; i++) {
		claims[i].done = claims[i].had_deadline = false;
		claims[i].deadline_ns = priority_deadline_ns(&claims[i]);
		p->by_deadline[i] = p->by_wait[i] = &claims[i];
		backlog += MIN(claims[i].backlog_bytes, (uint64_t)budget);
	}
	if (backlog <= budget || n < 2)
		return;
	qsort(p->by_deadline, n, sizeof(*p->by_deadline),
	      order == ORDER_HOT ? by_deadline : by_dirty);
	p->by_deadline[0]->had_deadline = order == ORDER_HOT; /* is served anyway */
	if (order != ORDER_FIFO)
		qsort(p->by_wait, n, sizeof(*p->by_wait), by_served);
}

static struct claim *first_open(struct claim **list, size_t n, size_t *next)
{
	while (*next < n && list[*next]->done)
		(*next)++;
	return *next < n ? list[*next] : NULL;
}

/* Who has waited longest; when everybody had a quantum in this turn, another round. Whoever the
 * deadlines served in this turn does not wait. */
static struct claim *longest_waiting(struct priority *p)
{
	for (int round = 0; round < 2; round++) {
		for (; p->next_wait < p->n; p->next_wait++) {
			struct claim *c = p->by_wait[p->next_wait];

			if (!c->done && !c->had_deadline)
				return c;
		}
		p->next_wait = 0;
	}
	return NULL;
}

static bool waiting_turn(const struct priority *p)
{
	if (p->order == ORDER_HOT)
		return p->shares->waiting_bytes * DEADLINE_WEIGHT < p->shares->deadline_bytes;
	return p->order == ORDER_FAIR;
}

struct claim *priority_next(struct priority *p, size_t *ret_grant)
{
	struct claim *c;

	if (!p->budget)
		return NULL;
	c = waiting_turn(p) ? longest_waiting(p) : NULL;
	p->last_was_wait = c != NULL;
	if (!c)
		c = first_open(p->by_deadline, p->n, &p->next_deadline);
	if (c)
		*ret_grant = p->last_was_wait ? MIN(p->quantum, p->budget) : p->budget;
	return c;
}

void priority_served(struct priority *p, struct claim *c, size_t bytes, bool drained,
		     int64_t now_ns)
{
	struct priority_shares *s = p->shares;

	p->budget -= MIN(bytes, p->budget);
	c->backlog_bytes -= MIN((uint64_t)bytes, c->backlog_bytes);
	c->served_ns = now_ns;
	c->done = c->done || drained;
	if (p->last_was_wait) {
		s->waiting_bytes += bytes;
		p->next_wait++;
	} else {
		s->deadline_bytes += bytes;
		c->had_deadline = true;
	}
	if (s->waiting_bytes + s->deadline_bytes > SHARES_HALVE) {
		s->waiting_bytes /= 2;
		s->deadline_bytes /= 2;
	}
}

static const char *const names[] = {"hot", "fair", "fifo"};

const char *order_name(enum order order)
{
	return names[order];
}

int order_parse(const char *name, enum order *ret_order)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0) {
			*ret_order = (enum order)i;
			return 0;
		}
	}
	return -EINVAL;
}
