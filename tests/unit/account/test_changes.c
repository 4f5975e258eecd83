/* SPDX-License-Identifier: Apache-2.0 */
/* Changes to a checkpoint: as text, and beside it in the state directory. */
#include "test.h"

#include "account/checkpoint_changes.h"
#include "state_world.h"

static struct buf whole_make(uint64_t n, int64_t time_ns)
{
	struct buf b = {0};
	char path[64];

	assert_int_equal(checkpoint_begin(&b, time_ns), 0);
	for (uint64_t i = 1; i <= n; i++) {
		struct checkpoint_entry e = {.ino = i, .path = path};

		snprintf(path, sizeof(path), "/pods/%d/0.log", (int)i);
		assert_int_equal(checkpoint_add(&b, &e), 0);
	}
	for (uint64_t i = 1; i <= n; i++) {
		struct checkpoint_account a = {.written = i, .path = path};

		snprintf(path, sizeof(path), "/pods/%d/0.log", (int)i);
		assert_int_equal(checkpoint_add_account(&b, &a), 0);
	}
	assert_int_equal(checkpoint_end(&b, n, n), 0);
	return b;
}

/* To whole: its files 2, 4 to 6 and its account 1 are old, a file 100 is new. */
static struct buf changes_make(const struct buf *whole, int64_t time_ns)
{
	static const uint32_t files[] = {2, 4, 5, 6}, accounts[] = {1};
	struct checkpoint_lines old_files = {files, ARRAY_SIZE(files)};
	struct checkpoint_lines old_accounts = {accounts, ARRAY_SIZE(accounts)};
	struct checkpoint_id id = checkpoint_id(time_ns, whole);
	struct checkpoint_entry e = {
		.ino = 100, .offset = 7, .size = 9, .path = (char *)"/pods/1/0.log"};
	struct buf b = {0};

	assert_int_equal(changes_begin(&b, time_ns + 5, &id, &old_files, &old_accounts), 0);
	assert_int_equal(checkpoint_add(&b, &e), 0);
	assert_int_equal(checkpoint_end(&b, 1, 0), 0);
	return b;
}

static void parse(const struct buf *b, struct checkpoint *ret)
{
	char why[CHECKPOINT_WHY_MAX] = "";

	if (checkpoint_parse(b->data, b->len, ret, why, sizeof(why)) < 0)
		fail_msg("%s", why);
}

static int apply(struct checkpoint *cp, const char *text, size_t len, char why[CHECKPOINT_WHY_MAX])
{
	/* Without a byte more, so that a sanitizer sees what is read behind the end. */
	char *copy = malloc(len ? len : 1);
	int r;

	assert_non_null(copy);
	memcpy(copy, text, len);
	why[0] = '\0';
	r = changes_apply(cp, copy, len, why, CHECKPOINT_WHY_MAX);
	free(copy);
	return r;
}

static void old_lines_go_and_new_ones_come(void **state)
{
	struct buf whole = whole_make(8, 77), changes = changes_make(&whole, 77);
	static const uint64_t left[] = {1, 3, 7, 8, 100};
	char why[CHECKPOINT_WHY_MAX];
	struct checkpoint cp;

	assert_non_null(strstr(changes.data, "old files 2 4-6\nold accounts 1\n"));
	parse(&whole, &cp);
	assert_int_equal(apply(&cp, changes.data, changes.len, why), 0);
	assert_int_equal(cp.n, ARRAY_SIZE(left));
	for (size_t i = 0; i < cp.n; i++)
		assert_int_equal(cp.entries[i].ino, left[i]);
	assert_int_equal(cp.entries[4].offset, 7);
	assert_int_equal(cp.n_accounts, 7);
	assert_int_equal(cp.accounts[0].written, 2);
	assert_int_equal(cp.time_ns, 82);
	checkpoint_done(&cp);
	buf_done(&whole);
	buf_done(&changes);
}

static void cut_at_any_byte_changes_nothing(void **state)
{
	struct buf whole = whole_make(8, 77), changes = changes_make(&whole, 77);
	char why[CHECKPOINT_WHY_MAX];
	struct checkpoint cp;

	parse(&whole, &cp);
	for (size_t len = 0; len < changes.len; len++) {
		assert_int_equal(apply(&cp, changes.data, len, why), -EBADMSG);
		assert_true(why[0]);
		assert_int_equal(cp.n, 8);
		assert_int_equal(cp.n_accounts, 8);
	}
	checkpoint_done(&cp);
	buf_done(&whole);
	buf_done(&changes);
}

static void any_bit_flipped_is_refused(void **state)
{
	struct buf whole = whole_make(8, 77), changes = changes_make(&whole, 77);
	size_t columns = strcspn(changes.data, "\n") + 1;
	char why[CHECKPOINT_WHY_MAX];
	struct checkpoint cp;

	parse(&whole, &cp);
	for (size_t i = 0; i < changes.len; i++)
		for (int bit = 0; bit < 8; bit++) {
			int r;

			changes.data[i] = (char)(changes.data[i] ^ 1 << bit);
			r = apply(&cp, changes.data, changes.len, why);
			if (r != -EBADMSG && !(r == -EPROTONOSUPPORT && i < columns))
				fail_msg("byte %zu, bit %d: %d", i, bit, r);
			changes.data[i] = (char)(changes.data[i] ^ 1 << bit);
		}
	assert_int_equal(cp.n, 8);
	checkpoint_done(&cp);
	buf_done(&whole);
	buf_done(&changes);
}

static void those_of_another_checkpoint_are_stale(void **state)
{
	struct buf whole = whole_make(8, 77), later = whole_make(8, 78), other = whole_make(7, 77);
	struct buf changes = changes_make(&whole, 77);
	const struct buf *wrong[] = {&later, &other};
	char why[CHECKPOINT_WHY_MAX];
	struct checkpoint cp;

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		parse(wrong[i], &cp);
		assert_int_equal(apply(&cp, changes.data, changes.len, why), -ESTALE);
		checkpoint_done(&cp);
	}
	buf_done(&whole);
	buf_done(&later);
	buf_done(&other);
	buf_done(&changes);
}

static void lines_have_one_spelling(void **state)
{
	static const struct {
		const char *old;
		int r;
	} table[] = {
		{"-", 0},
		{"1", 0},
		{"1-2", 0},
		{"1 3", 0},
		{"8", 0},
		{"1-8", 0},
		{"9", -EBADMSG},
		{"1-9", -EBADMSG},
		{"", -EBADMSG},
		{"0", -EBADMSG},
		{"2 1", -EBADMSG},
		{"1 2", -EBADMSG},
		{"1 1", -EBADMSG},
		{"2-2", -EBADMSG},
		{"2-1", -EBADMSG},
		{"1-2 3", -EBADMSG},
		{"01", -EBADMSG},
		{"1 ", -EBADMSG},
		{"1  3", -EBADMSG},
		{"1-", -EBADMSG},
		{"- 1", -EBADMSG},
		{"x", -EBADMSG},
		{"4294967295", -EBADMSG},
		{"1-4294967295", -EBADMSG},
		{"4294967296", -EBADMSG},
	};
	struct buf whole = whole_make(8, 77);
	struct checkpoint_id id = checkpoint_id(77, &whole);
	struct checkpoint_lines none = {0};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		char why[CHECKPOINT_WHY_MAX], *at;
		struct buf b = {0}, text = {0};
		struct checkpoint cp;
		int r;

		assert_int_equal(changes_begin(&b, 80, &id, &none, &none), 0);
		at = strstr(b.data, "old files ") + strlen("old files ");
		buf_add(&text, b.data, (size_t)(at - b.data));
		buf_add(&text, table[i].old, strlen(table[i].old));
		buf_add(&text, at + 1, (size_t)(b.data + b.len - at - 1));
		assert_int_equal(checkpoint_end(&text, 0, 0), 0);
		parse(&whole, &cp);
		r = apply(&cp, text.data, text.len, why);
		if (r != table[i].r)
			fail_msg("\"%s\": %d (%s)", table[i].old, r, why);
		checkpoint_done(&cp);
		buf_done(&b);
		buf_done(&text);
	}
	buf_done(&whole);
}

/* Saves a whole one and changes to it, and closes without a last save, as a crash does. */
static void crash_with_changes(struct world *w)
{
	struct buf whole = whole_make(8, 77), changes = changes_make(&whole, 77);

	world_opened(w);
	state_save(w->s, &whole);
	world_wait(w);
	state_save_changes(w->s, &changes);
	world_wait(w);
	assert_false(state_take_failed(w->s));
	assert_int_equal(world_stats(w).saves, 2);
	world_close(w, NULL);
}

static void file_write(const char *path, const char *text, size_t len)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	fclose(f);
}

static void changes_are_loaded_with_their_checkpoint(void **state)
{
	struct buf last = whole_make(3, 99);
	struct world w;

	world_make(&w);
	crash_with_changes(&w);
	world_opened(&w);
	assert_true(w.found && !w.bad);
	assert_int_equal(w.loaded.n, 5);
	assert_int_equal(w.loaded.n_accounts, 7);
	world_close(&w, &last); /* a whole one: they are not needed any more */
	assert_int_equal(access(world_path(w.state, "checkpoint.changes"), F_OK), -1);
	world_opened(&w);
	assert_int_equal(w.loaded.n, 3);
	world_close(&w, NULL);
	buf_done(&last);
	world_remove(&w);
}

static void those_left_behind_mean_nothing(void **state)
{
	struct buf later = whole_make(6, 99);
	struct world w;

	world_make(&w);
	crash_with_changes(&w);
	file_write(world_path(w.state, "checkpoint"), later.data, later.len);
	log_begin(&w);
	world_opened(&w);
	assert_string_equal(log_end(&w), "");
	assert_true(w.found && !w.bad);
	assert_int_equal(w.loaded.n, 6);
	assert_int_equal(world_count(w.state, "checkpoint.bad-"), 0);
	world_close(&w, NULL);
	buf_done(&later);
	world_remove(&w);
}

static void corrupt_ones_are_said_and_kept_aside(void **state)
{
	struct world w;

	world_make(&w);
	crash_with_changes(&w);
	assert_int_equal(truncate(world_path(w.state, "checkpoint.changes"), 300), 0);
	log_begin(&w);
	world_opened(&w);
	assert_says(log_end(&w), "what happened since the checkpoint is repeated");
	assert_true(w.found && !w.bad);
	assert_int_equal(w.loaded.n, 8);
	assert_int_equal(world_stats(&w).bad, 1);
	assert_int_equal(world_count(w.state, "checkpoint.bad-"), 1);
	assert_int_equal(access(world_path(w.state, "checkpoint.changes"), F_OK), -1);
	world_close(&w, NULL);
	world_remove(&w);
}

/* lose: remove the checkpoint, else it is cut. */
static void without_checkpoint(bool lose)
{
	struct world w;

	world_make(&w);
	crash_with_changes(&w);
	assert_int_equal(lose ? unlink(world_path(w.state, "checkpoint"))
			      : truncate(world_path(w.state, "checkpoint"), 100),
			 0);
	log_begin(&w);
	world_opened(&w);
	assert_says(log_end(&w), "checkpoint.changes: the checkpoint is not there, kept as");
	assert_true(!w.found && w.bad == !lose);
	assert_int_equal(w.loaded.n, 0);
	assert_int_equal(world_count(w.state, "checkpoint.bad-"), lose ? 1 : 2);
	world_close(&w, NULL);
	world_remove(&w);
}

static void alone_they_are_said(void **state)
{
	without_checkpoint(true);
	without_checkpoint(false);
}

static void not_saved_beside_another_checkpoint(void **state)
{
	struct buf whole = whole_make(8, 77), changes = changes_make(&whole, 77);
	struct world w;

	world_make(&w);
	world_opened(&w);
	state_save(w.s, &whole);
	world_wait(&w);
	assert_int_equal(unlink(world_path(w.state, "checkpoint")), 0);
	state_save_changes(w.s, &changes);
	world_wait(&w);
	assert_true(state_take_failed(w.s)); /* a whole one follows */
	assert_int_equal(world_stats(&w).failures, 0);
	assert_int_equal(access(world_path(w.state, "checkpoint.changes"), F_OK), -1);
	world_close(&w, NULL);
	world_remove(&w);
}

/* The lock cannot be looked at: the whole one is not saved, the one before is there with its
 * changes, and those of the one that failed must not take their place. */
static void not_saved_beside_the_one_before(void **state)
{
	struct buf whole = whole_make(9, 88), changes = changes_make(&whole, 88);
	struct buf first = whole_make(8, 77), kept = changes_make(&first, 77);
	struct world w;

	world_make(&w);
	world_opened(&w);
	state_save(w.s, &first);
	world_wait(&w);
	state_save_changes(w.s, &kept);
	world_wait(&w);
	world_fail("lstat", -1, EIO);
	state_save(w.s, &whole);
	world_wait(&w);
	world_fail(NULL, 0, 0);
	assert_int_equal(world_stats(&w).failures, 1);
	log_begin(&w);
	state_save_changes(w.s, &changes);
	world_wait(&w);
	assert_string_equal(log_end(&w), ""); /* not that it works again */
	assert_true(state_take_failed(w.s));
	world_close(&w, NULL);
	world_opened(&w);
	assert_int_equal(w.loaded.n, 5);
	world_close(&w, NULL);
	world_remove(&w);
}

/* What a network filesystem says is a failure like any other. */
static void stale_handle_is_said(void **state)
{
	struct buf whole = whole_make(8, 77);
	struct world w;

	world_make(&w);
	world_opened(&w);
	log_begin(&w);
	world_fail("rename", 1, ESTALE);
	state_save(w.s, &whole);
	world_wait(&w);
	world_fail(NULL, 0, 0);
	assert_says(log_end(&w), "Stale file handle, retrying");
	assert_int_equal(world_stats(&w).failures, 1);
	assert_int_equal(world_stats(&w).last_errno, ESTALE);
	world_close(&w, NULL);
	crash_with_changes(&w);
	world_fail("open", 3, ESTALE); /* behind lock and checkpoint: it is tried again */
	world_opened(&w);
	world_fail(NULL, 0, 0);
	assert_int_equal(w.loaded.n, 5);
	world_close(&w, NULL);
	world_remove(&w);
}

/* Each call of a save of changes fails once: what is there afterwards is whole. */
static void failing_save_leaves_the_ones_before(void **state)
{
	struct world w;
	bool failed = true;

	for (int at = 1; failed; at++) {
		struct buf whole, changes;

		assert_true(at < 100);
		world_make(&w);
		crash_with_changes(&w);
		world_opened(&w);
		whole = whole_make(9, 88);
		changes = changes_make(&whole, 88);
		state_save(w.s, &whole);
		world_wait(&w);
		world_fail(NULL, at, EIO);
		state_save_changes(w.s, &changes);
		world_wait(&w);
		failed = state_take_failed(w.s);
		world_fail(NULL, 0, 0);
		world_close(&w, NULL);
		world_opened(&w);
		assert_true(w.found && !w.bad);
		assert_true(w.loaded.n == 6 || (failed && w.loaded.n == 9));
		world_close(&w, NULL);
		world_remove(&w);
	}
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(old_lines_go_and_new_ones_come),
	cmocka_unit_test(cut_at_any_byte_changes_nothing),
	cmocka_unit_test(any_bit_flipped_is_refused),
	cmocka_unit_test(those_of_another_checkpoint_are_stale),
	cmocka_unit_test(lines_have_one_spelling),
	cmocka_unit_test(changes_are_loaded_with_their_checkpoint),
	cmocka_unit_test(those_left_behind_mean_nothing),
	cmocka_unit_test(corrupt_ones_are_said_and_kept_aside),
	cmocka_unit_test(alone_they_are_said),
	cmocka_unit_test(not_saved_beside_another_checkpoint),
	cmocka_unit_test(not_saved_beside_the_one_before),
	cmocka_unit_test(stale_handle_is_said),
	cmocka_unit_test(failing_save_leaves_the_ones_before),
};

RUN_TESTS(tests)
