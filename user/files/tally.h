/* SPDX-License-Identifier: Apache-2.0 */
/* What became of bytes: counted per container's log, and summed. Plain data. */
#ifndef FILES_TALLY_H
#define FILES_TALLY_H

#include <stdbool.h>
#include <stdint.h>

/* Why bytes were never read. */
enum lost_reason {
	LOST_ROTATED_AWAY, /* the file was removed while hotdrain did not hold it */
	LOST_TRUNCATED,
	LOST_HELD_CAP,   /* unlinked, and given up because too much was held that way */
	LOST_GZ_CORRUPT, /* in a compressed file that cannot be inflated to its end */
	LOST_VANISHED,   /* the file was gone before it could be opened */
	LOST_REASONS
};

struct lost {
	uint64_t bytes;  /* as far as they are known */
	uint64_t events; /* files or truncations, those of unknown size included */
};

/* As it is spelled in the checkpoint, in JSON, in metrics: rotated_away, truncated, … */
const char *lost_name(enum lost_reason reason);

/* What became of the bytes of a container's log (of its files, headers included); only growing, but
 * for what was called lost and is found in a copy. */
struct tally {
	uint64_t read_bytes, delivered_bytes, records, malformed_lines;
	/* written: what was lost unseen included; uncounted: read or readable, and not written as
	 * far as the kernel saw. */
	uint64_t written_bytes, uncounted_bytes;
	uint64_t truncations;
	uint64_t skipped_bytes; /* beyond the line limit */
	uint64_t hole_bytes;    /* NULs that nobody wrote */
	struct lost lost[LOST_REASONS];
};

static inline void tally_lose(struct tally *t, enum lost_reason why, uint64_t bytes)
{
	t->lost[why].bytes += bytes;
	t->lost[why].events++;
}

/* Of a file that was never opened: nothing else says that this was written. */
static inline void tally_lose_unseen(struct tally *t, enum lost_reason why, uint64_t bytes)
{
	tally_lose(t, why, bytes);
	t->written_bytes += bytes;
}

static inline bool tally_lost(const struct tally *t)
{
	for (int i = 0; i < LOST_REASONS; i++)
		if (t->lost[i].events)
			return true;
	return false;
}

void tally_add(struct tally *to, const struct tally *from);
void tally_sub(struct tally *from, const struct tally *t); /* which was added before */

#endif
