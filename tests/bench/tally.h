/* SPDX-License-Identifier: Apache-2.0 */
/* What came of each pod: which numbers, how often, in which order; and how late, by kind of pod. */
#ifndef BENCH_TALLY_H
#define BENCH_TALLY_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 4096u

enum kind { HOT, QUIET, REST, KINDS };

static const char *const kind_names[] = {"hot", "quiet", "rest"};

struct stream {
	uint64_t written, distinct, end, twice, late, bits_cap;
	uint64_t *bits;
};

/* Of one kind; streams[number * 2 + (stream is e)] */
struct pods {
	struct stream *streams;
	size_t cap;
	uint64_t latencies[BUCKETS], n_latencies, latency_max_ns;
};

static void *must(void *p)
{
	if (!p) {
		fputs("judge: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

static struct stream *stream_get(struct pods *p, uint64_t number, bool is_err)
{
	size_t at = number * 2 + is_err;

	if (at >= p->cap) {
		size_t cap = (at + 1) * 2;

		p->streams = must(realloc(p->streams, cap * sizeof(*p->streams)));
		memset(p->streams + p->cap, 0, (cap - p->cap) * sizeof(*p->streams));
		p->cap = cap;
	}
	return &p->streams[at];
}

/* False when it was there before. */
static bool stream_mark(struct stream *s, uint64_t seq)
{
	uint64_t word = seq / 64, bit = 1ull << seq % 64;

	if (word >= s->bits_cap) {
		uint64_t cap = (word + 1) * 2;

		s->bits = must(realloc(s->bits, cap * 8));
		memset(s->bits + s->bits_cap, 0, (cap - s->bits_cap) * 8);
		s->bits_cap = cap;
	}
	if (s->bits[word] & bit) {
		s->twice++;
		return false;
	}
	s->bits[word] |= bit;
	s->distinct++;
	if (seq < s->end)
		s->late++;
	else
		s->end = seq + 1;
	return true;
}

/* 64 steps for each power of two of nanoseconds. */
static unsigned bucket_of(uint64_t ns)
{
	int top = 63 - __builtin_clzll(ns | 64);

	return (unsigned)(top - 6) * 64 + (unsigned)(ns >> (top - 6));
}

/* The middle of a bucket. */
static double bucket_us(unsigned i)
{
	unsigned shift = i < 128 ? 0 : i / 64 - 1;

	return ((double)((uint64_t)(i - shift * 64) << shift) + (double)(1ull << shift) / 2) / 1e3;
}

static void pods_late(struct pods *p, uint64_t ns)
{
	p->latencies[bucket_of(ns)]++;
	p->n_latencies++;
	if (ns > p->latency_max_ns)
		p->latency_max_ns = ns;
}

/* In microseconds. */
static double percentile(const struct pods *p, double share)
{
	uint64_t wanted = (uint64_t)(share * (double)p->n_latencies), seen = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		seen += p->latencies[i];
		if (seen > wanted)
			return bucket_us(i);
	}
	return 0;
}

#endif
