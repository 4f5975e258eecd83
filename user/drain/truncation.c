/* SPDX-License-Identifier: Apache-2.0 */
#include "drain/truncation.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sys.h"
#include "drain/copy.h"
#include "drain/join.h"
#include "files/file.h"
#include "heat/write_count.h"

#define TRIES     100
#define UNSURE_NS NS_PER_SEC

static bool has_counter(const struct file *f, const struct write_count *counts)
{
	return counts && f->slot >= 0 && !f->uncounted;
}

/* Truncations are counted also where some growth is not. */
static bool has_positions(const struct file *f, const struct write_count *counts)
{
	return counts && f->slot >= 0 && f->positions;
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
	f->seen_shrinks = (uint32_t)after.shrinks;
	*ret_size = (uint64_t)st.st_size;
	*ret_cut = known;
	if (counted) {
		int64_t written = f->uncounted_bytes + (int64_t)(after.bytes + hole);
		int64_t had = (int64_t)(f->consumed + *ret_size);

		*ret_cut = written > had ? (uint64_t)(written - had) : 0;
	}
	if (f->copied) {
		f->consumed += *ret_cut;
		f->base += *ret_cut;
		*ret_cut = 0;
	}
	f->copied = false;
	return 0;
}

/* Reading goes on at offset, up to which f is as it was read. */
static void go_to(struct file *f, uint64_t offset, uint64_t lost)
{
	struct chain *c = f->chain;

	copy_note_truncation(f, lost);
	if (lost)
		tally_lose(&c->tally, LOST_TRUNCATED, lost);
	for (size_t i = 0; i < c->n_joins; i++) {
		struct join *j = &c->joins[i];

		j->broken = j->broken || lost;
		if (j->file == f && j->start >= offset)
			j->start = 0; /* nothing of it is in the file any more */
	}
	memset(f->open, 0, sizeof(f->open));
	f->epoch++;
	f->offset = f->acked = offset;
	f->torn = f->sure = 0;
	free(take_ptr(f->replay));
	f->mark.len = 0;
	f->skip_line = f->sync_line = false;
	f->hole = true; /* perhaps */
	f->probe = true;
	c->tally.truncations++;
}

/* Its positions say all: below the shortest it was meanwhile the file is as it was read. */
static int take_counted(struct file *f, const struct write_count *counts)
{
	struct write_cut cut;
	uint64_t offset = 0, position;
	int64_t lost;
	struct stat st;

	if (!write_count_cut(counts, f->slot, &cut))
		return -EAGAIN;
	if (sys.fstat(f->fd, &st) < 0)
		return -errno;
	if (cut.truncs != f->seen_truncs) /* else rewritten: from the beginning */
		offset = MIN(f->offset, cut.low);
	position = cut.cuts + offset;
	lost = (int64_t)(position - f->besides - f->consumed);
	if (lost < 0 && cut.truncs != f->seen_truncs) { /* read, and no hook saw it come */
		f->chain->tally.uncounted_bytes += (uint64_t)-lost;
		f->base += (uint64_t)-lost;
	}
	if (cut.truncs == f->seen_truncs || lost < 0)
		lost = 0;
	f->consumed += (uint64_t)lost;
	if (f->copied) { /* the copy's account has it */
		f->base += (uint64_t)lost;
		lost = 0;
	}
	f->copied = false;
	f->besides = position - f->consumed;
	f->seen_truncs = cut.truncs;
	go_to(f, offset, (uint64_t)lost);
	f->size = (uint64_t)st.st_size;
	return 0;
}

int truncation_take(struct file *f, const struct write_count *counts)
{
	uint64_t size = 0, cut = 0;
	int rc;

	if (has_positions(f, counts)) {
		rc = take_counted(f, counts);
		if (rc != -EAGAIN)
			return rc;
		if (!f->unsure_ns)
			f->unsure_ns = clock_now_ns();
		if (clock_now_ns() - f->unsure_ns < UNSURE_NS)
			return rc;
		f->positions = false; /* the end of a truncation was left out */
	}
	rc = bytes_cut_off(f, counts, &size, &cut);
	if (rc < 0)
		return rc;
	f->consumed += cut;
	go_to(f, 0, cut);
	f->size = size;
	return 0;
}

bool truncation_counted(const struct file *f, const struct write_count *counts)
{
	struct write_total total;

	if (!has_positions(f, counts))
		return false;
	write_count_read(counts, f->slot, &total);
	return total.truncs != f->seen_truncs;
}

/* With nothing read there is no mark to tell of a truncation. */
bool truncation_before_read(const struct file *f, const struct write_count *counts)
{
	struct write_total total;
	struct stat st;

	if (f->offset || f->compressed || f->positions)
		return false;
	if (!has_counter(f, counts))
		return sys.fstat(f->fd, &st) == 0 && (uint64_t)st.st_size < f->sure;
	write_count_read(counts, f->slot, &total);
	return (uint32_t)total.shrinks != f->seen_shrinks;
}
