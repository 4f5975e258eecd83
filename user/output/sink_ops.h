/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kind of sink does, called by sink.c on the sink's thread, or on the caller's while the
 * sink's has nothing to do (open, inode and close: on the caller's). The kind knows how to encode
 * and write; when to try again, whom to tell and what to do at the end is sink.c's.
 */
#ifndef OUTPUT_SINK_OPS_H
#define OUTPUT_SINK_OPS_H

#include "output/sink.h"

struct sink_ops {
	/* 0, -EINVAL (spec is not of this kind) or the -errno of opening it. */
	int (*open)(const char *spec, enum encode_format format, void **ret_self);
	void (*close)(void *self);
	/* A new batch is to be delivered, from its beginning. */
	void (*begin)(void *self, const struct batch *b);
	/*
	 * Delivers some more of it: 1 there is more to do, 0 all of it is delivered, -errno. Keeps
	 * its place, so that calling again after an error goes on behind the last byte that was
	 * accepted. What was done is added to *stats. May block in the write, but not to wait for
	 * something (at most 100 ms), so that sink_stop is noticed. At once: does not block, but
	 * leaves off with -EAGAIN, having done part of it or nothing.
	 */
	int (*step)(void *self, bool at_once, struct sink_stats *stats);
	bool (*waits)(const void *self); /* false: never, all is done at once */
	bool (*inode)(const void *self, dev_t *ret_dev, ino_t *ret_ino, int64_t *ret_btime_ns);
};

extern const struct sink_ops sink_stream_ops;

#endif
