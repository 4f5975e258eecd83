/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hottest loop of the program: every byte of every message passes here on its way from the
 * arena to a sink's buffer. It copies and looks at the same time, in blocks:
 *
 *   64 bytes clean          copied, nothing else; this is most of it, and the end of a clean text
 *                           is once more 64 bytes, some of them again: one branch instead of
 *                           several that cannot be foretold
 *   16 bytes clean          copied; four in a row lead back to the line above
 *   16 bytes, ASCII only    copied piece by piece between the bytes that need an escape, which are
 *                           found in a bit mask: logs that are JSON are full of quotes
 *   anything else, tails    character by character; well-formed UTF-8 is told by the bits of the
 *                           next four bytes, and only the rest goes the slow way
 *
 * A byte needs a look when it is '"' or '\\' or, as a signed number, below 0x20: control
 * characters, and everything that is not ASCII. The blocks are GCC vectors, which become SSE2 or
 * NEON without a line of either; stores may run past what counts, into room that ESCAPE_ROOM
 * provides. Clean text is copied with AVX2 where the processor has it: a quarter less time.
 * Rejected: a table lookup per byte (five times slower on clean text), a search for the next
 * special byte followed by a memcpy (two passes), AVX2 or masks of 64 bytes for text that is not
 * clean (how long a run is cannot be foretold, and that costs more than the runs).
 */
#include "output/escape.h"

#include <stdint.h>
#include <string.h>

typedef signed char block __attribute__((vector_size(16)));
typedef char block_chars __attribute__((vector_size(16)));
typedef uint64_t block_halves __attribute__((vector_size(16)));

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the first byte is the lowest lane");

static inline block block_load(const char *p)
{
	block v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline void block_store(char *p, block v)
{
	memcpy(p, &v, sizeof(v));
}

/* 0xff in every lane that cannot be copied as it is. */
static inline block block_special(block v)
{
	return (block)(v < 0x20) | (block)(v == '"') | (block)(v == '\\');
}

/* One bit per lane of a vector of 0x00 and 0xff. */
static inline unsigned block_mask(block lanes)
{
#ifdef __SSE2__
	return (unsigned)__builtin_ia32_pmovmskb128((block_chars)lanes);
#else
	/* Lane i keeps bit i, and the product sums the lanes of a half in its highest byte. */
	block_halves h = (block_halves)lanes & UINT64_C(0x8040201008040201);

	h = h * UINT64_C(0x0101010101010101) >> 56;
	return (unsigned)(h[0] | h[1] << 8);
#endif
}

static inline bool block_any(block lanes)
{
#ifdef __SSE2__
	return block_mask(lanes) != 0;
#else
	block_halves h = (block_halves)lanes;

	return (h[0] | h[1]) != 0;
#endif
}

/* The letter behind the backslash where there is a short form. */
static const char short_form[128] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\t'] = 't',
				     ['\n'] = 'n', ['\f'] = 'f',  ['\r'] = 'r'};

/* An ASCII byte that needs it. */
static inline char *put_escape(char *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	*out++ = '\\';
	if (short_form[c]) {
		*out++ = short_form[c];
		return out;
	}
	memcpy(out, "u00", 3);
	out[3] = hex[c >> 4];
	out[4] = hex[c & 15];
	return out + 5;
}

/*
 * The length of the sequence at p, which begins with a byte beyond ASCII; when it is ill-formed
 * (*ret_valid false), of its longest beginning that some character has, at least 1 (Unicode,
 * "U+FFFD substitution of maximal subparts"). Table 3-7 of the standard: what the second byte may
 * be depends on the first, the others are 80..bf.
 */
static inline size_t utf8_length(const unsigned char *p, size_t n, bool *ret_valid)
{
	unsigned char c = p[0], low = 0x80, high = 0xbf;
	size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4, i = 2;

	*ret_valid = false;
	if (c < 0xc2 || c > 0xf4)
		return 1;
	if (c == 0xe0)
		low = 0xa0;
	else if (c == 0xed)
		high = 0x9f;
	else if (c == 0xf0)
		low = 0x90;
	else if (c == 0xf4)
		high = 0x8f;
	if (n < 2 || p[1] < low || p[1] > high)
		return 1;
	while (i < len && i < n && (p[i] & 0xc0) == 0x80)
		i++;
	*ret_valid = i == len;
	return i;
}

/* The character at *p, which is moved behind it. */
static inline char *put_char(char *out, const char **p, const char *end, bool *invalid)
{
	unsigned char c = (unsigned char)**p;
	bool valid;
	size_t n;

	if (c < 0x80) {
		(*p)++;
		if (c < 0x20 || c == '"' || c == '\\')
			return put_escape(out, c);
		*out = (char)c;
		return out + 1;
	}
	n = utf8_length((const unsigned char *)*p, (size_t)(end - *p), &valid);
	if (valid) {
		/* At least two bytes, at most four. */
		memcpy(out, *p, 2);
		memcpy(out + n - 2, *p + n - 2, 2);
		*p += n;
		return out + n;
	}
	*invalid = true;
	*p += n;
	memcpy(out, "\xef\xbf\xbd", 3);
	return out + 3;
}

char *escape_json_plain(char *out, const char *text, size_t len, bool *ret_invalid)
{
	const char *end = text + len;

	*ret_invalid = false;
	while (text < end)
		out = put_char(out, &text, end, ret_invalid);
	return out;
}

/* 16 bytes at p with the specials in mask, all ASCII; 32 bytes can be read. */
static inline char *put_specials(char *out, const char *p, unsigned mask)
{
	unsigned done = 0;

	do {
		unsigned at = (unsigned)__builtin_ctz(mask);

		block_store(out, block_load(p + done));
		out = put_escape(out + (at - done), (unsigned char)p[at]);
		done = at + 1;
		mask &= mask - 1;
	} while (mask);
	block_store(out, block_load(p + done));
	return out + (16 - done);
}

/*
 * The length of the well-formed character that w, read from four bytes, begins with, where it can
 * be copied as it is; else 0. The second byte's limits (see utf8_length) are tests of its bits
 * beside the first's: e0 80..9f and f0 80..8f have none of those set that make a shorter form
 * impossible, ed a0.. is the surrogates, f4 90.. is beyond the last character.
 */
static inline unsigned char_length(uint32_t w)
{
	unsigned c = w & 0xff, low = w & 7, high = w >> 12 & 3;

	if (c < 0x80)
		return c >= 0x20 && c != '"' && c != '\\';
	if ((w & 0xc0e0) == 0x80c0)
		return w & 0x1e ? 2 : 0;
	if ((w & 0xc0c0f0) == 0x8080e0)
		return (w & 0x200f) && (w & 0x200f) != 0x200d ? 3 : 0;
	if ((w & 0xc0c0c0f8) == 0x808080f0)
		return (low | high) && (low < 4 || (low == 4 && !high)) ? 4 : 0;
	return 0;
}

/* Byte by byte at least up to stop. */
static inline char *put_chars(char *out, const char **p, const char *stop, const char *end,
			      bool *invalid)
{
	while (*p < stop) {
		uint32_t w;
		unsigned n = 0;

		if (end - *p >= 4) {
			memcpy(&w, *p, sizeof(w));
			n = char_length(w);
		}
		if (n) {
			memcpy(out, &w, sizeof(w));
			out += n;
			*p += n;
		} else {
			out = put_char(out, p, end, invalid);
		}
	}
	return out;
}

#ifdef __x86_64__
typedef signed char wide __attribute__((vector_size(32)));
typedef char wide_chars __attribute__((vector_size(32)));

/* Two blocks, the second q bytes behind the first, if they are clean. */
static inline __attribute__((target("avx2"))) bool copy_pair(char *out, const char *p, size_t q)
{
	wide a, b, special;

	memcpy(&a, p, sizeof(a));
	memcpy(&b, p + q, sizeof(b));
	special = (wide)(a < 0x20) | (wide)(a == '"') | (wide)(a == '\\') | (wide)(b < 0x20) |
		  (wide)(b == '"') | (wide)(b == '\\');
	if (__builtin_ia32_pmovmskb256((wide_chars)special))
		return false;
	memcpy(out, &a, sizeof(a));
	memcpy(out + q, &b, sizeof(b));
	return true;
}

/* copy_clean_narrow in blocks twice as wide, where the processor has them: half the instructions.
 */
static __attribute__((target("avx2"))) size_t copy_clean_wide(char *out, const char *p, size_t n)
{
	size_t at = 0;

	for (; at + 64 <= n; at += 64)
		if (!copy_pair(out + at, p + at, 32))
			return at;
	if (at ? copy_pair(out + n - 64, p + n - 64, 32) : copy_pair(out, p, n - 32))
		return n;
	return at;
}
#endif

/* The same of two pairs of narrow blocks. */
static inline bool copy_four(char *out, const char *p, size_t q)
{
	block a = block_load(p), b = block_load(p + 16);
	block c = block_load(p + q), d = block_load(p + q + 16);

	if (block_any(block_special(a) | block_special(b) | block_special(c) | block_special(d)))
		return false;
	block_store(out, a);
	block_store(out + 16, b);
	block_store(out + q, c);
	block_store(out + q + 16, d);
	return true;
}

/* Copies 64 of n >= 32 bytes at a time while they are clean; returns how much. The last 64 may
 * begin before those that are left: all of it is clean, so what is repeated stands there already.
 */
static inline size_t copy_clean_narrow(char *out, const char *p, size_t n)
{
	size_t at = 0;

	for (; at + 64 <= n; at += 64)
		if (!copy_four(out + at, p + at, 32))
			return at;
	if (at ? copy_four(out + n - 64, p + n - 64, 32) : copy_four(out, p, n - 32))
		return n;
	return at;
}

/* Blocks of any kind, until four in a row were clean or fewer than 32 bytes are left. */
static inline char *put_blocks(char *out, const char **p, const char *end, bool *invalid)
{
	const char *at = *p;
	unsigned clean = 0;

	while (clean < 4 && end - at >= 32) {
		block v = block_load(at);
		unsigned mask = block_mask(block_special(v));

		if (!mask) {
			block_store(out, v);
			out += 16;
			at += 16;
			clean++;
			continue;
		}
		clean = 0;
		if (block_any(v < 0)) {
			out = put_chars(out, &at, at + 16, end, invalid);
		} else {
			out = put_specials(out, at, mask);
			at += 16;
		}
	}
	*p = at;
	return out;
}

/*
 * The last n < 32 bytes. The block that ends with them may begin before them: where all of it is
 * clean, what it repeats is what already stands in out.
 */
static inline char *put_tail(char *out, const char *p, const char *end, size_t text_len,
			     bool *invalid)
{
	size_t n = (size_t)(end - p);

	if (n >= 16 && !block_any(block_special(block_load(p)))) {
		block_store(out, block_load(p));
		out += 16;
		p += 16;
		n -= 16;
	}
	if (n < 16 && text_len >= 16) {
		block v = block_load(end - 16);

		if (!block_any(block_special(v))) {
			block_store(out + n - 16, v);
			return out + n;
		}
	}
	return put_chars(out, &p, end, end, invalid);
}

static inline __attribute__((always_inline)) char *
escape(char *out, const char *text, size_t len, bool *ret_invalid,
       size_t (*copy_clean)(char *out, const char *p, size_t n))
{
	const char *p = text, *end = text + len;

	*ret_invalid = false;
	while (end - p >= 32) {
		if (!block_any(block_special(block_load(p)))) {
			size_t n = copy_clean(out, p, (size_t)(end - p));

			p += n;
			out += n;
			if (p == end)
				return out;
		}
		out = put_blocks(out, &p, end, ret_invalid);
	}
	return put_tail(out, p, end, len, ret_invalid);
}

char *escape_json_narrow(char *out, const char *text, size_t len, bool *ret_invalid)
{
	return escape(out, text, len, ret_invalid, copy_clean_narrow);
}

char *escape_json(char *out, const char *text, size_t len, bool *ret_invalid)
{
#ifdef __x86_64__
	if (__builtin_cpu_supports("avx2"))
		return escape(out, text, len, ret_invalid, copy_clean_wide);
#endif
	return escape_json_narrow(out, text, len, ret_invalid);
}

size_t escape_char_length(const char *text, size_t len, bool *ret_valid)
{
	*ret_valid = true;
	return (unsigned char)*text < 0x80
		       ? 1
		       : utf8_length((const unsigned char *)text, len, ret_valid);
}
