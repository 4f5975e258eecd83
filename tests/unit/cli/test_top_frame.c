// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include <math.h>

#include "cli/top_frame.h"

/* rate NAN: unknown. */
static struct top_row *add(struct top_frame *f, const char *ns, const char *pod, double rate)
{
	struct top_row *r = top_frame_row(f);

	assert_non_null(r);
	r->name[TOP_NAMESPACE] = top_frame_text(f, ns, strlen(ns));
	r->name[TOP_POD] = top_frame_text(f, pod, strlen(pod));
	r->value[TOP_RATE] = rate;
	return r;
}

/* The pods in order, joined. */
static void assert_pods(const struct top_frame *f, const char *wanted)
{
	char got[256] = "";

	for (size_t i = 0; i < f->n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", i ? " " : "",
			 top_frame_name(f, &f->rows[i], TOP_POD));
	assert_string_equal(got, wanted);
}

static void largest_comes_first_and_unknown_last(void **state)
{
	struct top_frame f = {0};

	add(&f, "", "unknown", NAN);
	add(&f, "", "zero", 0);
	add(&f, "", "large", 1e12);
	add(&f, "", "small", 3);
	top_frame_sort(&f, TOP_RATE, false);
	assert_pods(&f, "large small zero unknown");
	top_frame_sort(&f, TOP_RATE, true);
	assert_pods(&f, "zero small large unknown");
	top_frame_done(&f);
}

static void what_is_soonest_comes_first(void **state)
{
	static const enum top_value values[] = {TOP_DEADLINE, TOP_IDLE};

	for (size_t i = 0; i < 2; i++) {
		struct top_frame f = {0};

		add(&f, "", "never", 9);
		add(&f, "", "later", 1)->value[values[i]] = 70;
		add(&f, "", "late", 1)->value[values[i]] = -2;
		add(&f, "", "soon", 1)->value[values[i]] = 0.5;
		top_frame_sort(&f, values[i], false);
		assert_pods(&f, "late soon later never");
		top_frame_sort(&f, values[i], true);
		assert_pods(&f, "later soon late never");
		top_frame_done(&f);
	}
}

static void every_value_sorts_by_itself(void **state)
{
	for (int v = 0; v < TOP_VALUES; v++) {
		struct top_frame f = {0};
		bool small = v == TOP_DEADLINE || v == TOP_IDLE;

		add(&f, "", "a", v == TOP_RATE ? 1 : 7)->value[v] = 1;
		add(&f, "", "b", v == TOP_RATE ? 2 : 7)->value[v] = 2;
		top_frame_sort(&f, (enum top_value)v, false);
		assert_pods(&f, small ? "a b" : "b a");
		top_frame_done(&f);
	}
}

static void ties_are_broken_by_rate_then_names(void **state)
{
	struct top_frame f = {0};

	add(&f, "b", "4", 1)->value[TOP_LOST] = 5;
	add(&f, "a", "3", 1)->value[TOP_LOST] = 5;
	add(&f, "a", "2", 1)->value[TOP_LOST] = 5;
	add(&f, "z", "1", 2)->value[TOP_LOST] = 5;
	top_frame_sort(&f, TOP_LOST, false);
	assert_pods(&f, "1 2 3 4");
	top_frame_done(&f);
}

static void an_empty_frame_sorts_and_filters(void **state)
{
	struct top_frame f = {0};

	top_frame_filter(&f, "x*");
	top_frame_sort(&f, TOP_RATE, false);
	assert_int_equal(f.n, 0);
	top_frame_clear(&f);
	top_frame_done(&f);
}

static void a_filter_can_be_taken_back(void **state)
{
	struct top_frame f = {0};

	add(&f, "shop", "a", 6);
	add(&f, "kube-system", "b", 5);
	add(&f, "shop", "c", 4);
	add(&f, "kube-public", "d", 3);
	add(&f, "", "e", 2);
	top_frame_filter(&f, "shop");
	top_frame_sort(&f, TOP_RATE, false);
	assert_pods(&f, "a c");
	assert_int_equal(f.all, 5);
	top_frame_filter(&f, "kube-*");
	top_frame_sort(&f, TOP_RATE, false);
	assert_pods(&f, "b d");
	top_frame_filter(&f, "sho");
	assert_int_equal(f.n, 0);
	top_frame_filter(&f, "");
	top_frame_sort(&f, TOP_RATE, false);
	assert_pods(&f, "a b c d e");
	top_frame_filter(&f, NULL);
	assert_int_equal(f.n, 5);
	top_frame_done(&f);
}

static void many_rows_keep_their_texts(void **state)
{
	struct top_frame f = {0};
	char name[16];

	for (int round = 0; round < 2; round++) {
		top_frame_clear(&f);
		assert_int_equal(f.n, 0);
		for (int i = 0; i < 10000; i++) {
			snprintf(name, sizeof(name), "p%d", i);
			add(&f, "", name, i % 100);
		}
		top_frame_sort(&f, TOP_RATE, false);
		assert_int_equal(f.n, 10000);
		for (size_t i = 1; i < f.n; i++)
			assert_true(f.rows[i - 1].value[TOP_RATE] >= f.rows[i].value[TOP_RATE]);
		assert_int_equal(atoi(top_frame_name(&f, &f.rows[0], TOP_POD) + 1) % 100, 99);
	}
	top_frame_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(largest_comes_first_and_unknown_last),
		cmocka_unit_test(what_is_soonest_comes_first),
		cmocka_unit_test(every_value_sorts_by_itself),
		cmocka_unit_test(ties_are_broken_by_rate_then_names),
		cmocka_unit_test(an_empty_frame_sorts_and_filters),
		cmocka_unit_test(a_filter_can_be_taken_back),
		cmocka_unit_test(many_rows_keep_their_texts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
