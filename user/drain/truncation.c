/* SPDX-License-Identifier: Apache-2.0 */
#include "drain/truncation.h"

#include <errno.h>
#include <unistd.h>

#include "base/sys.h"
#include "drain/copy.h"
#include "drain/join.h"
#include "files/file.h"
#include "heat/write_count.h"

#define TRIES 100

static bool has_counter(const struct file *f, const struct write_count *counts)
{
	return counts && f->slot >= 0 && !f->uncounted;
}

void truncation_calibrate(struct file *f, const struct write_count *counts, uint64_t bytes)
{
	int64_t beside = (int64_t)(f->consumed + f->torn - bytes);

	/* Later a truncation that has not been noticed yet could be taken for such a write. */
	if (has_counter(f, counts) && !f->epoch)
		f->uncounted_bytes = MIN(f->uncounted_bytes, beside);
}

/* Bytes in front that nobody wrote: a hole, and what it leaves of NULs in the first block of data.
 */
static uint64_t hole_in_front(const struct file *f)
{
	char block[4096];
	off_t data = sys.lseek(f->fd, 0, SEEK_DATA);
	uint64_t at = data > 0 ? (uint64_t)data : 0;
	ssize_t n = sys.pread(f->fd, block, sizeof(block), (off_t)at);

	for (ssize_t i = 0; i < n && block[i] == '\0'; i++)
		at++;
	return at;
}

/*
 * Bytes that were cut off unread. With a counter: what was written, less what was read and what is
 * there now. Without: as far as the file was known to reach.
 */
static int bytes_cut_off(struct file *f, const struct write_count *counts, uint64_t *ret_size,
			 uint64_t *ret_cut)
{
	struct write_total before = {0}, after = {0};
	uint64_t known = f->sure > f->offset ? f->sure - f->offset : 0, hole = 0;
	bool counted = has_counter(f, counts);
	struct stat st;
	unsigned tries = 0;

	do { /* until nothing is written in between */
		if (counted)
			write_count_read(counts, f->slot, &before);
		if (sys.fstat(f->fd, &st) < 0)
			return -errno;
		if (counted) {
			hole = hole_in_front(f);
			write_count_read(counts, f->slot, &after);
		}
	} while (after.calls != before.calls && ++tries < TRIES);
	f->seen_shrinks = after.shrinks;
	*ret_size = (uint64_t)st.st_size;
	*ret_cut = known;
	if (counted) {
		int64_t written = f->uncounted_bytes + (int64_t)(after.bytes + hole);
		int64_t had = (int64_t)(f->consumed + *ret_size);

		*ret_cut = written > had ? (uint64_t)(written - had) : 0;
	}
	if (f->copied) {
		f->consumed += *ret_cut;
		*ret_cut = 0;
	}
	f->copied = false;
	return 0;
}

int truncation_take(struct file *f, const struct write_count *counts)
{
	struct chain *c = f->chain;
	uint64_t size = 0, cut = 0;
	int rc = bytes_cut_off(f, counts, &size, &cut);

	if (rc < 0)
		return rc;
	copy_note_truncation(f, cut);
	if (cut)
		tally_lose(&c->tally, LOST_TRUNCATED, cut);
	f->consumed += cut;
	for (size_t i = 0; i < ARRAY_SIZE(c->joins); i++) {
		struct join *j = &c->joins[i];

		j->broken = j->broken || cut;
		if (j->file == f)
			j->start = 0; /* nothing of it is in the file any more */
		f->open[i] = 0;
	}
	f->epoch++;
	f->offset = f->acked = f->replay = f->torn = f->mark_len = f->sure = 0;
	f->skip_line = f->sync_line = false;
	f->hole = true; /* perhaps */
	f->size = size;
	c->tally.truncations++;
	return 0;
}

/* With nothing read there is no mark to tell of a truncation. */
bool truncation_before_read(const struct file *f, const struct write_count *counts)
{
	struct write_total total;
	struct stat st;

	if (f->offset || f->compressed)
		return false;
	if (!has_counter(f, counts))
		return sys.fstat(f->fd, &st) == 0 && (uint64_t)st.st_size < f->sure;
	write_count_read(counts, f->slot, &total);
	return total.shrinks != f->seen_shrinks;
}
