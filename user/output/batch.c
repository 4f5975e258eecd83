/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arena is page-aligned, so that what only a rare long line has touched (everything well behind
 * fill_bytes) goes back to the system when the batch is reset: otherwise each batch of the pool
 * would in time hold the longest line it ever saw. The line that fills a batch usually ends a
 * little behind fill_bytes: that much is kept, or every batch would cost a system call and a page
 * fault.
 */
#include "output/batch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "event/labels.h"
#include "event/source.h"

#define PAGE        4096
#define KEEP_BEHIND 65536

int batch_fit(struct batch *b, size_t fill_bytes, size_t longest_line)
{
	size_t cap = (fill_bytes + longest_line + PAGE - 1) / PAGE * PAGE;
	char *arena;

	if (cap < fill_bytes || cap < longest_line)
		return -ENOMEM;
	if (cap != b->cap) {
		arena = aligned_alloc(PAGE, cap);
		if (!arena)
			return -ENOMEM;
		free(b->arena);
		b->arena = arena;
		b->cap = cap;
	}
	b->fill_bytes = fill_bytes;
	return 0;
}

int batch_new(size_t fill_bytes, size_t longest_line, struct batch **ret_batch)
{
	struct batch *b = calloc(1, sizeof(*b));
	int r = b ? batch_fit(b, fill_bytes, longest_line) : -ENOMEM;

	if (r < 0) {
		free(b);
		return r;
	}
	*ret_batch = b;
	return 0;
}

void batch_free(struct batch *b)
{
	if (!b)
		return;
	batch_reset(b);
	free(b->arena);
	free(b);
}

void batch_reset(struct batch *b)
{
	size_t keep = (b->fill_bytes + KEEP_BEHIND + PAGE - 1) / PAGE * PAGE;

	for (uint32_t i = 0; i < b->n_spans; i++) {
		source_unref(b->spans[i].source);
		labels_unref(b->spans[i].labels);
	}
	while (b->extra) {
		struct batch_extra *next = b->extra->next;

		free(b->extra);
		b->extra = next;
	}
	/* Advice only: where it is refused the pages stay. */
	if (b->used > keep)
		madvise(b->arena + keep, b->cap - keep, MADV_DONTNEED);
	b->extra_bytes = 0;
	b->used = 0;
	b->n_records = 0;
	b->n_spans = 0;
	b->first_ns = 0;
}

bool batch_full(const struct batch *b)
{
	return b->used >= b->fill_bytes || b->extra_bytes >= b->fill_bytes ||
	       b->n_records == BATCH_RECORDS || b->n_spans == BATCH_SPANS;
}
