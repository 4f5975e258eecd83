/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All sinks as one: a pool of batches, the batch being filled, and what the sinks have
 * acknowledged.
 *
 * A batch is handed to every sink at once and comes home when the last of them has acknowledged it.
 * When all are out the pool is dry: the caller stops reading, and the files on disk are the buffer.
 * Batches are filled so far that all of them together keep the slowest sink busy for
 * OUTLET_QUEUE_NS: what waits behind them waits no longer than that, and what is read next is
 * decided as late. Belongs to the event loop; only acknowledging happens on the sinks' threads
 * too.
 */
#ifndef OUTPUT_OUTLET_H
#define OUTPUT_OUTLET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "output/encode.h"

struct batch;
struct outlet;
struct outlet_change;
struct sink;
struct span;

#define OUTLET_QUEUE_NS (10 * NS_PER_MS)
#define OUTLET_WHY_MAX  512

struct outlet_options {
	char *const *specs; /* sinks, as sink_new takes them */
	size_t n_specs;
	enum encode_format format;
	unsigned batches;
	size_t batch_bytes; /* of log text, at most */
	size_t longest_line;
};

/* One line in the log for a sink that cannot be opened; then its -errno. */
int outlet_new(const struct outlet_options *options, struct outlet **ret_outlet);
void outlet_free(struct outlet *o); /* after outlet_stop returned true */

/* Other limits, from the next batch on; where there is no memory for it, the pool is dry. */
void outlet_resize(struct outlet *o, size_t batch_bytes, size_t longest_line);

/*
 * Other sinks. One whose spec stays is not touched; one that is new is opened by outlet_prepare,
 * which changes nothing else: 0, or -errno and why (OUTLET_WHY_MAX bytes). outlet_change cannot
 * fail and takes *change over; outlet_change_free: it is not wanted after all.
 *
 * What was handed on before is delivered to the sinks that it was given to, and nothing is handed
 * on to the new set before a removed one has: so lines stay in order over all of them. One that
 * has not delivered after patience_ns, or fails, hands what it has to the new sinks.
 */
int outlet_prepare(struct outlet *o, char *const *specs, size_t n,
		   struct outlet_change **ret_change, char *why);
void outlet_change(struct outlet *o, struct outlet_change *change, int64_t patience_ns);
void outlet_change_free(struct outlet_change *change);
/* A change has not come to its end: there can be no other. */
bool outlet_changing(const struct outlet *o);

/* The batch to fill; NULL: the pool is dry. */
struct batch *outlet_batch(struct outlet *o);
/* Gives the batch being filled to the sinks, if it holds anything. */
void outlet_hand_on(struct outlet *o);
/* Likewise one that is small; the caller delivers it where a sink takes it without being waited
 * for, and outlet_acks then shows it at once. */
void outlet_hand_on_at_once(struct outlet *o);
/* When its first record was put in; 0: nothing is waiting. */
int64_t outlet_waiting_since(const struct outlet *o);

/* Takes back what was acknowledged and shows each span of it, in the order in which the batches
 * came back. */
void outlet_acks(struct outlet *o,
		 void (*on_span)(void *ctx, const struct span *s, int64_t acked_ns, bool delivered),
		 void *ctx);
/* Readable when an acknowledgement came after outlet_want_ack. */
int outlet_fd(const struct outlet *o);
void outlet_clear(struct outlet *o); /* it was readable: make it quiet again */
/* Call before waiting for batches to come home; true when they already have. Where the sinks are
 * fast, half of those that are out are waited for: a wake-up for each costs more than it gains. */
bool outlet_want_ack(struct outlet *o);
/* Batches that the sinks hold. */
unsigned outlet_out(const struct outlet *o);
/* No batch is out and none holds anything. */
bool outlet_idle(const struct outlet *o);
/* -errno of the first sink that failed for good, 0: none did. */
int outlet_failed(const struct outlet *o);

/* Delivers what was handed on. False when that took longer: then the process must exit without
 * outlet_free. */
bool outlet_stop(struct outlet *o, int timeout_ms);
size_t outlet_sinks(const struct outlet *o);
const struct sink *outlet_sink(const struct outlet *o, size_t i);

#endif
