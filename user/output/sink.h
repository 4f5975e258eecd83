/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sink: one thread that takes batches in order, encodes them its own way, writes them (blocking)
 * and acknowledges each. SPEC: stdout | file:PATH | null (null encodes too, then drops the bytes).
 *
 * Ownership: sink_put lends a batch; the sink gives it back through on_ack (called on the sink's
 * thread, or by the putting itself) exactly once, in order. A write that fails for a passing reason
 * (ENOSPC, EDQUOT, EIO, EAGAIN, EINTR) is tried again with backoff and jitter (100 ms to 5 s),
 * logged rate-limited with
 * ", retrying in N ms", and never repeats bytes that were written. A permanent one (EPIPE and
 * everything else) marks the sink failed: on_fail is called once with the -errno, and batches put
 * from then on are acknowledged as failed.
 */
#ifndef OUTPUT_SINK_H
#define OUTPUT_SINK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "output/encode.h"

struct batch;
struct sink;

struct sink_options {
	enum encode_format format;
	unsigned queue_max; /* batches that may wait: the pool's size */
	void *ctx;
	void (*on_ack)(void *ctx, struct sink *s, struct batch *b, bool delivered);
	void (*on_fail)(void *ctx, struct sink *s, int err);
};

struct sink_stats { /* counters, only growing */
	uint64_t batches, records, bytes, invalid_records, retries;
	bool failing; /* its last attempt failed */
};

/* Opens and starts it. -EINVAL: spec is none of the forms above; else the -errno of opening it. */
int sink_new(const char *spec, const struct sink_options *options, struct sink **ret_sink);
void sink_put(struct sink *s, struct batch *b);
/* The same for a small batch: where the sink has nothing else to do and takes it without being
 * waited for, it is delivered before this returns. What it does not take is its thread's. */
void sink_put_at_once(struct sink *s, struct batch *b);
/* Delivers what was put, then ends the thread; false when that took longer than timeout_ms (the
 * thread is then blocked in a write and neither the sink nor the batches it holds may be freed: the
 * process is about to exit). No callback runs after it has returned. */
bool sink_stop(struct sink *s, int timeout_ms);
/* Begins what sink_stop does, and does not wait for it. */
void sink_end(struct sink *s);
bool sink_ended(struct sink *s); /* its thread is done: sink_free does not wait */
/* No callback runs after it has returned, and the batches that were not acknowledged are the
 * caller's again: their number, in the order in which they were put. Of the first some may have
 * been delivered. They are put behind the *n_batches. */
unsigned sink_abandon(struct sink *s, struct batch **batches, unsigned *n_batches);
/* One that was abandoned and has not ended is left as it is. */
void sink_free(struct sink *s);
const char *sink_name(const struct sink *s);
void sink_stats(const struct sink *s, struct sink_stats *ret_stats);
/* The file it writes to and its time of birth (0: not known), so that it is never collected: false
 * when it is not a regular file. */
bool sink_inode(const struct sink *s, dev_t *ret_dev, ino_t *ret_ino, int64_t *ret_btime_ns);

#endif
