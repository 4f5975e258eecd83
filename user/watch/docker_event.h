/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pure: what the Docker API says of a container, as an event. Docker's own words and Podman's
 * (`remove` for destroy, `died` for die, containerExitCode for exitCode) give the same.
 *
 * The event's attributes are the container's labels, image and, as the API adds them, exitCode,
 * signal, …; beside those "hotdrain.time", when it happened by the daemon's clock in nanoseconds
 * since 1970. What is too much is left out (DOCKER_ATTRIBUTES_MAX), labels first.
 *
 * Source: Docker Engine API, GET /events and GET /containers/json (docs.docker.com/engine/api);
 * podman's pkg/domain/entities/events.go.
 */
#ifndef WATCH_DOCKER_EVENT_H
#define WATCH_DOCKER_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event;

#define DOCKER_ATTRIBUTES_MAX      128         /* of one event */
#define DOCKER_ATTRIBUTE_BYTES_MAX (16 * 1024) /* keys and values of one event */
#define DOCKER_TIME                "hotdrain.time"
/* "true": the container was found so in a list; it is no news that it became so just now. */
#define DOCKER_LISTED "hotdrain.listed"

struct docker_notice {
	int64_t time_ns; /* 0: not said */
	bool renamed;    /* action is 0: what it was is now called actor_name */
	bool running;    /* a row: as CONTAINER_START, else CONTAINER_CREATE */
	unsigned cut;    /* attributes left out */
};

/* One object of GET /events. 1; 0: of something else than a container, or of no interest;
 * -EBADMSG: no such object; -ENOMEM. The event is the caller's only after 1. */
int docker_event_parse(const char *text, size_t len, struct event *ret_event,
		       struct docker_notice *ret_notice);
/* One row of GET /containers/json, as a listed event. 1, -EBADMSG or -ENOMEM. */
int docker_event_parse_row(const char *text, size_t len, struct event *ret_event,
			   struct docker_notice *ret_notice);
/* Adds one more attribute, whatever the limits. 0 or -ENOMEM. */
int docker_event_add(struct event *e, const char *key, const char *value);

#endif
