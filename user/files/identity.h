/* SPDX-License-Identifier: Apache-2.0 */
/* Plain data: what tells one file from another, while it is open and across restarts. */
#ifndef FILES_IDENTITY_H
#define FILES_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

struct file_id {
	uint64_t dev, ino; /* st_dev and st_ino of the open descriptor */
};

/* What tells the file from another that has its inode later, and from its own content after a
 * rewrite. Sums are checkpoint_sum's, of the first bytes and of those before the offset. */
struct file_identity {
	int64_t btime_ns; /* 0: not known */
	uint64_t offset;
	uint64_t open[3]; /* as struct file.open */
	uint32_t epoch;   /* whose content the sums are of */
	uint32_t head_sum, mark_sum;
	uint16_t head_len; /* at most CHECKPOINT_HEAD_MAX */
	uint8_t mark_len;  /* at most CHECKPOINT_MARK_MAX */
	bool inside;       /* the offset is not at the beginning of a line */
};

/* After a restart: of what lies before it only the records are taken that were open, by stream
 * where each begins, plus 1. */
struct replay {
	uint64_t before, open[3];
};

#endif
