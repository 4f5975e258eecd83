/* SPDX-License-Identifier: Apache-2.0 */
/* Who is armed, who is hot, and whom a look wakes. The kernel's part, and what a look at a counter
 * finds, is played (collector_armed.c is compiled again for that, under other names). */
#include "test.h"

#define collector_arm          played_arm
#define collector_rest         played_rest
#define collector_wake         played_wake
#define collector_wake_armed   played_wake_armed
#define collector_detach       played_detach
#define collector_armed_ns     played_armed_ns
#define collector_look_armed   played_look_armed
#define collector_file_changed played_changed
#define heat_look              played_look
#define write_count_read       played_read
#define write_count_arm        played_arm_slot
#define write_count_no_records played_no_records
#include "collector_armed.c"

#define FILES     1000
#define QUIET_NS  (250 * NS_PER_MS)
#define ENOUGH_NS (ARMED_QUIETS * QUIET_NS)

struct world {
	struct config cfg;
	struct collector c;
	struct file files[FILES];
};

static uint64_t lost_records;

void played_changed(struct collector *c, struct file *f)
{
}

/* A file's sure stands for what its counter would say. */
void played_look(const struct write_count *wc, struct file *f, int64_t now_ns)
{
	f->probe = f->sure;
}

void played_read(const struct write_count *wc, int slot, struct write_total *ret_total)
{
	*ret_total = (struct write_total){.calls = 1};
}

bool played_arm_slot(struct write_count *wc, int slot, uint64_t collected, uint64_t threshold)
{
	return true;
}

uint64_t played_no_records(const struct write_count *wc)
{
	return lost_records;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->cfg.hot_quiet_ns = QUIET_NS;
	w->c.cfg = &w->cfg;
	w->c.counts = (void *)w;
	list_init(&w->c.hot);
	lost_records = 0;
	for (int i = 0; i < FILES; i++) {
		w->files[i].seen_calls = 1;
		list_add_tail(&w->c.hot, &w->files[i].in_hot);
	}
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	free(w->c.armed);
	free(w);
	return 0;
}

static void rest_all(struct world *w)
{
	for (int i = 0; i < FILES; i++)
		collector_rest(&w->c, &w->files[i]);
	assert_int_equal(w->c.n_armed, FILES);
}

static size_t hot(const struct world *w)
{
	size_t n = 0;

	list_for_each (l, next, &w->c.hot)
		n++;
	return n;
}

static void each_is_where_it_says(const struct world *w)
{
	size_t armed = 0;

	for (int i = 0; i < FILES; i++) {
		const struct file *f = &w->files[i];

		assert_false(f->armed_at && list_linked(&f->in_hot));
		if (f->armed_at) {
			assert_ptr_equal(w->c.armed[f->armed_at - 1], f);
			armed++;
		}
	}
	assert_int_equal(armed, w->c.n_armed);
	assert_in_range(w->c.n_armed, 0, w->c.armed_max);
}

static void whatever_comes_and_goes_in_any_order(void **state)
{
	struct world *w = *state;
	unsigned seed = 1;

	for (int i = 0; i < 100000; i++) {
		struct file *f = &w->files[rand_r(&seed) % FILES];
		int what = rand_r(&seed) % (i / 20000 % 2 ? 10 : 3); /* grows, and shrinks again */

		if (what == 0)
			collector_rest(&w->c, f);
		else if (what == 1)
			collector_wake(&w->c, f);
		else
			collector_detach(&w->c, f);
		assert_int_equal(f->armed_at != 0, what == 0);
		assert_int_equal(list_linked(&f->in_hot), what == 1);
		if (i % 100 == 0)
			each_is_where_it_says(w);
	}
	collector_wake_armed(&w->c);
	each_is_where_it_says(w);
	assert_int_equal(w->c.n_armed, 0);
	assert_int_equal(collector_armed_ns(&w->c), INT64_MAX);
}

static void those_that_are_quiet_leave_some_at_a_time(void **state)
{
	struct world *w = *state;
	int64_t now = ENOUGH_NS - 1;
	size_t before;

	rest_all(w);
	collector_look_armed(&w->c, now);
	assert_int_equal(hot(w), 0);
	assert_int_equal(collector_armed_ns(&w->c), now + ARMED_NS);
	now += ARMED_NS;
	for (int i = 0; w->c.n_armed; i++) {
		assert_in_range(i, 0, FILES / ARMED_WAKE_MAX);
		before = hot(w);
		assert_in_range(collector_armed_ns(&w->c), 0, now);
		collector_look_armed(&w->c, now);
		assert_in_range(hot(w) - before, 1, ARMED_WAKE_MAX);
		each_is_where_it_says(w);
	}
	assert_int_equal(hot(w), FILES);
}

/* Those that were never written to are given to inotify sooner. */
static void new_ones_leave_first(void **state)
{
	struct world *w = *state;

	rest_all(w);
	w->files[7].seen_calls = 0;
	collector_look_armed(&w->c, ARMED_NS);
	assert_int_equal(hot(w), 1);
	assert_true(list_linked(&w->files[7].in_hot));
}

/* A record for which there was no room: of a file that the look under way has passed, too. Those
 * that have something to read do not wait for those that are quiet. */
static void a_lost_record_is_looked_for_among_all(void **state)
{
	struct world *w = *state;
	struct file *passed = &w->files[FILES - 1];

	for (int i = FILES - 100; i < FILES; i++)
		w->files[i].changed_ns = ENOUGH_NS;
	rest_all(w);
	collector_look_armed(&w->c, ENOUGH_NS);
	assert_int_equal(hot(w), ARMED_WAKE_MAX);
	assert_false(list_linked(&passed->in_hot));
	for (int i = 0; i < FILES; i++)
		w->files[i].sure = 1;
	lost_records++;
	collector_look_armed(&w->c, ENOUGH_NS + 1);
	assert_false(list_linked(&passed->in_hot));
	assert_int_equal(hot(w), FILES - 100);
	collector_look_armed(&w->c, ENOUGH_NS + ARMED_LOST_NS);
	assert_int_equal(hot(w), FILES);
	collector_look_armed(&w->c, ENOUGH_NS + ARMED_LOST_NS + 1);
	each_is_where_it_says(w);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(whatever_comes_and_goes_in_any_order),
	T(those_that_are_quiet_leave_some_at_a_time),
	T(new_ones_leave_first),
	T(a_lost_record_is_looked_for_among_all),
};
RUN_TESTS(tests)
