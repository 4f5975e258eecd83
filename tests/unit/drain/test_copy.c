/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/sys.h"
#include "drain/copy.h"
#include "files/file.h"

struct world {
	char *dir, live_path[128], copy_path[128];
	struct chain chain;
	struct file live, copy;
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->dir = test_dir_make();
	snprintf(w->live_path, sizeof(w->live_path), "%s/0.log", w->dir);
	snprintf(w->copy_path, sizeof(w->copy_path), "%s/0.log.1", w->dir);
	test_write(w->live_path, "w", "one\ntwo\nthree\n");
	test_write(w->copy_path, "w", "");
	w->live.fd = open(w->live_path, O_RDONLY);
	w->copy.fd = open(w->copy_path, O_RDONLY);
	w->live.chain = w->copy.chain = &w->chain;
	w->chain.live = &w->live;
	assert_int_equal(chain_make_joins(&w->chain), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	close(w->live.fd);
	close(w->copy.fd);
	test_dir_remove(w->dir);
	free(w->chain.joins);
	free(w->chain.cut);
	free(w);
	return 0;
}

/* The live file was read so far. */
static void read_live(struct world *w, const char *text)
{
	size_t n = strlen(text);

	copy_take_head(&w->live, text, n);
	w->live.offset = w->live.mark.len = (uint32_t)n;
	w->live.mark = mark_of(text, n);
}

static void truncate_live(struct world *w, const char *text)
{
	copy_note_truncation(&w->live, 0);
	w->live.offset = w->live.mark.len = 0;
	test_write(w->live_path, "w", text);
}

static void copy_resumes_where_the_live_file_was_cut(void **state)
{
	struct world *w = *state;

	read_live(w, "one\ntwo\n");
	assert_int_equal(copy_judge(&w->copy), COPY_WAIT); /* nothing in it yet */
	test_write(w->copy_path, "w", "one\ntwo\nthree\n");
	assert_int_equal(copy_judge(&w->copy), COPY_WAIT); /* not truncated yet */
	truncate_live(w, "four\n");
	assert_int_equal(copy_judge(&w->copy), COPY_RESUME);
	assert_int_equal(w->copy.offset, 8);
	assert_int_equal(w->copy.mark.len, 8);
	assert_true(mark_is(&w->copy.mark, "one\ntwo\n"));
}

static void other_content_is_a_file_in_its_own_right(void **state)
{
	struct world *w = *state;

	read_live(w, "one\ntwo\n");
	test_write(w->copy_path, "w", "zero\n");
	assert_int_equal(copy_judge(&w->copy), COPY_NO);
	truncate_live(w, "four\n");
	assert_int_equal(copy_judge(&w->copy), COPY_NO);
	assert_int_equal(w->copy.offset, 0);
}

static void same_head_but_other_bytes_before_the_cut_is_no_copy(void **state)
{
	struct world *w = *state;
	char text[400];

	memset(text, 'h', 399);
	text[399] = '\0';
	copy_take_head(&w->live, text, 399);
	w->live.offset = 399;
	w->live.mark = mark_of("hhhhhhhhhh", 10);
	memset(text + 200, 'z', 199);
	test_write(w->copy_path, "w", text);
	w->copy.size = 399;
	truncate_live(w, "");
	assert_int_equal(copy_judge(&w->copy), COPY_NO);
}

static void nothing_was_read_before_the_truncation(void **state)
{
	struct world *w = *state;

	test_write(w->copy_path, "w", "one\ntwo\nthree\n");
	assert_int_equal(copy_judge(&w->copy), COPY_WAIT);
	test_write(w->live_path, "w", "four\n");
	assert_int_equal(copy_judge(&w->copy), COPY_RESUME);
	assert_int_equal(w->copy.offset, 0);
}

static void without_a_live_file_nothing_is_waited_for(void **state)
{
	struct world *w = *state;

	w->chain.live = NULL;
	assert_int_equal(copy_judge(&w->copy), COPY_NO);
}

/* Read up to "two", cut off with lost bytes unread, as it is counted. */
static void lose(struct world *w, uint64_t bytes)
{
	read_live(w, "one\ntwo\n");
	copy_note_truncation(&w->live, bytes);
	tally_lose(&w->chain.tally, LOST_TRUNCATED, bytes);
	chain_break_joins(&w->chain, true);
	w->live.offset = w->live.mark.len = 0;
	test_write(w->live_path, "w", "four\n");
}

static void copy_holds(struct world *w, const char *text)
{
	test_write(w->copy_path, "w", text);
	w->copy.size = strlen(text);
}

static const struct lost *lost(const struct world *w)
{
	return &w->chain.tally.lost[LOST_TRUNCATED];
}

static bool broken(const struct world *w)
{
	for (size_t i = 0; i < w->chain.n_joins; i++)
		if (!w->chain.joins[i].broken)
			return false;
	return true;
}

static void what_the_copy_holds_was_not_lost(void **state)
{
	struct world *w = *state;

	lose(w, 6);
	copy_holds(w, "one\ntwo\nthree\n");
	assert_int_equal(copy_judge(&w->copy), COPY_RESUME);
	assert_int_equal(lost(w)->bytes, 0);
	assert_int_equal(lost(w)->events, 0);
	assert_false(tally_lost(&w->chain.tally));
	assert_false(broken(w)); /* the copy goes on where it was cut */
}

static void what_the_copy_does_not_hold_stays_lost(void **state)
{
	struct world *w = *state;

	tally_lose(&w->chain.tally, LOST_TRUNCATED, 1000); /* by an earlier one */
	tally_lose(&w->chain.tally, LOST_HELD_CAP, 70);
	lose(w, 20);
	copy_holds(w, "one\ntwo\nthree\n");
	assert_int_equal(copy_judge(&w->copy), COPY_RESUME);
	assert_int_equal(lost(w)->bytes, 1000 + 14);
	assert_int_equal(lost(w)->events, 2);
	assert_int_equal(w->chain.tally.lost[LOST_HELD_CAP].bytes, 70);
	assert_true(broken(w));
}

static void no_more_is_taken_back_than_was_counted(void **state)
{
	struct world *w = *state;

	tally_lose(&w->chain.tally, LOST_TRUNCATED, 1000);
	lose(w, 2);
	copy_holds(w, "one\ntwo\nthree\n"); /* more than anybody knew of */
	assert_int_equal(copy_judge(&w->copy), COPY_RESUME);
	assert_int_equal(lost(w)->bytes, 1000);
	assert_int_equal(lost(w)->events, 1);
}

static void a_copy_made_before_the_rest_was_written_takes_nothing_back(void **state)
{
	struct world *w = *state;

	lose(w, 6);
	copy_holds(w, "one\ntwo\n");
	assert_int_equal(copy_judge(&w->copy), COPY_RESUME);
	assert_int_equal(w->copy.offset, 8);
	assert_int_equal(lost(w)->bytes, 6);
	assert_int_equal(lost(w)->events, 1);
	assert_true(broken(w));
}

static void it_is_taken_back_once(void **state)
{
	struct world *w = *state;

	tally_lose(&w->chain.tally, LOST_TRUNCATED, 1000);
	lose(w, 6);
	copy_holds(w, "one\ntwo\nthree\n");
	assert_int_equal(copy_judge(&w->copy), COPY_RESUME);
	assert_int_equal(copy_judge(&w->copy), COPY_RESUME);
	assert_int_equal(lost(w)->bytes, 1000);
	assert_int_equal(lost(w)->events, 1);
}

static void a_stranger_takes_nothing_back(void **state)
{
	struct world *w = *state;

	lose(w, 6);
	copy_holds(w, "zero\none\ntwo\n");
	assert_int_equal(copy_judge(&w->copy), COPY_NO);
	assert_int_equal(lost(w)->bytes, 6);
	assert_true(broken(w));
}

static void what_a_rotated_file_lost_is_in_no_copy(void **state)
{
	struct world *w = *state;

	w->chain.live = NULL; /* it was renamed first: nobody copies it now */
	lose(w, 6);
	copy_holds(w, "one\ntwo\nthree\n");
	assert_int_equal(copy_judge(&w->copy), COPY_NO);
	assert_int_equal(lost(w)->bytes, 6);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(copy_resumes_where_the_live_file_was_cut),
	T(other_content_is_a_file_in_its_own_right),
	T(same_head_but_other_bytes_before_the_cut_is_no_copy),
	T(nothing_was_read_before_the_truncation),
	T(without_a_live_file_nothing_is_waited_for),
	T(what_the_copy_holds_was_not_lost),
	T(what_the_copy_does_not_hold_stays_lost),
	T(no_more_is_taken_back_than_was_counted),
	T(a_copy_made_before_the_rest_was_written_takes_nothing_back),
	T(it_is_taken_back_once),
	T(a_stranger_takes_nothing_back),
	T(what_a_rotated_file_lost_is_in_no_copy),
};
RUN_TESTS(tests)
