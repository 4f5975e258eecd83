/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pure: the events heard last, so that what a daemon repeats after a new connection is told from
 * what is new. It is asked for everything since a second before the last event heard (events that
 * happen together may come in another order than their times), or since the oldest one remembered
 * where there were more in that second. By the daemon's clock, in nanoseconds since 1970.
 */
#ifndef WATCH_DOCKER_SEEN_H
#define WATCH_DOCKER_SEEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;

#define DOCKER_SEEN_MAX 1024

/* Zero-initialised. */
struct docker_seen {
	int64_t last_ns;   /* of the last event that was new, 0: none yet */
	int64_t forgot_ns; /* of one that is not remembered any more, but could be asked for */
	size_t n, next;
	struct {
		int64_t ns;
		uint64_t hash;
	} ring[DOCKER_SEEN_MAX];
};

/* False when it was heard before. One of unknown time (0) never was. */
bool docker_seen_add(struct docker_seen *s, const struct event *e, int64_t time_ns);
/* From when on to ask; start_ns: when nothing has been heard yet. */
int64_t docker_seen_since(const struct docker_seen *s, int64_t start_ns);

#endif
