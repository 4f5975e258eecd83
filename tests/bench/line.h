/* SPDX-License-Identifier: Apache-2.0 */
/* Makes CRI lines whose message is ID STREAM SEQ TIME_NS CRC32 PAYLOAD; why so is in load.c. */
#ifndef BENCH_LINE_H
#define BENCH_LINE_H

#include <stdint.h>
#include <string.h>
#include <time.h>
#include <zlib.h>

#define CRI_LEN       40u /* "2026-11-21T00:32:02.367544321Z stdout F " */
#define SHAPES        32u /* payload lengths */
#define TEXT_MAX      65536u
#define LINE_SIZE_MAX (CRI_LEN + 128 + 2 * TEXT_MAX)

/* What the message begins with: "hot.3 o " */
struct ident {
	char text[24];
	size_t len;
	uint32_t crc;
};

struct shape {
	size_t len; /* newline included, which the checksum leaves out */
	uint32_t crc, shift[4][256];
};

struct lines {
	struct shape shapes[SHAPES];
	char text[TEXT_MAX + 256];
	time_t second; /* of stamp and digits */
	char stamp[24], digits[16];
};

static void put_digits(char *out, uint64_t value, int n)
{
	while (n--) {
		out[n] = (char)('0' + value % 10);
		value /= 10;
	}
}

/* Lengths spread evenly from a tenth to 1.9 times the mean; without the line's heads. */
static void lines_init(struct lines *l, double line_bytes)
{
	static const char words[] = "GET items id=4711 status=200 latency_ms=12 user=alice "
				    "upstream=10.0.0.17 cache=miss "
				    "bytes=5120 retry=0 trace=0af7651916cd43dd ";
	double head = CRI_LEN + 9 + 9 + 20 + 9, mean = line_bytes - head;

	if (mean < 2)
		mean = 2;
	for (size_t at = 0; at < TEXT_MAX; at += sizeof(words) - 1)
		memcpy(l->text + at, words, sizeof(words) - 1);
	for (unsigned i = 0; i < SHAPES; i++) {
		struct shape *s = &l->shapes[i];

		s->len = 1 + (size_t)(mean * (.1 + 1.8 * i / (SHAPES - 1)));
		s->crc = (uint32_t)crc32(0, (const void *)l->text, (unsigned)s->len - 1);
		for (unsigned k = 0; k < 4; k++)
			for (uint32_t b = 0; b < 256; b++)
				s->shift[k][b] =
					(uint32_t)crc32_combine(b << 8 * k, 0, (long)s->len - 1);
	}
}

static void second_set(struct lines *l, time_t second)
{
	struct tm tm;

	gmtime_r(&second, &tm);
	strftime(l->stamp, sizeof(l->stamp), "%Y-%m-%dT%H:%M:%S.", &tm);
	put_digits(l->digits, (uint64_t)second, 10);
	l->second = second;
}

/* Its length. LINE_SIZE_MAX bytes of room. */
static size_t line_make(struct lines *l, const struct ident *id, uint64_t seq,
			const struct shape *s, char *out)
{
	char *m = out + CRI_LEN, *at = m + id->len;
	struct timespec t;
	uint32_t crc;

	clock_gettime(CLOCK_REALTIME, &t);
	if (t.tv_sec != l->second)
		second_set(l, t.tv_sec);
	memcpy(out, l->stamp, 20);
	put_digits(out + 20, (uint64_t)t.tv_nsec, 9);
	memcpy(out + 29, "Z stdout F ", 11);
	memcpy(m, id->text, id->len);
	put_digits(at, seq, 8);
	at[8] = ' ';
	memcpy(at + 9, l->digits, 10);
	memcpy(at + 19, out + 20, 9);
	at[28] = ' ';
	crc = (uint32_t)crc32(id->crc, (const void *)at, 29);
	crc = s->crc ^ s->shift[0][crc & 255] ^ s->shift[1][crc >> 8 & 255] ^
	      s->shift[2][crc >> 16 & 255] ^ s->shift[3][crc >> 24];
	at += 29;
	for (int i = 28; i >= 0; i -= 4)
		*at++ = "0123456789abcdef"[crc >> i & 15];
	*at++ = ' ';
	memcpy(at, l->text, s->len - 1);
	at[s->len - 1] = '\n';
	return (size_t)(at - out) + s->len;
}

#endif
