/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pure: finds the JSON objects in a stream of bytes that is cut anywhere. What stands between the
 * objects (line ends of any kind, or none; commas and brackets, so that an array's rows are found
 * too) does not matter. What is found is whole by its brackets; whether it is JSON its parser says.
 */
#ifndef WATCH_DOCKER_STREAM_H
#define WATCH_DOCKER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define DOCKER_OBJECT_MAX ((size_t)256 << 10) /* bytes; larger ones are left out, and counted */

/* Zero-initialised. */
struct docker_stream {
	struct buf text; /* of the object under way */
	uint64_t arrays; /* of the open brackets, innermost in bit 0: is it a '['? */
	unsigned depth;
	char before; /* the last character that was no blank; '"': also the end of a string */
	bool in_string, escaped, newline;
	bool skipping; /* an object that is left out: only its end is looked for */
	bool garbage;  /* between objects, and it was counted already */
	uint64_t bad;  /* left out: too large, cut short, not JSON; runs of bytes that are none */
};

void docker_stream_done(struct docker_stream *s);
/* on_object gets each object that ends in data; its text is only lent. A negative return ends the
 * feeding and is passed on; so is -ENOMEM. What is fed next goes on behind it. */
int docker_stream_feed(struct docker_stream *s, const char *data, size_t len,
		       int (*on_object)(void *ctx, const char *text, size_t len), void *ctx);
/* Nothing continues it: an object begun is counted as bad. A new stream can begin. */
void docker_stream_end(struct docker_stream *s);

#endif
