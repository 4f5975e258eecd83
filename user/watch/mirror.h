/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is below the roots, as events tell it: whoever applies the changes told here, in their
 * order, to what was there at the beginning, has the tree as it is. Nothing is created that is
 * there, nothing deleted or renamed that is not, a directory is empty when it is deleted, and a
 * name is free when something is renamed to it. A renamed directory takes along what is below it.
 *
 * This also holds where events and what is there run apart: while a directory is made and filled
 * before it can be watched, and after the kernel has dropped events. What came and went meanwhile
 * is not told of. Symbolic links are told of and not followed.
 *
 * A file that is written is told of once after its last write; before that at most once per
 * interval. Stores through mmap are not seen until it is closed. A file that got no watch is looked
 * at every two seconds; so is one with several names, under all but one of them.
 *
 * Belongs to the event loop. Nothing here is an error that ends the program.
 */
#ifndef WATCH_MIRROR_H
#define WATCH_MIRROR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;
struct mirror;
struct watch;

struct mirror_change {
	uint32_t action;        /* FILE_CREATED, FILE_WRITTEN, FILE_DELETED or FILE_RENAMED */
	const char *path;       /* gone when told() returns */
	const char *from;       /* where it was; NULL unless renamed */
	const char *type;       /* "file", "directory", "link" or "other" */
	uint64_t ino;           /* 0: it was gone before it could be asked */
	bool is_dir, was_there; /* was_there: found by mirror_scan */
};

struct mirror_options {
	char *const *roots; /* as the user gave them; copied */
	size_t n_roots;
	bool writes;         /* tell of writes: a watch per file */
	int64_t interval_ns; /* between two of a file */
	size_t paths_max;    /* what is beyond is not told of; one line in the log */
	void *ctx;
	/* May call mirror_walk. */
	void (*told)(void *ctx, const struct mirror_change *change);
};

struct mirror_stats {
	size_t paths;
	unsigned roots_missing;
	uint64_t rescans;
};

/* At least one root must be a directory that can be opened, else -errno; one line in the log for
 * each that is not; it is waited for. */
int mirror_new(struct watch *w, const struct mirror_options *options, struct mirror **ret_mirror);
void mirror_free(struct mirror *m);
/* Looks at everything for the first time. */
void mirror_scan(struct mirror *m);
/* A file event of the read loop. */
void mirror_event(struct mirror *m, const struct event *e);
/* Events were lost: looks at everything again. */
void mirror_rescan(struct mirror *m);
/* Before each flush of the event queue. */
void mirror_before_flush(struct mirror *m);
/* After a flush, and when it is due: at the time returned at the latest. */
int64_t mirror_turn(struct mirror *m, int64_t now_ns);
/* When the queue is to be flushed at the latest, although it does not ask for it: never is
 * INT64_MAX. */
int64_t mirror_flush_ns(const struct mirror *m);
/* Nothing is left to be told of what has been seen. */
bool mirror_is_settled(const struct mirror *m);
/* Calls fn with path and everything below it, parents first. */
void mirror_walk(struct mirror *m, const char *path,
		 void (*fn)(void *ctx, const char *path, bool is_dir), void *ctx);
void mirror_stats(const struct mirror *m, struct mirror_stats *ret_stats);
/* Its invariants, for tests. */
void mirror_check(const struct mirror *m);

#endif
