/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unified event: everything that happens outside, files, containers and control, as one type.
 *
 * action is a bit mask, so that a class of events is one AND. actor_name is a file's path or a
 * container's name; actor_id a container's id (NULL for a file); attributes are a container's
 * labels.
 *
 * Between the read loop and the directory tree a file event is not yet resolved: actor_name is then
 * the name inside the watched directory (NULL for the watched object itself) and watch says which.
 */
#ifndef EVENT_EVENT_H
#define EVENT_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum event_type { EVENT_FILE, EVENT_CONTAINER, EVENT_CONTROL };

enum event_action {
	FILE_WRITTEN = 1 << 0,
	FILE_CLOSED = 1 << 1, /* a descriptor open for writing was closed */
	FILE_CREATED = 1 << 2,
	FILE_DELETED = 1 << 3,
	FILE_MOVED_FROM = 1 << 4,
	FILE_MOVED_TO = 1 << 5,
	FILE_UNWATCHED = 1 << 6, /* the watch is gone: one-shot spent, or its object */
	FILE_RENAMED = 1 << 7,   /* both halves in one; never comes from the read loop */
	CONTAINER_CREATE = 1 << 8,
	CONTAINER_START = 1 << 9,
	CONTAINER_UNPAUSE = 1 << 10,
	CONTAINER_KILL = 1 << 11,
	CONTAINER_STOP = 1 << 12,
	CONTAINER_PAUSE = 1 << 13,
	CONTAINER_DIE = 1 << 14,
	CONTAINER_DESTROY = 1 << 15,
	CONTROL_RELOAD = 1 << 16,
	CONTROL_OVERFLOW = 1 << 17, /* the kernel dropped file events: look at everything */
};

#define FILE_APPEARED    (FILE_CREATED | FILE_MOVED_TO)
#define FILE_VANISHED    (FILE_DELETED | FILE_MOVED_FROM)
#define CONTAINER_STARTS (CONTAINER_CREATE | CONTAINER_START | CONTAINER_UNPAUSE)
#define CONTAINER_STOPS  (CONTAINER_KILL | CONTAINER_STOP | CONTAINER_DIE | CONTAINER_DESTROY)

struct event_attribute {
	char *key, *value;
};

struct event {
	enum event_type type;
	uint32_t action; /* bits of enum event_action */
	bool is_dir;
	int watch;       /* inotify watch descriptor, -1 for none */
	uint32_t cookie; /* the two halves of a rename have the same, 0 for none */
	char *actor_name, *actor_id;
	struct event_attribute *attributes;
	size_t n_attributes;
};

/* Frees what the event owns; the event itself belongs to the caller. */
void event_done(struct event *e);
bool event_is_container_start(const struct event *e);
bool event_is_container_stop(const struct event *e);
bool event_is_container_pause(const struct event *e);
/* Writes "action actor_name", as much as fits, and returns buf. Several actions are joined by '|'.
 */
const char *event_string(const struct event *e, char *buf, size_t size);

#endif
