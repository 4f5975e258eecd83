/* SPDX-License-Identifier: Apache-2.0 */
/* What a file's look adds to its container's rate, and what the file then claims; by sizes. */
#include "test.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "files/file.h"
#include "heat/heat.h"

#define STEP_NS (50 * NS_PER_MS)

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

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(the_rate_is_of_the_log_however_often_it_is_rotated),
	cmocka_unit_test(what_was_there_before_is_no_rate),
	cmocka_unit_test(room_is_what_was_learned),
};
RUN_TESTS(tests)
