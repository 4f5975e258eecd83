/* SPDX-License-Identifier: Apache-2.0 */
/* The tree with its real inotify: what is there, and what it reports, must agree. */
#include "tree_world.h"

static const char *in(struct world *w, const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	return path;
}

static void what_exists_is_found_at_any_depth(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p a/b/c/d/e/f; touch x.log a/y.log a/b/c/d/e/f/z.log");
	start(w, "");
	assert_int_equal(w->n, 3);
	assert_true(has(w, "a/b/c/d/e/f/z.log"));
}

static void what_appears_is_found_even_in_one_breath(void **state)
{
	struct world *w = *state;

	start(w, "");
	for (int i = 0; i < 20; i++) {
		char command[100];

		snprintf(command, sizeof(command), "mkdir -p p%d/q/r && touch p%d/q/r/0.log", i, i);
		run(w, command);
	}
	settle(w);
	assert_int_equal(w->n, 20);
	assert_true(has(w, "p19/q/r/0.log"));
}

static void deletes_and_renames_are_told(void **state)
{
	struct world *w = *state;

	run(w, "mkdir a; touch a/0.log a/1.log");
	start(w, "");
	run(w, "mv a/0.log a/0.log.1; rm a/1.log");
	settle(w);
	assert_int_equal(w->n, 1);
	assert_true(has(w, "a/0.log.1"));
}

static void moved_directory_takes_its_files_along(void **state)
{
	struct world *w = *state;
	struct tree_stats stats;

	run(w, "mkdir -p a/b/c; touch a/b/c/0.log");
	start(w, "");
	run(w, "mv a/b z");
	settle(w);
	assert_int_equal(w->n, 1);
	assert_true(has(w, "z/c/0.log"));
	assert_null(tree_tag(w->tree, in(w, "a/b")));
	run(w, "touch z/c/1.log");
	settle(w);
	assert_true(has(w, "z/c/1.log"));
	tree_stats(w->tree, &stats);
	assert_int_equal(stats.dirs, 4);
	assert_int_equal(stats.unwatched, 0);
}

static void removed_tree_leaves_nothing(void **state)
{
	struct world *w = *state;
	struct tree_stats stats;

	run(w, "mkdir -p a/b/c; touch a/b/c/0.log");
	start(w, "");
	run(w, "rm -r a");
	settle(w);
	tree_stats(w->tree, &stats);
	assert_int_equal(w->n, 0);
	assert_int_equal(stats.dirs, 1);
}

static void root_that_vanishes_is_found_again(void **state)
{
	struct world *w = *state;
	struct tree_stats stats;

	run(w, "mkdir root; touch root/0.log");
	start(w, "/root");
	run(w, "mv root elsewhere");
	settle(w);
	tree_turn(w->tree, clock_now_ns() + NS_PER_SEC);
	tree_stats(w->tree, &stats);
	assert_int_equal(stats.roots_missing, 1);
	assert_int_equal(w->n, 0);
	run(w, "mkdir root; touch root/1.log");
	tree_turn(w->tree, clock_now_ns() + 10 * NS_PER_SEC);
	assert_int_equal(w->n, 1);
	assert_true(has(w, "root/1.log"));
}

static void links_lead_into_the_pods_beside(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p containers pods/n_p_u/c; touch pods/n_p_u/c/0.log pods/n_p_u/c/9.log;"
	       "ln -s $PWD/pods/n_p_u/c/0.log containers/p_n_c-0123456789abcdef.log");
	start(w, "/containers");
	assert_int_equal(w->n, 1);
	assert_true(has(w, "pods/n_p_u/c/0.log"));
	run(w, "mv pods/n_p_u/c/0.log pods/n_p_u/c/0.log.1; touch pods/n_p_u/c/0.log "
	       "pods/n_p_u/c/8.log");
	settle(w);
	assert_int_equal(w->n, 2); /* its rotation is followed, its neighbours are not */
	assert_true(has(w, "pods/n_p_u/c/0.log.1"));
}

static void links_out_of_the_roots_are_refused(void **state)
{
	struct world *w = *state;
	struct tree_stats stats;

	run(w, "mkdir root out; touch out/x.log; ln -s $PWD/out/x.log root/a.log; ln -s $PWD/out "
	       "root/b;"
	       "ln -s /etc/passwd root/c.log; ln -s nowhere root/d.log");
	start(w, "/root");
	tree_stats(w->tree, &stats);
	assert_int_equal(w->n, 0);
	assert_int_equal(stats.links_refused, 3);
	run(w, "ln -s /etc/hostname root/e.log");
	settle(w);
	assert_int_equal(w->n, 0);
}

static int no_watch(int fd, const char *path, uint32_t mask)
{
	errno = ENOSPC;
	return -1;
}

static void without_watches_directories_are_listed_again(void **state)
{
	struct world *w = *state;
	struct tree_stats stats;

	sys.inotify_add_watch = no_watch;
	run(w, "mkdir a");
	start(w, "");
	tree_stats(w->tree, &stats);
	assert_int_equal(stats.unwatched, 2);
	run(w, "mkdir -p a/b; touch a/0.log a/b/1.log");
	relist(w, clock_now_ns() + 10 * NS_PER_SEC);
	assert_int_equal(w->n, 2);
	sys.inotify_add_watch = inotify_add_watch;
	relist(w, clock_now_ns() + 20 * NS_PER_SEC);
	tree_stats(w->tree, &stats);
	assert_int_equal(stats.unwatched, 0);
}

static unsigned opened;

static int counting_open(const char *path, int flags)
{
	opened++;
	return open(path, flags | O_NOFOLLOW);
}

/* Thousands of them keep nothing else waiting: each turn looks at some. A new one is found by its
 * parent's, whatever is listed with it. */
static void without_watches_a_turn_lists_some(void **state)
{
	struct world *w = *state;
	int64_t now_ns = clock_now_ns() + NS_PER_SEC;
	int (*open_plain)(const char *path, int flags) = sys.open_plain;
	unsigned most = 0, all = 0;

	sys.inotify_add_watch = no_watch;
	run(w, "mkdir -p deep && cd deep && seq 4000 | xargs mkdir");
	start(w, "");
	run(w, "mkdir deep/4000/new; touch deep/4000/new/0.log");
	sys.open_plain = counting_open;
	for (int i = 0; i < 20000 && !w->n; i++) {
		opened = 0;
		tree_turn(w->tree, now_ns += 20 * NS_PER_MS);
		most = MAX(most, opened);
		all += opened;
	}
	sys.open_plain = open_plain;
	assert_true(has(w, "deep/4000/new/0.log"));
	assert_in_range(most, 1, 3000);
	assert_in_range(all, 1, 2 * 4010);
	sys.inotify_add_watch = inotify_add_watch;
}

/* It has been passed in the listing by the name it has then: it must be found before anybody reads
 * its successor. */
static void without_watches_what_is_rotated_meanwhile_is_found(void **state)
{
	struct world *w = *state;

	sys.inotify_add_watch = no_watch;
	run(w,
	    "mkdir a; touch a/0.log; sleep 0.02"); /* a directory's clock is coarse before 6.13 */
	w->rotating = in(w, "a/0.log");
	start(w, "");
	sys.inotify_add_watch = inotify_add_watch;
	assert_null(w->rotating);
	assert_true(has(w, "a/0.log"));
	assert_true(has(w, "a/0.log.1"));
}

/* What cannot be watched is listed again and again, but not while it is being listed. */
static void links_that_go_round_without_watches(void **state)
{
	struct world *w = *state;
	struct tree_stats stats;

	sys.inotify_add_watch = no_watch;
	run(w, "mkdir -p a/b; ln -s .. a/b/up; ln -s . a/self; touch a/b/0.log");
	start(w, "");
	tree_stats(w->tree, &stats);
	assert_int_equal(stats.unwatched, 3);
	assert_int_equal(w->n, 1);
	relist(w, clock_now_ns() + 10 * NS_PER_SEC);
	tree_stats(w->tree, &stats);
	assert_int_equal(stats.unwatched, 3);
	sys.inotify_add_watch = inotify_add_watch;
}

static ssize_t overflow_once(int fd, void *buf, size_t n)
{
	struct inotify_event e = {.wd = -1, .mask = IN_Q_OVERFLOW};
	char drop[65536];

	sys.read = read;
	if (read(fd, drop, sizeof(drop)) < 0)
		return -1;
	memcpy(buf, &e, sizeof(e));
	return sizeof(e);
}

static void overflow_is_answered_by_a_rescan(void **state)
{
	struct world *w = *state;

	start(w, "");
	sys.read = overflow_once; /* the events of what comes now are lost */
	run(w, "mkdir -p a/b; touch a/b/0.log");
	settle(w);
	sys.read = read;
	assert_int_equal(w->overflows, 1);
	assert_true(has(w, "a/b/0.log"));
	run(w, "touch a/b/1.log");
	settle(w);
	assert_true(has(w, "a/b/1.log"));
}

/* The one-shot watch never comes back as a dying one, however fast it is armed again. */
static void one_shot_can_be_armed_again_after_its_event(void **state)
{
	struct world *w = *state;
	char path[160];
	int fd, armed = 0, again = 0;

	start(w, "");
	snprintf(path, sizeof(path), "%s/f", w->dir);
	fd = open(path, O_RDWR | O_CREAT | O_APPEND, 0600);
	for (int i = 0; i < 2000; i++) {
		unsigned before = w->touched;
		int wd = watch_add_file(w->watch, fd);

		if (wd == -EEXIST) {
			again++;
			usleep(100);
			continue;
		}
		assert_true(wd >= 0);
		armed++;
		assert_int_equal(write(fd, "x", 1), 1);
		for (int wait = 0; w->touched == before; wait++) {
			struct pollfd p = {event_queue_fd(w->queue), POLLIN, 0};

			assert_true(wait < 50); /* silent for ever otherwise */
			if (poll(&p, 1, 100) == 1)
				event_queue_flush(w->queue);
		}
	}
	assert_true(armed > 100);
	close(fd);
}

static bool is(const struct world *w, const char *got, const char *name)
{
	size_t len = strlen(w->dir);

	return strncmp(got, w->dir, len) == 0 && got[len] == '/' &&
	       strcmp(got + len + 1, name) == 0;
}

static void directories_gone_before_they_were_seen_are_told(void **state)
{
	struct world *w = *state;
	struct tree_stats stats;

	start(w, "");
	run(w, "mkdir pod; touch pod/0.log; rm -r pod");
	settle(w);
	assert_int_equal(w->vanished, 1);
	assert_true(is(w, w->last_vanished, "pod"));
	run(w, "for i in 1 2 3 4 5 6 7 8 9 10; do mkdir p$i; rmdir p$i; done");
	settle(w);
	assert_int_equal(w->vanished, 11);
	assert_true(is(w, w->last_vanished, "p10"));
	assert_int_equal(w->n, 0);
	tree_stats(w->tree, &stats);
	assert_int_equal(stats.dirs, 1);
}

static void a_directory_that_was_seen_does_not_vanish(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p a/b; touch a/b/0.log");
	start(w, "");
	run(w, "rm -r a");
	settle(w);
	assert_int_equal(w->n, 0);
	tree_rescan(w->tree);
	assert_int_equal(w->vanished, 0);
}

static int open_refused(const char *path, int flags)
{
	errno = EMFILE;
	return -1;
}

static void a_directory_that_cannot_be_opened_now_has_not_vanished(void **state)
{
	struct world *w = *state;

	start(w, "");
	assert_false(tree_settling(w->tree));
	run(w, "mkdir a; touch a/0.log");
	sys.open_plain = open_refused;
	settle(w);
	sys = whole;
	assert_int_equal(w->vanished, 0);
	assert_int_equal(w->n, 0);
	assert_true(tree_settling(w->tree));
	tree_rescan(w->tree);
	assert_true(has(w, "a/0.log"));
}

/* Each birth has one event; what is listed has none. */
static void births_are_told_with_the_name_before(void **state)
{
	struct world *w = *state;

	run(w, "mkdir a; touch a/0.log");
	start(w, "");
	assert_int_equal(w->born, 0);
	run(w, "touch a/1.log");
	settle(w);
	assert_int_equal(w->born, 1);
	assert_string_equal(w->from, "");
	run(w, "mv a/1.log a/1.log.1");
	settle(w);
	assert_int_equal(w->born, 2);
	assert_true(is(w, w->from, "a/1.log"));
	run(w, "touch ../${PWD##*/}.out; mv ../${PWD##*/}.out a/2.log"); /* from outside */
	settle(w);
	assert_int_equal(w->born, 3);
	assert_string_equal(w->from, "");
	tree_rescan(w->tree);
	assert_int_equal(w->born, 3);
	run(w, "rm a/0.log; touch a/0.log; rm a/0.log; touch a/0.log");
	settle(w);
	assert_int_equal(w->born, 5); /* the first of them, too */
}

static bool covers(const struct world *w, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	return tree_covers(w->tree, path);
}

static void what_is_below_a_root_or_beside_a_link_is_covered(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p containers other pods/n_p_u/c; touch pods/n_p_u/c/0.log;"
	       "ln -s $PWD/pods/n_p_u/c/0.log containers/p_n_c-0123456789abcdef.log");
	start(w, "/containers");
	assert_true(covers(w, "containers/x.log"));
	assert_true(covers(w, "containers/not/there/yet.log"));
	assert_true(covers(w, "pods/n_p_u/c/0.log.1"));
	assert_true(covers(w, "pods/x/y/0.log")); /* where links may lead */
	assert_false(covers(w, "other/x.log"));
	assert_false(covers(w, "containers-old/x.log"));
	assert_false(covers(w, "x.log"));
}

static void a_root_that_is_missing_covers_nothing(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p root/a; touch root/a/0.log");
	start(w, "/root");
	assert_true(covers(w, "root/a/0.log"));
	run(w, "mv root elsewhere");
	settle(w);
	tree_turn(w->tree, clock_now_ns() + NS_PER_SEC);
	assert_false(covers(w, "root/a/0.log"));
	assert_false(covers(w, "elsewhere/a/0.log"));
	run(w, "mv elsewhere root");
	tree_turn(w->tree, clock_now_ns() + 10 * NS_PER_SEC);
	assert_true(covers(w, "root/a/0.log"));
}

static void directories_are_told_of_when_they_come_and_go(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p a/b/c");
	start(w, "");
	assert_int_equal(w->n_dirs, 4);
	run(w, "mv a/b z; mkdir a/d");
	settle(w);
	assert_int_equal(w->n_dirs, 5); /* a, a/d, z, z/c and the root */
	run(w, "rm -r z a/d");
	settle(w);
	assert_int_equal(w->n_dirs, 2);
}

static void directories_without_a_watch_are_told_of(void **state)
{
	struct world *w = *state;

	sys.inotify_add_watch = no_watch;
	run(w, "mkdir -p a/b");
	start(w, "");
	assert_int_equal(w->n_dirs, 3);
	run(w, "rm -r a/b");
	relist(w, clock_now_ns() + 10 * NS_PER_SEC);
	assert_int_equal(w->n_dirs, 2);
}

static void what_was_written_to_is_found_by_its_name(void **state)
{
	struct world *w = *state;
	unsigned listed;

	sys.inotify_add_watch = no_watch; /* nothing else tells */
	run(w, "mkdir a");
	start(w, "");
	listed = w->dirs_listed;
	run(w, "touch a/0.log a/1.log");
	assert_false(tree_look(w->tree, in(w, "a"), "0.log"));
	assert_int_equal(w->n, 1);
	assert_true(has(w, "a/0.log"));
	assert_int_equal(w->written, 1);
	assert_int_equal(w->dirs_listed, listed);
	assert_false(tree_look(w->tree, in(w, "nowhere"), "0.log"));
}

static void what_was_renamed_since_is_found_by_listing(void **state)
{
	struct world *w = *state;

	sys.inotify_add_watch = no_watch;
	run(w, "mkdir a");
	start(w, "");
	run(w, "touch a/0.log.1");
	assert_true(tree_look(w->tree, in(w, "a"), "0.log"));
	assert_true(has(w, "a/0.log.1"));
	run(w, "touch a/2.log");
	assert_true(tree_look(w->tree, in(w, "a"), "")); /* the name is not known */
	assert_true(has(w, "a/2.log"));
	assert_int_equal(w->written, 3);
	assert_int_equal(w->vanished, 0);
}

static void a_link_s_neighbours_are_not_wanted(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p containers pods/n_p_u/c; touch pods/n_p_u/c/0.log;"
	       "ln -s $PWD/pods/n_p_u/c/0.log containers/p_n_c-0123456789abcdef.log");
	start(w, "/containers");
	run(w, "touch pods/n_p_u/c/9.log pods/n_p_u/c/0.log.1");
	assert_false(tree_wants(w->tree, in(w, "pods/n_p_u/c/9.log")));
	assert_true(tree_wants(w->tree, in(w, "pods/n_p_u/c/0.log.1")));
	assert_false(tree_wants(w->tree, in(w, "elsewhere/0.log")));
	assert_false(tree_look(w->tree, in(w, "pods/n_p_u/c"), "9.log"));
	assert_int_equal(w->written, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(what_exists_is_found_at_any_depth),
	T(what_appears_is_found_even_in_one_breath),
	T(deletes_and_renames_are_told),
	T(moved_directory_takes_its_files_along),
	T(removed_tree_leaves_nothing),
	T(root_that_vanishes_is_found_again),
	T(links_lead_into_the_pods_beside),
	T(links_out_of_the_roots_are_refused),
	T(without_watches_directories_are_listed_again),
	T(without_watches_a_turn_lists_some),
	T(without_watches_what_is_rotated_meanwhile_is_found),
	T(links_that_go_round_without_watches),
	T(overflow_is_answered_by_a_rescan),
	T(one_shot_can_be_armed_again_after_its_event),
	T(directories_gone_before_they_were_seen_are_told),
	T(a_directory_that_was_seen_does_not_vanish),
	T(a_directory_that_cannot_be_opened_now_has_not_vanished),
	T(births_are_told_with_the_name_before),
	T(what_is_below_a_root_or_beside_a_link_is_covered),
	T(a_root_that_is_missing_covers_nothing),
	T(directories_are_told_of_when_they_come_and_go),
	T(directories_without_a_watch_are_told_of),
	T(what_was_written_to_is_found_by_its_name),
	T(what_was_renamed_since_is_found_by_listing),
	T(a_link_s_neighbours_are_not_wanted),
};
RUN_TESTS(tests)
