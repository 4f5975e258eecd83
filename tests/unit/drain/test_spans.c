/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Up to where a file is acknowledged: never beyond the beginning of a partial record that is still
 * open, whichever file that began in; and a file is not left behind before what began in it is out.
 */
#include "reader_world.h"

#include <errno.h>

#include "event/labels.h"

#define LINE(stream, tag, text) "2026-11-21T00:32:02.3Z " stream " " tag " " text "\n"
#define LEN(line)               (sizeof(line) - 1)

#define OUT_P  LINE("stdout", "P", "one ")
#define OUT_F  LINE("stdout", "F", "two")
#define ERR_P  LINE("stderr", "P", "err ")
#define ERR_F  LINE("stderr", "F", "end")
#define WHOLE  LINE("stdout", "F", "whole")
#define OTHERS LINE("stderr", "F", "other")

static void say(struct world *w, struct file *f, const char *lines)
{
	test_write(path_of(w, f), "a", lines);
	f->probe = true;
}

/* Reads what there is of f, and keeps the batch. */
static void read_on(struct world *w, struct file *f)
{
	enum read_outcome outcome;
	size_t bytes;

	do {
		assert_int_equal(reader_read(&w->reader, f, w->batch, FILL, &outcome, &bytes), 0);
		assert_int_not_equal(outcome, READ_FULL);
	} while (outcome == READ_MORE);
	check_batch(w);
}

/* What was read before keeps what was known then; a partial that goes on gets what is known now. */
static void labels_that_change_begin_a_span(void **state)
{
	struct labels *one = labels_new("1", 1), *two = labels_new("2", 1);
	struct world *w = *state;
	const struct span *s = w->batch->spans;
	char out[100] = "";

	assert_true(one && two);
	say(w, w->file, WHOLE OTHERS);
	read_on(w, w->file);
	say(w, w->file, WHOLE);
	read_on(w, w->file);
	assert_int_equal(w->batch->n_spans, 1);
	w->chain.labels = one;
	say(w, w->file, WHOLE OUT_P);
	read_on(w, w->file);
	assert_int_equal(w->batch->n_spans, 2);
	w->chain.labels = two;
	say(w, w->file, OUT_F);
	read_on(w, w->file);
	say(w, w->file, WHOLE);
	read_on(w, w->file);
	assert_int_equal(w->batch->n_spans, 3);
	assert_true(!s[0].labels && s[0].count == 3);
	assert_true(s[1].labels == one && s[1].count == 1);
	assert_true(s[2].labels == two && s[2].count == 2);
	assert_int_equal(atomic_load(&one->refs), 2);
	w->chain.labels = NULL;
	labels_unref(one);
	labels_unref(two);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|other|whole|whole|one two|whole|");
	assert_int_equal(settled_at(w->file), w->file->offset);
}

static void acknowledged_up_to_the_open_partial(void **state)
{
	struct world *w = *state;
	char out[100] = "";

	say(w, w->file, WHOLE OUT_P OTHERS);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|other|");
	assert_int_equal(w->file->offset, LEN(WHOLE OUT_P OTHERS));
	assert_int_equal(settled_at(w->file), LEN(WHOLE));
	assert_int_equal(w->file->inflight, 1);
	say(w, w->file, OUT_P OTHERS); /* goes on: its beginning stays */
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(w->file), LEN(WHOLE));
	say(w, w->file, OUT_F);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|other|other|one one two|");
	assert_int_equal(settled_at(w->file), w->file->offset);
	assert_int_equal(w->file->inflight, 0);
}

static void begun_and_ended_in_one_batch_is_acknowledged_at_once(void **state)
{
	struct world *w = *state;
	char out[100] = "";

	say(w, w->file, OUT_P ERR_P OUT_F ERR_F WHOLE);
	read_on(w, w->file);
	assert_int_equal(w->batch->n_spans, 1);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "one two|err end|whole|");
	assert_int_equal(settled_at(w->file), w->file->offset);
	assert_int_equal(w->file->inflight, 0);
}

static void the_first_of_several_open_partials_counts(void **state)
{
	struct world *w = *state;
	char out[100] = "";

	say(w, w->file, WHOLE ERR_P OUT_P);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(w->file), LEN(WHOLE));
	say(w, w->file, ERR_F);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(w->file), LEN(WHOLE ERR_P));
	say(w, w->file, ERR_P OUT_F); /* one ends where another has begun */
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(w->file), LEN(WHOLE ERR_P OUT_P ERR_F));
	say(w, w->file, ERR_F);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(w->file), w->file->offset);
	assert_string_equal(out, "whole|err end|one two|err end|");
}

/* The span that settles f: nothing in it, up to the end. */
static const struct span *settled(const struct world *w, const struct file *f)
{
	const struct span *found = NULL;

	for (uint32_t i = 0; i < w->batch->n_spans; i++)
		if (w->batch->spans[i].file == f)
			found = &w->batch->spans[i];
	return found;
}

static void the_first_file_is_settled_with_the_end_in_its_successor(void **state)
{
	struct world *w = *state;
	struct file *old = &w->files[0], *new = &w->files[1];
	char out[100] = "";
	const struct span *s;

	say(w, old, WHOLE OUT_P);
	read_on(w, old);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(old), LEN(WHOLE));
	assert_int_equal(old->inflight, 1);
	say(w, new, OTHERS);
	read_on(w, new);
	assert_null(settled(w, old));
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(new), LEN(OTHERS));
	say(w, new, OTHERS OUT_F WHOLE);
	read_on(w, new);
	s = settled(w, old);
	assert_non_null(s);
	assert_int_equal(s->count, 0);
	assert_int_equal(s->read_bytes, 0);
	assert_int_equal(span_since(s), LEN(WHOLE OUT_P));
	assert_true(old->inflight > 0); /* until the batch is acknowledged */
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|other|other|one two|whole|");
	assert_int_equal(settled_at(old), old->offset);
	assert_int_equal(settled_at(new), new->offset);
	assert_int_equal(old->inflight, 0);
	assert_int_equal(new->inflight, 0);
}

static void each_stream_settles_the_file_it_began_in(void **state)
{
	struct world *w = *state;
	struct file *a = &w->files[0], *b = &w->files[1], *c = &w->files[2];
	char out[100] = "";

	say(w, a, WHOLE OUT_P ERR_P);
	read_on(w, a);
	take_records(w, out, sizeof(out));
	say(w, b, OUT_F);
	read_on(w, b);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(a), LEN(WHOLE OUT_P)); /* stderr is still open */
	assert_int_equal(a->inflight, 1);
	assert_int_equal(b->inflight, 0);
	say(w, b, OUT_P);
	read_on(w, b);
	take_records(w, out, sizeof(out));
	say(w, c, ERR_F OUT_F WHOLE); /* three files in one batch */
	read_on(w, c);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|one two|err end|one two|whole|");
	for (int i = 0; i < GENERATIONS; i++) {
		assert_int_equal(settled_at(&w->files[i]), w->files[i].offset);
		assert_int_equal(w->files[i].inflight, 0);
	}
}

static void a_record_may_run_through_a_whole_generation(void **state)
{
	struct world *w = *state;
	char out[100] = "";

	say(w, &w->files[0], OUT_P);
	say(w, &w->files[1], OUT_P OUT_P);
	say(w, &w->files[2], OUT_F);
	for (int i = 0; i < GENERATIONS; i++)
		read_on(w, &w->files[i]);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "one one one two|");
	for (int i = 0; i < GENERATIONS; i++) {
		assert_int_equal(settled_at(&w->files[i]), w->files[i].offset);
		assert_int_equal(w->files[i].inflight, 0);
	}
}

static void a_flushed_partial_settles_its_file(void **state)
{
	struct world *w = *state;
	struct file *old = &w->files[0], *new = &w->files[1];
	char out[100] = "";

	say(w, old, WHOLE OUT_P ERR_P);
	say(w, new, OTHERS "{torn");
	read_on(w, old);
	read_on(w, new);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|err other|");
	assert_int_equal(settled_at(old), LEN(WHOLE));
	assert_int_equal(reader_flush_joins(&w->reader, &w->chain, w->batch, new, false), 0);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|err other|one |");
	assert_int_equal(settled_at(old), old->offset);
	assert_int_equal(old->inflight, 0);
	assert_int_equal(new->inflight, 0);
	assert_int_equal(settled_at(new), LEN(OTHERS));
}

static void only_what_began_in_a_nameless_file_is_flushed_on_demand(void **state)
{
	struct world *w = *state;
	struct file *old = &w->files[0], *new = &w->files[1];
	char out[100] = "";

	old->path = NULL;
	new->path = w->path;
	say(w, old, OUT_P);
	say(w, new, ERR_P);
	read_on(w, old);
	read_on(w, new);
	assert_int_equal(reader_flush_joins(&w->reader, &w->chain, w->batch, old, true), 0);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "one |");
	assert_int_equal(settled_at(old), old->offset);
	assert_int_equal(settled_at(new), 0);
	new->path = NULL;
}

static void a_broken_partial_settles_its_file(void **state)
{
	struct world *w = *state;
	struct file *old = &w->files[0], *new = &w->files[1];
	char out[100] = "";

	say(w, old, WHOLE OUT_P);
	read_on(w, old);
	take_records(w, out, sizeof(out));
	chain_break_joins(&w->chain, true);
	say(w, new, OTHERS OUT_P OTHERS);
	read_on(w, new);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|other|one  cut|other|");
	assert_int_equal(settled_at(old), old->offset);
	assert_int_equal(old->inflight, 0);
	assert_int_equal(settled_at(new), LEN(OTHERS)); /* another one has begun there */
	say(w, new, OUT_F);
	read_on(w, new);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|other|one  cut|other|one two|");
	assert_int_equal(settled_at(new), new->offset);
}

/* Fills the batch with spans of a file that is not read, but for room ones. */
static void fill_spans(struct world *w, uint32_t room)
{
	struct file *f = &w->files[2];

	while (w->batch->n_spans < BATCH_SPANS - room) {
		w->batch->spans[w->batch->n_spans++] = (struct span){
			.source = source_ref(f->source), .file = f, .first = w->batch->n_records};
		f->inflight++;
	}
}

/* Hands the batch on as often as it is said to be full. */
static void read_through(struct world *w, struct file *f, char *out, size_t size)
{
	enum read_outcome outcome;
	unsigned turns = 0;
	size_t bytes;

	do {
		assert_int_equal(reader_read(&w->reader, f, w->batch, FILL, &outcome, &bytes), 0);
		check_batch(w);
		if (outcome == READ_FULL)
			take_records(w, out, size);
		assert_in_range(++turns, 1, 10);
	} while (outcome != READ_END);
	take_records(w, out, size);
}

static void the_span_limit_falls_anywhere(void **state)
{
	struct world *w = *state;
	struct file *old = &w->files[0], *new = &w->files[1];
	char out[100];

	for (uint32_t room = 0; room <= 7; room++) {
		out[0] = '\0';
		say(w, old, WHOLE OUT_P ERR_P);
		read_on(w, old);
		take_records(w, out, sizeof(out));
		fill_spans(w, room);
		say(w, new, OTHERS OUT_F OUT_P OUT_F WHOLE);
		read_through(w, new, out, sizeof(out));
		assert_string_equal(out, "whole|err other|one two|one two|whole|");
		assert_int_equal(settled_at(old), old->offset);
		assert_int_equal(settled_at(new), new->offset);
		assert_int_equal(old->inflight + new->inflight, 0);
	}
}

static void the_span_limit_falls_anywhere_in_a_flush(void **state)
{
	struct world *w = *state;
	struct file *old = &w->files[0], *new = &w->files[1];
	char out[100];

	for (uint32_t room = 0; room <= 9; room++) {
		out[0] = '\0';
		say(w, old, OUT_P ERR_P);
		read_on(w, old);
		take_records(w, out, sizeof(out));
		fill_spans(w, room);
		for (int i = 0; i < 10; i++) {
			int r = reader_flush_joins(&w->reader, &w->chain, w->batch, new, false);

			check_batch(w);
			take_records(w, out, sizeof(out));
			if (r == 0)
				break;
			assert_int_equal(r, -ENOBUFS);
		}
		assert_string_equal(out, "one |err |");
		assert_int_equal(settled_at(old), old->offset);
		assert_int_equal(old->inflight + new->inflight, 0);
	}
}

static void the_record_limit_falls_anywhere(void **state)
{
	struct world *w = *state;
	struct file *old = &w->files[0], *new = &w->files[1];
	char out[100];

	for (uint32_t room = 0; room <= 5; room++) {
		static char line[] = "x";

		out[0] = '\0';
		say(w, old, WHOLE OUT_P);
		read_on(w, old);
		take_records(w, out, sizeof(out));
		chain_break_joins(&w->chain, true);
		fill_spans(w, BATCH_SPANS - 1);
		w->batch->spans[0].count = BATCH_RECORDS - room;
		for (w->batch->n_records = 0; w->batch->n_records < BATCH_RECORDS - room;)
			w->batch->records[w->batch->n_records++] = (struct record){
				.text = memcpy(w->batch->arena + w->batch->used, line, 1)};
		say(w, new, WHOLE OUT_F OTHERS);
		while (batch_full(w->batch) || w->batch->n_records > 10) {
			enum read_outcome outcome;
			size_t bytes;
			uint32_t before = BATCH_RECORDS - room;

			assert_int_equal(
				reader_read(&w->reader, new, w->batch, FILL, &outcome, &bytes), 0);
			check_batch(w);
			memmove(w->batch->records, w->batch->records + before,
				(w->batch->n_records - before) * sizeof(struct record));
			w->batch->n_records -= before; /* only those of the file are looked at */
			w->batch->spans[0].count = 0;
			for (uint32_t i = 1; i < w->batch->n_spans; i++)
				w->batch->spans[i].first -= before;
			take_records(w, out, sizeof(out));
		}
		read_through(w, new, out, sizeof(out));
		assert_string_equal(out, "whole|one  cut|whole|two|other|");
		assert_int_equal(settled_at(old), old->offset);
		assert_int_equal(settled_at(new), new->offset);
		assert_int_equal(old->inflight + new->inflight, 0);
	}
}

static void a_span_of_before_the_truncation_acknowledges_nothing_behind_it(void **state)
{
	struct world *w = *state;
	enum read_outcome outcome;
	char out[100] = "";
	size_t bytes;

	say(w, w->file, WHOLE WHOLE);
	read_on(w, w->file);
	assert_int_equal(w->batch->spans[0].epoch, 0);
	test_write(w->path, "w", OTHERS);
	assert_int_equal(reader_read(&w->reader, w->file, w->batch, FILL, &outcome, &bytes), 0);
	assert_int_equal(outcome, READ_TRUNCATED);
	assert_int_equal(w->file->epoch, 1);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(w->file), 0);
	read_on(w, w->file);
	assert_int_equal(w->batch->spans[0].epoch, 1);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|whole|other|");
	assert_int_equal(settled_at(w->file), LEN(OTHERS));
}

static void a_partial_that_was_cut_off_is_settled_with_what_follows(void **state)
{
	struct world *w = *state;
	char out[100] = "";

	say(w, w->file, WHOLE OUT_P);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	w->file->sure = w->file->offset + 1; /* a byte of it was never read */
	test_write(w->path, "w", OTHERS);
	assert_int_equal(read_all(w, NULL, 0), READ_TRUNCATED);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_int_equal(settled_at(w->file), 0); /* its text is not out yet */
	say(w, w->file, OUT_F);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|other|one  cut|two|");
	assert_int_equal(settled_at(w->file), w->file->offset);
	assert_int_equal(w->file->inflight, 0);
}

/* Both contents in one batch. */
static void what_is_read_behind_a_truncation_is_acknowledged(void **state)
{
	struct world *w = *state;
	enum read_outcome outcome;
	char out[100] = "";
	size_t bytes;

	say(w, w->file, WHOLE WHOLE);
	read_on(w, w->file);
	test_write(w->path, "w", OTHERS);
	assert_int_equal(reader_read(&w->reader, w->file, w->batch, FILL, &outcome, &bytes), 0);
	assert_int_equal(outcome, READ_TRUNCATED);
	read_on(w, w->file);
	take_records(w, out, sizeof(out));
	assert_string_equal(out, "whole|whole|other|");
	assert_int_equal(settled_at(w->file), LEN(OTHERS));
}

/* The budget is used up: in one file, and across two; begun anew, or given out at once. */
static void a_forced_partial_settles_its_file(void **state)
{
	struct world *w = *state;
	char line[800] = LINE("stdout", "P", ""), out[1000];
	size_t head = strlen(line) - 1;

	memset(line + head, 'x', 600);
	strcpy(line + head + 600, "\n");
	for (uint64_t max = 100; max <= 1900; max += 100) {
		struct file *old = &w->files[0], *new = &w->files[1];

		w->budget.max_bytes = max;
		out[0] = '\0';
		say(w, old, line);
		read_on(w, old);
		take_records(w, out, sizeof(out));
		say(w, old, line);
		read_on(w, old);
		take_records(w, out, sizeof(out));
		say(w, new, line);
		read_on(w, new);
		take_records(w, out, sizeof(out));
		say(w, new, OUT_F);
		read_on(w, new);
		take_records(w, out, sizeof(out));
		assert_int_equal(settled_at(old), old->offset);
		assert_int_equal(settled_at(new), new->offset);
		assert_int_equal(old->inflight + new->inflight, 0);
	}
	assert_true(w->budget.forced_records > 0);
}

static const struct CMUnitTest tests[] = {
	T(what_is_read_behind_a_truncation_is_acknowledged),
	T(a_forced_partial_settles_its_file),
	T(labels_that_change_begin_a_span),
	T(acknowledged_up_to_the_open_partial),
	T(begun_and_ended_in_one_batch_is_acknowledged_at_once),
	T(the_first_of_several_open_partials_counts),
	T(the_first_file_is_settled_with_the_end_in_its_successor),
	T(each_stream_settles_the_file_it_began_in),
	T(a_record_may_run_through_a_whole_generation),
	T(a_flushed_partial_settles_its_file),
	T(only_what_began_in_a_nameless_file_is_flushed_on_demand),
	T(a_broken_partial_settles_its_file),
	T(the_span_limit_falls_anywhere),
	T(the_span_limit_falls_anywhere_in_a_flush),
	T(the_record_limit_falls_anywhere),
	T(a_span_of_before_the_truncation_acknowledges_nothing_behind_it),
	T(a_partial_that_was_cut_off_is_settled_with_what_follows),
};
RUN_TESTS(tests)
