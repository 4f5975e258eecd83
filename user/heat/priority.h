/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pure: in which order files with backlog are drained.
 *
 *   hot   earliest predicted loss first, for three quarters of the bytes; the other quarter goes to
 *         the file that has waited longest. A file's unread bytes are lost when its generation is
 *         removed, that is when left_bytes more have been written to its container's log:
 *         deadline = left_bytes / rate. Unlinked (held) is due now.
 *   fair  the file that has waited longest, one quantum each.
 *   fifo  the file that became dirty first, until it is drained.
 *
 * Bound on waiting (hot): with n files waiting, the quarter serves each of them once in at most
 * n * quantum * 4 bytes drained, whatever the deadlines of the others are, because who was served
 * goes to the end of that line. fair: n * quantum. fifo has no bound while an earlier file keeps
 * growing. In time, with a sink that takes r bytes per second: a tick until it is noticed, those
 * bytes / r, and what is queued before the sink (output/outlet.h). 20 files, quanta of 16 KiB,
 * 30 MB/s: 9 + 44 + 10 ms.
 */
#ifndef HEAT_PRIORITY_H
#define HEAT_PRIORITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum order { ORDER_HOT, ORDER_FAIR, ORDER_FIFO };

struct claim {
	void *owner;
	uint64_t backlog_bytes; /* at least 1 */
	uint64_t left_bytes;    /* to be written until this generation is removed */
	uint64_t rate;          /* bytes per second written to its container's log */
	int64_t dirty_ns;       /* backlog since */
	int64_t served_ns;      /* last drained; dirty_ns when it was not since */
	bool held;              /* unlinked */
	/* the plan's own */
	int64_t deadline_ns;
	bool done, had_deadline;
};

/* Zero-initialised once, kept from turn to turn: what each class has had. */
struct priority_shares {
	uint64_t deadline_bytes, waiting_bytes;
};

struct priority {
	enum order order;
	struct priority_shares *shares;
	struct claim **by_deadline, **by_wait; /* claims sorted, not owned */
	size_t n, next_deadline, next_wait;
	size_t budget, quantum;
	bool last_was_wait;
};

/* Nanoseconds from now until unread bytes are lost. */
int64_t priority_deadline_ns(const struct claim *c);

/*
 * Plans one turn of at most budget bytes over claims[0..n). scratch has room for 2 * n pointers.
 * When the whole backlog fits into the budget nothing is sorted: everything is served in the order
 * given.
 */
void priority_begin(struct priority *p, enum order order, struct priority_shares *shares,
		    struct claim *claims, size_t n, struct claim **scratch, size_t budget,
		    size_t quantum);
/* Who is next, and how many bytes it may have; NULL when the turn is over. */
struct claim *priority_next(struct priority *p, size_t *ret_grant);
/* What became of it: bytes were read at now_ns; drained: nothing is left. */
void priority_served(struct priority *p, struct claim *c, size_t bytes, bool drained,
		     int64_t now_ns);

const char *order_name(enum order order);
int order_parse(const char *name, enum order *ret_order); /* 0 or -EINVAL */

#endif
