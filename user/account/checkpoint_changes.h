/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has changed since a checkpoint, as text; so that a node with ten thousand files pays for the
 * few that are written to. Pure; where it is kept is state.h's business.
 *
 *   hotdrain changes 1 1795237690.123456789 to 1795237679.123456789 6c1d8a55
 *   # dev ino born offset size consumed head mark flags path, account written read …
 *   old files 1 17 20-25
 *   old accounts -
 *   8:1 1311 1795237001.000000000 8192 8192 9000 1024:0a1b2c3d 128:99887766 - /pods/a%20b/0.log
 *   end 1 0 1b2c3d4e
 *
 * Line 1: the version, when this state was taken, and which checkpoint it changes: its time and its
 * sum. The lines "old": which of that checkpoint's files, counted from 1, and which of its accounts
 * do not hold any more, in ascending order, FIRST-LAST for two and more that follow each other, "-"
 * for none. Everything else as in checkpoint.h: what is here is added to what is left there.
 *
 * It is always the difference to the checkpoint itself, and replaced as a whole: nothing has to be
 * replayed, and there is no torn last line to be judged.
 */
#ifndef ACCOUNT_CHECKPOINT_CHANGES_H
#define ACCOUNT_CHECKPOINT_CHANGES_H

#include <stddef.h>
#include <stdint.h>

struct buf;
struct checkpoint;

#define CHANGES_VERSION 1

/* Which checkpoint it is. */
struct checkpoint_id {
	int64_t time_ns;
	uint32_t sum;
};

struct checkpoint_lines { /* ascending, each once, from 1 */
	const uint32_t *lines;
	size_t n;
};

/* Writing, in place of checkpoint_begin; then checkpoint_add, add_account and end as there. 0 or
 * -ENOMEM. */
int changes_begin(struct buf *out, int64_t time_ns, const struct checkpoint_id *to,
		  const struct checkpoint_lines *old_files,
		  const struct checkpoint_lines *old_accounts);
/* Of a whole text, by checkpoint_end. */
struct checkpoint_id checkpoint_id(int64_t time_ns, const struct buf *text);

/*
 * Applies the changes to cp, all or nothing. -ESTALE: they are of another checkpoint; otherwise as
 * checkpoint_parse. Reasons are written on failure only.
 */
int changes_apply(struct checkpoint *cp, const char *text, size_t len, char *why, size_t why_size);

#endif
