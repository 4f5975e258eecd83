/* SPDX-License-Identifier: Apache-2.0 */
/* In which order a log's generations are read, however they are named and found. */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "files/file.h"

#define GENERATIONS 5

struct world {
	char *dir;
	struct table chains;
	struct chain *chain;
	struct file files[GENERATIONS];
	size_t n;
};

static void put(struct world *w, struct chain *c)
{
	if (!--c->members)
		chain_free(&w->chains, c);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	w->dir = test_dir_make();
	*state = w;
	return 0;
}

static void clear(struct world *w)
{
	for (size_t i = 0; i < w->n; i++) {
		close(w->files[i].fd);
		free(w->files[i].path);
		put(w, w->chain);
	}
	memset(w->files, 0, sizeof(w->files));
	w->n = 0;
	w->chain = NULL;
}

static int teardown(void **state)
{
	struct world *w = *state;

	clear(w);
	assert_int_equal(w->chains.count, 0);
	table_done(&w->chains);
	test_dir_remove(w->dir);
	free(w);
	return 0;
}

/* A generation as it is on disk, last written at_ms; *.gz is one that is inflated. */
struct generation {
	const char *name;
	int at_ms;
};

static struct file *make(struct world *w, struct generation g)
{
	struct timespec at = {1000 + g.at_ms / 1000, g.at_ms % 1000 * 1000000L};
	struct timespec times[2] = {at, at};
	struct file *f = &w->files[w->n++];
	size_t len = strlen(g.name);
	struct stat st;

	assert_true(asprintf(&f->path, "%s/%s", w->dir, g.name) > 0);
	f->compressed = len > 3 && strcmp(g.name + len - 3, ".gz") == 0;
	f->fd = open(f->path, O_RDONLY | O_CREAT, 0600);
	assert_true(f->fd >= 0);
	assert_int_equal(futimens(f->fd, times), 0);
	assert_int_equal(fstat(f->fd, &st), 0);
	f->id = (struct file_id){st.st_dev, st.st_ino};
	return f;
}

static void insert(struct world *w, struct file *f)
{
	struct stat st;

	assert_int_equal(fstat(f->fd, &st), 0);
	f->chain = w->chain;
	chain_insert(w->chain, f, &st);
	if (strcmp(f->path, w->chain->key) == 0)
		chain_set_live(w->chain, f);
}

/* The chain that all of them belong to. */
static void make_chain(struct world *w, const char *live)
{
	char key[128];

	snprintf(key, sizeof(key), "%s/%s", w->dir, live);
	for (size_t i = 0; i < w->n; i++) {
		assert_int_equal(chain_get(&w->chains, key, NULL, &w->chain), 0);
		w->chain->members++;
	}
}

static void check_order(const struct world *w, const struct generation *oldest_first)
{
	size_t i = 0;

	list_for_each (l, next, &w->chain->queue) {
		const struct file *f = container_of(l, struct file, in_chain);

		assert_true(i < w->n);
		assert_string_equal(strrchr(f->path, '/') + 1, oldest_first[i].name);
		i++;
	}
	assert_int_equal(i, w->n);
}

static void swap(unsigned *a, unsigned *b)
{
	unsigned t = *a;

	*a = *b;
	*b = t;
}

static bool next_permutation(unsigned *p, size_t n)
{
	size_t i = n - 1, j = n - 1;

	while (i > 0 && p[i - 1] > p[i])
		i--;
	if (i == 0)
		return false;
	while (p[j] < p[i - 1])
		j--;
	swap(&p[i - 1], &p[j]);
	for (j = n - 1; i < j; i++, j--)
		swap(&p[i], &p[j]);
	return true;
}

/* In whatever order they are found. */
static void check_always(struct world *w, const struct generation *oldest_first)
{
	unsigned order[GENERATIONS];

	for (size_t i = 0; i < GENERATIONS && oldest_first[i].name; i++) {
		make(w, oldest_first[i]);
		order[i] = (unsigned)i;
	}
	make_chain(w, "app.log");
	do {
		for (size_t i = 0; i < w->n; i++)
			insert(w, &w->files[order[i]]);
		check_order(w, oldest_first);
		for (size_t i = 0; i < w->n; i++)
			list_del(&w->files[i].in_chain);
		w->chain->live = NULL;
	} while (next_permutation(order, w->n));
	clear(w);
}

static void oldest_write_first_and_the_live_one_last(void **state)
{
	/* Rotators do not agree on what names mean: plain files are ordered by their last write. */
	static const struct generation rows[][GENERATIONS] = {
		{{"app.log.20261121-000001", 1000},
		 {"app.log.20261121-000002", 2000},
		 {"app.log.20261121-000003", 3000},
		 {"app.log", 3001}},
		{{"app.log.3", 1000}, {"app.log.2", 1004}, {"app.log.1", 1008}, {"app.log", 1012}},
		{{"app.log.1", 1000}, {"app.log.2", 2000}, {"app.log", 3000}}, /* counts upwards */
		{{"app.log.1", 2000}, {"app.log", 1000}}, /* the live one is last all the same */
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_always(*state, rows[i]);
}

/* Several rotations within one tick of the clock that stamps files. */
static void equal_times_are_told_apart_by_name(void **state)
{
	static const struct generation rows[][GENERATIONS] = {
		{{"app.log.20261121-000001", 4},
		 {"app.log.20261121-000002", 4},
		 {"app.log.20261121-000010", 4},
		 {"app.log.20261122-000000", 4}},
		{{"app.log.3", 4}, {"app.log.2", 4}, {"app.log.1", 4}, {"app.log", 4}},
		{{"app.log.11", 4}, {"app.log.10", 4}, {"app.log.9", 4}, {"app.log.1", 4}},
		{{"app.log.100", 4}, {"app.log.99", 4}, {"app.log.2", 4}},
		{{"app.log-20261120", 4}, {"app.log-20261121", 4}, {"app.log-20261122", 4}},
		{{"app.log-20261120", 4}, {"app.log-20261121", 4}, {"app.log-20261121-101112", 4}},
		{{"app.log.2026-11-21T10:11:12Z", 4}, {"app.log.2026-11-21T10:11:13Z", 4}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_always(*state, rows[i]);
}

/* A .gz was last written when it was compressed: later than its successors, may be. */
static void compressed_generations_are_ordered_by_name(void **state)
{
	static const struct generation rows[][GENERATIONS] = {
		{{"app.log.20261121-000001.gz", 9000},
		 {"app.log.20261121-000002.gz", 2},
		 {"app.log.20261121-000003", 3},
		 {"app.log", 4}},
		{{"app.log.20261121-000001.gz", 9000},
		 {"app.log.20261121-000002", 2},
		 {"app.log.20261121-000003", 3},
		 {"app.log", 1}},
		{{"app.log.3.gz", 9000}, {"app.log.2.gz", 8000}, {"app.log.1", 3}, {"app.log", 4}},
		{{"app.log.3.gz", 5}, {"app.log.2.gz", 5}, {"app.log.1.gz", 5}, {"app.log", 4}},
		{{"app.log.2.gz", 1}, {"app.log.1.gz", 2}}, /* as it should be */
		{{"app.log.10.gz", 9}, {"app.log.9.gz", 8}, {"app.log.2.gz", 7}, {"app.log.1", 6}},
		{{"app.log.10.gz", 1}, {"app.log.9.gz", 2}, {"app.log.2", 3}, {"app.log.1", 4}},
		{{"app.log-20261119.gz", 9}, {"app.log-20261120.gz", 8}, {"app.log-20261121", 7}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_always(*state, rows[i]);
}

/* Where names say nothing the last write does, also that of a compressed one. */
static void names_that_say_nothing_leave_it_to_the_times(void **state)
{
	static const struct generation rows[][GENERATIONS] = {
		{{"app.log.old", 1000}, {"app.log", 2000}},
		{{"app.log.old.gz", 1000}, {"app.log.1", 2000}},
		{{"app.log.1", 1000}, {"app.log.old.gz", 2000}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check_always(*state, rows[i]);
}

static void nothing_goes_before_what_was_begun(void **state)
{
	static const struct generation found[] = {{"app.log.1", 3000},
						  {"app.log.2", 2000},
						  {"app.log.3", 1000},
						  {"app.log.4.gz", 500},
						  {"app.log", 4000}},
				       want[] = {{"app.log.3", 1000},
						 {"app.log.4.gz", 500},
						 {"app.log.2", 2000},
						 {"app.log.1", 3000},
						 {"app.log", 4000}};
	struct world *w = *state;

	for (size_t i = 0; i < GENERATIONS; i++)
		make(w, found[i]);
	make_chain(w, "app.log");
	insert(w, &w->files[0]);
	insert(w, &w->files[2]);
	w->files[2].offset = 1;  /* app.log.3 */
	insert(w, &w->files[3]); /* older, but too late */
	insert(w, &w->files[1]); /* between what was not begun: in its place */
	insert(w, &w->files[4]);
	check_order(w, want);
}

/* A rotated one that turns up late goes before the live file, even when that is being read. */
static void the_live_one_keeps_nobody_behind_it(void **state)
{
	static const struct generation found[] = {{"app.log", 1000}, {"app.log.1", 2000}},
				       want[] = {{"app.log.1", 2000}, {"app.log", 1000}};
	struct world *w = *state;

	make(w, found[0]);
	make(w, found[1]);
	make_chain(w, "app.log");
	insert(w, &w->files[0]);
	w->files[0].offset = 100;
	insert(w, &w->files[1]);
	check_order(w, want);
}

static void a_file_without_a_name_keeps_its_place(void **state)
{
	static const struct generation found[] = {{"app.log.2", 1000}, {"app.log.1", 2000}};
	struct world *w = *state;

	make(w, found[0]);
	make(w, found[1]);
	make_chain(w, "app.log");
	insert(w, &w->files[0]);
	free(take_ptr(w->files[0].path)); /* unlinked, and still held */
	insert(w, &w->files[1]);
	assert_ptr_equal(w->chain->queue.next, &w->files[0].in_chain);
	assert_ptr_equal(w->chain->queue.prev, &w->files[1].in_chain);
}

/* Closed for want of descriptors, its times are those at its name. */
static void a_closed_file_is_compared_by_its_name(void **state)
{
	static const struct generation found[] = {{"app.log.2", 1000}, {"app.log.1", 2000}};
	struct world *w = *state;

	make(w, found[0]);
	make(w, found[1]);
	for (size_t i = 0; i < 2; i++) {
		struct stat st;

		assert_int_equal(fstat(w->files[i].fd, &st), 0);
		w->files[i].id = (struct file_id){st.st_dev, st.st_ino};
	}
	make_chain(w, "app.log");
	insert(w, &w->files[1]);
	close(w->files[1].fd);
	w->files[1].fd = -1;
	insert(w, &w->files[0]);
	check_order(w, found);
}

static void renamed_back_it_is_live_and_last(void **state)
{
	static const struct generation found[] = {{"app.log.2", 1000}, {"app.log.1", 2000}},
				       want[] = {{"app.log.1", 2000}, {"app.log.2", 1000}};
	struct world *w = *state;
	struct file *f;

	f = make(w, found[0]);
	make(w, found[1]);
	make_chain(w, "app.log");
	insert(w, &w->files[0]);
	insert(w, &w->files[1]);
	f->displaced = f->lingering = true;
	chain_set_live(w->chain, f);
	check_order(w, want);
	assert_false(f->displaced || f->lingering);
	assert_ptr_equal(w->chain->live, f);
	assert_true(w->chain->had_live);
}

static void generations_are_one_chain_if_the_live_name_is_known(void **state)
{
	struct world *w = *state;
	struct chain *a, *b, *c;
	char path[3][128];

	snprintf(path[0], sizeof(path[0]), "%s/app.log", w->dir);
	snprintf(path[1], sizeof(path[1]), "%s/app.log.20261121-000001", w->dir);
	snprintf(path[2], sizeof(path[2]), "%s/app.log-20261121", w->dir);
	assert_int_equal(chain_get(&w->chains, path[1], NULL, &a), 0);
	a->members++;
	assert_string_equal(a->key, path[1]); /* nothing else is known, nor there */
	assert_int_equal(chain_get(&w->chains, path[0], NULL, &b), 0);
	b->members++;
	assert_int_equal(chain_get(&w->chains, path[2], NULL, &c), 0);
	assert_ptr_equal(b, c);
	put(w, a);
	put(w, b);
	assert_int_equal(w->chains.count, 0);
	test_write(path[0], "w", "");
	assert_int_equal(chain_get(&w->chains, path[1], NULL, &a), 0); /* there, though not known */
	a->members++;
	assert_string_equal(a->key, path[0]);
	put(w, a);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* While a directory is listed its log is rotated twice, and none of the events was taken yet. */
static void a_live_one_that_was_rotated_is_before_its_successors(void **state)
{
	static const struct generation order[GENERATIONS] = {{"app.log.20261121-000001", 1000},
							     {"app.log", 2000},
							     {"app.log.20261121-000003", 3000}};
	struct world *w = *state;
	struct file *live, *old, *young;
	char now[128];

	live = make(w, order[1]);
	old = make(w, order[0]);
	young = make(w, order[2]);
	make_chain(w, "app.log");
	insert(w, live);
	snprintf(now, sizeof(now), "%s.20261121-000002", live->path);
	assert_int_equal(rename(live->path, now), 0);
	insert(w, young);
	insert(w, old);
	check_order(w, order);
	list_del(&young->in_chain);
	assert_int_equal(close(open(live->path, O_CREAT | O_WRONLY, 0600)), 0); /* the next one */
	insert(w, young);
	check_order(w, order);
}

static const struct CMUnitTest tests[] = {
	T(oldest_write_first_and_the_live_one_last),
	T(equal_times_are_told_apart_by_name),
	T(compressed_generations_are_ordered_by_name),
	T(names_that_say_nothing_leave_it_to_the_times),
	T(nothing_goes_before_what_was_begun),
	T(the_live_one_keeps_nobody_behind_it),
	T(a_live_one_that_was_rotated_is_before_its_successors),
	T(a_file_without_a_name_keeps_its_place),
	T(a_closed_file_is_compared_by_its_name),
	T(renamed_back_it_is_live_and_last),
	T(generations_are_one_chain_if_the_live_name_is_known),
};
RUN_TESTS(tests)
