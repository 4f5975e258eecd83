/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "event/source.h"
#include "files/files.h"

struct world {
	char *dir;
	struct files *files;
	unsigned opened, looked, released, ended;
	struct file *last;
	char compressed[160]; /* the last one told of */
	unsigned leaving;
};

static void opened(void *ctx, struct file *f)
{
	struct world *w = ctx;

	w->opened++;
	w->last = f;
}

static void look(void *ctx, struct file *f)
{
	((struct world *)ctx)->looked++;
}

static void released(void *ctx, struct file *f)
{
	((struct world *)ctx)->released++;
}

static void ended(void *ctx, struct chain *c)
{
	((struct world *)ctx)->ended++;
}

static void compressed(void *ctx, const char *path)
{
	struct world *w = ctx;

	snprintf(w->compressed, sizeof(w->compressed), "%s", path);
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct files_hooks hooks = {.ctx = w,
				    .opened = opened,
				    .look = look,
				    .released = released,
				    .ended = ended,
				    .compressed = compressed};

	w->dir = test_dir_make();
	assert_int_equal(files_new(&hooks, &w->files), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	files_free(w->files);
	test_dir_remove(w->dir);
	free(w);
	return 0;
}

static const char *at(struct world *w, const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", w->dir, name);
	return path;
}

static struct file *add(struct world *w, const char *name, const char *text)
{
	test_write(at(w, name), "a", text);
	w->last = NULL;
	files_found(w->files, at(w, name), NULL);
	return w->last;
}

static void found_twice_is_one_file(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");

	assert_non_null(f);
	assert_int_equal(f->size, 2);
	assert_false(f->displaced);
	files_found(w->files, at(w, "0.log"), NULL);
	assert_int_equal(w->opened, 1);
}

static void rename_keeps_the_file_and_its_place_in_the_chain(void **state)
{
	struct world *w = *state;
	struct file *old = add(w, "0.log", "x\n"), *new;

	rename(at(w, "0.log"), at(w, "0.log.20261121-000000"));
	files_gone(w->files, at(w, "0.log"));
	assert_true(old->displaced);
	assert_false(old->unlinked);
	files_found(w->files, at(w, "0.log.20261121-000000"), NULL);
	assert_int_equal(w->opened, 1);
	assert_string_equal(old->source->path, at(w, "0.log"));
	new = add(w, "0.log", "y\n");
	assert_ptr_equal(new->chain, old->chain);
	assert_int_equal(new->chain->rotations, 1);
	assert_true(file_eligible(old));
	assert_false(file_eligible(new));
	files_finish(w->files, old);
	assert_true(file_eligible(new));
	assert_int_equal(w->released, 0); /* still on disk: remembered */
	unlink(at(w, "0.log.20261121-000000"));
	files_gone(w->files, at(w, "0.log.20261121-000000"));
	assert_true(old->unlinked);
	files_finish(w->files, old);
	assert_int_equal(w->released, 1);
}

static void rename_over_displaces_the_old_inode(void **state)
{
	struct world *w = *state;
	struct file *old = add(w, "0.log", "x\n"), *new;

	test_write(at(w, "0.log.tmp"), "w", "y\n");
	files_found(w->files, at(w, "0.log.tmp"), NULL);
	assert_int_equal(w->opened, 1); /* .tmp is never followed */
	rename(at(w, "0.log.tmp"), at(w, "0.log"));
	files_found(w->files, at(w, "0.log"), NULL);
	new = w->last;
	assert_ptr_not_equal(new, old);
	assert_true(old->displaced && old->unlinked);
	assert_false(file_eligible(new));
	files_finish(w->files, old);
	assert_true(file_eligible(new));
	assert_int_equal(w->released, 1);
}

static void renamed_back_is_live_again(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");

	rename(at(w, "0.log"), at(w, "0.log.1"));
	files_gone(w->files, at(w, "0.log"));
	files_found(w->files, at(w, "0.log.1"), NULL);
	files_finish(w->files, f);
	rename(at(w, "0.log.1"), at(w, "0.log"));
	files_gone(w->files, at(w, "0.log.1"));
	files_found(w->files, at(w, "0.log"), NULL);
	assert_false(f->displaced);
	assert_ptr_equal(f->chain->live, f);
	assert_true(list_linked(&f->in_chain));
	assert_int_equal(w->opened, 1);
}

static void generations_found_at_once_are_read_oldest_first(void **state)
{
	struct world *w = *state;
	struct file *live, *mid, *old;
	struct timespec times[2] = {{100, 0}, {100, 0}};

	files_start(w->files, false);
	live = add(w, "0.log", "3\n");
	test_write(at(w, "0.log.2"), "a", "2\n");
	utimensat(AT_FDCWD, at(w, "0.log.2"), (times[0].tv_sec = times[1].tv_sec = 200, times), 0);
	mid = add(w, "0.log.2", "");
	test_write(at(w, "0.log.1"), "a", "1\n");
	utimensat(AT_FDCWD, at(w, "0.log.1"), (times[0].tv_sec = times[1].tv_sec = 100, times), 0);
	old = add(w, "0.log.1", "");
	/* add's empty append leaves the times alone */
	assert_true(file_eligible(old));
	files_finish(w->files, old);
	assert_true(file_eligible(mid));
	assert_false(file_eligible(live));
	files_finish(w->files, mid);
	assert_true(file_eligible(live));
}

static void a_stranger_beside_the_live_file_is_held_back(void **state)
{
	struct world *w = *state;
	struct file *live = add(w, "0.log", "x\n"), *f = add(w, "0.log.1", "y\n");

	assert_true(f->maybe_copy);
	assert_false(file_eligible(f));
	assert_true(file_eligible(live));
	files_settle_copy(w->files, f, true);
	assert_true(file_eligible(f));
	assert_false(file_eligible(live));
}

static void second_hard_link_changes_nothing(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");

	assert_int_equal(link(at(w, "0.log"), at(w, "other.log")), 0);
	files_found(w->files, at(w, "other.log"), NULL);
	assert_int_equal(w->opened, 1);
	assert_string_equal(f->path, at(w, "0.log"));
	assert_false(f->displaced);
}

static void what_is_no_regular_file_is_not_opened(void **state)
{
	struct world *w = *state;

	assert_int_equal(mkfifo(at(w, "0.log"), 0600), 0);
	files_found(w->files, at(w, "0.log"), NULL);
	assert_int_equal(symlink("/etc/passwd", at(w, "1.log")), 0);
	files_found(w->files, at(w, "1.log"), NULL);
	mkdir(at(w, "2.log"), 0700);
	files_found(w->files, at(w, "2.log"), NULL);
	assert_int_equal(w->opened, 0);
}

static void vanished_between_event_and_open_is_counted(void **state)
{
	struct world *w = *state;
	struct files_stats stats;

	files_found(w->files, at(w, "gone.log"), NULL);
	files_stats(w->files, &stats);
	assert_int_equal(stats.vanished, 1);
	assert_int_equal(stats.open, 0);
}

static void start_at_the_end_skips_what_is_there(void **state)
{
	struct world *w = *state;
	struct file *whole, *torn, *later;

	files_start(w->files, true);
	whole = add(w, "a.log", "x\ny\n");
	torn = add(w, "b.log", "x\ny");
	files_started(w->files);
	later = add(w, "c.log", "x\n");
	assert_int_equal(whole->offset, 4);
	assert_false(whole->sync_line);
	assert_int_equal(torn->offset, 3);
	assert_true(torn->sync_line);
	assert_int_equal(later->offset, 0);
}

static void excluded_files_are_never_opened(void **state)
{
	struct world *w = *state;
	struct stat st;

	test_write(at(w, "own.log"), "a", "x\n");
	stat(at(w, "own.log"), &st);
	files_exclude(w->files, (struct file_id){st.st_dev, st.st_ino}, 0);
	files_exclude_uid(w->files, "1234-5678");
	files_found(w->files, at(w, "own.log"), NULL);
	mkdir(at(w, "ns_hotdrain_1234-5678"), 0700);
	add(w, "ns_hotdrain_1234-5678/0.log", "x\n");
	assert_int_equal(w->opened, 0);
}

static void released_file_waits_for_its_spans(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");

	f->inflight = 2;
	unlink(at(w, "0.log"));
	files_gone(w->files, at(w, "0.log"));
	files_finish(w->files, f);
	assert_int_equal(w->released, 1);
	assert_int_equal(w->ended, 0);
	files_put(w->files, f);
	assert_int_equal(w->ended, 0);
	files_put(w->files, f);
	files_end_chains(w->files, INT64_MAX);
	assert_int_equal(w->ended, 1);
}

static void lost_names_are_found_by_verify(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");

	unlink(at(w, "0.log"));
	test_write(at(w, "0.log"), "w", "new\n");
	files_verify(w->files); /* the events of both were lost */
	files_found(w->files, at(w, "0.log"), NULL);
	assert_int_equal(w->opened, 2);
	assert_true(f->displaced && f->unlinked);
}

static void writers_are_known_to_the_kernel(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");
	int fd = open(at(w, "0.log"), O_WRONLY | O_APPEND);
	int writers = file_writers(f);

	if (writers < 0)
		skip(); /* no leases here */
	assert_int_equal(writers, 1);
	close(fd);
	assert_int_equal(file_writers(f), 0);
	fd = open(at(w, "0.log"), O_WRONLY | O_APPEND | O_NONBLOCK);
	assert_true(fd >= 0); /* the lease was given back */
	close(fd);
}

static void compressed_files_are_told_of_and_not_followed(void **state)
{
	struct world *w = *state;

	files_start(w->files, false);
	add(w, "0.log.20261121-000000.gz", "x");
	assert_string_equal(w->compressed, at(w, "0.log.20261121-000000.gz"));
	files_started(w->files);
	add(w, "0.log.20261121-000001.gz", "x");
	assert_string_equal(w->compressed, at(w, "0.log.20261121-000001.gz"));
	assert_int_equal(w->opened, 0);
}

static void a_compressed_generation_is_one_of_its_log(void **state)
{
	struct world *w = *state;
	struct file *live = add(w, "0.log", "x\n"), *f;
	const char *path = at(w, "0.log.20261121-000000.gz");

	test_write(path, "w", "x");
	assert_int_equal(files_add_gz(w->files, path, open(path, O_RDONLY), &f), 0);
	assert_ptr_equal(f->chain, live->chain);
	assert_string_equal(f->source->path, path);
	assert_true(f->compressed && f->displaced && f->probe);
	assert_false(file_eligible(live));
	assert_int_equal(w->opened, 2);
	assert_true(file_leaves(f)); /* it is read once, and never grows */
	files_finish(w->files, f);
	assert_int_equal(w->released, 1);
	assert_true(file_eligible(live));
	assert_ptr_equal(live->chain->live, live);
}

static const struct lost *vanished(const struct chain *c)
{
	return &c->tally.lost[LOST_VANISHED];
}

static void what_vanished_is_in_the_account_of_its_log(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");

	assert_int_equal(chain_make_joins(f->chain), 0);
	files_found(w->files, at(w, "other.log"), NULL);
	assert_int_equal(vanished(f->chain)->events, 0);
	unlink(at(w, "0.log"));
	files_gone(w->files, at(w, "0.log"));
	assert_int_equal(vanished(f->chain)->events, 0); /* it is held */
	files_found(w->files, at(w, "0.log"), NULL);
	assert_int_equal(vanished(f->chain)->events, 1);
	assert_int_equal(vanished(f->chain)->bytes, 0);
	/* What began before it does not go on in the next; what is still read of its predecessor is
	 * not touched. */
	for (size_t i = 0; i < f->chain->n_joins; i++)
		assert_false(f->chain->joins[i].broken);
	f = add(w, "0.log", "y\n");
	assert_true(f->after_gap);
}

/* It was told of when it was born, under its live name. */
static void a_rotated_name_that_is_gone_is_no_loss(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");
	struct files_stats stats;

	files_found(w->files, at(w, "0.log.20261121-000000"), NULL);
	files_found(w->files, at(w, "0.log.1"), NULL);
	files_stats(w->files, &stats);
	assert_int_equal(stats.vanished, 0);
	assert_int_equal(vanished(f->chain)->events, 0);
}

static void two_births_that_lead_to_one_file_are_two_files(void **state)
{
	struct world *w = *state;
	struct file *f;

	add(w, "0.log", "x\n"); /* listed: its own event is still to come */
	files_born(w->files, at(w, "0.log"), NULL);
	f = files_at(w->files, at(w, "0.log"));
	assert_int_equal(vanished(f->chain)->events, 0);
	files_born(w->files, at(w, "0.log"), NULL);
	assert_int_equal(vanished(f->chain)->events, 1);
	files_born(w->files, at(w, "0.log"), at(w, "0.log.tmp")); /* how conmon makes one */
	assert_int_equal(vanished(f->chain)->events, 2);
	files_born(w->files, at(w, "0.log"), at(w, "0.log.1")); /* renamed back: no birth */
	assert_int_equal(vanished(f->chain)->events, 2);
	test_write(at(w, "1.log"), "w", "x\n");
	files_born(w->files, at(w, "1.log"), NULL);
	assert_int_equal(vanished(files_at(w->files, at(w, "1.log"))->chain)->events, 0);
	assert_int_equal(w->opened, 2);
}

static void found_by_its_rotated_name_it_did_not_vanish(void **state)
{
	struct world *w = *state;
	struct file *live = add(w, "0.log", "x\n"), *f;
	struct chain *c = live->chain;

	files_born(w->files, at(w, "0.log"), NULL);
	files_born(w->files, at(w, "0.log"), NULL); /* the birth of what is 0.log.1 by now */
	assert_int_equal(vanished(c)->events, 1);
	assert_int_equal(chain_make_joins(c), 0);
	f = add(w, "0.log.1", "y\n");
	files_settle_copy(w->files, f, false);
	assert_int_equal(vanished(c)->events, 0);
	assert_false(c->joins[0].broken);
	f = add(w, "0.log.2", "z\n"); /* the other way round */
	files_settle_copy(w->files, f, false);
	files_born(w->files, at(w, "0.log"), NULL);
	assert_int_equal(vanished(c)->events, 0);
	files_born(w->files, at(w, "0.log"), NULL); /* and one that nobody saw */
	assert_int_equal(vanished(c)->events, 1);
}

/* Its new name may still be on its way: found as a stranger it would be read twice. */
static void a_drained_file_without_a_name_is_forgotten_late(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");

	rename(at(w, "0.log"), at(w, "elsewhere"));
	files_gone(w->files, at(w, "0.log"));
	assert_false(f->unlinked);
	assert_false(file_leaves(f));
	files_take_retry(w->files);
	files_finish(w->files, f);
	assert_true(files_take_retry(w->files)); /* a rescan is asked for */
	assert_int_equal(w->released, 0);
	assert_false(file_leaves(f));
	files_finish(w->files, f);
	assert_false(files_take_retry(w->files));
	assert_int_equal(w->released, 0);
	f->displaced_ns -= 60 * NS_PER_SEC;
	assert_true(file_leaves(f));
	files_finish(w->files, f);
	assert_int_equal(w->released, 1);
}

static void its_new_name_found_it_is_remembered(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");

	rename(at(w, "0.log"), at(w, "0.log.1"));
	files_gone(w->files, at(w, "0.log"));
	files_finish(w->files, f);
	f->displaced_ns -= 60 * NS_PER_SEC;
	files_found(w->files, at(w, "0.log.1"), NULL);
	assert_int_equal(w->opened, 1);
	assert_false(file_leaves(f));
	files_finish(w->files, f);
	assert_int_equal(w->released, 0);
}

static void an_old_writer_does_not_keep_its_successor_waiting(void **state)
{
	struct world *w = *state;
	struct file *old = add(w, "0.log", "x\n"), *new;

	rename(at(w, "0.log"), at(w, "0.log.1"));
	files_gone(w->files, at(w, "0.log"));
	files_found(w->files, at(w, "0.log.1"), NULL);
	new = add(w, "0.log", "y\n");
	assert_false(file_eligible(new));
	files_linger(w->files, old);
	assert_true(file_eligible(new));
	assert_true(file_eligible(old)); /* late writes are read too */
	assert_true(old->lingering);
	files_finish(w->files, old);
	assert_false(old->lingering);
	assert_int_equal(w->released, 0);
}

static void visit_leaving(void *ctx, struct file *f)
{
	((struct world *)ctx)->leaving++;
	assert_true(f->released);
}

static void released_files_are_seen_until_the_last_span_is_back(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n"), *g = add(w, "1.log", "x\n");

	f->inflight = 2;
	files_release(w->files, f);
	files_release(w->files, g);
	files_each_leaving(w->files, visit_leaving, w);
	assert_int_equal(w->leaving, 1);
	files_put(w->files, f);
	files_each_leaving(w->files, visit_leaving, w);
	assert_int_equal(w->leaving, 2);
	files_put(w->files, f);
	files_each_leaving(w->files, visit_leaving, w);
	assert_int_equal(w->leaving, 2);
	files_end_chains(w->files, INT64_MAX);
	assert_int_equal(w->ended, 2);
}

static void the_size_at_which_it_rotates_is_learned(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "0.log", "x\n");
	struct chain *c = f->chain;

	test_write(at(w, "0.log"), "a", "late\n");
	rename(at(w, "0.log"), at(w, "0.log.1"));
	files_gone(w->files, at(w, "0.log"));
	assert_int_equal(c->rotate_bytes, 7);
	assert_int_equal(f->size, 7);
	assert_null(c->live);
	assert_ptr_equal(files_chain(w->files, c->key, strlen(c->key)), c);
	assert_null(files_chain(w->files, c->key, strlen(c->key) - 1));
}

static void how_many_files_it_keeps_is_learned(void **state)
{
	struct world *w = *state;
	struct chain *c = NULL;

	for (int i = 1; i <= 3; i++) {
		char rotated[16];

		snprintf(rotated, sizeof(rotated), "0.log.2026112%d", i);
		c = add(w, "0.log", "x\n")->chain;
		rename(at(w, "0.log"), at(w, rotated));
		files_gone(w->files, at(w, "0.log"));
		files_found(w->files, at(w, rotated), NULL);
	}
	add(w, "0.log", "x\n");
	assert_int_equal(c->newer_kept, 0);
	unlink(at(w, "0.log.20261121"));
	files_gone(w->files, at(w, "0.log.20261121"));
	assert_int_equal(c->newer_kept, 3);
}

static void a_copy_goes_right_before_the_live_file(void **state)
{
	struct world *w = *state;
	struct file *old, *live, *copy;

	old = add(w, "0.log", "x\n");
	rename(at(w, "0.log"), at(w, "0.log.2"));
	files_gone(w->files, at(w, "0.log"));
	files_found(w->files, at(w, "0.log.2"), NULL);
	live = add(w, "0.log", "y\n");
	copy = add(w, "0.log.1", "y\n");
	assert_false(list_linked(&copy->in_chain));
	files_settle_copy(w->files, copy, true);
	assert_false(copy->maybe_copy);
	assert_ptr_equal(old->in_chain.next, &copy->in_chain);
	assert_ptr_equal(copy->in_chain.next, &live->in_chain);
	assert_true(file_eligible(old));
	assert_false(file_eligible(copy) || file_eligible(live));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(found_twice_is_one_file),
	T(rename_keeps_the_file_and_its_place_in_the_chain),
	T(rename_over_displaces_the_old_inode),
	T(renamed_back_is_live_again),
	T(generations_found_at_once_are_read_oldest_first),
	T(a_stranger_beside_the_live_file_is_held_back),
	T(second_hard_link_changes_nothing),
	T(what_is_no_regular_file_is_not_opened),
	T(vanished_between_event_and_open_is_counted),
	T(start_at_the_end_skips_what_is_there),
	T(excluded_files_are_never_opened),
	T(released_file_waits_for_its_spans),
	T(lost_names_are_found_by_verify),
	T(writers_are_known_to_the_kernel),
	T(compressed_files_are_told_of_and_not_followed),
	T(a_compressed_generation_is_one_of_its_log),
	T(what_vanished_is_in_the_account_of_its_log),
	T(a_rotated_name_that_is_gone_is_no_loss),
	T(two_births_that_lead_to_one_file_are_two_files),
	T(found_by_its_rotated_name_it_did_not_vanish),
	T(a_drained_file_without_a_name_is_forgotten_late),
	T(its_new_name_found_it_is_remembered),
	T(an_old_writer_does_not_keep_its_successor_waiting),
	T(released_files_are_seen_until_the_last_span_is_back),
	T(the_size_at_which_it_rotates_is_learned),
	T(how_many_files_it_keeps_is_learned),
	T(a_copy_goes_right_before_the_live_file),
};
RUN_TESTS(tests)
