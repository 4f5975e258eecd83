/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: line_max, budget, room in the batch, then pieces of two bytes (flags, length). What was
 * put in and what came out are kept per stream: nothing is lost but what cut_bytes says, nothing
 * comes twice or in another order, the budget holds, and a refused piece changes nothing.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "drain/decode.h"
#include "drain/join.h"
#include "output/batch.h"

const char *const fuzz_words[] = {"\x01\xff", "\x01\x10", "\x02\x40", "\x03\x20",
				  "\x04\x05", "\x05",     "\x11\x01", "\x21\x7f"};
const size_t fuzz_n_words = ARRAY_SIZE(fuzz_words);

struct flow {
	struct join join;
	struct buf in, out;
	uint64_t model_len; /* of the record begun, were it not cut */
};

#define LETTERS 89

static char letters[LETTERS + 2048]; /* what the pieces are cut from, one behind the other */
static struct batch *b;
static uint32_t base; /* records before it are only there to fill the batch */

static void collect(struct flow *flows, const struct join_budget *budget)
{
	for (uint32_t i = base; i < b->n_records; i++) {
		const struct record *r = &b->records[i];
		struct flow *f = &flows[r->stream];

		CHECK(r->text_len <= budget->line_max);
		CHECK(r->time_len == 4 && memcmp(r->time, "TIME", 4) == 0);
		CHECK(buf_add(&f->out, r->text, r->text_len) == 0);
	}
	batch_reset(b);
	b->n_records = base;
}

static void add(struct flow *flows, struct join_budget *budget, const struct decoded *d, bool cut)
{
	struct flow *f = &flows[d->stream];
	struct join_budget before = *budget;
	uint32_t records = b->n_records;
	int r = join_add(&f->join, budget, d, cut, b);

	if (r == -ENOBUFS) {
		CHECK(memcmp(budget, &before, sizeof(before)) == 0 && b->n_records == records);
		collect(flows, budget);
		r = join_add(&f->join, budget, d, cut, b);
	}
	CHECK(r == 0);
	CHECK(buf_add(&f->in, d->text, d->text_len) == 0);
	CHECK(budget->held_bytes <= budget->max_bytes);
	CHECK(d->partial || !join_pending(&f->join));
	/* Where nothing is forced, what is cut is exactly what is beyond the limit. */
	f->model_len += d->text_len;
	if (!budget->forced_records) {
		uint64_t over = f->model_len - MIN(f->model_len, (uint64_t)budget->line_max);

		CHECK(budget->cut_bytes - before.cut_bytes == MIN(over, (uint64_t)d->text_len));
	}
	if (!d->partial)
		f->model_len = 0;
}

static void finish(struct flow *flows, struct join_budget *budget)
{
	uint64_t in = 0, out = 0;

	for (int i = 0; i < 3; i++) {
		struct flow *f = &flows[i];

		if (join_flush(&f->join, budget, b) < 0) {
			collect(flows, budget);
			CHECK(join_flush(&f->join, budget, b) == 0);
		}
		collect(flows, budget);
		in += f->in.len;
		out += f->out.len;
		/* Letters run through the alphabet: uncut, the order shows in the bytes. */
		if (!budget->cut_bytes && f->in.len)
			CHECK(f->in.len == f->out.len &&
			      memcmp(f->in.data, f->out.data, f->in.len) == 0);
		buf_done(&f->in);
		buf_done(&f->out);
		join_done(&f->join, budget);
	}
	CHECK(in == out + budget->cut_bytes);
	CHECK(budget->held_bytes == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct join_budget budget = {0};
	struct flow flows[3] = {0};
	uint64_t written = 0;

	if (len < 3)
		return 0;
	if (!b) {
		CHECK(batch_new(4096, 65536, &b) == 0);
		for (size_t i = 0; i < sizeof(letters); i++)
			letters[i] = (char)('!' + i % LETTERS);
	}
	budget.line_max = 1 + data[0] * 8u;
	budget.max_bytes = data[1] == 255 ? UINT32_MAX : data[1] * 32u;
	base = BATCH_RECORDS - 2 - data[2] % 8;
	b->n_records = base;
	for (size_t i = 3; i + 1 < len; i += 2) {
		uint32_t n = (uint32_t)data[i + 1] << (data[i] >> 4 & 3);
		struct decoded d = {.text = letters + written % LETTERS,
				    .text_len = n,
				    .time = "TIME",
				    .time_len = 4,
				    .stream = data[i] % 3,
				    .partial = data[i] & 4};

		written += n;
		add(flows, &budget, &d, data[i] & 8);
		if (data[i] & 0x40)
			collect(flows, &budget);
	}
	finish(flows, &budget);
	return 0;
}
