/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container's log and its generations, read into one batch at a time. Every batch is looked at
 * before it is handed on, and acknowledged as the collector does it: what must hold of any batch
 * (check_batch) holds in every test of the reader.
 */
#ifndef READER_WORLD_H
#define READER_WORLD_H

#include "test.h"

#include <fcntl.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/sys.h"
#include "drain/reader.h"
#include "event/source.h"
#include "files/file.h"
#include "output/batch.h"

enum { FILL = 64 * 1024, LINE_MAX_BYTES = 200 * 1024, GENERATIONS = 3 };

struct world {
	char *dir, path[160]; /* path: of the first generation */
	struct chain chain;
	struct file files[GENERATIONS];
	struct file *file; /* the one that read_all reads */
	struct batch *batch;
	struct join_budget budget;
	struct reader reader;
	uint64_t acked_bytes, acked_records;
};

static inline char *path_of(const struct world *w, const struct file *f)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%d.log", w->dir, (int)(f - w->files));
	return path;
}

static inline int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->dir = test_dir_make();
	w->budget = (struct join_budget){.max_bytes = 1 << 20, .line_max = LINE_MAX_BYTES};
	w->reader = (struct reader){.line_max = LINE_MAX_BYTES, .budget = &w->budget};
	list_init(&w->chain.queue);
	for (int i = 0; i < GENERATIONS; i++) {
		struct file *f = &w->files[i];

		f->chain = &w->chain;
		f->slot = f->wd = -1;
		f->fd = open(path_of(w, f), O_RDONLY | O_CREAT, 0600);
		assert_true(f->fd >= 0);
		assert_int_equal(source_new(path_of(w, f), &f->source), 0);
	}
	w->file = w->files;
	snprintf(w->path, sizeof(w->path), "%s", path_of(w, w->file));
	assert_int_equal(batch_new(FILL, reader_longest_line(LINE_MAX_BYTES), &w->batch), 0);
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	batch_free(w->batch);
	for (size_t i = 0; i < w->chain.n_joins; i++)
		join_done(&w->chain.joins[i], &w->budget);
	free(w->chain.joins);
	free(w->chain.cut);
	assert_int_equal(w->budget.held_bytes, 0);
	for (int i = 0; i < GENERATIONS; i++) {
		source_unref(w->files[i].source);
		close(w->files[i].fd);
	}
	test_dir_remove(w->dir);
	free(w);
	return 0;
}

static inline bool owned_by(const struct batch *b, const char *text, size_t len)
{
	if (text >= b->arena && text + len <= b->arena + b->cap)
		return true;
	for (const struct batch_extra *e = b->extra; e; e = e->next)
		if (text >= e->data && text + len <= e->data + e->len)
			return true;
	return false;
}

/* Where the first record begins that was begun in f and is still open; f's offset: none is. */
static inline uint64_t open_since(const struct file *f)
{
	uint64_t at = f->offset;

	for (size_t i = 0; i < f->chain->n_joins; i++)
		if (f->chain->joins[i].file == f)
			at = MIN(at, f->chain->joins[i].start);
	return at;
}

/* What a span says is settled: nothing that is open lies before it. */
static inline uint64_t span_since(const struct span *s)
{
	uint64_t at = s->end_offset;

	for (size_t i = 0; i < ARRAY_SIZE(s->open); i++)
		at = s->open[i] ? MIN(at, s->open[i] - 1) : at;
	return at;
}

/* From where f would be read again. */
static inline uint64_t settled_at(const struct file *f)
{
	uint64_t at = f->acked;

	for (size_t i = 0; i < ARRAY_SIZE(f->open); i++)
		at = f->open[i] ? MIN(at, f->open[i] - 1) : at;
	return at;
}

/* Sinks and records begun refer to a file as often as it says, and never to one that is free. */
static inline void check_references(const struct world *w)
{
	const struct batch *b = w->batch;

	for (int i = 0; i < GENERATIONS; i++) {
		const struct file *f = &w->files[i];
		unsigned n = 0;

		for (uint32_t s = 0; s < b->n_spans; s++)
			n += b->spans[s].file == f;
		for (size_t j = 0; j < w->chain.n_joins; j++)
			n += w->chain.joins[j].file == f;
		assert_int_equal(f->inflight, n);
	}
	for (size_t j = 0; j < w->chain.n_joins; j++)
		assert_true(w->chain.joins[j].file || !join_pending(&w->chain.joins[j]));
}

/*
 * The spans, one after the other, cover the records exactly; none reaches beyond the beginning of a
 * record that is still open; records point into the batch; who is referred to is held.
 */
static inline void check_batch(const struct world *w)
{
	const struct batch *b = w->batch;
	uint32_t at = 0;

	assert_in_range(b->n_spans, 0, BATCH_SPANS);
	assert_in_range(b->n_records, 0, BATCH_RECORDS);
	assert_true(b->used <= b->cap);
	for (uint32_t i = 0; i < b->n_spans; i++) {
		const struct span *s = &b->spans[i];

		assert_int_equal(s->first, at);
		at += s->count;
		assert_ptr_equal(s->source, s->file->source);
		assert_true(s->epoch <= s->file->epoch);
		if (s->epoch == s->file->epoch)
			assert_true(span_since(s) <= open_since(s->file));
	}
	assert_int_equal(at, b->n_records);
	for (uint32_t i = 0; i < b->n_records; i++)
		assert_true(owned_by(b, b->records[i].text, b->records[i].text_len));
	check_references(w);
}

/* Every sink has the batch: what the collector does with its acknowledgement. */
static inline void ack(struct world *w)
{
	check_batch(w);
	for (uint32_t i = 0; i < w->batch->n_spans; i++) {
		const struct span *s = &w->batch->spans[i];
		struct file *f = s->file;

		if (s->epoch == f->epoch && s->end_offset >= f->acked) {
			f->acked = s->end_offset;
			memcpy(f->open, s->open, sizeof(f->open));
		}
		w->acked_bytes += s->read_bytes;
		w->acked_records += s->count;
		f->inflight--;
	}
	batch_reset(w->batch);
	check_references(w);
	assert_int_equal(w->acked_bytes, w->chain.tally.read_bytes);
}

/* Appends every record's text and a '|' to out, and hands the batch on. */
static inline void take_records(struct world *w, char *out, size_t size)
{
	size_t at = size ? strlen(out) : 0;

	for (uint32_t i = 0; size && i < w->batch->n_records; i++) {
		const struct record *r = &w->batch->records[i];
		const char *cut = r->flags & RECORD_TRUNCATED ? " cut" : "";

		if (r->text_len > 100)
			at += (size_t)snprintf(out + at, size - at, "%.3s..%u%s|", r->text,
					       r->text_len, cut);
		else
			at += (size_t)snprintf(out + at, size - at, "%.*s%s|", (int)r->text_len,
					       r->text, cut);
		assert_true(at < size);
	}
	ack(w);
}

/* Reads w->file until nothing comes; out is what it gave. */
static inline enum read_outcome read_all(struct world *w, char *out, size_t size)
{
	enum read_outcome outcome;
	size_t bytes;

	if (size)
		out[0] = '\0';
	do {
		assert_int_equal(reader_read(&w->reader, w->file, w->batch, FILL, &outcome, &bytes),
				 0);
		take_records(w, out, size);
	} while (outcome == READ_MORE || outcome == READ_FULL);
	return outcome;
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
