/* SPDX-License-Identifier: Apache-2.0 */
#include "drain/account.h"

#include "base/sys.h"
#include "files/file.h"
#include "heat/write_count.h"

#define TRIES 100

static bool has_positions(const struct file *f, const struct write_count *counts)
{
	return counts && f->slot >= 0 && f->positions;
}

/* Takes out of the chain's tally what this file added. */
static void forget(struct file *f)
{
	f->chain->tally.written_bytes -= f->accounted;
	f->chain->tally.uncounted_bytes -= f->accounted_uncounted;
	f->accounted = f->accounted_uncounted = 0;
}

void account_begin(struct file *f, const struct write_count *counts, uint64_t position)
{
	struct write_total total = {0};
	bool inherited, known = position != ACCOUNT_UNKNOWN;

	forget(f);
	f->positions = counts && f->slot >= 0 && write_count_positions(counts, f->slot);
	inherited = f->positions && write_count_inherited(counts, f->slot);
	if (f->positions)
		write_count_read(counts, f->slot, &total);
	f->consumed = f->base = f->offset;
	f->seen_truncs = total.truncs;
	f->besides = total.cuts;
	if (inherited ? known && position - f->offset != total.cuts : !f->offset && total.truncs) {
		/* Cut off while nobody looked: noticed with the first read. */
		f->besides = inherited ? position - f->offset : 0;
		f->seen_truncs--;
	}
}

bool account_resume_cut(struct file *f, const struct write_count *counts, uint64_t position)
{
	struct write_total total;

	if (!f->positions || !write_count_inherited(counts, f->slot))
		return false;
	write_count_read(counts, f->slot, &total);
	forget(f);
	f->consumed = f->base = 0;
	f->besides = position;
	f->seen_truncs = total.truncs - 1;
	return true;
}

uint64_t account_position(const struct file *f, uint64_t acked)
{
	return f->consumed + f->besides - f->offset + acked;
}

/* The file's size and the cuts before it, of one moment. */
static bool position_now(struct file *f, const struct write_count *counts, uint64_t *ret_cuts,
			 uint64_t *ret_truncs)
{
	struct write_total before, after;
	struct stat st;

	for (int i = 0; i < TRIES; i++) {
		write_count_read(counts, f->slot, &before);
		if (f->fd < 0)
			f->size = before.calls ? before.size : f->size;
		else if (sys.fstat(f->fd, &st) == 0)
			f->size = (uint64_t)st.st_size;
		write_count_read(counts, f->slot, &after);
		*ret_cuts = after.cuts;
		*ret_truncs = after.truncs;
		if (after.cuts == before.cuts)
			return true;
	}
	return false;
}

/* Counters never go back: what will not be read of a file that leaves is not counted to begin with.
 */
static uint64_t end_of(const struct file *f)
{
	uint64_t left = f->leave_at ? MAX(f->offset, f->leave_at - 1) : UINT64_MAX;

	return MIN(f->size, left);
}

uint64_t account_unread(const struct file *f)
{
	uint64_t end = end_of(f);

	return end > f->offset ? end - f->offset : 0;
}

bool account_update(struct file *f, const struct write_count *counts)
{
	uint64_t cuts = 0, truncs = 0, seen, written, uncounted = 0;
	bool settled = true;

	if (has_positions(f, counts))
		settled = position_now(f, counts, &cuts, &truncs) && truncs == f->seen_truncs;
	seen = f->consumed + account_unread(f);
	written = seen;
	if (has_positions(f, counts)) {
		written = cuts + end_of(f) - f->besides;
		if (settled && (int64_t)(seen - written) > 0)
			uncounted = seen - written;
	}
	written -= f->base;
	f->chain->tally.written_bytes += written - f->accounted;
	f->chain->tally.uncounted_bytes += uncounted - f->accounted_uncounted;
	f->accounted = written;
	f->accounted_uncounted = uncounted;
	return settled;
}

/* What is neither read nor lost. */
static uint64_t rest_of(struct file *f, const struct write_count *counts)
{
	uint64_t rest;

	account_update(f, counts);
	rest = f->base + f->accounted + f->accounted_uncounted - f->consumed;
	return (int64_t)rest > 0 ? rest : 0;
}

void account_leave(struct file *f, const struct write_count *counts)
{
	uint64_t rest = rest_of(f, counts), written = MIN(rest, f->accounted);

	f->accounted -= written;
	f->chain->tally.written_bytes -= written;
	f->accounted_uncounted -= rest - written;
	f->chain->tally.uncounted_bytes -= rest - written;
}

void account_end(struct file *f, const struct write_count *counts)
{
	uint64_t rest = rest_of(f, counts);

	if (!rest)
		return;
	tally_lose(&f->chain->tally, LOST_ROTATED_AWAY, rest);
	f->consumed += rest;
}
