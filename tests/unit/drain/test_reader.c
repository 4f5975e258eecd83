/* SPDX-License-Identifier: Apache-2.0 */
#include "reader_world.h"

static void torn_tail_waits_for_its_newline(void **state)
{
	struct world *w = *state;
	char out[1000];

	test_write(w->path, "a", "one\ntw");
	assert_int_equal(read_all(w, out, sizeof(out)), READ_END);
	assert_string_equal(out, "one|");
	assert_int_equal(w->file->offset, 4);
	assert_int_equal(w->file->torn, 2);
	assert_false(file_dirty(w->file));
	test_write(w->path, "a", "o\nthree\n");
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "two|three|");
	assert_int_equal(w->file->offset, 14);
	assert_int_equal(w->chain.tally.read_bytes, 14);
}

static void end_of_a_generation_emits_the_torn_tail(void **state)
{
	struct world *w = *state;
	char out[100];

	test_write(w->path, "a", "one\ntwo");
	read_all(w, out, sizeof(out));
	assert_int_equal(reader_finish(&w->reader, w->file, w->batch), 0);
	assert_int_equal(w->batch->n_records, 1);
	assert_memory_equal(w->batch->records[0].text, "two", 3);
	assert_int_equal(w->file->offset, 7);
	assert_int_equal(w->batch->spans[0].end_offset, 7);
	assert_int_equal(w->batch->spans[0].count, 1);
}

static void truncation_starts_again(void **state)
{
	struct world *w = *state;
	char out[100];

	test_write(w->path, "a", "one\ntwo\nthree\n");
	read_all(w, out, sizeof(out));
	test_write(w->path, "w", "four\n");
	w->file->probe = true;
	assert_int_equal(read_all(w, out, sizeof(out)), READ_TRUNCATED);
	assert_int_equal(w->chain.tally.truncations, 1);
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "four|");
}

static void truncated_and_grown_past_the_offset_is_noticed(void **state)
{
	struct world *w = *state;
	char out[200];

	test_write(w->path, "a", "one\ntwo\n");
	read_all(w, out, sizeof(out));
	test_write(w->path, "w", "alpha\nbeta\ngamma\ndelta\n");
	assert_int_equal(read_all(w, out, sizeof(out)), READ_TRUNCATED);
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "alpha|beta|gamma|delta|");
}

static void line_over_the_limit_is_cut_and_the_file_goes_on(void **state)
{
	struct world *w = *state;
	char *line = malloc(400 * 1024), out[200];

	memset(line, 'x', 400 * 1024 - 1);
	line[400 * 1024 - 1] = '\0';
	test_write(w->path, "a", "before\n");
	test_write(w->path, "a", line);
	test_write(w->path, "a", "\nafter\n");
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "before|xxx..204800 cut|after|");
	assert_int_equal(w->file->offset, 7 + 400 * 1024 - 1 + 7);
	assert_true(w->chain.tally.skipped_bytes > 0);
	free(line);
}

static void line_longer_than_a_batch_is_whole(void **state)
{
	struct world *w = *state;
	char *line = malloc(150 * 1024), out[200];

	memset(line, 'y', 150 * 1024 - 1);
	line[150 * 1024 - 1] = '\0';
	test_write(w->path, "a", line);
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "");
	/* Pieces that do not end it cost one look at the new bytes each. */
	test_write(w->path, "a", "yyy");
	read_all(w, out, sizeof(out));
	assert_int_equal(w->file->torn, 150 * 1024 + 2);
	test_write(w->path, "a", "\nnext\n");
	w->file->probe = true;
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "yyy..153602|next|");
	free(line);
}

static void full_batch_goes_on_where_it_stopped(void **state)
{
	struct world *w = *state;
	FILE *f = fopen(w->path, "a");
	uint32_t seen = 0;
	enum read_outcome outcome;
	size_t bytes;

	for (int i = 0; i < 10000; i++)
		fprintf(f, "%d\n", i);
	fclose(f);
	do {
		assert_int_equal(reader_read(&w->reader, w->file, w->batch, FILL, &outcome, &bytes),
				 0);
		for (uint32_t i = 0; i < w->batch->n_records; i++, seen++)
			assert_int_equal(strtoul(w->batch->records[i].text, NULL, 10), seen);
		ack(w);
	} while (outcome != READ_END);
	assert_int_equal(seen, 10000);
}

static void format_is_told_by_the_content(void **state)
{
	static const struct {
		const char *text, *want;
		enum decode_format format;
	} rows[] = {
		{"2026-11-21T00:32:02.3Z stdout F cri\n", "cri|", DECODE_CRI},
		{"{\"log\":\"docker\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T00:00:00Z\"}"
		 "\n",
		 "docker|", DECODE_DOCKER},
		{"plain text\n", "plain text|", DECODE_RAW},
	};
	struct world *w = *state;
	char out[100];

	for (size_t i = 0; i < 3; i++) {
		w->chain.format = DECODE_AUTO;
		w->file->offset = w->file->mark.len = 0;
		w->file->torn = w->file->sure = 0;
		test_write(w->path, "w", rows[i].text);
		read_all(w, out, sizeof(out));
		assert_string_equal(out, rows[i].want);
		assert_int_equal(w->chain.format, rows[i].format);
	}
}

static void partials_cross_a_generation(void **state)
{
	struct world *w = *state;
	char out[100];

	test_write(w->path, "a",
		   "2026-11-21T00:32:02.3Z stdout P one \n2026-11-21T00:32:02.3Z stderr P err \n");
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "");
	test_write(w->path, "w",
		   "2026-11-21T00:32:02.3Z stderr F end\n2026-11-21T00:32:02.3Z stdout F two\n");
	w->file->offset = w->file->mark.len = w->file->sure = 0; /* the next of the same chain */
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "err end|one two|");
}

static void reading_from_inside_a_line_skips_to_the_next(void **state)
{
	struct world *w = *state;
	char out[100];

	test_write(w->path, "a", "first line\nsecond\n");
	w->file->offset = 4;
	w->file->sync_line = true;
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "second|");
	assert_int_equal(w->chain.tally.skipped_bytes, 0);
}

static void truncation_of_a_long_torn_tail_is_seen(void **state)
{
	static char torn[100 * 1024];
	struct world *w = *state;
	char out[100];

	memset(torn, 'x', sizeof(torn) - 1);
	test_write(w->path, "a", torn);
	read_all(w, out, sizeof(out));
	assert_int_equal(w->file->torn, sizeof(torn) - 1);
	test_write(w->path, "w", "new\n"); /* the same inode, shorter */
	assert_int_equal(read_all(w, out, sizeof(out)), READ_TRUNCATED);
	assert_in_range(w->chain.tally.lost[LOST_TRUNCATED].bytes, FILL, sizeof(torn) - 1);
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "new|");
}

static void hole_of_a_writer_that_does_not_append_is_skipped(void **state)
{
	struct world *w = *state;
	char out[100];
	FILE *f = fopen(w->path, "w");

	for (int i = 0; i < 300000; i++)
		fputs("12345678\n", f);
	fflush(f);
	read_all(w, out, 0);
	assert_int_equal(w->file->offset, 2700000);
	assert_int_equal(ftruncate(fileno(f), 0), 0);
	fputs("after\nthe hole\n", f);
	fclose(f);
	assert_int_equal(read_all(w, out, sizeof(out)), READ_TRUNCATED);
	read_all(w, out, sizeof(out));
	assert_string_equal(out, "after|the hole|");
	assert_int_equal(w->chain.tally.hole_bytes, 2700000);
	assert_int_equal(w->file->offset, 2700015);
}

static const struct CMUnitTest tests[] = {
	T(torn_tail_waits_for_its_newline),
	T(end_of_a_generation_emits_the_torn_tail),
	T(truncation_starts_again),
	T(truncated_and_grown_past_the_offset_is_noticed),
	T(line_over_the_limit_is_cut_and_the_file_goes_on),
	T(line_longer_than_a_batch_is_whole),
	T(full_batch_goes_on_where_it_stopped),
	T(format_is_told_by_the_content),
	T(partials_cross_a_generation),
	T(reading_from_inside_a_line_skips_to_the_next),
	T(truncation_of_a_long_torn_tail_is_seen),
	T(hole_of_a_writer_that_does_not_append_is_skipped),
};
RUN_TESTS(tests)
