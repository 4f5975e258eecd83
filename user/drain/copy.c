/* SPDX-License-Identifier: Apache-2.0 */
#include "drain/copy.h"

#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "files/file.h"

#define COPY_LATE_NS (200 * NS_PER_MS) /* how much later than the truncation it is found */

void copy_take_head(struct file *f, const char *data, size_t n)
{
	f->head_len = (uint32_t)MIN(n, sizeof(f->head));
	memcpy(f->head, data, f->head_len);
}

void copy_note_truncation(struct file *f, uint64_t lost_bytes)
{
	struct cut *cut = &f->chain->cut;

	if (f->chain->live != f || !f->head_len)
		return;
	f->chain->unsettled = f->chain->copies > 0;
	cut->offset = f->offset;
	cut->lost_bytes = lost_bytes;
	cut->noted_ns = clock_now_ns();
	cut->head_len = f->head_len;
	memcpy(cut->head, f->head, f->head_len);
	cut->mark_len = f->mark_len;
	memcpy(cut->mark, f->mark, f->mark_len);
	f->head_len = 0;
}

/* The bytes at offset are these. */
static bool holds(const struct file *f, uint64_t offset, const char *want, size_t n)
{
	char got[FILE_MARK_BYTES];

	return sys.pread(f->fd, got, n, (off_t)offset) == (ssize_t)n && memcmp(got, want, n) == 0;
}

/* What the truncation cut off is in the copy f: it was not lost after all. */
static void find_again(const struct file *f)
{
	struct cut *cut = &f->chain->cut;
	struct lost *lost = &f->chain->tally.lost[LOST_TRUNCATED];
	uint64_t there = f->size > cut->offset ? f->size - cut->offset : 0;
	uint64_t found = MIN(cut->lost_bytes, there);

	if (!found)
		return;
	lost->bytes -= found;
	cut->lost_bytes -= found;
	if (f->chain->live) /* of which it was lost; the copy's account has it now */
		f->chain->live->base += found;
	else
		f->chain->tally.written_bytes -= found;
	if (!cut->lost_bytes) {
		lost->events--;
		for (size_t i = 0; i < ARRAY_SIZE(f->chain->joins); i++)
			f->chain->joins[i].broken = false;
	}
}

static bool resumes_at_cut(struct file *f)
{
	const struct cut *cut = &f->chain->cut;
	struct stat st;

	if (!cut->head_len || !holds(f, 0, cut->head, cut->head_len) || sys.fstat(f->fd, &st) < 0)
		return false;
	if ((uint64_t)st.st_size < cut->offset) {
		if (cut->noted_ns < f->displaced_ns - COPY_LATE_NS)
			return false; /* too late to be of that truncation */
		f->size = (uint64_t)st.st_size;
		file_skip_to_end(f); /* read beyond what was copied */
		f->sync_line = false;
		return true;
	}
	if (!holds(f, cut->offset - cut->mark_len, cut->mark, cut->mark_len))
		return false;
	f->offset = f->acked = cut->offset;
	f->mark_len = cut->mark_len;
	memcpy(f->mark, cut->mark, cut->mark_len);
	find_again(f);
	return true;
}

enum copy_verdict copy_judge(struct file *f)
{
	struct file *live = f->chain->live;
	char head[FILE_MARK_BYTES];
	ssize_t n;

	if (resumes_at_cut(f))
		return COPY_RESUME;
	if (!live)
		return COPY_NO;
	/* Not read yet: its head is what it holds now, and another one tells of a truncation. */
	if (live->offset == 0) {
		n = sys.pread(live->fd, head, sizeof(head), 0);
		if (live->head_len &&
		    (n < live->head_len || memcmp(head, live->head, live->head_len) != 0)) {
			bool same = holds(f, 0, live->head, live->head_len);

			live->head_len = 0;
			if (same) /* what was cut off is read in the copy */
				live->copied = true;
			return same ? COPY_RESUME : COPY_NO;
		}
		copy_take_head(live, head, n > 0 ? (size_t)n : 0);
	}
	n = sys.pread(f->fd, head, live->head_len, 0);
	if (n < 0 || memcmp(head, live->head, (size_t)n) != 0)
		return COPY_NO;
	if (live->head_len == 0 && f->size > 0)
		return COPY_NO; /* the live file is empty: nothing it could be a copy of */
	return COPY_WAIT;
}
