/* SPDX-License-Identifier: Apache-2.0 */
/* Other sinks while lines flow: who gets what, in which order, and what is acknowledged when. */
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "event/source.h"
#include "output/batch.h"
#include "output/outlet.h"
#include "output/sink.h"

#define BATCHES   4
#define WAIT_NS   (20 * NS_PER_SEC) /* a bound for what should take a moment */
#define PATIENT   WAIT_NS
#define IMPATIENT (20 * NS_PER_MS)

/* What a write to out.X does; by X. */
enum mode { WORKS, WAITS, FULL, BROKEN };
static atomic_int modes[128];
static struct sys whole;

static struct world {
	char *dir, specs[8][160];
	char *list[8];
	struct outlet *outlet;
	struct source *source;
	unsigned next, acked[64], n_acked, lost;
} world;

static ssize_t write_by_mode(int fd, const void *data, size_t n)
{
	char link[64], path[PATH_MAX] = "";
	ssize_t len;
	atomic_int *mode;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	mode = &modes[len > 0 ? path[len - 1] & 127 : 0];
	while (*mode == WAITS)
		usleep(1000);
	if (*mode == WORKS)
		return whole.write(fd, data, n);
	errno = *mode == FULL ? ENOSPC : EPIPE;
	return -1;
}

/* "AB": out.A and out.B; 0: null. */
static char *const *specs(const char *names)
{
	for (size_t i = 0; names[i]; i++) {
		struct world *w = &world;

		snprintf(w->specs[i], sizeof(w->specs[i]),
			 names[i] == '0' ? "null" : "file:%s/out.%c", w->dir, names[i]);
		w->list[i] = w->specs[i];
	}
	return world.list;
}

static int setup(void **state)
{
	struct world *w = &world;

	*w = (struct world){.dir = test_dir_make()};
	log_set_level(LOG_ERR);
	whole = sys;
	sys.write = write_by_mode;
	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		modes[i] = WORKS;
	assert_int_equal(source_new("/a", &w->source), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		modes[i] = WORKS;
	assert_true(outlet_stop(w->outlet, 20000));
	outlet_free(w->outlet);
	source_unref(w->source);
	sys = whole;
	test_dir_remove(w->dir);
	return 0;
}

static void start(const char *names)
{
	struct outlet_options o = {.specs = specs(names),
				   .n_specs = strlen(names),
				   .format = ENCODE_RAW,
				   .batches = BATCHES,
				   .batch_bytes = 65536,
				   .longest_line = 4096};

	assert_int_equal(outlet_new(&o, &world.outlet), 0);
}

static void change(const char *names, int64_t patience_ns)
{
	struct outlet_change *ch;
	char why[OUTLET_WHY_MAX];

	assert_int_equal(outlet_prepare(world.outlet, specs(names), strlen(names), &ch, why), 0);
	outlet_change(world.outlet, ch, patience_ns);
}

static void on_span(void *ctx, const struct span *s, int64_t acked_ns, bool delivered)
{
	world.acked[world.n_acked++] = (unsigned)s->end_offset;
	world.lost += !delivered;
}

static void turn(void)
{
	struct pollfd fd = {outlet_fd(world.outlet), POLLIN, 0};

	outlet_want_ack(world.outlet);
	poll(&fd, 1, 1);
	outlet_clear(world.outlet);
	outlet_acks(world.outlet, on_span, NULL);
}

#define WAIT_FOR(what)                                     \
	do {                                               \
		int64_t until_ = clock_now_ns() + WAIT_NS; \
		while (!(what) && clock_now_ns() < until_) \
			turn();                            \
		assert_true(what);                         \
	} while (0)

/* Hands on a batch of one line, its number; false: the pool is dry. */
static bool put(void)
{
	struct batch *b = outlet_batch(world.outlet);
	char line[16];

	if (!b)
		return false;
	snprintf(line, sizeof(line), "%u", ++world.next);
	memcpy(b->arena, line, strlen(line));
	*batch_next(b) = (struct record){.text = b->arena, .text_len = (uint32_t)strlen(line)};
	batch_commit(b);
	b->used = b->fill_bytes;
	b->spans[b->n_spans++] = (struct span){
		.source = source_ref(world.source), .count = 1, .end_offset = world.next};
	outlet_hand_on(world.outlet);
	return true;
}

static const char *content(char name)
{
	static char text[256];
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/out.%c", world.dir, name);
	f = fopen(path, "r");
	text[f ? fread(text, 1, sizeof(text) - 1, f) : 0] = '\0';
	if (f)
		fclose(f);
	for (char *p = text; *p; p++)
		*p = *p == '\n' ? ' ' : *p;
	return text;
}

static void check_acked(unsigned n)
{
	WAIT_FOR(world.n_acked >= n);
	assert_int_equal(world.n_acked, n);
	assert_int_equal(world.lost, 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(world.acked[i], i + 1);
	assert_int_equal(outlet_failed(world.outlet), 0);
}

static unsigned count_descriptors(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 256; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void one_that_stays_is_not_touched(void **state)
{
	const struct sink *b;

	start("AB");
	b = outlet_sink(world.outlet, 1);
	assert_true(put());
	change("CB", PATIENT);
	assert_int_equal(outlet_sinks(world.outlet), 2);
	assert_true(outlet_sink(world.outlet, 0) == b || outlet_sink(world.outlet, 1) == b);
	WAIT_FOR(!outlet_changing(world.outlet));
	assert_true(put());
	check_acked(2);
	assert_string_equal(content('A'), "1 ");
	assert_string_equal(content('B'), "1 2 ");
	assert_string_equal(content('C'), "2 ");
}

static void one_more_waits_for_nobody(void **state)
{
	modes['A'] = WAITS;
	start("A");
	assert_true(put());
	change("AB", PATIENT);
	assert_false(outlet_changing(world.outlet));
	assert_true(put());
	WAIT_FOR(content('B')[0]);
	modes['A'] = WORKS;
	check_acked(2);
	assert_string_equal(content('A'), "1 2 ");
	assert_string_equal(content('B'), "2 ");
}

static void the_removed_deliver_before_the_new_get_anything(void **state)
{
	modes['A'] = WAITS;
	start("A");
	assert_true(put() && put());
	change("B", PATIENT);
	for (int i = 0; i < 20; i++) {
		turn();
		assert_true(outlet_changing(world.outlet));
		assert_false(put());
	}
	modes['A'] = WORKS;
	WAIT_FOR(!outlet_changing(world.outlet));
	assert_true(put());
	check_acked(3);
	assert_string_equal(content('A'), "1 2 ");
	assert_string_equal(content('B'), "3 ");
}

static void what_was_begun_goes_to_the_old_set(void **state)
{
	struct batch *b;

	start("A");
	b = outlet_batch(world.outlet);
	*batch_next(b) = (struct record){.text = "begun", .text_len = 5};
	batch_commit(b);
	b->spans[b->n_spans++] = (struct span){
		.source = source_ref(world.source), .count = 1, .end_offset = ++world.next};
	change("B", PATIENT);
	WAIT_FOR(!outlet_changing(world.outlet));
	check_acked(1);
	assert_string_equal(content('A'), "begun ");
	assert_string_equal(content('B'), "");
}

static void the_stuck_hand_over_in_order(void **state)
{
	start("A");
	assert_true(put());
	check_acked(1);
	modes['A'] = FULL;
	assert_true(put() && put() && put());
	change("B", IMPATIENT);
	WAIT_FOR(!outlet_changing(world.outlet));
	assert_true(put());
	check_acked(5);
	assert_string_equal(content('A'), "1 ");
	assert_string_equal(content('B'), "2 3 4 5 ");
}

/* Its thread sits in a write that nobody can end, and comes back when all is over. */
static void one_that_hangs_hands_over_too(void **state)
{
	modes['A'] = WAITS;
	start("A");
	assert_true(put() && put());
	change("B", IMPATIENT);
	WAIT_FOR(!outlet_changing(world.outlet));
	assert_true(put());
	check_acked(3);
	assert_string_equal(content('B'), "1 2 3 ");
	modes['A'] = WORKS;
	WAIT_FOR(content('A')[0]);
	for (int i = 0; i < 50; i++)
		turn();
	assert_string_equal(content('A'), "1 ");
	check_acked(3);
}

static void two_that_are_stuck_hand_over_each_batch_once(void **state)
{
	start("AB");
	modes['B'] = FULL;
	assert_true(put());
	WAIT_FOR(content('A')[0]);
	modes['A'] = FULL;
	assert_true(put() && put());
	change("C", IMPATIENT);
	WAIT_FOR(!outlet_changing(world.outlet));
	assert_true(put());
	check_acked(4);
	assert_string_equal(content('A'), "1 ");
	assert_string_equal(content('B'), "");
	assert_string_equal(content('C'), "1 2 3 4 ");
}

static void with_nobody_new_the_others_are_enough(void **state)
{
	start("AB");
	modes['A'] = FULL;
	assert_true(put() && put());
	change("B", IMPATIENT);
	WAIT_FOR(!outlet_changing(world.outlet));
	assert_true(put());
	check_acked(3);
	assert_string_equal(content('B'), "1 2 3 ");
}

static void a_removed_one_that_breaks_ends_nothing(void **state)
{
	modes['A'] = WAITS;
	start("A");
	assert_true(put() && put());
	change("B", PATIENT);
	modes['A'] = BROKEN;
	WAIT_FOR(!outlet_changing(world.outlet));
	assert_true(put());
	check_acked(3);
	assert_string_equal(content('A'), "");
	assert_string_equal(content('B'), "1 2 3 ");
}

static void nothing_is_left_of_a_change_that_cannot_be(void **state)
{
	struct outlet_change *ch = NULL;
	char why[OUTLET_WHY_MAX], bad[] = "file:/nowhere/x";
	unsigned before;
	char *list[3];

	start("A");
	before = count_descriptors();
	memcpy(list, specs("BA"), sizeof(list));
	list[2] = bad;
	assert_int_equal(outlet_prepare(world.outlet, list, 3, &ch, why), -ENOENT);
	assert_non_null(strstr(why, "file:/nowhere/x: No such file"));
	assert_null(ch);
	assert_int_equal(count_descriptors(), before);
	assert_int_equal(outlet_sinks(world.outlet), 1);
	assert_true(put());
	check_acked(1);
	assert_string_equal(content('A'), "1 ");
	assert_string_equal(content('B'), "");
}

static void a_name_may_be_there_twice(void **state)
{
	start("00A");
	change("0A", PATIENT);
	assert_int_equal(outlet_sinks(world.outlet), 2);
	WAIT_FOR(!outlet_changing(world.outlet));
	change("A0A", PATIENT);
	assert_int_equal(outlet_sinks(world.outlet), 3);
	assert_true(put());
	check_acked(1);
	assert_string_equal(content('A'), "1 1 ");
}

static void descriptors_do_not_grow(void **state)
{
	unsigned before;

	start("A");
	before = count_descriptors();
	for (int i = 0; i < 50; i++) {
		change(i % 2 ? "A" : "BC", PATIENT);
		WAIT_FOR(!outlet_changing(world.outlet));
		assert_true(put());
	}
	check_acked(50);
	WAIT_FOR(count_descriptors() == before);
}

static void other_limits_count_from_the_next_batch_on(void **state)
{
	struct batch *b;

	start("A");
	assert_int_equal(outlet_batch(world.outlet)->cap, 65536 + 4096);
	outlet_resize(world.outlet, 8192, 1 << 20);
	for (int i = 0; i < 2 * BATCHES; i++) {
		b = outlet_batch(world.outlet);
		assert_true(b->fill_bytes <= 8192 && b->cap >= b->fill_bytes + (1 << 20));
		memset(b->arena, 'x', b->cap);
		assert_true(put());
		WAIT_FOR(outlet_idle(world.outlet));
	}
	check_acked(2 * BATCHES);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(one_that_stays_is_not_touched),
	TEST(one_more_waits_for_nobody),
	TEST(the_removed_deliver_before_the_new_get_anything),
	TEST(what_was_begun_goes_to_the_old_set),
	TEST(the_stuck_hand_over_in_order),
	TEST(one_that_hangs_hands_over_too),
	TEST(two_that_are_stuck_hand_over_each_batch_once),
	TEST(with_nobody_new_the_others_are_enough),
	TEST(a_removed_one_that_breaks_ends_nothing),
	TEST(nothing_is_left_of_a_change_that_cannot_be),
	TEST(a_name_may_be_there_twice),
	TEST(descriptors_do_not_grow),
	TEST(other_limits_count_from_the_next_batch_on),
};

RUN_TESTS(tests)
