/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PREFETCH_H
#define BASE_PREFETCH_H

#include <stddef.h>

#define CACHE_LINE 64

/* Brings the bytes at p into the cache, to be written to, without waiting for them. Only a hint: p
 * may be any address. */
static inline void cache_prefetch(const void *p, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += CACHE_LINE)
		__builtin_prefetch((const char *)p + at, 1);
}

#endif
