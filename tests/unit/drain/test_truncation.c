/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a truncation cut off. The arithmetic on counters is tested with a counter that says what the
 * test wants (truncation.c is compiled again for that, under other names), and then with the
 * kernel's on the best rung that attaches.
 */
#include "reader_world.h"

#include <errno.h>

#define write_count_read       counter_says
#define truncation_take        fake_take
#define truncation_before_read fake_before_read
#define truncation_calibrate   fake_calibrate
#define truncation_counted     fake_counted
#include "drain/truncation.c"
#undef truncation_take
#undef truncation_before_read
#undef truncation_calibrate
#undef truncation_counted

/* One answer per look, the last one again and again. */
static struct {
	struct write_total answers[3];
	unsigned n, looks;
	const char *append_to; /* written to right before the second look */
} counter;

void counter_says(const struct write_count *wc, int slot, struct write_total *ret_total)
{
	if (counter.looks == 1 && counter.append_to)
		test_write(counter.append_to, "a", "0123456789");
	*ret_total = counter.answers[MIN(counter.looks, counter.n - 1)];
	counter.looks++;
}

static const struct write_count *const fake_counts = (const void *)&counter;

static int fake_setup(void **state)
{
	memset(&counter, 0, sizeof(counter));
	counter.n = 1;
	return setup(state);
}

static void written(uint64_t calls, uint64_t bytes, uint64_t shrinks)
{
	counter.answers[0] =
		(struct write_total){.calls = calls, .bytes = bytes, .shrinks = shrinks};
}

static const struct lost *lost(const struct world *w)
{
	return &w->chain.tally.lost[LOST_TRUNCATED];
}

/* Read up to offset, known to reach up to sure; now it holds text. */
static struct file *cut_off(struct world *w, uint64_t offset, uint64_t sure, const char *text)
{
	struct file *f = w->file;

	f->offset = f->acked = f->consumed = offset;
	f->sure = f->size = sure;
	test_write(w->path, "w", text);
	return f;
}

static void what_was_known_to_be_there_is_lost(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 40, 100, "new\n");

	assert_int_equal(fake_take(f, NULL), 0);
	assert_int_equal(lost(w)->bytes, 60);
	assert_int_equal(lost(w)->events, 1);
	assert_int_equal(w->chain.tally.truncations, 1);
	assert_int_equal(f->size, 4);
}

static void nothing_unread_is_no_loss(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 100, 100, "");

	assert_int_equal(fake_take(f, NULL), 0);
	f->offset = 7; /* known to reach less far than was read */
	f->sure = 3;
	assert_int_equal(fake_take(f, NULL), 0);
	assert_int_equal(lost(w)->bytes, 0);
	assert_int_equal(lost(w)->events, 0);
	assert_false(tally_lost(&w->chain.tally));
	assert_int_equal(w->chain.tally.truncations, 2);
}

static void the_file_begins_anew(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 40, 100, "new\n");

	f->torn = 5;
	f->mark.len = 9;
	f->skip_line = f->sync_line = true;
	f->epoch = 3;
	assert_int_equal(fake_take(f, NULL), 0);
	assert_int_equal(f->offset, 0);
	assert_int_equal(f->acked, 0);
	assert_int_equal(f->torn, 0);
	assert_int_equal(f->mark.len, 0);
	assert_int_equal(f->sure, 0);
	assert_false(f->skip_line || f->sync_line);
	assert_int_equal(f->epoch, 4);
	assert_true(f->hole);
	assert_false(fake_before_read(f, NULL)); /* it is not truncated again by that */
}

static void what_cannot_be_looked_at_is_left_as_it_is(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 40, 100, ""), before;

	close(f->fd);
	f->fd = -1;
	before = *f;
	assert_int_equal(fake_take(f, NULL), -EBADF);
	assert_memory_equal(f, &before, sizeof(before));
	assert_int_equal(w->chain.tally.truncations, 0);
	assert_int_equal(lost(w)->events, 0);
}

static void a_loss_breaks_what_was_begun(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 40, 40, "");
	struct join *here, *there;

	assert_int_equal(chain_make_joins(&w->chain), 0);
	here = &w->chain.joins[STREAM_STDOUT];
	there = &w->chain.joins[STREAM_STDERR];
	here->file = f;
	there->file = &w->files[1];
	here->start = there->start = 30;
	assert_int_equal(fake_take(f, NULL), 0); /* nothing was lost: what comes continues it */
	assert_false(here->broken || there->broken);
	assert_int_equal(here->start, 0); /* its beginning is in the file no more */
	assert_int_equal(there->start, 30);
	f->offset = 10;
	f->sure = 11;
	assert_int_equal(fake_take(f, NULL), 0);
	assert_true(here->broken && there->broken);
	f->offset = f->sure = 10;
	assert_int_equal(fake_take(f, NULL), 0);
	assert_true(here->broken && there->broken); /* and it stays so */
	here->file = there->file = NULL;
}

static void the_cut_is_kept_for_a_copy(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 8, 14, "");

	w->chain.live = f;
	f->head = mark_of("one\ntwo\n", 8);
	f->mark = mark_of("one\ntwo\n", 8);
	assert_int_equal(fake_take(f, NULL), 0);
	assert_int_equal(w->chain.cut->offset, 8);
	assert_int_equal(w->chain.cut->lost_bytes, 6);
	assert_int_equal(w->chain.cut->mark.len, 8);
	assert_true(mark_is(&w->chain.cut->head, "one\ntwo\n"));
}

/* 500 bytes were written, 100 read, 4 are there. */
static void what_nobody_saw_is_counted(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 100, 200, "new\n");

	f->slot = 0;
	written(5, 500, 2);
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(lost(w)->bytes, 396);
	assert_int_equal(f->seen_shrinks, 2);
	assert_int_equal(f->size, 4);
}

static void each_truncation_counts_its_own_loss(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 100, 200, "");

	f->slot = 0;
	written(5, 500, 1);
	assert_int_equal(fake_take(f, fake_counts), 0);
	f->offset += 50; /* and 50 bytes written and read, then 7 cut off */
	f->consumed += 50;
	written(7, 557, 2);
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(lost(w)->bytes, 400 + 7);
	assert_int_equal(lost(w)->events, 2);
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(lost(w)->bytes, 400 + 7);
	assert_int_equal(lost(w)->events, 2);
}

static void written_before_the_counter_counts_too(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 100, 200, "");

	f->slot = 0;
	f->uncounted_bytes = 150;
	written(1, 50, 0);
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(lost(w)->bytes, 100);
}

static void a_write_between_two_looks_is_there_or_lost(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 100, 200, "");

	f->slot = 0;
	written(5, 500, 1);
	counter.answers[1] = counter.answers[2] =
		(struct write_total){.calls = 6, .bytes = 510, .shrinks = 1};
	counter.n = 3;
	counter.append_to = w->path;
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(f->size, 10);
	assert_int_equal(lost(w)->bytes, 400);
}

static void a_counter_that_misses_writes_is_not_asked(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 40, 100, "");

	written(5, 500, 9);
	assert_int_equal(fake_take(f, fake_counts), 0); /* no slot */
	assert_int_equal(lost(w)->bytes, 60);
	f->slot = 0;
	f->uncounted = true;
	f->sure = 10;
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(lost(w)->bytes, 70);
	assert_false(fake_before_read(f, fake_counts));
	assert_int_equal(counter.looks, 0);
}

/* A writer that does not append: what nobody wrote is neither there nor lost. */
static void a_hole_in_front_was_not_written(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 400000, 1000000, "");
	FILE *out = fopen(w->path, "r+");

	assert_int_equal(fseek(out, 1 << 20, SEEK_SET), 0);
	assert_int_equal(fwrite("after\n", 1, 6, out), 6);
	assert_int_equal(fclose(out), 0);
	f->slot = 0;
	written(9, (1 << 20) + 6, 1);
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(lost(w)->bytes, (1 << 20) - 400000);
}

static void truncated_before_anything_was_read_is_seen(void **state)
{
	struct world *w = *state;
	struct file *f = w->file;

	test_write(w->path, "w", "four\n");
	f->sure = 5;
	assert_false(fake_before_read(f, NULL));
	f->sure = 6; /* without a counter: when it is shorter than it was */
	assert_true(fake_before_read(f, NULL));
	f->slot = 0;
	f->seen_shrinks = 1;
	written(5, 500, 1);
	assert_false(fake_before_read(f, fake_counts));
	written(6, 500, 2);
	assert_true(fake_before_read(f, fake_counts));
	f->offset = 1; /* then the mark tells */
	assert_false(fake_before_read(f, fake_counts));
	f->offset = 0;
	f->compressed = true;
	assert_false(fake_before_read(f, fake_counts));
	f->compressed = false;
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(lost(w)->bytes, 495);
	assert_false(fake_before_read(f, fake_counts)); /* once */
}

/* The kernel's counter, at the file's birth as the collector does it. */
struct counted {
	struct write_count *counts;
	FILE *out;
	char text[400];
};

static void counted_new(struct counted *c, struct world *w, const char *mode)
{
	assert_int_equal(write_count_new(RUNG_AUTO, 16, NULL, &c->counts), 0);
	if (write_count_rung(c->counts) == RUNG_OFF) {
		print_message("# no rung attaches here\n");
		write_count_free(c->counts);
		skip();
	}
	assert_int_equal(write_count_add(c->counts, w->file->fd, NULL, &w->file->slot), 0);
	w->reader.counts = c->counts;
	c->out = fopen(w->path, mode);
	assert_non_null(c->out);
	setvbuf(c->out, NULL, _IOLBF, 4096); /* a write for each line */
}

static void counted_done(struct counted *c, struct world *w)
{
	fclose(c->out);
	write_count_del(c->counts, w->file->slot);
	write_count_free(c->counts);
}

static void say(struct counted *c, const char *lines)
{
	assert_true(fputs(lines, c->out) >= 0);
	assert_int_equal(fflush(c->out), 0);
}

static void counted_by_the_kernel_each_loss_is_exact(void **state)
{
	struct world *w = *state;
	struct counted c;

	counted_new(&c, w, "a");
	for (unsigned i = 1; i <= 5; i++) {
		say(&c, "read\nand read\n");
		read_all(w, c.text, sizeof(c.text));
		assert_string_equal(c.text, "read|and read|");
		for (unsigned n = 0; n < i; n++)
			say(&c, "cut off\n");
		assert_int_equal(ftruncate(fileno(c.out), 0), 0);
		say(&c, "longer than what was read\n");
		assert_int_equal(read_all(w, c.text, sizeof(c.text)), READ_TRUNCATED);
		assert_string_equal(c.text, "");
		assert_int_equal(lost(w)->bytes, 8 * i * (i + 1) / 2);
		assert_int_equal(lost(w)->events, i);
		read_all(w, c.text, sizeof(c.text));
		assert_string_equal(c.text, "longer than what was read|");
	}
	counted_done(&c, w);
}

static void counted_by_the_kernel_nothing_needs_to_be_read_before(void **state)
{
	struct world *w = *state;
	struct counted c;

	counted_new(&c, w, "a");
	say(&c, "cut off\n");
	assert_int_equal(ftruncate(fileno(c.out), 0), 0);
	say(&c, "cut off twice\n");
	assert_int_equal(ftruncate(fileno(c.out), 0), 0);
	say(&c, "there\n");
	assert_int_equal(read_all(w, c.text, sizeof(c.text)), READ_TRUNCATED);
	assert_int_equal(lost(w)->bytes, 8 + 14);
	assert_int_equal(read_all(w, c.text, sizeof(c.text)), READ_END);
	assert_string_equal(c.text, "there|");
	counted_done(&c, w);
}

/* The hole is not one of whole blocks. */
static void nuls_in_front_were_not_written(void **state)
{
	struct world *w = *state;
	struct file *f = cut_off(w, 400, 1000, "");
	FILE *out = fopen(w->path, "r+");

	assert_int_equal(fseek(out, 1000, SEEK_SET), 0);
	assert_int_equal(fwrite("after\n", 1, 6, out), 6);
	assert_int_equal(fclose(out), 0);
	f->slot = 0;
	written(9, 1006, 1);
	assert_int_equal(fake_take(f, fake_counts), 0);
	assert_int_equal(lost(w)->bytes, 600);
	assert_int_equal(lost(w)->events, 1);
}

static void counted_by_the_kernel_a_writer_need_not_append(void **state)
{
	struct world *w = *state;
	struct counted c;

	counted_new(&c, w, "w");
	for (unsigned i = 0; i < 10000; i++)
		say(&c, "read\n");
	read_all(w, NULL, 0);
	say(&c, "cut off\n");
	assert_int_equal(ftruncate(fileno(c.out), 0), 0);
	say(&c, "behind the hole\n");
	assert_int_equal(read_all(w, c.text, sizeof(c.text)), READ_TRUNCATED);
	read_all(w, c.text, sizeof(c.text));
	assert_string_equal(c.text, "behind the hole|");
	assert_int_equal(lost(w)->bytes, 8);
	assert_int_equal(w->chain.tally.hole_bytes, 50008);
	counted_done(&c, w);
}

#define F(name) cmocka_unit_test_setup_teardown(name, fake_setup, teardown)
static const struct CMUnitTest tests[] = {
	F(nuls_in_front_were_not_written),
	T(counted_by_the_kernel_a_writer_need_not_append),
	F(what_was_known_to_be_there_is_lost),
	F(nothing_unread_is_no_loss),
	F(the_file_begins_anew),
	F(what_cannot_be_looked_at_is_left_as_it_is),
	F(a_loss_breaks_what_was_begun),
	F(the_cut_is_kept_for_a_copy),
	F(what_nobody_saw_is_counted),
	F(each_truncation_counts_its_own_loss),
	F(written_before_the_counter_counts_too),
	F(a_write_between_two_looks_is_there_or_lost),
	F(a_counter_that_misses_writes_is_not_asked),
	F(a_hole_in_front_was_not_written),
	F(truncated_before_anything_was_read_is_seen),
	T(counted_by_the_kernel_each_loss_is_exact),
	T(counted_by_the_kernel_nothing_needs_to_be_read_before),
};
RUN_TESTS(tests)
