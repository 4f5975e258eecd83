/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text that is put together from many small pieces: a failure is remembered, what is put afterwards
 * is ignored, and text_end tells. Numbers look the same in every locale.
 */
#ifndef SERVE_TEXT_H
#define SERVE_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct text {
	struct buf *buf;
	size_t began;
	int failure;
};

/* Appends to buf, which may hold something already. */
struct text text_begin(struct buf *buf);
/* 0, or the first failure, and then buf is as it was. */
int text_end(struct text *t);

void text_add(struct text *t, const char *what);
void text_printf(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Seconds with as many decimals as it takes. */
void text_seconds(struct text *t, uint64_t ns);
/* A JSON string with its quotes; what may be NULL. */
void text_json(struct text *t, const char *what);

/* A non-negative number of seconds in nanoseconds, rounded. */
static inline uint64_t seconds_to_ns(double seconds)
{
	return (uint64_t)(seconds * 1e9 + 0.5);
}

#endif
