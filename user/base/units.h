/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durations and sizes as people write them. Pure.
 *
 * duration: a whole number directly followed by ns, us, ms, s, m or h; a bare number only when it
 * is 0. size: a whole number, bare (bytes) or followed by k, M, G, T (powers of 1000) or Ki, Mi,
 * Gi, Ti (powers of 1024). No sign, no space, no fraction.
 */
#ifndef BASE_UNITS_H
#define BASE_UNITS_H

#include <stdint.h>

/* 0, -EINVAL (not of this form, also a unit that is missing), -ERANGE (beyond int64_t). */
int duration_parse(const char *text, int64_t *ret_ns);
int size_parse(const char *text, uint64_t *ret_bytes);
/* A bare decimal number; same errors. */
int count_parse(const char *text, uint64_t *ret_count);

#endif
