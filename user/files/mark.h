/* SPDX-License-Identifier: Apache-2.0 */
/* Some bytes of a file, as they were read: enough to notice that others are there now. */
#ifndef FILES_MARK_H
#define FILES_MARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/hash.h"

#define MARK_BYTES 128 /* at most */

struct mark {
	uint64_t sum;
	uint32_t len; /* 0: nothing is known */
};

static inline struct mark mark_of(const void *bytes, size_t len)
{
	return (struct mark){.sum = hash_bytes(bytes, len), .len = (uint32_t)len};
}

/* bytes: m->len of them. */
static inline bool mark_is(const struct mark *m, const void *bytes)
{
	return !m->len || hash_bytes(bytes, m->len) == m->sum;
}

#endif
