/* SPDX-License-Identifier: Apache-2.0 */
/* What a file's look adds to its container's rate, and what the file then claims; by sizes. When a
 * counter asks for a read is tested with one that says what the test wants (heat.c is compiled
 * again for that, under other names). */
#include "test.h"

#include <stdio.h>
#include <unistd.h>

#define write_count_read counter_says
#define write_count_rung counter_rung
#define heat_look        fake_look
#define heat_look_size   fake_look_size
#define heat_claim       fake_claim
#include "heat/heat.c"

#define STEP_NS (50 * NS_PER_MS)

static struct write_total counter;

void counter_says(const struct write_count *wc, int slot, struct write_total *ret_total)
{
	*ret_total = counter;
}

enum rung counter_rung(const struct write_count *wc)
{
	return RUNG_SYSCALL;
}

static const struct heat_limits limits = {.rotate_bytes = 1000000, .rotate_files = 5};

static struct file file_in(struct chain *c)
{
	FILE *f = tmpfile();

	assert_non_null(f);
	return (struct file){.chain = c, .fd = fileno(f), .slot = -1, .wd = -1};
}

static void write_and_look(struct file *f, size_t bytes, int64_t now_ns)
{
	static char data[100000];

	assert_int_equal(write(f->fd, data, bytes), bytes);
	heat_look(NULL, f, now_ns);
}

/* 2 MB/s for five seconds, a new file every tenth of a second. */
static void the_rate_is_of_the_log_however_often_it_is_rotated(void **state)
{
	struct chain c = {.queue = {&c.queue, &c.queue}};
	int64_t now = NS_PER_SEC;

	for (int rotation = 0; rotation < 50; rotation++) {
		struct file f = file_in(&c);

		for (int look = 0; look < 2; look++) {
			write_and_look(&f, 100000, now);
			now += STEP_NS;
		}
	}
	assert_true(c.rate > 1800000 && c.rate < 2200000);
}

static void what_was_there_before_is_no_rate(void **state)
{
	struct chain c = {.queue = {&c.queue, &c.queue}};
	struct file f = file_in(&c);

	f.rate_mark = 100000;
	write_and_look(&f, 100000, NS_PER_SEC);
	heat_look(NULL, &f, NS_PER_SEC + STEP_NS);
	assert_int_equal(c.rate, 0);
	write_and_look(&f, 1000, NS_PER_SEC + 2 * STEP_NS);
	assert_true(c.rate > 0);
}

/* What must still be written until the file is removed: a fifth of the live one's size is there. */
static void room_is_what_was_learned(void **state)
{
	struct chain c = {.rotate_bytes = 500000, .newer_kept = 2};
	struct file f = {.chain = &c, .slot = -1}, live = {.chain = &c, .slot = -1, .size = 100000};
	struct claim claim;

	c.queue = (struct list){&live.in_chain, &f.in_chain};
	f.in_chain = (struct list){&c.queue, &live.in_chain};
	live.in_chain = (struct list){&f.in_chain, &c.queue};
	c.live = &live;
	heat_claim(&f, &limits, &claim);
	assert_int_equal(claim.left_bytes, 400000 + 500000);
	c.newer_kept = 0;
	heat_claim(&f, &limits, &claim);
	assert_int_equal(claim.left_bytes, 400000 + 3 * 500000);
	c.rotate_bytes = 0;
	heat_claim(&f, &limits, &claim);
	assert_int_equal(claim.left_bytes, 900000 + 3 * 1000000);
}

/* It has seen calls, and bytes of them; the file was size long after the last one. */
static bool asks_for_a_read(struct file *f, uint64_t calls, uint64_t bytes, uint64_t size)
{
	counter = (struct write_total){.calls = calls, .bytes = bytes, .size = size};
	f->probe = false;
	heat_look((const void *)&counter, f, NS_PER_SEC);
	return file_dirty(f);
}

/* The program runs at the end of the system call: what it counts can have been read before. */
static void what_was_read_before_it_was_counted_asks_for_nothing(void **state)
{
	struct chain c = {.queue = {&c.queue, &c.queue}};
	struct file f = {.chain = &c, .fd = -1, .offset = 100, .consumed = 100, .torn = 50};

	assert_false(asks_for_a_read(&f, 1, 150, 150));
	assert_true(asks_for_a_read(&f, 2, 160, 160));
	f.offset = f.consumed = 160;
	f.torn = 0;
	assert_false(asks_for_a_read(&f, 3, 160, 160));
	/* Cut, and written to its old size again. */
	assert_true(asks_for_a_read(&f, 4, 320, 160));
}

/* 40 bytes were there before it was counted. */
static void what_was_there_before_is_no_part_of_the_sum(void **state)
{
	struct chain c = {.queue = {&c.queue, &c.queue}};
	struct file f = {
		.chain = &c, .fd = -1, .offset = 100, .consumed = 100, .uncounted_bytes = 40};

	assert_false(asks_for_a_read(&f, 1, 60, 100));
	assert_true(asks_for_a_read(&f, 2, 100, 100));
	f.epoch = 1; /* the sum says nothing any more */
	assert_true(asks_for_a_read(&f, 3, 60, 100));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(what_was_read_before_it_was_counted_asks_for_nothing),
	cmocka_unit_test(what_was_there_before_is_no_part_of_the_sum),
	cmocka_unit_test(the_rate_is_of_the_log_however_often_it_is_rotated),
	cmocka_unit_test(what_was_there_before_is_no_rate),
	cmocka_unit_test(room_is_what_was_learned),
};
RUN_TESTS(tests)
