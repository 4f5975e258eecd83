/* SPDX-License-Identifier: Apache-2.0 */
/* Other roots under a tree that is watched: what is followed then, and what keeps its watch. */
#include "tree_world.h"

/* Directories, with blanks between; a link's with '@' in front. */
static int prepare(struct world *w, const char *names, struct roots **ret_roots, char *why)
{
	char paths[8][160], *roots[8], *links[8], all[200], *rest = all, *name;
	size_t n = 0, n_roots = 0, n_links = 0;

	snprintf(all, sizeof(all), "%s", names);
	while ((name = strsep(&rest, " "))) {
		snprintf(paths[n], sizeof(paths[n]), "%s/%s", w->dir, name + (*name == '@'));
		if (*name == '@')
			links[n_links++] = paths[n++];
		else
			roots[n_roots++] = paths[n++];
	}
	return tree_prepare(roots, n_roots, links, n_links, ret_roots, why);
}

static void change(struct world *w, const char *names)
{
	struct roots *roots;
	char why[TREE_WHY_MAX];

	assert_int_equal(prepare(w, names, &roots, why), 0);
	w->old = 0;
	tree_change(w->tree, roots);
}

static void follow(struct world *w, const char *first, const char *second)
{
	char a[160], b[160], *roots[2] = {a, b};

	snprintf(a, sizeof(a), "%s/%s", w->dir, first);
	snprintf(b, sizeof(b), "%s/%s", w->dir, second ? second : "");
	start_roots(w, roots, second ? 2 : 1);
}

static bool wants(struct world *w, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	return tree_wants(w->tree, path);
}

/* Is a file made there now told of? */
static bool tells(struct world *w, const char *name)
{
	char command[200];

	snprintf(command, sizeof(command), "rm -f %s; touch %s", name, name);
	run(w, command);
	settle(w);
	return has(w, name);
}

static unsigned dirs(struct world *w)
{
	struct tree_stats stats;

	tree_stats(w->tree, &stats);
	assert_int_equal(stats.unwatched, 0);
	return stats.dirs;
}

static void one_that_is_added_is_listed(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p a b/c; touch a/0.log b/c/1.log b/2.log");
	follow(w, "a", NULL);
	w->n = 0;
	change(w, "a b");
	assert_true(has(w, "b/c/1.log") && has(w, "b/2.log"));
	assert_int_equal(w->old, 2);
	assert_int_equal(w->unfollowed, 1);
	assert_int_equal(dirs(w), 3);
	assert_true(tells(w, "b/c/3.log") && tells(w, "a/4.log"));
}

static void one_that_is_removed_is_not_told_of(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p a b/c; touch a/0.log b/c/1.log");
	follow(w, "a", "b");
	change(w, "a");
	assert_true(has(w, "b/c/1.log")); /* it is not gone */
	assert_false(wants(w, "b/c/1.log"));
	assert_true(wants(w, "a/0.log"));
	assert_int_equal(dirs(w), 1);
	assert_int_equal(w->n_dirs, 1);
	assert_false(tells(w, "b/c/2.log"));
	run(w, "mkdir b/d");
	settle(w);
	assert_int_equal(dirs(w), 1);
}

static void what_stays_keeps_its_watch(void **state)
{
	struct world *w = *state;
	unsigned vanished;

	run(w, "mkdir -p a/x b; touch a/x/0.log");
	follow(w, "a", NULL);
	/* Told before the change, taken after it: the watch is the same. */
	run(w, "mv a/x/0.log a/x/1.log; touch a/x/0.log; mkdir a/y; touch a/y/2.log");
	change(w, "b a");
	w->born = 0;
	vanished = w->vanished;
	settle(w);
	assert_true(w->born >= 2);
	assert_int_equal(w->vanished, vanished);
	assert_true(has(w, "a/x/0.log") && has(w, "a/x/1.log") && has(w, "a/y/2.log"));
}

static void one_inside_another_stays_without_it(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p a/b/c a/d; touch a/b/c/0.log a/d/1.log");
	follow(w, "a", "a/b");
	change(w, "a/b");
	assert_int_equal(dirs(w), 2);
	assert_true(wants(w, "a/b/c/0.log"));
	assert_false(wants(w, "a/d/1.log"));
	assert_true(tells(w, "a/b/c/2.log"));
	run(w, "mv a/b/c a/d/c");
	settle(w);
	assert_int_equal(dirs(w), 1);
	change(w, "a");
	assert_int_equal(dirs(w), 4);
	assert_true(tells(w, "a/d/c/3.log"));
	change(w, "a a/b");
	assert_int_equal(dirs(w), 4);
	assert_int_equal(w->old, 0);
}

static void links_of_a_removed_one_lead_nowhere(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p flat pods/p other; touch pods/p/0.log; ln -s ../pods/p/0.log flat/x.log");
	follow(w, "flat", NULL);
	change(w, "flat @pods");
	assert_true(wants(w, "pods/p/0.log"));
	assert_false(wants(w, "pods/p/1.log"));
	change(w, "other @pods");
	assert_false(wants(w, "pods/p/0.log"));
	change(w, "flat @pods");
	assert_true(tells(w, "pods/p/0.log.1"));
	change(w, "flat"); /* and pods is no directory that links may lead into */
	assert_false(wants(w, "pods/p/0.log"));
	assert_int_equal(dirs(w), 1);
}

static void a_linked_directory_becomes_a_whole_one_and_back(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p flat pods/d/p; touch pods/d/p/0.log; ln -s ../pods/d/p/0.log flat/x.log");
	follow(w, "flat", NULL);
	change(w, "flat @pods");
	change(w, "flat pods");
	assert_true(wants(w, "pods/d/p/other.log"));
	assert_true(tells(w, "pods/d/p/1.log"));
	change(w, "pods flat");
	assert_true(tells(w, "pods/d/p/2.log"));
	run(w, "mv pods/d ."); /* takes it along */
	settle(w);
	assert_int_equal(dirs(w), 2);
	run(w, "mv d pods");
	settle(w);
	assert_int_equal(dirs(w), 4);
	change(w, "flat @pods");
	assert_true(wants(w, "pods/d/p/0.log"));
	assert_false(wants(w, "pods/d/p/other.log"));
	assert_int_equal(dirs(w), 2);
}

static void those_that_are_not_there_are_waited_for(void **state)
{
	struct world *w = *state;
	struct tree_stats stats;

	run(w, "mkdir a");
	follow(w, "a", NULL);
	log_set_level(LOG_ERR);
	change(w, "a b");
	tree_stats(w->tree, &stats);
	assert_int_equal(stats.roots_missing, 1);
	run(w, "mkdir b; touch b/0.log");
	tree_turn(w->tree, clock_now_ns() + 10 * NS_PER_SEC);
	assert_true(has(w, "b/0.log"));
	assert_int_equal(w->old, 0);
}

static void one_that_cannot_be_changes_nothing(void **state)
{
	struct world *w = *state;
	struct roots *roots = NULL;
	char why[TREE_WHY_MAX];

	run(w, "mkdir a");
	follow(w, "a", NULL);
	assert_int_equal(prepare(w, "b", &roots, why), -ENOENT);
	assert_non_null(strstr(why, "/b: No such file"));
	assert_int_equal(prepare(w, "b c", &roots, why), -ENOENT);
	assert_string_equal(why, "none of the roots is there");
	assert_null(roots);
	assert_true(tells(w, "a/0.log"));
	assert_int_equal(prepare(w, "a", &roots, why), 0);
	tree_prepare_free(roots);
}

static int refuse(const char *path, int flags)
{
	const char *name = strrchr(path, '/');

	if (strcmp(name, "/shut") == 0) {
		errno = EMFILE;
		return -1;
	}
	return whole.open_plain(path, flags);
}

/* For want of a descriptor, say: that is no reason to forget what is below. */
static void one_that_cannot_be_opened_now_is_kept(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p a/shut/x b; touch a/shut/x/0.log");
	follow(w, "a", NULL);
	sys.open_plain = refuse;
	change(w, "a b");
	assert_true(wants(w, "a/shut/x/0.log"));
	sys.open_plain = whole.open_plain;
	tree_turn(w->tree, clock_now_ns() + 10 * NS_PER_SEC);
	assert_true(tells(w, "a/shut/x/1.log"));
}

/* The round is a byte: after 256 of them a directory has the number of another walk. */
static void rounds_that_come_again_keep_nothing(void **state)
{
	struct world *w = *state;
	char dir[160];

	run(w, "mkdir -p a/x b/y");
	follow(w, "a", "b");
	snprintf(dir, sizeof(dir), "%s/a", w->dir);
	for (int rounds = 250; rounds < 262; rounds++) {
		for (int i = 0; i < rounds; i++)
			assert_true(tree_look(w->tree, dir, ""));
		change(w, "a");
		assert_false(wants(w, "b/y/0.log"));
		assert_true(wants(w, "a/x/0.log"));
		change(w, "a b");
		assert_true(wants(w, "b/y/0.log"));
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(one_that_is_added_is_listed),
	TEST(one_that_is_removed_is_not_told_of),
	TEST(what_stays_keeps_its_watch),
	TEST(one_inside_another_stays_without_it),
	TEST(links_of_a_removed_one_lead_nowhere),
	TEST(a_linked_directory_becomes_a_whole_one_and_back),
	TEST(those_that_are_not_there_are_waited_for),
	TEST(one_that_cannot_be_changes_nothing),
	TEST(one_that_cannot_be_opened_now_is_kept),
	TEST(rounds_that_come_again_keep_nothing),
};

RUN_TESTS(tests)
