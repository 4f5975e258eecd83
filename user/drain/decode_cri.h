/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DRAIN_DECODE_CRI_H
#define DRAIN_DECODE_CRI_H

#include <stdbool.h>
#include <stddef.h>

struct decoded;

/* The longest timestamp that is accepted; anything behind it must be something else. */
#define TIME_LEN_MAX 63

/*
 * The length of the RFC 3339 timestamp at p (n bytes can be read): digits and separators in their
 * places, any number of fractional digits, Z or +hh:mm. 0 when there is none or it is longer than
 * TIME_LEN_MAX. Nothing follows from it about what stands behind.
 */
size_t time_length(const char *p, size_t n);

/* false: not a CRI line, *ret untouched. */
bool decode_cri(const char *line, size_t len, struct decoded *ret);

#endif
