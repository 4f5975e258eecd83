/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one inotify instance and its read loop, a thread of its own that turns raw events into struct
 * event and puts them on the event queue, and nothing else, so that the kernel's queue does not
 * fill because somebody is busy draining. Source of the semantics: inotify(7).
 *
 * Directories are watched for names that come and go. Files get a one-shot watch: one IN_MODIFY or
 * IN_CLOSE_WRITE, then IN_IGNORED, so that a busy file cannot flood the queue.
 *
 * When no instance can be had (max_user_instances), everything still works: each add returns
 * -ENOSPC and the caller polls.
 */
#ifndef WATCH_WATCH_H
#define WATCH_WATCH_H

#include <stdbool.h>
#include <stdint.h>

struct event_queue;
struct watch;

struct watch_stats {
	uint64_t events, overflows, refused; /* refused: adds that failed with ENOSPC */
};

int watch_new(struct event_queue *queue, struct watch **ret_watch); /* starts the read loop */
/* Cancel the queue first: the read loop may be blocked in it. */
void watch_free(struct watch *w);
/* A watch on the object behind an open descriptor, whatever its name is by now. The watch
 * descriptor (they only grow, until they wrap), or -errno: -ENOSPC at a limit of inotify. */
int watch_add_dir(struct watch *w, int dir_fd);
/* -EEXIST: the previous one-shot watch is still being taken down: try again later. A descriptor
 * that is returned reports only writes from now on: look at the size after this call. */
int watch_add_file(struct watch *w, int fd);
void watch_del(struct watch *w, int wd);
/* A place in the stream of events behind everything that has happened so far, and whether all
 * before that place is on the event queue. */
uint64_t watch_mark(struct watch *w);
bool watch_reached(struct watch *w, uint64_t mark);
void watch_stats(struct watch *w, struct watch_stats *ret_stats);

#endif
