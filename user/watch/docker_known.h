/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The containers that were told of, so that a list got after a gap tells only what is different:
 * a daemon that was restarted has forgotten the events of before.
 */
#ifndef WATCH_DOCKER_KNOWN_H
#define WATCH_DOCKER_KNOWN_H

#include <stdbool.h>

#include "base/table.h"

struct event;

#define DOCKER_KNOWN_MAX 65536 /* containers; more are told of again with each list */

/* Zero-initialised. */
struct docker_known {
	struct table by_id;
	unsigned round; /* of lists */
};

void docker_known_done(struct docker_known *k);
/* What an event says. */
void docker_known_event(struct docker_known *k, const struct event *e);
/* Is it known to run? */
bool docker_known_running(const struct docker_known *k, const struct event *e);
/* A list begins. Its rows: false when nothing new is in it; e->action is CONTAINER_DIE where it was
 * known to run and does not. */
void docker_known_list(struct docker_known *k);
bool docker_known_row(struct docker_known *k, struct event *e, bool running);
/* After the whole list: one that was not in it, as a listed CONTAINER_DESTROY. False: none left. */
bool docker_known_lost(struct docker_known *k, struct event *ret_event);

#endif
