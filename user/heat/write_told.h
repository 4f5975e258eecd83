/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel half tells by itself: files that enrolled themselves at their first write, and
 * files of which more is unread than they were armed for. */
#ifndef HEAT_WRITE_TOLD_H
#define HEAT_WRITE_TOLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct write_count;

/* Of a file or directory, as the kernel half knows it. */
struct write_id {
	uint32_t dev;
	uint64_t ino;
};

/* A file that enrolled itself: nobody had it open when it was first written to, or cut. */
struct write_enrolled {
	struct write_id file, dir;
	uint32_t gen;     /* tells it from a later file of the same id */
	const char *name; /* it had then; empty: not known, or longer than WRITE_NAME_MAX - 2 */
	uint64_t written; /* so far, with what was cut off */
	uint64_t acked;   /* of that, delivered by an earlier process */
	bool before;      /* it was there before this process */
	bool reused;      /* its inode number was given to another file since */
};

/* Called from write_count_take and write_count_expire; must not add or delete. */
struct write_hooks_user {
	void *ctx;
	/* More than the threshold is unread in the slot of each of the n > 0 owners, or its file
	 * was cut off. One can be there twice. */
	void (*woken)(void *ctx, void *const *owners, size_t n);
	/* A new file in a watched directory. */
	void (*enrolled)(void *ctx, const struct write_enrolled *e);
	/* It has not been added for a while: its slot is given back. */
	void (*expired)(void *ctx, const struct write_enrolled *e);
};

/* One record when the file has grown threshold bytes beyond collected (of cuts + size), 0: none
 * any more. Look at the counters after arming. False: this rung wakes nobody. */
bool write_count_arm(struct write_count *wc, int slot, uint64_t collected, uint64_t threshold);
/* From now on files in the open directory dir enrol themselves at their first write or truncation.
 * 0 and the id; -ENODATA, -EOPNOTSUPP, -ENOSPC as above. */
int write_count_add_dir(struct write_count *wc, int dir, struct write_id *ret_id);
/* All directories there are have been added: those of an earlier process are forgotten. */
void write_count_dirs_known(struct write_count *wc);
void write_count_del_dir(struct write_count *wc, const struct write_id *id);

/* Readable when there is something to take; -1 when there never is. */
int write_count_fd(const struct write_count *wc);
void write_count_take(struct write_count *wc, const struct write_hooks_user *hooks);
/* Enrolled files that were not added within age_ns, and those of which no record came. Looks at
 * all slots: a few times a minute. */
void write_count_expire(struct write_count *wc, int64_t age_ns,
			const struct write_hooks_user *hooks);

#endif
