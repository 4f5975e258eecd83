/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state directory without a thread or an opinion: each function does its work before it returns
 * and logs nothing. One thread at a time. What the files are is in state.h.
 */
#ifndef ACCOUNT_STATE_DIR_H
#define ACCOUNT_STATE_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct checkpoint;

#define STATE_NAME_MAX 64 /* of a checkpoint kept aside, without its directory */

struct state_dir {
	char *path;                             /* as the user gave it */
	char *file, *changes, *tmp, *lock_path; /* below it */
	uint64_t dev, ino;                      /* of the checkpoint saved last; ino 0: none */
	int lock;                               /* -1: not locked */
	int tmp_fd, tmp_error; /* of what state_dir_put has begun; -1, 0: nothing */
	bool aside_due; /* a refused checkpoint is still in place: it goes before the next save */
};

int state_dir_init(struct state_dir *d, const char *path); /* 0 or -ENOMEM */
void state_dir_done(struct state_dir *d);                  /* unlocks */

/*
 * Locks what is not locked yet (or is no longer: the directory was removed and made again), and
 * makes the directory when it is missing. -EBUSY: another process holds it, *ret_pid says which, 0
 * when that cannot be read. Otherwise the -errno of what failed; *ret_missing: because there is no
 * directory and it cannot be made. Both are written in any case.
 */
int state_dir_lock(struct state_dir *d, int *ret_pid, bool *ret_missing);

/* -ENOENT: there is no checkpoint. Any other -errno: why says why it cannot be used (-ENOMEM: it
 * perhaps can). */
int state_dir_load(const struct state_dir *d, struct checkpoint *ret, char *why, size_t why_size);

/* Applies the changes to the checkpoint that was loaded. -ENOENT: there are none; -ESTALE: they are
 * of another one; otherwise as above, and *c is as it was. */
int state_dir_load_changes(const struct state_dir *d, struct checkpoint *c, char *why,
			   size_t why_size);

/* Renames the checkpoint to ret_name and removes the oldest of those kept so. */
int state_dir_keep_aside(struct state_dir *d, char ret_name[STATE_NAME_MAX]);
/* The same with changes that cannot be used. */
int state_dir_keep_changes_aside(struct state_dir *d, char ret_name[STATE_NAME_MAX]);

/* The beginning of what is then saved: its first pieces. A failure is that of the save. */
void state_dir_put(struct state_dir *d, const char *data, size_t len);
/* It is not to be saved. */
void state_dir_drop(struct state_dir *d);

/* Only under the lock. A failure leaves the checkpoint as it was, or complete as it is now. */
int state_dir_save(struct state_dir *d, const char *data, size_t len);
/* As above, of changes to the checkpoint saved last; -ESTALE: that one is not there any more. */
int state_dir_save_changes(struct state_dir *d, const char *data, size_t len);

#endif
