/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a CRI line, for every line of a node. What varies is only the length of the
 * fraction (the runtime trims zeros), so everything else is compared at known places, eight bytes
 * at a time:
 *
 *   2026-11-21T00:32:02.36754432Z stdout F text
 *   |<- 16 by template ->|   |    |<- 8->|
 *                            first byte that is no digit, eight digits per step
 *
 * A digit and '0' differ in a value of at most 9 and a separator from itself in 0, so one XOR with
 * a template and one addition per byte lane test both. Rejected: a search for the first space
 * followed by a check of what was found (two passes), and a loop over a state table (a branch per
 * byte).
 */
#include "drain/decode_cri.h"

#include <stdint.h>
#include <string.h>

#include "drain/decode.h"
#include "output/batch.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest lane");

#define LANES(byte) (UINT64_C(0x0101010101010101) * (byte))

static inline uint64_t load8(const char *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* 0x80 in every lane of v ^ template that is above most - 0x7f, where add = 0x7f - most. */
static inline uint64_t lanes_beyond(uint64_t v, uint64_t template, uint64_t add)
{
	uint64_t x = v ^ template;

	return (((x & LANES(0x7f)) + add) | x) & LANES(0x80);
}

static inline bool is_digit(char c)
{
	return (unsigned char)(c - '0') <= 9;
}

/* Of YYYY-MM-DDTHH:MM, in two halves: '-' stands in places 4 and 7, 'T' in 10, ':' in 13. */
static inline bool is_minute(const char *p)
{
	static const char template[] = "0000-00-00T00:00";
	const uint64_t add0 = UINT64_C(0x7f76767f76767676), add1 = UINT64_C(0x76767f76767f7676);

	return !(lanes_beyond(load8(p), load8(template), add0) |
		 lanes_beyond(load8(p + 8), load8(template + 8), add1));
}

/* The first byte from at on that is no digit, or n. */
static inline size_t digits_end(const char *p, size_t at, size_t n)
{
	while (at + 8 <= n) {
		uint64_t other = lanes_beyond(load8(p + at), LANES('0'), LANES(0x76));

		if (other)
			return at + (size_t)__builtin_ctzll(other) / 8;
		at += 8;
	}
	while (at < n && is_digit(p[at]))
		at++;
	return at;
}

size_t time_length(const char *p, size_t n)
{
	size_t at = 19;

	if (n > TIME_LEN_MAX)
		n = TIME_LEN_MAX;
	if (n < 20 || !is_minute(p) || p[16] != ':' || !is_digit(p[17]) || !is_digit(p[18]))
		return 0;
	if (p[at] == '.') {
		at = digits_end(p, 20, n);
		if (at == 20 || at == n)
			return 0;
	}
	if (p[at] == 'Z')
		return at + 1;
	if ((p[at] != '+' && p[at] != '-') || n - at < 6)
		return 0;
	if (!is_digit(p[at + 1]) || !is_digit(p[at + 2]) || p[at + 3] != ':' ||
	    !is_digit(p[at + 4]) || !is_digit(p[at + 5]))
		return 0;
	return at + 6;
}

bool decode_cri(const char *line, size_t len, struct decoded *ret)
{
	const uint64_t word = LANES(0xff) >> 8; /* seven bytes */
	const char *p, *end = line + len;
	size_t time_len = time_length(line, len);
	uint64_t stream;
	bool out;

	/* Shortest rest: " stdout F". */
	if (!time_len || len - time_len < 9 || line[time_len] != ' ')
		return false;
	p = line + time_len + 1;
	stream = load8(p) & word;
	out = stream == (load8("stdout ") & word);
	if (!out && stream != (load8("stderr ") & word))
		return false;
	p += 7;
	if (*p != 'F' && *p != 'P')
		return false;
	ret->partial = *p++ == 'P';
	if (p < end && *p == ':') {
		p = memchr(p, ' ', (size_t)(end - p));
		if (!p)
			p = end;
	}
	/* Some writers leave out the space before an empty text. */
	if (p < end && *p++ != ' ')
		return false;
	ret->time = line;
	ret->time_len = (uint8_t)time_len;
	ret->stream = out ? STREAM_STDOUT : STREAM_STDERR;
	ret->text = p;
	ret->text_len = (uint32_t)(end - p);
	ret->malformed = false;
	return true;
}
