/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/clock.h"
#include "heat/priority.h"

#define MB UINT64_C(1000000)

static void deadlines(void **state)
{
	static const struct {
		struct claim claim;
		int64_t want;
	} rows[] = {
		{{.left_bytes = 10 * MB, .rate = MB}, 10 * NS_PER_SEC},
		{{.left_bytes = 10 * MB, .rate = 20 * MB}, NS_PER_SEC / 2},
		{{.left_bytes = 0, .rate = MB}, 0},
		{{.left_bytes = 10 * MB, .rate = 0}, INT64_MAX},
		{{.left_bytes = 10 * MB, .rate = 0, .held = true}, 0},
		{{.left_bytes = UINT64_MAX, .rate = 1}, INT64_MAX},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_true(priority_deadline_ns(&rows[i].claim) == rows[i].want);
}

enum { MAX_CLAIMS = 64 };

/* Serves one turn in which every grant is used up to the claim's backlog; writes who was served
 * ("abca…"). */
static size_t turn(enum order order, struct priority_shares *shares, struct claim *claims, size_t n,
		   size_t budget, size_t quantum, int64_t now, char *who)
{
	struct claim *scratch[2 * MAX_CLAIMS], *c;
	struct priority p;
	size_t grant, served = 0, total = 0;

	priority_begin(&p, order, shares, claims, n, scratch, budget, quantum);
	while ((c = priority_next(&p, &grant))) {
		size_t bytes = grant < c->backlog_bytes ? grant : (size_t)c->backlog_bytes;

		who[served++] = (char)('a' + (c - claims));
		who[served] = '\0';
		total += bytes;
		priority_served(&p, c, bytes, bytes == c->backlog_bytes, now);
		assert_true(served < 200);
	}
	assert_true(total <= budget);
	return total;
}

static void who_is_first(void **state)
{
	static const struct {
		const char *what;
		enum order order;
		struct claim claims[3];
		char first;
	} rows[] = {
		{"earliest predicted loss",
		 ORDER_HOT,
		 {{.left_bytes = 50 * MB, .rate = MB, .dirty_ns = 1},
		  {.left_bytes = 50 * MB, .rate = 9 * MB, .dirty_ns = 2},
		  {.left_bytes = 1 * MB, .rate = 1000, .dirty_ns = 3}},
		 'b'},
		{"a full file before a faster one with room",
		 ORDER_HOT,
		 {{.left_bytes = 40 * MB, .rate = 20 * MB, .dirty_ns = 1},
		  {.left_bytes = 1 * MB, .rate = MB, .dirty_ns = 2},
		  {.left_bytes = 50 * MB, .rate = 20 * MB, .dirty_ns = 3}},
		 'b'},
		{"unlinked is due now",
		 ORDER_HOT,
		 {{.left_bytes = 1, .rate = 99 * MB, .dirty_ns = 1},
		  {.left_bytes = 50 * MB, .rate = 0, .held = true, .dirty_ns = 3},
		  {.left_bytes = 50 * MB, .rate = MB, .dirty_ns = 2}},
		 'b'},
		{"of two that are held, the one that waits longest",
		 ORDER_HOT,
		 {{.held = true, .dirty_ns = 7},
		  {.held = true, .dirty_ns = 5},
		  {.held = true, .dirty_ns = 6}},
		 'b'},
		{"fifo: dirty first",
		 ORDER_FIFO,
		 {{.left_bytes = 1, .rate = 99 * MB, .dirty_ns = 9},
		  {.left_bytes = 50 * MB, .rate = 0, .dirty_ns = 3},
		  {.left_bytes = 50 * MB, .rate = MB, .dirty_ns = 4}},
		 'b'},
		{"fair: served longest ago",
		 ORDER_FAIR,
		 {{.left_bytes = 1, .rate = 99 * MB, .served_ns = 9},
		  {.left_bytes = 50 * MB, .rate = 0, .served_ns = 3},
		  {.left_bytes = 50 * MB, .rate = MB, .served_ns = 4}},
		 'b'},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct priority_shares shares = {0};
		struct claim claims[3];
		char who[256];

		memcpy(claims, rows[i].claims, sizeof(claims));
		for (size_t j = 0; j < 3; j++)
			claims[j].backlog_bytes = 10 * MB;
		turn(rows[i].order, &shares, claims, 3, 1 << 20, 1 << 16, 100, who);
		if (who[0] != rows[i].first)
			fail_msg("%s: %s", rows[i].what, who);
	}
}

static void everything_is_served_when_it_fits(void **state)
{
	struct claim claims[3] = {
		{.backlog_bytes = 10}, {.backlog_bytes = 20}, {.backlog_bytes = 30}};
	struct priority_shares shares = {0};
	char who[256];

	assert_int_equal(turn(ORDER_HOT, &shares, claims, 3, 1000, 100, 1, who), 60);
	assert_int_equal(strlen(who), 3);
}

static void fair_gives_equal_quanta_in_turn(void **state)
{
	struct claim claims[3] = {{.backlog_bytes = 10000, .served_ns = 1},
				  {.backlog_bytes = 10000, .served_ns = 2},
				  {.backlog_bytes = 10000, .served_ns = 3}};
	struct priority_shares shares = {0};
	char who[256];

	turn(ORDER_FAIR, &shares, claims, 3, 600, 100, 10, who);
	assert_string_equal(who, "abcabc");
}

static void fifo_drains_one_before_the_next(void **state)
{
	struct claim claims[2] = {{.backlog_bytes = 1500, .dirty_ns = 2},
				  {.backlog_bytes = 1500, .dirty_ns = 1}};
	struct priority_shares shares = {0};
	char who[256];

	turn(ORDER_FIFO, &shares, claims, 2, 1000, 100, 10, who);
	assert_string_equal(who, "b");
	turn(ORDER_FIFO, &shares, claims, 2, 1000, 100, 11, who);
	assert_string_equal(who, "ba");
}

/* One file is always about to be lost and never drained; 49 quiet ones have a little each. */
static void nobody_waits_for_ever(void **state)
{
	enum { N = 50, BUDGET = 1 << 20, QUANTUM = 1 << 16 };
	struct claim claims[N];
	struct priority_shares shares = {0};
	uint64_t drained = 0, hot = 0;
	bool waiting[N];
	size_t left = N - 1;
	char who[256];

	for (size_t i = 0; i < N; i++) {
		claims[i] = (struct claim){.backlog_bytes = QUANTUM,
					   .left_bytes = 50 * MB,
					   .rate = 1,
					   .dirty_ns = 1,
					   .served_ns = (int64_t)i};
		waiting[i] = i > 0;
	}
	for (int64_t now = 100; left; now++) {
		claims[0].backlog_bytes = 1000 * MB;
		claims[0].left_bytes = 1;
		claims[0].rate = 99 * MB;
		drained += turn(ORDER_HOT, &shares, claims, N, BUDGET, QUANTUM, now, who);
		for (const unsigned char *w = (unsigned char *)who; *w; w++) {
			hot += *w == 'a';
			if (waiting[*w - 'a']) {
				waiting[*w - 'a'] = false;
				left--;
			}
			claims[*w - 'a'].backlog_bytes = QUANTUM; /* it writes on */
		}
		/* The bound of priority.h, and the one turn that the shares may lag behind. */
		assert_true(drained <= (uint64_t)N * QUANTUM * 4 + 2 * BUDGET);
	}
	assert_true(hot > 0);
}

static void three_quarters_go_to_the_deadline(void **state)
{
	struct claim claims[2] = {0};
	struct priority_shares shares = {0};
	uint64_t first = 0, second = 0;
	char who[256];

	for (int64_t now = 1; now < 400; now++) {
		claims[0] = (struct claim){
			.backlog_bytes = 100 * MB, .left_bytes = 1, .rate = MB, .served_ns = now};
		claims[1] = (struct claim){.backlog_bytes = 100 * MB,
					   .left_bytes = 50 * MB,
					   .rate = 1,
					   .served_ns = 0};
		turn(ORDER_HOT, &shares, claims, 2, 1 << 20, 1 << 16, now, who);
		first += 100 * MB - claims[0].backlog_bytes;
		second += 100 * MB - claims[1].backlog_bytes;
	}
	assert_true(first > 70 * (first + second) / 100);
	assert_true(first < 80 * (first + second) / 100);
}

static void names(void **state)
{
	enum order o;

	assert_int_equal(order_parse("fair", &o), 0);
	assert_int_equal(o, ORDER_FAIR);
	assert_string_equal(order_name(ORDER_FIFO), "fifo");
	assert_true(order_parse("cold", &o) < 0);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(deadlines),
	cmocka_unit_test(who_is_first),
	cmocka_unit_test(everything_is_served_when_it_fits),
	cmocka_unit_test(fair_gives_equal_quanta_in_turn),
	cmocka_unit_test(fifo_drains_one_before_the_next),
	cmocka_unit_test(nobody_waits_for_ever),
	cmocka_unit_test(three_quarters_go_to_the_deadline),
	cmocka_unit_test(names),
};
RUN_TESTS(tests)
