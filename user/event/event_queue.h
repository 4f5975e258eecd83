/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded channel between a producer of events (the inotify read loop, a container socket) and
 * the event loop. Events are kept in order and handed over as one batch: when the flush interval
 * since the first of them has passed, or at once when the interval is 0 or the high-water mark is
 * reached.
 *
 * Any thread may push; one thread polls event_queue_fd and flushes. A full queue makes the producer
 * wait and counts that: nothing is dropped. A failing on_flush is passed to on_error and the queue
 * goes on.
 */
#ifndef EVENT_EVENT_QUEUE_H
#define EVENT_EVENT_QUEUE_H

#include <stddef.h>
#include <stdint.h>

struct event;
struct event_queue;

struct event_queue_options {
	size_t capacity;   /* events; at least 1 */
	size_t high_water; /* flush at once from this many on; 0: three quarters of capacity */
	int64_t interval_ns;
	void *ctx;
	/* The events stay the queue's and are freed when this returns. 0 or -errno. */
	int (*on_flush)(void *ctx, struct event *events, size_t n);
	void (*on_error)(void *ctx, int err); /* may be NULL */
};

struct event_queue_stats {
	uint64_t pushed, flushed, batches, blocked, errors;
	size_t depth;
};

int event_queue_new(const struct event_queue_options *options, struct event_queue **ret_queue);
void event_queue_free(struct event_queue *q); /* no producer may be left */
/* Takes over what e owns, also on failure. Blocks while the queue is full. 0, or -ECANCELED. */
int event_queue_push(struct event_queue *q, struct event *e);
/* Readable when a flush is due. */
int event_queue_fd(const struct event_queue *q);
/* Hands over everything queued. The number of events. */
size_t event_queue_flush(struct event_queue *q);
/* Refuses further events, wakes blocked producers, discards what is queued and says how much. */
size_t event_queue_cancel(struct event_queue *q);
void event_queue_stats(struct event_queue *q, struct event_queue_stats *ret_stats);

#endif
