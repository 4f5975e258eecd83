/* SPDX-License-Identifier: Apache-2.0 */
/* Files found by their first write, before or after inotify tells of their birth; and those nobody
 * found. */
#include "test.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "files/descriptors.h"
#include "files/files.h"

struct world {
	char *dir;
	struct files *files;
	unsigned opened;
	int told;
	char path[256];
};

static void opened(void *ctx, struct file *f)
{
	((struct world *)ctx)->opened++;
}

static void nothing(void *ctx, struct file *f)
{
}

static void ended(void *ctx, struct chain *c)
{
}

static void vanished(void *ctx, const char *path, int by)
{
	((struct world *)ctx)->told += by;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct files_hooks hooks = {.ctx = w,
				    .opened = opened,
				    .look = nothing,
				    .released = nothing,
				    .ended = ended,
				    .vanished = vanished};

	w->dir = test_dir_make();
	snprintf(w->path, sizeof(w->path), "%s/0.log", w->dir);
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

static const struct lost *lost(struct world *w)
{
	return &files_chain(w->files, w->path, strlen(w->path))->tally.lost[LOST_VANISHED];
}

static uint64_t counted(struct world *w)
{
	struct files_stats stats;

	files_stats(w->files, &stats);
	assert_int_equal(stats.vanished, w->told);
	return stats.vanished;
}

static void renamed(struct world *w, const char *name)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	assert_int_equal(rename(w->path, path), 0);
}

static void written(struct world *w)
{
	test_write(w->path, "a", "x\n");
	files_written(w->files, w->path);
}

static void a_birth_after_the_first_write_is_its_own(void **state)
{
	struct world *w = *state;

	written(w);
	assert_int_equal(w->opened, 1);
	files_born(w->files, w->path, NULL);
	assert_int_equal(w->opened, 1);
	assert_int_equal(counted(w), 0);
	files_born(w->files, w->path, NULL); /* one that nobody saw */
	assert_int_equal(lost(w)->events, 1);
	assert_int_equal(counted(w), 1);
}

static void a_first_write_after_the_birth_is_nothing_new(void **state)
{
	struct world *w = *state;

	test_write(w->path, "a", "x\n");
	files_born(w->files, w->path, NULL);
	files_written(w->files, w->path);
	assert_int_equal(w->opened, 1);
	assert_int_equal(counted(w), 0);
	files_born(w->files, w->path, NULL);
	assert_int_equal(counted(w), 1);
}

/* The events of all three births come when all is over. */
static void births_of_files_that_were_found_and_removed_count_for_them(void **state)
{
	struct world *w = *state;

	for (int i = 0; i < 3; i++) {
		if (i)
			unlink(w->path);
		written(w);
	}
	assert_int_equal(w->opened, 3);
	for (int i = 0; i < 3; i++)
		files_born(w->files, w->path, NULL);
	assert_int_equal(lost(w)->events, 0);
	files_born(w->files, w->path, NULL);
	assert_int_equal(lost(w)->events, 1);
}

static void births_of_files_that_were_found_and_renamed_count_for_them(void **state)
{
	struct world *w = *state;
	char to[300];

	written(w);
	renamed(w, "0.log.1");
	written(w);
	files_born(w->files, w->path, NULL);
	snprintf(to, sizeof(to), "%s.1", w->path);
	files_gone(w->files, w->path);
	files_born(w->files, to, w->path);
	files_born(w->files, w->path, NULL);
	assert_int_equal(w->opened, 2);
	assert_int_equal(lost(w)->events, 0);
	assert_int_equal(counted(w), 0);
}

static void a_name_that_is_gone_by_now_is_left_to_its_birth(void **state)
{
	struct world *w = *state;

	written(w);
	files_born(w->files, w->path, NULL);
	unlink(w->path);
	files_gone(w->files, w->path);
	files_written(w->files, w->path); /* the record of a second one, and it is gone */
	assert_int_equal(counted(w), 0);
	files_born(w->files, w->path, NULL);
	assert_int_equal(lost(w)->events, 1);
}

static void bytes_of_one_that_was_counted_are_no_second_event(void **state)
{
	struct world *w = *state;

	written(w);
	files_born(w->files, w->path, NULL);
	files_born(w->files, w->path, NULL);
	assert_int_equal(w->told, 1);
	files_lost_unseen(w->files, w->path, 700, true);
	assert_int_equal(lost(w)->events, 1);
	assert_int_equal(lost(w)->bytes, 700);
	assert_int_equal(counted(w), 1);
}

static void bytes_of_one_that_nobody_told_of_are_an_event(void **state)
{
	struct world *w = *state;
	struct chain *c;

	written(w);
	files_lost_unseen(w->files, w->path, 700, false);
	assert_int_equal(lost(w)->events, 1);
	assert_int_equal(lost(w)->bytes, 700);
	c = files_chain(w->files, w->path, strlen(w->path));
	assert_int_equal(c->tally.written_bytes, 700);
	assert_int_equal(counted(w), 1);
}

static void a_copy_that_is_gone_is_no_loss(void **state)
{
	struct world *w = *state;
	char copy[300];

	written(w);
	snprintf(copy, sizeof(copy), "%s.1", w->path);
	files_lost_unseen(w->files, copy, 700, false);
	assert_int_equal(lost(w)->events, 0);
	assert_int_equal(counted(w), 0);
}

static void a_log_of_which_nothing_was_seen_has_an_account(void **state)
{
	struct world *w = *state;

	files_vanished(w->files, w->path); /* by its birth */
	files_lost_unseen(w->files, w->path, 700, true);
	assert_int_equal(counted(w), 1);
	assert_int_equal(lost(w)->events, 1);
	assert_int_equal(lost(w)->bytes, 700);
	files_lost_unseen(w->files, w->path, 80, false);
	assert_int_equal(counted(w), 2);
	assert_int_equal(lost(w)->events, 2);
	assert_int_equal(lost(w)->bytes, 780);
	written(w);
	files_born(w->files, w->path, NULL);
	assert_int_equal(lost(w)->events, 2);
}

static int not_allowed(const char *path, int flags)
{
	errno = EACCES;
	return -1;
}

static void told_of_twice_it_waits_once(void **state)
{
	struct world *w = *state;
	struct sys whole = sys;
	struct files_stats stats;
	struct stat st;

	test_write(w->path, "a", "x\n");
	assert_int_equal(stat(w->path, &st), 0);
	sys.open_plain = not_allowed;
	files_written(w->files, w->path);
	files_born(w->files, w->path, NULL);
	sys = whole;
	assert_true(files_knows(w->files, (struct file_id){st.st_dev, st.st_ino}));
	unlink(w->path);
	files_take_postponed(w->files);
	files_stats(w->files, &stats);
	assert_int_equal(stats.vanished, 1);
	assert_false(files_knows(w->files, (struct file_id){st.st_dev, st.st_ino}));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(a_birth_after_the_first_write_is_its_own),
	T(a_first_write_after_the_birth_is_nothing_new),
	T(births_of_files_that_were_found_and_removed_count_for_them),
	T(births_of_files_that_were_found_and_renamed_count_for_them),
	T(a_name_that_is_gone_by_now_is_left_to_its_birth),
	T(bytes_of_one_that_was_counted_are_no_second_event),
	T(bytes_of_one_that_nobody_told_of_are_an_event),
	T(a_copy_that_is_gone_is_no_loss),
	T(a_log_of_which_nothing_was_seen_has_an_account),
	T(told_of_twice_it_waits_once),
};
RUN_TESTS(tests)
