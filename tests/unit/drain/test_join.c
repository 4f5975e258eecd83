/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "drain/decode.h"
#include "drain/join.h"
#include "output/batch.h"

#define LINE_MAX_BYTES 1024

struct world {
	struct batch *b;
	struct join out, err;
	struct join_budget budget;
};

static int world_new(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	assert_int_equal(batch_new(65536, 65536, &w->b), 0);
	w->budget.max_bytes = 1 << 20;
	w->budget.line_max = LINE_MAX_BYTES;
	*state = w;
	return 0;
}

/* Whatever a test did, nothing stays held. */
static int world_free(void **state)
{
	struct world *w = *state;

	join_done(&w->out, &w->budget);
	join_done(&w->err, &w->budget);
	assert_int_equal(w->budget.held_bytes, 0);
	batch_free(w->b);
	free(w);
	return 0;
}

static struct decoded piece(const char *text, const char *time, bool partial)
{
	return (struct decoded){
		.text = text,
		.text_len = (uint32_t)strlen(text),
		.time = time,
		.time_len = (uint8_t)(time ? strlen(time) : 0),
		.stream = STREAM_STDOUT,
		.partial = partial,
	};
}

static int add(struct world *w, const char *text, bool partial)
{
	struct decoded d = piece(text, "2026-11-21T00:00:00Z", partial);

	return join_add(&w->out, &w->budget, &d, false, w->b);
}

static void check_record(const struct world *w, uint32_t at, const char *text, uint8_t flags)
{
	const struct record *r = &w->b->records[at];

	assert_true(at < w->b->n_records);
	assert_int_equal(r->text_len, strlen(text));
	assert_memory_equal(r->text, text, r->text_len);
	assert_int_equal(r->flags, flags);
}

static void whole_line_is_a_slice(void **state)
{
	struct world *w = *state;
	struct decoded d = piece("text", "T", false);

	assert_int_equal(join_add(&w->out, &w->budget, &d, false, w->b), 0);
	assert_ptr_equal(w->b->records[0].text, d.text);
	assert_ptr_equal(w->b->records[0].time, d.time);
	assert_int_equal(w->b->records[0].stream, STREAM_STDOUT);
	assert_null(w->b->extra);
	check_record(w, 0, "text", 0);
}

static void pieces_join_with_the_first_time(void **state)
{
	struct world *w = *state;
	struct decoded first = piece("one ", "FIRST", true), last = piece("three", "LAST", false);

	assert_int_equal(join_add(&w->out, &w->budget, &first, false, w->b), 0);
	assert_true(join_pending(&w->out));
	assert_int_equal(add(w, "two ", true), 0);
	assert_int_equal(add(w, "", true), 0);
	assert_int_equal(w->b->n_records, 0);
	assert_int_equal(join_add(&w->out, &w->budget, &last, false, w->b), 0);
	assert_false(join_pending(&w->out));
	check_record(w, 0, "one two three", 0);
	assert_int_equal(w->b->records[0].time_len, 5);
	assert_memory_equal(w->b->records[0].time, "FIRST", 5);
	assert_int_equal(w->budget.held_bytes, 0);
	assert_true(w->b->extra_bytes >= 13);
	/* The join is used again while the batch still shows its text. */
	assert_int_equal(add(w, "next ", true), 0);
	assert_int_equal(add(w, "record", false), 0);
	check_record(w, 0, "one two three", 0);
	check_record(w, 1, "next record", 0);
	assert_memory_equal(w->b->records[0].time, "FIRST", 5);
}

static void empty_pieces_join(void **state)
{
	struct world *w = *state;
	struct decoded none = piece("", NULL, true);

	assert_int_equal(join_add(&w->out, &w->budget, &none, false, w->b), 0);
	assert_true(join_pending(&w->out));
	none.partial = false;
	assert_int_equal(join_add(&w->out, &w->budget, &none, false, w->b), 0);
	assert_int_equal(join_add(&w->out, &w->budget, &none, false, w->b), 0);
	assert_int_equal(add(w, "P", true), 0);
	assert_int_equal(add(w, "", false), 0);
	check_record(w, 0, "", 0);
	assert_null(w->b->records[0].time);
	check_record(w, 1, "", 0);
	check_record(w, 2, "P", 0);
}

static void streams_do_not_mix(void **state)
{
	static const struct {
		bool err, partial;
		const char *text;
	} lines[] = {
		{false, true, "out1 "}, {true, true, "err1 "},  {false, true, "out2 "},
		{true, false, "err2"},  {true, false, "whole"}, {false, false, "out3"},
	};
	struct world *w = *state;

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct decoded d = piece(lines[i].text, "T", lines[i].partial);

		d.stream = lines[i].err ? STREAM_STDERR : STREAM_STDOUT;
		assert_int_equal(
			join_add(lines[i].err ? &w->err : &w->out, &w->budget, &d, false, w->b), 0);
	}
	check_record(w, 0, "err1 err2", 0);
	check_record(w, 1, "whole", 0);
	check_record(w, 2, "out1 out2 out3", 0);
	assert_int_equal(w->b->records[0].stream, STREAM_STDERR);
	assert_int_equal(w->b->records[2].stream, STREAM_STDOUT);
}

static void record_survives_its_batch(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, "begun in one batch, ", true), 0);
	batch_reset(w->b);
	assert_int_equal(add(w, "ended in the next", false), 0);
	check_record(w, 0, "begun in one batch, ended in the next", 0);
}

static void line_max_cuts_across_pieces(void **state)
{
	struct world *w = *state;
	char hundred[101], expected[LINE_MAX_BYTES + 1];

	memset(hundred, 'x', 100);
	hundred[100] = '\0';
	memset(expected, 'x', LINE_MAX_BYTES);
	expected[LINE_MAX_BYTES] = '\0';
	for (int i = 0; i < 15; i++)
		assert_int_equal(add(w, hundred, true), 0);
	assert_true(w->budget.held_bytes < LINE_MAX_BYTES + 256);
	assert_int_equal(add(w, "end", false), 0);
	check_record(w, 0, expected, RECORD_TRUNCATED);
	assert_int_equal(w->budget.cut_records, 1);
	assert_int_equal(w->budget.cut_bytes, 1503 - LINE_MAX_BYTES);
	assert_int_equal(add(w, "the next line is whole", false), 0);
	check_record(w, 1, "the next line is whole", 0);
}

static void line_max_exactly_is_whole(void **state)
{
	struct world *w = *state;
	char text[LINE_MAX_BYTES + 2];

	memset(text, 'x', sizeof(text));
	text[LINE_MAX_BYTES] = '\0';
	assert_int_equal(add(w, text, false), 0);
	check_record(w, 0, text, 0);
	assert_int_equal(add(w, text, true), 0);
	assert_int_equal(add(w, "", false), 0);
	check_record(w, 1, text, 0);
	assert_int_equal(w->budget.cut_records, 0);
	text[LINE_MAX_BYTES] = 'x';
	text[LINE_MAX_BYTES + 1] = '\0';
	assert_int_equal(add(w, text, false), 0);
	assert_int_equal(w->b->records[2].text_len, LINE_MAX_BYTES);
	assert_int_equal(w->b->records[2].flags, RECORD_TRUNCATED);
	assert_int_equal(w->budget.cut_records, 1);
	assert_int_equal(w->budget.cut_bytes, 1);
}

static void cut_by_the_reader_is_marked(void **state)
{
	struct world *w = *state;
	struct decoded d = piece("physical line ", "T", false);

	assert_int_equal(join_add(&w->out, &w->budget, &d, true, w->b), 0);
	check_record(w, 0, "physical line ", RECORD_TRUNCATED);
	d.partial = true;
	assert_int_equal(join_add(&w->out, &w->budget, &d, true, w->b), 0);
	assert_int_equal(add(w, "goes on", false), 0);
	check_record(w, 1, "physical line goes on", RECORD_TRUNCATED);
	assert_int_equal(w->budget.cut_records, 2);
	assert_int_equal(w->budget.cut_bytes, 0);
}

/* Over the budget everything is delivered, in order, in more records than were written. */
static void budget_forces_records_out(void **state)
{
	struct world *w = *state;
	struct decoded d;
	char all[512] = "";
	int n = 0;

	w->budget.max_bytes = 700;
	d = piece("held by another stream", "T", true);
	assert_int_equal(join_add(&w->err, &w->budget, &d, false, w->b), 0);
	for (; n < 40; n++) {
		assert_int_equal(add(w, "0123456789", true), 0);
		assert_true(w->budget.held_bytes <= w->budget.max_bytes);
	}
	assert_int_equal(add(w, ".", false), 0);
	assert_true(w->b->n_records > 1);
	assert_true(w->budget.forced_records > 0);
	assert_int_equal(w->budget.cut_bytes, 0);
	for (uint32_t i = 0; i < w->b->n_records; i++) {
		const struct record *r = &w->b->records[i];

		assert_int_equal(r->flags, i + 1 < w->b->n_records ? RECORD_TRUNCATED : 0);
		strncat(all, r->text, r->text_len);
	}
	assert_int_equal(strlen(all), 401);
	for (int i = 0; i < 400; i++)
		assert_int_equal(all[i], '0' + i % 10);
	/* What the other one held is still there. */
	d = piece("!", "T", false);
	n = (int)w->b->n_records;
	assert_int_equal(join_add(&w->err, &w->budget, &d, false, w->b), 0);
	check_record(w, (uint32_t)n, "held by another stream!", 0);
}

static void no_budget_passes_pieces_through(void **state)
{
	struct world *w = *state;

	w->budget.max_bytes = 0;
	assert_int_equal(add(w, "a", true), 0);
	assert_false(join_pending(&w->out));
	assert_int_equal(add(w, "b", true), 0);
	assert_int_equal(add(w, "c", false), 0);
	check_record(w, 0, "a", RECORD_TRUNCATED);
	check_record(w, 1, "b", RECORD_TRUNCATED);
	check_record(w, 2, "c", 0);
	assert_int_equal(w->budget.forced_records, 2);
}

static void full_batch_changes_nothing(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, "begun ", true), 0);
	w->b->n_records = BATCH_RECORDS;
	assert_int_equal(add(w, "end", false), -ENOBUFS);
	assert_int_equal(add(w, "end", false), -ENOBUFS);
	assert_int_equal(join_flush(&w->out, &w->budget, w->b), -ENOBUFS);
	assert_int_equal(add(w, "more ", true), 0); /* needs no record */
	w->b->n_records = 0;
	assert_int_equal(add(w, "end", false), 0);
	check_record(w, 0, "begun more end", 0);

	w->b->n_records = BATCH_RECORDS;
	assert_int_equal(add(w, "slice", false), -ENOBUFS);
	w->b->n_records = 0;
	assert_int_equal(add(w, "slice", false), 0);
	check_record(w, 0, "slice", 0);
}

/* A forced record and the piece behind it need two places: one is not enough. */
static void full_batch_when_forced_changes_nothing(void **state)
{
	struct world *w = *state;
	uint64_t held;
	char big[900];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	w->budget.max_bytes = 800;
	assert_int_equal(add(w, "begun ", true), 0);
	held = w->budget.held_bytes;
	w->b->n_records = BATCH_RECORDS - 1;
	assert_int_equal(add(w, big, true), -ENOBUFS);
	assert_int_equal(w->b->n_records, BATCH_RECORDS - 1);
	assert_int_equal(w->budget.held_bytes, held);
	assert_int_equal(w->budget.forced_records, 0);
	w->b->n_records = 0;
	assert_int_equal(add(w, big, true), 0);
	check_record(w, 0, "begun ", RECORD_TRUNCATED);
	check_record(w, 1, big, RECORD_TRUNCATED);
}

/* Joined texts count against the batch, but an empty one takes any. */
static void extra_bytes_bound_the_batch(void **state)
{
	struct world *w = *state;
	char text[LINE_MAX_BYTES];
	int r = 0, n = 0;

	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	w->b->fill_bytes = 8192;
	for (; r == 0 && n < 100; n++) {
		assert_int_equal(add(w, text, true), 0);
		r = add(w, "e", false);
		assert_true(w->b->extra_bytes <= 8192);
	}
	assert_int_equal(r, -ENOBUFS);
	assert_true(n > 6 && n < 10);
	batch_reset(w->b);
	w->b->fill_bytes = 16;
	assert_int_equal(add(w, "e", false), 0);
	assert_int_equal(w->b->records[0].text_len, LINE_MAX_BYTES);
	assert_true(batch_full(w->b));
}

static void flush_emits_what_was_begun(void **state)
{
	struct world *w = *state;

	assert_int_equal(join_flush(&w->out, &w->budget, w->b), 0);
	assert_int_equal(w->b->n_records, 0);
	assert_int_equal(add(w, "a P that no F follows", true), 0);
	assert_int_equal(join_flush(&w->out, &w->budget, w->b), 0);
	assert_false(join_pending(&w->out));
	check_record(w, 0, "a P that no F follows", 0);
	assert_int_equal(join_flush(&w->out, &w->budget, w->b), 0);
	assert_int_equal(w->b->n_records, 1);
}

/* Bytes between were lost: whatever comes does not belong to what was begun. */
static void broken_record_is_given_out_as_it_is(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, "begun ", true), 0);
	w->out.broken = true;
	assert_int_equal(add(w, "the end of another", false), 0);
	assert_false(join_pending(&w->out));
	check_record(w, 0, "begun ", RECORD_TRUNCATED);
	check_record(w, 1, "the end of another", 0);
	assert_int_equal(w->b->n_records, 2);
	assert_int_equal(w->budget.held_bytes, 0);
	assert_int_equal(w->budget.cut_bytes, 0);
}

static void broken_record_is_followed_by_a_new_one(void **state)
{
	struct world *w = *state;
	struct decoded d = piece("anew ", "SECOND", true);

	assert_int_equal(add(w, "begun ", true), 0);
	w->out.broken = true;
	assert_int_equal(join_add(&w->out, &w->budget, &d, false, w->b), 0);
	check_record(w, 0, "begun ", RECORD_TRUNCATED);
	assert_int_equal(w->b->n_records, 1);
	assert_true(join_pending(&w->out));
	assert_false(w->out.broken); /* that was about the other */
	assert_int_equal(add(w, "and ended", false), 0);
	check_record(w, 1, "anew and ended", 0);
	assert_int_equal(w->b->records[1].time_len, 6);
	assert_memory_equal(w->b->records[1].time, "SECOND", 6);
}

static void broken_without_a_record_breaks_nothing(void **state)
{
	struct world *w = *state;

	w->out.broken = true;
	assert_int_equal(add(w, "whole", false), 0);
	check_record(w, 0, "whole", 0);
	w->out.broken = true;
	assert_int_equal(add(w, "begun ", true), 0);
	assert_int_equal(add(w, "ended", false), 0);
	check_record(w, 1, "begun ended", 0);
	assert_int_equal(w->b->n_records, 2);
}

static void broken_is_one_stream(void **state)
{
	struct world *w = *state;
	struct decoded d = piece("err", "T", false);

	assert_int_equal(add(w, "begun ", true), 0);
	w->err.broken = true;
	assert_int_equal(join_add(&w->err, &w->budget, &d, false, w->b), 0);
	assert_int_equal(add(w, "ended", false), 0);
	check_record(w, 0, "err", 0);
	check_record(w, 1, "begun ended", 0);
}

static void broken_record_is_marked_when_flushed(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, "begun ", true), 0);
	w->out.broken = true;
	assert_int_equal(join_flush(&w->out, &w->budget, w->b), 0);
	check_record(w, 0, "begun ", RECORD_TRUNCATED);
}

/* Nothing is given out twice, whichever of the two records the batch has no room for. */
static void broken_record_waits_for_room(void **state)
{
	struct world *w = *state;

	for (uint32_t room = 0; room <= 1; room++) {
		assert_int_equal(add(w, "begun ", true), 0);
		w->out.broken = true;
		w->b->n_records = BATCH_RECORDS - room;
		assert_int_equal(add(w, "whole", false), -ENOBUFS);
		assert_int_equal(add(w, "whole", false), -ENOBUFS);
		assert_int_equal(w->b->n_records, BATCH_RECORDS);
		if (room)
			check_record(w, BATCH_RECORDS - 1, "begun ", RECORD_TRUNCATED);
		w->b->n_records = 0;
		assert_int_equal(add(w, "whole", false), 0);
		if (!room)
			check_record(w, 0, "begun ", RECORD_TRUNCATED);
		check_record(w, !room, "whole", 0);
		assert_int_equal(w->b->n_records, 1 + !room);
		batch_reset(w->b);
	}
}

/* The caller notes where a record began: it must hear of each one, and of no other. */
static void fresh_tells_of_each_beginning(void **state)
{
	struct world *w = *state;

	assert_int_equal(add(w, "whole", false), 0);
	assert_false(w->out.fresh);
	assert_int_equal(add(w, "begun ", true), 0);
	assert_true(w->out.fresh);
	w->out.fresh = false;
	assert_int_equal(add(w, "goes on ", true), 0);
	assert_false(w->out.fresh);
	w->out.broken = true;
	assert_int_equal(add(w, "anew ", true), 0);
	assert_true(w->out.fresh);
	w->out.fresh = false;
	assert_int_equal(add(w, "ended", false), 0);
	assert_false(w->out.fresh);
	check_record(w, 1, "begun goes on ", RECORD_TRUNCATED);
	check_record(w, 2, "anew ended", 0);
}

static void fresh_tells_of_a_forced_beginning(void **state)
{
	struct world *w = *state;
	char text[500];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	w->budget.max_bytes = 700;
	assert_int_equal(add(w, text, true), 0);
	w->out.fresh = false;
	assert_int_equal(add(w, text, true), 0);
	check_record(w, 0, text, RECORD_TRUNCATED);
	assert_true(join_pending(&w->out));
	assert_true(w->out.fresh);
	assert_int_equal(w->budget.forced_records, 1);
}

#define WORLD_TEST(f) cmocka_unit_test_setup_teardown(f, world_new, world_free)

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(whole_line_is_a_slice),
		WORLD_TEST(pieces_join_with_the_first_time),
		WORLD_TEST(empty_pieces_join),
		WORLD_TEST(streams_do_not_mix),
		WORLD_TEST(record_survives_its_batch),
		WORLD_TEST(line_max_cuts_across_pieces),
		WORLD_TEST(line_max_exactly_is_whole),
		WORLD_TEST(cut_by_the_reader_is_marked),
		WORLD_TEST(budget_forces_records_out),
		WORLD_TEST(no_budget_passes_pieces_through),
		WORLD_TEST(full_batch_changes_nothing),
		WORLD_TEST(full_batch_when_forced_changes_nothing),
		WORLD_TEST(extra_bytes_bound_the_batch),
		WORLD_TEST(flush_emits_what_was_begun),
		WORLD_TEST(broken_record_is_given_out_as_it_is),
		WORLD_TEST(broken_record_is_followed_by_a_new_one),
		WORLD_TEST(broken_without_a_record_breaks_nothing),
		WORLD_TEST(broken_is_one_stream),
		WORLD_TEST(broken_record_is_marked_when_flushed),
		WORLD_TEST(broken_record_waits_for_room),
		WORLD_TEST(fresh_tells_of_each_beginning),
		WORLD_TEST(fresh_tells_of_a_forced_beginning),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
