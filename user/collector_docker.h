/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With --docker: what a Docker or Podman daemon says of the containers whose logs are followed. By
 * the id in a log's path: CONTAINERS/ID/ID-json.log (dockerd, also behind links from the pods
 * layout) and CONTAINERS/ID/userdata/ctr.log (podman's k8s-file driver).
 *
 * Records get, with OpenTelemetry's names, container.id, container.name, container.image.name and
 * container.label.KEY, 4 KiB of them at most. A log found before its container is known gets them
 * when they come; nothing waits for them. A container that stops is looked at at once, and drained
 * before others.
 */
#ifndef COLLECTOR_DOCKER_H
#define COLLECTOR_DOCKER_H

#include <stddef.h>
#include <stdint.h>

struct chain;
struct collector;
struct event;

/* 0, or -errno after a line; nothing is done without --docker. */
int collector_open_docker(struct collector *c);
/* After event_queue_cancel. */
void collector_close_docker(struct collector *c);
void collector_docker_event(struct collector *c, const struct event *e);
/* The log has a file. */
void collector_docker_found(struct collector *c, struct chain *chain);
/* It is about to be freed. */
void collector_docker_lost(struct collector *c, const struct chain *chain);
/* Lines that a container that exited did not end are ended. */
void collector_docker_turn(struct collector *c, int64_t now_ns);
void collector_docker_sweep(struct collector *c, int64_t now_ns); /* now and then */
/* A line on standard error. */
void collector_docker_state(const struct collector *c);

/* Pure: the id of the container whose log this is, CONTAINER_ID_LEN bytes of path; NULL: none. */
#define CONTAINER_ID_LEN ((size_t)64)
const char *container_log_id(const char *path);

#endif
