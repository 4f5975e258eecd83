/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "event/labels.h"
#include "event/source.h"
#include "output/batch.h"

static void empty_batch_takes_the_longest_line(void **state)
{
	struct batch *b;

	assert_int_equal(batch_new(1000, 5000, &b), 0);
	assert_int_equal(b->fill_bytes, 1000);
	assert_true(b->cap >= 6000);
	assert_false(batch_full(b));
	memset(b->arena, 'x', b->cap);
	batch_free(b);
	batch_free(NULL);
}

static void impossible_sizes_are_refused(void **state)
{
	struct batch *b = NULL;

	assert_int_equal(batch_new(SIZE_MAX, 1, &b), -ENOMEM);
	assert_int_equal(batch_new(SIZE_MAX - 100, SIZE_MAX - 100, &b), -ENOMEM);
	assert_null(b);
}

static void full_by_each_limit(void **state)
{
	struct batch *b;

	assert_int_equal(batch_new(1000, 1000, &b), 0);
	b->used = 999;
	assert_false(batch_full(b));
	b->used = 1000;
	assert_true(batch_full(b));
	batch_reset(b);
	b->extra_bytes = 1000;
	assert_true(batch_full(b));
	batch_reset(b);
	for (unsigned i = 0; i < BATCH_RECORDS; i++) {
		assert_false(batch_full(b));
		assert_ptr_equal(batch_next(b), &b->records[i]);
		batch_commit(b);
	}
	assert_null(batch_next(b));
	assert_true(batch_full(b));
	batch_reset(b);
	b->n_spans = BATCH_SPANS - 1;
	assert_false(batch_full(b));
	b->n_spans = BATCH_SPANS;
	assert_true(batch_full(b));
	b->n_spans = 0;
	batch_free(b);
}

static void reset_drops_references_and_texts(void **state)
{
	struct labels *labels = labels_new("l", 1);
	struct batch_extra *x;
	struct source *s;
	struct batch *b;

	assert_non_null(labels);
	assert_int_equal(source_new("/a", &s), 0);
	assert_int_equal(batch_new(1000, 1000, &b), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 3; i++) {
			b->spans[b->n_spans++] = (struct span){
				.source = source_ref(s),
				.labels = labels_ref(i ? labels : NULL),
			};
			x = malloc(sizeof(*x) + 10);
			assert_non_null(x);
			x->next = b->extra;
			b->extra = x;
		}
		b->extra_bytes = 30;
		b->first_ns = 5;
		b->used = 7;
		batch_commit(b);
		assert_int_equal(atomic_load(&s->refs), 4);
		assert_int_equal(atomic_load(&labels->refs), 3);
		if (round == 0)
			batch_reset(b);
	}
	assert_int_equal(b->n_records, 1);
	batch_free(b);
	assert_int_equal(atomic_load(&s->refs), 1);
	assert_int_equal(atomic_load(&labels->refs), 1);
	labels_unref(labels);
	source_unref(s);
}

/* What a rare long line touched is not kept by every batch of the pool. */
static void reset_gives_back_what_a_long_line_took(void **state)
{
	const size_t page = 4096, fill = 16 * page, longest = 256 * page;
	unsigned char in_core[300];
	size_t kept = 0, pages;
	struct batch *b;

	assert_int_equal(batch_new(fill, longest, &b), 0);
	pages = b->cap / page;
	assert_true(pages <= sizeof(in_core));
	memset(b->arena, 'x', b->cap);
	b->used = b->cap;
	batch_reset(b);
	assert_int_equal(b->used, 0);
	if (mincore(b->arena, b->cap, in_core) < 0) {
		print_message("# mincore: %s\n", strerror(errno));
		batch_free(b);
		skip();
	}
	for (size_t i = 0; i < pages; i++)
		kept += in_core[i] & 1;
	assert_true(kept <= 32);
	assert_int_equal(b->arena[0], 'x'); /* what is always used stays mapped */
	memset(b->arena, 'y', b->cap);
	batch_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_batch_takes_the_longest_line),
		cmocka_unit_test(impossible_sizes_are_refused),
		cmocka_unit_test(full_by_each_limit),
		cmocka_unit_test(reset_drops_references_and_texts),
		cmocka_unit_test(reset_gives_back_what_a_long_line_took),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
