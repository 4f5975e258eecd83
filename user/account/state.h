/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory: the checkpoint in it, a lock against a second instance, and a thread that
 * saves, so that the event loop never waits for a disk.
 *
 *   checkpoint                       the last good one, complete at any moment
 *   checkpoint.changes               what has changed since, if it names this checkpoint
 *   checkpoint.tmp                   while either is written; a left over one means nothing
 *   checkpoint.bad-YYYYmmddTHHMMSS   either, when it was refused at a start (UTC); at most 10 are
 * kept lock                             flock'ed while in use, holds the pid
 *
 * A directory that cannot be written to is no reason to end: nothing is saved until it can be, each
 * interval tries again. All functions but the thread's own work belong to one thread, the event
 * loop's.
 */
#ifndef ACCOUNT_STATE_H
#define ACCOUNT_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct checkpoint;
struct state;

struct state_options {
	const char *dir;
	bool required;       /* the user named it: what is wrong with it is the user's error */
	int64_t interval_ns; /* at least between the beginnings of two saves */
};

struct state_stats {
	uint64_t saves, failures; /* the good ones, the failed ones */
	uint64_t bad;             /* checkpoints refused at the start: 0 or 1 */
	int last_errno;           /* why nothing is saved now, positive; 0: it works */
	int64_t age_ns;           /* since the last good save (its end), -1: there was none */
};

/*
 * Makes the directory when it is missing (0700, only its last component), locks it, reads the
 * checkpoint. Blocks on the disk.
 *
 * 0: *ret_found and *ret_loaded (the caller's: checkpoint_done) hold a valid checkpoint with its
 * changes (or, with a line in the log, without them where they are no good), or *ret_found is false
 * and *ret_loaded is empty; *ret_bad: one was there and was refused (corrupt, empty, newer,
 * unreadable), which is logged, and kept aside.
 *
 * A directory that is there, but read-only, full or otherwise failing for now, is 0 too, with one
 * warning; the lock is then taken by the first save that can.
 *
 * -EBUSY: in use by another instance, logged. Otherwise -errno, logged when required: the path is
 * not a directory, its parent does not exist, a lock that is a symbolic link; not required: also
 * when the directory cannot be made. -ENOMEM, -EAGAIN (no thread) are logged in any case.
 */
int state_open(const struct state_options *options, struct state **ret_state,
	       struct checkpoint *ret_loaded, bool *ret_found, bool *ret_bad);

/*
 * Waits for the save under way, then saves *last before it returns (NULL: nothing; it stays the
 * caller's), unlocks and frees. 0 or the -errno of that last save, logged. s may be NULL.
 */
int state_close(struct state *s, struct buf *last);

/* No save is under way, and the interval since the last one began is over. Times are of
 * clock_now_ns(). state_due_ns: when that will be, INT64_MAX while a save is under way. */
bool state_due(const struct state *s, int64_t now_ns);
int64_t state_due_ns(const struct state *s);

/*
 * Takes the text over (*text becomes empty, without memory) and returns at once: the thread writes,
 * fsyncs and renames. Only while no save is under way. Failures are counted, the first and then one
 * a minute are logged.
 */
void state_save(struct state *s, struct buf *text);
/*
 * Of a text that is long: takes a piece over in the same way, to be written while the next is made.
 * state_save or state_close ends it with the last piece; NULL: what was put is not saved.
 */
void state_put(struct state *s, struct buf *text);
/*
 * The same with changes to the checkpoint saved last (checkpoint_changes.h). A failure, of which
 * state_take_failed tells, can also be that that one is not there any more: a whole one is to
 * follow.
 */
void state_save_changes(struct state *s, struct buf *text);

/* True once after a save that failed: what it held is to be saved again, even when nothing has
 * changed since. */
bool state_take_failed(struct state *s);

/* For the event loop's poll: readable when a save has ended, until state_ended() is called. */
int state_fd(const struct state *s);
void state_ended(struct state *s);

void state_stats(const struct state *s, struct state_stats *ret_stats);

#endif
