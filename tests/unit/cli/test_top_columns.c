// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include <locale.h>
#include <math.h>

#include "base/sys.h"
#include "cli/top_columns.h"

static void numbers_have_four_digits_at_most(void **state)
{
	static const struct {
		double x;
		const char *text;
	} cases[] = {
		{0, "0"},          {1, "1"},         {4.2, "4.2"},      {9.94, "9.9"},
		{9.96, "10"},      {12.7, "13"},     {999, "999"},      {999.6, "1.0k"},
		{1000, "1.0k"},    {1550, "1.6k"},   {99949, "99.9k"},  {99950, "100k"},
		{999499, "999k"},  {999500, "1.0M"}, {23.4e6, "23.4M"}, {150e9, "150G"},
		{1.25e12, "1.2T"}, {3e15, "3.0P"},   {4e18, "4.0E"},    {4e21, "4000E"},
		{NAN, "-"},
	};
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(top_number(cases[i].x, text, 16), cases[i].text);
}

static void seconds_are_of_the_unit_that_matters(void **state)
{
	static const struct {
		double s;
		const char *text;
	} cases[] = {
		{-5, "now"},      {0, "now"},        {0.31, "0.3s"},        {9.94, "9.9s"},
		{9.96, "9s"},     {12.9, "12s"},     {59.9, "59s"},         {60, "1m00s"},
		{185, "3m05s"},   {3599, "59m59s"},  {3600, "1h00m"},       {7620, "2h07m"},
		{86400, "1d00h"}, {356400, "4d03h"}, {86400e3, "1000d00h"}, {NAN, "-"},
		{1e300, "-"},
	};
	char text[32];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(top_seconds(cases[i].s, text, sizeof(text)), cases[i].text);
}

static void assert_fit(const char *text, size_t width, const char *wanted)
{
	char out[TOP_CELL_MAX];

	assert_string_equal(top_fit(text, width, out), wanted);
}

static void text_is_cut_by_columns_not_bytes(void **state)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	assert_fit("web", 10, "web");
	assert_fit("web", 3, "web");
	assert_fit("frontend", 5, "fron…");
	assert_fit("frontend", 1, "…");
	assert_fit("frontend", 0, "");
	assert_fit("", 3, "");
	assert_fit("/var/log/pods/x.log", 8, "…s/x.log");
	assert_fit("größer", 6, "größer");
	assert_fit("größer", 4, "grö…");
	assert_fit("日本語", 6, "日本語");
	assert_fit("日本語", 5, "日本…");
	assert_fit("日本語", 4, "日…"); /* half of a wide one is not shown */
}

static void nothing_unprintable_comes_out(void **state)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	assert_fit("a\x1b[31mb\nc\t", 20, "a?[31mb?c?");
	assert_fit("\xff\xfe", 20, "??");
	assert_fit("a\xe2\x82", 20, "a??");
	assert_fit("\xed\xa0\x80", 20, "???");
	assert_fit("\xc2\x9b"
		   "1m",
		   20, "?1m"); /* CSI of C1 */
}

static void a_locale_without_utf8_gets_ascii(void **state)
{
	assert_non_null(setlocale(LC_CTYPE, "C"));
	assert_fit("größer", 20, "gr????er");
	assert_fit("frontend", 5, "fron~");
}

static void a_very_long_text_is_bounded(void **state)
{
	char text[8192], out[TOP_CELL_MAX];

	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	assert_true(strlen(top_fit(text, TOP_WIDE, out)) < TOP_CELL_MAX);
	assert_true(strlen(top_fit(text, 5000, out)) < TOP_CELL_MAX);
	text[0] = '/';
	assert_true(strlen(top_fit(text, 5000, out)) < TOP_CELL_MAX);
}

static void row_add(struct top_frame *f, const char *ns, const char *pod, const char *container,
		    const char *path)
{
	struct top_row *r = top_frame_row(f);

	r->name[TOP_NAMESPACE] = top_frame_text(f, ns, strlen(ns));
	r->name[TOP_POD] = top_frame_text(f, pod, strlen(pod));
	r->name[TOP_CONTAINER] = top_frame_text(f, container, strlen(container));
	r->name[TOP_PATH] = top_frame_text(f, path, strlen(path));
	r->value[TOP_RATE] = 1500;
	r->value[TOP_LOST] = 0;
}

/* Titles at this width, as they are drawn. */
static const char *titles(const struct top_frame *f, size_t width, char *line)
{
	struct top_layout l;
	char cell[TOP_CELL_MAX];

	top_layout(f, 0, f->n, width, &l);
	line[0] = '\0';
	for (size_t i = 0; i < l.n; i++)
		snprintf(line + strlen(line), 400 - strlen(line), "%s%s", i ? " " : "",
			 top_cell(f, NULL, &l, i, cell));
	return line;
}

static void what_matters_least_gives_way(void **state)
{
	struct top_frame f = {.from = TOP_DAEMON};
	char line[400];

	row_add(&f, "shop", "web", "app", "/x/0.log");
	assert_string_equal(titles(&f, TOP_WIDE, line),
			    "NAMESPACE POD CONTAINER   RATE/s  BACKLOG DEADLINE      AGE DELIVERD"
			    "     LOST  ROTATED");
	assert_null(strstr(titles(&f, 80, line), "ROTATED"));
	assert_non_null(strstr(line, "DELIVERD"));
	assert_string_equal(titles(&f, 40, line), "POD   RATE/s  BACKLOG DEADLINE     LOST");
	assert_string_equal(titles(&f, 12, line), "POD   RATE/s");
	for (size_t width = 1; width < 200; width++)
		assert_true(strlen(titles(&f, width, line)) <= width);
	top_frame_done(&f);
}

static void names_share_the_width(void **state)
{
	struct top_frame f = {.from = TOP_OWN};
	char line[400];
	struct top_layout l;

	row_add(&f, "a-rather-long-namespace", "a-rather-long-pod-7d8f9c-abcde", "c",
		"/x/0.log.20261121-000001");
	for (size_t width = 1; width < 200; width++) {
		assert_true(strlen(titles(&f, width, line)) <= width);
		top_layout(&f, 0, 1, width, &l);
		assert_true(l.n > 0);
	}
	top_layout(&f, 0, 1, TOP_WIDE, &l);
	assert_int_equal(l.cells[1].width, strlen("a-rather-long-pod-7d8f9c-abcde"));
	assert_int_equal(l.cells[3].width, strlen("0.log.20261121-000001"));
	top_frame_done(&f);
}

static void a_log_without_names_shows_its_path(void **state)
{
	struct top_frame f = {.from = TOP_DAEMON};
	struct top_layout l;
	char cell[TOP_CELL_MAX];

	row_add(&f, "", "", "", "/srv/app/x.log");
	top_layout(&f, 0, 1, TOP_WIDE, &l);
	assert_string_equal(top_cell(&f, &f.rows[0], &l, 1, cell), "/srv/app/x.log");
	f.from = TOP_OWN;
	top_layout(&f, 0, 1, TOP_WIDE, &l);
	assert_string_equal(top_cell(&f, &f.rows[0], &l, 1, cell), "/srv/app");
	assert_string_equal(top_cell(&f, &f.rows[0], &l, 3, cell), "x.log");
	top_frame_done(&f);
}

static void each_key_and_word_is_of_one_column(void **state)
{
	static const enum top_from from[] = {TOP_DAEMON, TOP_OWN};
	char words[256];

	for (size_t i = 0; i < 2; i++) {
		unsigned found = 0;

		for (char key = 'a'; key <= 'z'; key++) {
			const struct top_column *c = top_column_sorted(from[i], key, NULL);

			if (!c)
				continue;
			found++;
			assert_null(strchr("qpnh", key)); /* which do something else */
			assert_ptr_equal(top_column_sorted(from[i], 0, c->word), c);
			assert_non_null(
				strstr(top_column_words(from[i], words, sizeof(words)), c->word));
		}
		assert_int_equal(found, 7);
	}
	assert_null(top_column_sorted(TOP_OWN, 0, "backlog"));
	assert_null(top_column_sorted(TOP_DAEMON, 0, "idle"));
	assert_null(top_column_sorted(TOP_DAEMON | TOP_OWN, 0, "x"));
	assert_null(top_column_sorted(TOP_DAEMON | TOP_OWN, 0, ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_have_four_digits_at_most),
		cmocka_unit_test(seconds_are_of_the_unit_that_matters),
		cmocka_unit_test(text_is_cut_by_columns_not_bytes),
		cmocka_unit_test(nothing_unprintable_comes_out),
		cmocka_unit_test(a_locale_without_utf8_gets_ascii),
		cmocka_unit_test(a_very_long_text_is_bounded),
		cmocka_unit_test(what_matters_least_gives_way),
		cmocka_unit_test(names_share_the_width),
		cmocka_unit_test(a_log_without_names_shows_its_path),
		cmocka_unit_test(each_key_and_word_is_of_one_column),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
