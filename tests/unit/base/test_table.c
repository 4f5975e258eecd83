/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>

#include "base/list.h"
#include "base/table.h"

struct item {
	struct table_node node;
	uint64_t key;
};

static void table_finds_what_was_added(void **state)
{
	enum { N = 5000 };
	struct item *items = calloc(N, sizeof(*items));
	struct table t = {0};
	uint64_t missing = N;

	for (uint64_t i = 0; i < N; i++) {
		items[i].key = i;
		assert_int_equal(table_add(&t, &items[i].node, &items[i].key, 8), 0);
	}
	assert_int_equal(t.count, N);
	for (uint64_t i = 0; i < N; i++)
		assert_ptr_equal(table_get(&t, &i, 8), &items[i].node);
	assert_null(table_get(&t, &missing, 8));
	for (uint64_t i = 0; i < N; i += 2)
		table_del(&t, &items[i].node);
	assert_int_equal(t.count, N / 2);
	for (uint64_t i = 0; i < N; i++)
		assert_ptr_equal(table_get(&t, &i, 8), i % 2 ? &items[i].node : NULL);
	table_done(&t);
	free(items);
}

static void table_refuses_a_second_key(void **state)
{
	struct table_node a, b;
	struct table t = {0};

	assert_int_equal(table_add(&t, &a, "name", 4), 0);
	assert_int_equal(table_add(&t, &b, "name", 4), -EEXIST);
	assert_int_equal(table_add(&t, &b, "names", 5), 0);
	table_done(&t);
}

static void table_del_of_a_stranger_is_nothing(void **state)
{
	struct table_node a = {0};
	struct table t = {0};

	table_del(&t, &a);
	assert_int_equal(t.count, 0);
}

static void walk_sees_each_once(void **state)
{
	struct item items[100] = {0};
	struct table t = {0};
	unsigned seen = 0;

	for (uint64_t i = 0; i < 100; i++) {
		items[i].key = i;
		table_add(&t, &items[i].node, &items[i].key, 8);
	}
	for (struct table_node *n = NULL; (n = table_walk(&t, n));)
		seen++;
	assert_int_equal(seen, 100);
	table_done(&t);
}

static void list_keeps_order(void **state)
{
	struct list head, a = {0}, b = {0}, c = {0};

	list_init(&head);
	assert_false(list_linked(&a));
	list_add_tail(&head, &a);
	list_add_tail(&head, &c);
	list_add_after(&a, &b);
	assert_ptr_equal(head.next, &a);
	assert_ptr_equal(a.next, &b);
	assert_ptr_equal(b.next, &c);
	list_del(&b);
	list_del(&b);
	assert_ptr_equal(a.next, &c);
	assert_false(list_linked(&b));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(table_finds_what_was_added),
	cmocka_unit_test(table_refuses_a_second_key),
	cmocka_unit_test(table_del_of_a_stranger_is_nothing),
	cmocka_unit_test(walk_sees_each_once),
	cmocka_unit_test(list_keeps_order),
};
RUN_TESTS(tests)
