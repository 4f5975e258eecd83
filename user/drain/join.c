/* SPDX-License-Identifier: Apache-2.0 */
/*
 *                 whole piece: its slice becomes the record
 *                   +------+
 *                   v      |
 *   piece P ----> empty ---+
 *     |             ^
 *     v             | F: text moves into the batch, with the first piece's time behind it
 *   begun ----------+
 *     ^  | P: text grows, at most to line_max; beyond that it only counts what it drops
 *     +--+
 *
 * Every call first finds out whether the batch has room and whether the memory is there, and only
 * then changes anything, so that -ENOBUFS and -ENOMEM can simply be tried again.
 *
 * The budget is about texts that are held with no end in sight, so the piece that ends a record is
 * never refused: what it adds leaves with the batch, which counts it (extra_bytes, batch_full).
 * Rejected: copying the joined text into the arena, which would have to be kept free for it.
 */
#include "drain/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "drain/decode.h"
#include "output/batch.h"

#define TEXT_CAP_MIN 512u
#define TIME_MAX     64u

/* What a text of cap bytes costs, the time behind it included. */
static uint64_t text_bytes(uint32_t cap)
{
	return sizeof(struct batch_extra) + cap + TIME_MAX;
}

/* Space for needed bytes, with room to grow to at most most. */
static uint32_t text_cap(uint32_t needed, uint32_t most)
{
	uint32_t cap = MAX(needed, TEXT_CAP_MIN / 2);

	return cap > most / 2 ? MAX(needed, most) : cap * 2;
}

static uint32_t kept_length(const struct join *j, const struct join_budget *budget,
			    uint32_t piece_len)
{
	uint64_t len = (j->text ? j->text->len : 0) + (uint64_t)piece_len;

	return (uint32_t)MIN(len, (uint64_t)budget->line_max);
}

static bool batch_has_room(const struct batch *b, unsigned records, uint64_t extra)
{
	if (b->n_records + records > BATCH_RECORDS)
		return false;
	return !extra || !b->extra_bytes || b->extra_bytes + extra <= b->fill_bytes;
}

/* Room was checked. */
static void slice_emit(struct join_budget *budget, const struct decoded *d, bool cut, bool forced,
		       struct batch *b)
{
	struct record *r = batch_next(b);
	uint32_t len = MIN(d->text_len, budget->line_max);

	cut = cut || len < d->text_len;
	budget->cut_bytes += d->text_len - len;
	budget->cut_records += cut;
	*r = (struct record){
		.text = d->text,
		.time = d->time,
		.text_len = len,
		.time_len = d->time_len,
		.stream = d->stream,
		.flags = cut || forced ? RECORD_TRUNCATED : 0,
	};
	batch_commit(b);
}

/* Room was checked. */
static void text_emit(struct join *j, struct join_budget *budget, bool forced, struct batch *b)
{
	struct batch_extra *text = take_ptr(j->text);
	struct record *r = batch_next(b);

	memmove(text->data + text->len, text->data + j->cap, j->time_len);
	*r = (struct record){
		.text = text->data,
		.time = j->time_len ? text->data + text->len : NULL,
		.text_len = (uint32_t)text->len,
		.time_len = j->time_len,
		.stream = j->stream,
		.flags = j->cut || forced ? RECORD_TRUNCATED : 0,
	};
	batch_commit(b);
	text->next = b->extra;
	b->extra = text;
	b->extra_bytes += text_bytes(j->cap);
	budget->held_bytes -= text_bytes(j->cap);
	budget->cut_records += j->cut;
	j->cap = 0;
	j->cut = false;
}

static int text_grow(struct join *j, struct join_budget *budget, uint32_t cap)
{
	struct batch_extra *text = realloc(j->text, text_bytes(cap));

	if (!text)
		return -ENOMEM;
	budget->held_bytes += text_bytes(cap);
	if (j->text) {
		budget->held_bytes -= text_bytes(j->cap);
		memmove(text->data + cap, text->data + j->cap, j->time_len);
	} else {
		text->len = 0;
	}
	j->text = text;
	j->cap = cap;
	return 0;
}

static void text_append(struct join *j, struct join_budget *budget, const struct decoded *d,
			bool cut)
{
	uint32_t kept = MIN(d->text_len, j->cap - (uint32_t)j->text->len);

	kept = MIN(kept, budget->line_max - (uint32_t)j->text->len);
	memcpy(j->text->data + j->text->len, d->text, kept);
	j->text->len += kept;
	j->cut = j->cut || cut || kept < d->text_len;
	budget->cut_bytes += d->text_len - kept;
}

static void text_begin(struct join *j, const struct decoded *d)
{
	j->cut = j->broken = false;
	j->fresh = true;
	j->stream = d->stream;
	j->time_len = (uint8_t)MIN(d->time_len, TIME_MAX);
	if (j->time_len)
		memcpy(j->text->data + j->cap, d->time, j->time_len);
}

static int join_end(struct join *j, struct join_budget *budget, const struct decoded *d, bool cut,
		    struct batch *b)
{
	uint32_t needed = kept_length(j, budget, d->text_len);
	int r = 0;

	if (!batch_has_room(b, 1, text_bytes(MAX(needed, j->cap))))
		return -ENOBUFS;
	if (needed > j->cap)
		r = text_grow(j, budget, needed);
	if (r < 0)
		return r;
	text_append(j, budget, d, cut);
	text_emit(j, budget, false, b);
	return 0;
}

/* The budget is used up: what was begun leaves now, and the piece begins anew where that fits. */
static int join_force(struct join *j, struct join_budget *budget, const struct decoded *d, bool cut,
		      struct batch *b)
{
	uint64_t freed = j->text ? text_bytes(j->cap) : 0;
	uint32_t cap = MIN(d->text_len, budget->line_max);
	bool fits = budget->held_bytes - freed + text_bytes(cap) <= budget->max_bytes;
	struct join next = {.file = j->file, .start = j->start}; /* the caller's */
	int r;

	if (!batch_has_room(b, (j->text ? 1 : 0) + (fits ? 0 : 1), freed))
		return -ENOBUFS;
	if (fits) {
		r = text_grow(&next, budget, cap);
		if (r < 0)
			return r;
		text_begin(&next, d);
		text_append(&next, budget, d, cut);
	}
	if (j->text) {
		text_emit(j, budget, true, b);
		budget->forced_records++;
	}
	if (!fits) {
		slice_emit(budget, d, cut, true, b);
		budget->forced_records++;
	}
	*j = next;
	return 0;
}

static int join_keep(struct join *j, struct join_budget *budget, const struct decoded *d, bool cut,
		     struct batch *b)
{
	uint32_t needed = kept_length(j, budget, d->text_len);
	bool begun = j->text;
	int r;

	if (!begun || needed > j->cap) {
		uint64_t held = budget->held_bytes - (begun ? text_bytes(j->cap) : 0);
		uint32_t cap = text_cap(needed, budget->line_max);

		if (held + text_bytes(cap) > budget->max_bytes)
			cap = needed;
		if (held + text_bytes(cap) > budget->max_bytes)
			return join_force(j, budget, d, cut, b);
		r = text_grow(j, budget, cap);
		if (r < 0)
			return r;
	}
	if (!begun)
		text_begin(j, d);
	text_append(j, budget, d, cut);
	return 0;
}

int join_add(struct join *j, struct join_budget *budget, const struct decoded *d, bool cut,
	     struct batch *b)
{
	if (j->text && j->broken) {
		int r = join_flush(j, budget, b);

		if (r < 0)
			return r;
	}
	if (d->partial)
		return join_keep(j, budget, d, cut, b);
	if (j->text)
		return join_end(j, budget, d, cut, b);
	if (!batch_has_room(b, 1, 0))
		return -ENOBUFS;
	slice_emit(budget, d, cut, false, b);
	return 0;
}

int join_flush(struct join *j, struct join_budget *budget, struct batch *b)
{
	if (!j->text)
		return 0;
	if (!batch_has_room(b, 1, text_bytes(j->cap)))
		return -ENOBUFS;
	text_emit(j, budget, j->broken, b);
	return 0;
}

bool join_pending(const struct join *j)
{
	return j->text;
}

void join_done(struct join *j, struct join_budget *budget)
{
	if (j->text)
		budget->held_bytes -= text_bytes(j->cap);
	free(j->text);
	*j = (struct join){0};
}
