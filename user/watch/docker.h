/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows the container events of a Docker or Podman daemon, in a thread of its own, and puts them
 * on the event queue: EVENT_CONTAINER with the container's name and id; labels, image, exitCode and
 * signal as attributes, and "hotdrain.time" (docker_event.h).
 *
 * A daemon that is not there is waited for; one that goes away is connected to again (100 ms to 5 s
 * between two attempts) and asked for what happened since. No event is told twice. Docker remembers
 * the last 256 events, and none of before its own restart: what became of the containers in such a
 * gap is only known with list.
 */
#ifndef WATCH_DOCKER_H
#define WATCH_DOCKER_H

#include <stdbool.h>
#include <stdint.h>

struct docker;
struct event_queue;

struct docker_options {
	const char *url; /* unix:///PATH or http://HOST:PORT; copied */
	struct event_queue *queue;
	/*
	 * With each connection the containers are listed, before the events since: those that run
	 * are CONTAINER_START, others that are there CONTAINER_CREATE. With a later connection only
	 * what is different from what was told before: also CONTAINER_DIE and CONTAINER_DESTROY (of
	 * which only name and id are known). A container that got another name is told of in the
	 * same way. All these have the attribute "hotdrain.listed" ("true"): they say what is, and
	 * may be told of by an event too.
	 */
	bool list;
};

struct docker_stats {
	bool connected;       /* events are being followed now */
	uint64_t connects;    /* times that began */
	uint64_t events;      /* put on the queue, listed ones included */
	uint64_t repeated;    /* left out: heard before */
	uint64_t bad;         /* objects left out: not JSON, cut short, too large, no event */
	uint64_t cut;         /* attributes left out (docker_event.h) */
	char last_error[192]; /* "": none since it was connected */
};

/* Starts the thread. -EINVAL: the URL is none of those, after a line that names --docker; -ENOENT:
 * no libcurl, after a line; or another -errno. */
int docker_new(const struct docker_options *options, struct docker **ret_docker);
/* Ends at once. Cancel the queue first: the thread may be blocked in it. */
void docker_free(struct docker *d);
void docker_stats(struct docker *d, struct docker_stats *ret_stats);

#endif
