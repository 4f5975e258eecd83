/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One slot between the event loop and the saver, a thread of its own:
 *
 *   event loop                               saver
 *   state_save: text -> slot, busy  ------>  lock, write, fsync, rename, fsync
 *   state_fd readable               <------  counts, busy over, failed?
 *
 * A long text comes in pieces (state_put), so that it is never in memory as a whole: the saver
 * writes what there is, and is given a moment for it. Where the disk is slower they gather in the
 * slot, and nobody waits.
 *
 * A queue would only hold states that are older than the next one, so there is none: while a save
 * is under way the caller keeps collecting changes and makes the text when it can be taken. The
 * saver also takes the lock when that was not possible at the start, which may be a disk's wait
 * like any other.
 *
 * fsync cannot be ended from outside. A disk that hangs holds up state_close, nothing else.
 *
 * Rejected: a fork per save (copies the page tables of a collector full of batches each second),
 * io_uring (refused in most containers), sync_file_range (says nothing about metadata).
 */
#include "account/state.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "account/checkpoint.h"
#include "account/state_dir.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"

#define LOG_EVERY_NS (60 * NS_PER_SEC)
#define GATHER_BYTES 131072
#define PATIENCE_NS  (10 * NS_PER_MS) /* of the event loop, in a save: it has other things to do */

struct state {
	int64_t interval_ns, began_ns; /* the event loop's */
	int64_t patience_ns;           /* what is left of it in this save */
	bool begun, pieces;            /* pieces: some were put, the last one is to come */
	int fd;
	pthread_t thread;
	bool started;

	pthread_mutex_t lock;
	pthread_cond_t wake;  /* for the saver: busy, stopping */
	pthread_cond_t taken; /* for the event loop: what had gathered */
	/* Under the lock: */
	struct buf text;
	bool changes, last; /* text is of changes; is all of it, or its end */
	int error;          /* why there will be no end */
	bool busy, stopping, failed;
	struct state_stats stats;
	int64_t good_ns; /* when the last good save ended */

	/* The saver's while it runs, else the event loop's: */
	struct state_dir dir;
	bool told; /* that it does not work, and not yet that it works again */
	struct log_limit log;
};

/* What neither time nor room will mend. */
static bool error_is_users(int err)
{
	return err == -ENOTDIR || err == -ENOENT || err == -ELOOP || err == -ENAMETOOLONG ||
	       err == -EISDIR;
}

static const char *who_holds(int pid, char text[32])
{
	snprintf(text, 32, pid ? " (pid %d)" : "", pid);
	return text;
}

static int state_lock(struct state *s, bool required)
{
	char who[32];
	bool missing;
	int pid, r = state_dir_lock(&s->dir, &pid, &missing);

	if (r == 0)
		return 0;
	if (r == -EBUSY)
		return log_err(
			r, "state %s: in use by another hotdrain%s; name another one with --state",
			s->dir.path, who_holds(pid, who));
	if (!required &&
	    (missing || error_is_users(r) || r == -EACCES || r == -EPERM || r == -EROFS))
		return r;
	if (error_is_users(r))
		return log_err(r, "state %s: %s%s", s->dir.path, missing ? "cannot be made: " : "",
			       strerror(-r));
	/* Starts the limit's interval, too: the first save is about to say the same. */
	s->told = log_allow(&s->log, LOG_EVERY_NS);
	log_warn(r, "state %s: %s, not locked, going on without saving, retrying", s->dir.path,
		 strerror(-r));
	s->stats.last_errno = -r;
	return 0;
}

/* What is wrong with them costs what happened since the checkpoint: it is repeated. found: there is
 * one. 0 or -ENOMEM. */
static int load_changes(struct state *s, struct checkpoint *loaded, bool found)
{
	char why[CHECKPOINT_WHY_MAX] = "the checkpoint is not there", name[STATE_NAME_MAX];
	struct stat st;
	int r = -ENOENT;

	if (found)
		r = state_dir_load_changes(&s->dir, loaded, why, sizeof(why));
	else if (sys.lstat(s->dir.changes, &st) == 0)
		r = -EBADMSG;
	if (found && r < 0 && r != -ENOENT && r != -ESTALE)
		r = state_dir_load_changes(&s->dir, loaded, why, sizeof(why));
	if (r == -ENOMEM)
		return log_err(r, "state %s: %s", s->dir.changes, why);
	/* Stale ones were left behind by a crash: the checkpoint that followed has them. */
	if (r == 0 || r == -ENOENT || r == -ESTALE)
		return 0;
	s->stats.bad++;
	r = state_dir_keep_changes_aside(&s->dir, name);
	log_warn(r, "state %s: %s, %s%s, what happened since the checkpoint is repeated",
		 s->dir.changes, why, r < 0 ? "cannot be kept aside: " : "kept as ",
		 r < 0 ? strerror(-r) : name);
	return 0;
}

static int state_load(struct state *s, struct checkpoint *ret_loaded, bool *ret_found,
		      bool *ret_bad)
{
	char why[CHECKPOINT_WHY_MAX], name[STATE_NAME_MAX];
	int r = state_dir_load(&s->dir, ret_loaded, why, sizeof(why));

	/* Starting from the beginning repeats everything: not for a failure that passes. */
	if (r < 0 && r != -ENOENT)
		r = state_dir_load(&s->dir, ret_loaded, why, sizeof(why));
	*ret_found = r == 0;
	*ret_bad = r < 0 && r != -ENOENT;
	if (r == -ENOMEM)
		return log_err(r, "state %s: %s", s->dir.file, why);
	if (!*ret_bad)
		return load_changes(s, ret_loaded, *ret_found);
	s->stats.bad++;
	r = state_dir_keep_aside(&s->dir, name);
	if (r < 0)
		log_warn(r,
			 "state %s: %s, cannot be kept aside yet: %s, starting from the beginning",
			 s->dir.file, why, strerror(-r));
	else
		log_warn(r, "state %s: %s, kept as %s, starting from the beginning", s->dir.file,
			 why, name);
	return load_changes(s, ret_loaded, false);
}

/* 0 or -errno, counted. *ret_pid: who holds the lock, for -EBUSY. *ret_stale: changes that have no
 * checkpoint any more; the next save is a whole one, which says whether anything works. */
static int state_write(struct state *s, const struct buf *text, bool changes, int *ret_pid,
		       bool *ret_stale)
{
	bool missing;
	int r = state_dir_lock(&s->dir, ret_pid, &missing);

	if (r == 0)
		r = s->error;
	if (r == 0)
		r = changes ? state_dir_save_changes(&s->dir, text->data, text->len)
			    : state_dir_save(&s->dir, text->data, text->len);
	state_dir_drop(&s->dir);
	if (r < 0 && !changes)
		s->dir.ino = 0; /* changes that follow are of this one, not of the one before */
	*ret_stale = changes && r == -ESTALE;
	pthread_mutex_lock(&s->lock);
	s->failed |= r < 0;
	if (!*ret_stale) {
		s->stats.saves += r == 0;
		s->stats.failures += r < 0;
		s->stats.last_errno = -r;
	}
	if (r == 0)
		s->good_ns = clock_now_ns();
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* A disk that fails every other time says so once a minute, not every other second. */
static void log_saved(struct state *s, int r, int pid)
{
	char who[32];

	if (r == 0 && s->told) {
		log_info("state %s: saving works again", s->dir.path);
		s->told = false;
	}
	if (r == 0 || !log_allow(&s->log, LOG_EVERY_NS))
		return;
	s->told = true;
	if (r == -EBUSY)
		log_warn(r, "state %s: saving: in use by another hotdrain%s, retrying", s->dir.path,
			 who_holds(pid, who));
	else
		log_warn(r, "state %s: saving: %s, retrying", s->dir.path, strerror(-r));
}

/* False when the saver is to end: nothing is left in the slot. */
static bool slot_take(struct state *s, struct buf *ret_text, bool *ret_changes, bool *ret_last)
{
	bool busy;

	pthread_mutex_lock(&s->lock);
	while (!s->text.len && !s->last && !s->stopping)
		pthread_cond_wait(&s->wake, &s->lock);
	busy = s->busy;
	*ret_text = s->text;
	*ret_changes = s->changes;
	*ret_last = s->last;
	s->text = (struct buf){0};
	pthread_cond_signal(&s->taken);
	pthread_mutex_unlock(&s->lock);
	return busy;
}

static void slot_done(struct state *s)
{
	pthread_mutex_lock(&s->lock);
	s->busy = s->last = false;
	s->error = 0;
	pthread_mutex_unlock(&s->lock);
	eventfd_write(s->fd, 1); /* full is only what nobody has read for 2^64 saves */
}

static void *state_run(void *arg)
{
	struct state *s = arg;
	struct buf text;
	bool changes, last, stale, missing;
	int pid, r;

	while (slot_take(s, &text, &changes, &last)) {
		if (!last) {
			/* Where that fails, the save itself will say so. */
			state_dir_lock(&s->dir, &pid, &missing);
			state_dir_put(&s->dir, text.data, text.len);
			buf_done(&text);
			continue;
		}
		r = state_write(s, &text, changes, &pid, &stale);
		buf_done(&text);
		if (!stale)
			log_saved(s, r, pid);
		slot_done(s);
	}
	return NULL;
}

static int state_start(struct state *s)
{
	int r;

	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0)
		return log_err(-errno, "state %s: eventfd: %s", s->dir.path, strerror(errno));
	r = thread_start(&s->thread, state_run, s);
	s->started = r == 0;
	if (r < 0)
		return log_err(r, "state %s: its thread: %s", s->dir.path, strerror(-r));
	return 0;
}

static void state_stop(struct state *s)
{
	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stopping = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	s->started = false;
}

static void state_drop(struct state **state)
{
	struct state *s = *state;

	if (!s)
		return;
	state_stop(s);
	state_dir_done(&s->dir);
	buf_done(&s->text);
	close_fd(&s->fd);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->taken);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static int state_new(const struct state_options *o, struct state **ret)
{
	struct state *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		log_err(0, "state %s: %s", o->dir, strerror(ENOMEM));
		return -ENOMEM;
	}
	s->fd = -1;
	s->interval_ns = o->interval_ns;
	s->stats.age_ns = -1;
	pthread_mutex_init(&s->lock, NULL); /* these three cannot fail with NULL (glibc) */
	pthread_cond_init(&s->wake, NULL);
	pthread_cond_init(&s->taken, NULL);
	r = state_dir_init(&s->dir, o->dir);
	if (r < 0) {
		state_drop(&s);
		log_err(r, "state %s: %s", o->dir, strerror(-r));
		return r;
	}
	*ret = s;
	return 0;
}

int state_open(const struct state_options *options, struct state **ret_state,
	       struct checkpoint *ret_loaded, bool *ret_found, bool *ret_bad)
{
	_cleanup_(state_drop) struct state *s = NULL;
	_cleanup_(checkpoint_done) struct checkpoint loaded = {0};
	bool found = false, bad = false;
	int r = state_new(options, &s);

	if (r < 0)
		return r;
	r = state_lock(s, options->required);
	if (r == 0)
		r = state_load(s, &loaded, &found, &bad);
	if (r == 0)
		r = state_start(s);
	if (r < 0)
		return r;
	*ret_state = take_ptr(s);
	*ret_loaded = loaded;
	loaded = (struct checkpoint){0};
	*ret_found = found;
	*ret_bad = bad;
	return 0;
}

int state_close(struct state *s, struct buf *last)
{
	bool stale, pieces;
	int pid, r = 0;

	if (!s)
		return 0;
	pieces = s->pieces;
	if (pieces)
		state_save(s, last);
	state_stop(s);
	if (last && pieces)
		r = -s->stats.last_errno;
	else if (last)
		r = state_write(s, last, false, &pid, &stale);
	if (r < 0)
		log_err(r,
			"state %s: the last save: %s, the next start repeats from the one before",
			s->dir.path, strerror(-r));
	state_drop(&s);
	return r;
}

/* The lock is no part of what the caller sees as constant. */
static pthread_mutex_t *lock_of(const struct state *s)
{
	return (pthread_mutex_t *)&s->lock;
}

int64_t state_due_ns(const struct state *s)
{
	bool busy;

	pthread_mutex_lock(lock_of(s));
	busy = s->busy;
	pthread_mutex_unlock(lock_of(s));
	if (busy)
		return INT64_MAX;
	return s->begun ? s->began_ns + s->interval_ns : 0;
}

bool state_due(const struct state *s, int64_t now_ns)
{
	int64_t due = state_due_ns(s);

	return due != INT64_MAX && due <= now_ns;
}

/* Behind what the saver has not taken yet. text NULL: there will be no more. */
static void slot_add(struct state *s, struct buf *text)
{
	if (!text) {
		s->error = -ENOMEM;
	} else if (!s->text.len) {
		s->text = *text;
		*text = (struct buf){0};
	} else {
		if (buf_add(&s->text, text->data, text->len) < 0)
			s->error = -ENOMEM;
		buf_done(text);
	}
}

/* Gives the saver the time for what has gathered, while there is patience. */
static void let_it_write(struct state *s)
{
	int64_t until_ns = clock_now_ns() + s->patience_ns;
	struct timespec until = {until_ns / NS_PER_SEC, until_ns % NS_PER_SEC};

	while (s->text.len > GATHER_BYTES &&
	       pthread_cond_clockwait(&s->taken, &s->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	s->patience_ns = until_ns - MIN(clock_now_ns(), until_ns);
}

static void hand_over(struct state *s, struct buf *text, bool changes, bool last)
{
	if (!s->pieces) {
		s->began_ns = clock_now_ns();
		s->begun = true;
		s->patience_ns = PATIENCE_NS;
	}
	pthread_mutex_lock(&s->lock);
	assert(s->busy == s->pieces && !s->stopping);
	slot_add(s, text);
	s->changes = changes;
	s->last = last;
	s->busy = true;
	pthread_cond_signal(&s->wake);
	if (!last && s->text.len > GATHER_BYTES)
		let_it_write(s);
	pthread_mutex_unlock(&s->lock);
	s->pieces = !last;
}

void state_save(struct state *s, struct buf *text)
{
	hand_over(s, text, false, true);
}

void state_put(struct state *s, struct buf *text)
{
	hand_over(s, text, false, false);
}

void state_save_changes(struct state *s, struct buf *text)
{
	hand_over(s, text, true, true);
}

bool state_take_failed(struct state *s)
{
	bool failed;

	pthread_mutex_lock(&s->lock);
	failed = s->failed;
	s->failed = false;
	pthread_mutex_unlock(&s->lock);
	return failed;
}

int state_fd(const struct state *s)
{
	return s->fd;
}

void state_ended(struct state *s)
{
	eventfd_t n;

	eventfd_read(s->fd, &n);
}

void state_stats(const struct state *s, struct state_stats *ret_stats)
{
	pthread_mutex_lock(lock_of(s));
	*ret_stats = s->stats;
	if (s->stats.saves)
		ret_stats->age_ns = clock_now_ns() - s->good_ns;
	pthread_mutex_unlock(lock_of(s));
}
