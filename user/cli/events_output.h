/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as text, to a descriptor whose reader may be slow or gone. One line each:
 *
 *   2026-11-21T15:52:07.123456789Z renamed /d/b from /d/a file.type=file
 *   {"time":"2026-11-21T15:52:07.123456789Z","type":"file","action":"renamed","actor":{"name":
 *   "/d/b","id":"1234","attributes":{"file.type":"file"}},"from":"/d/a"}
 *
 * The id of a file is its inode, of a container what the daemon calls it; null: not known. The time
 * is that of the attribute DOCKER_TIME if there is one, else now. Bytes that are not UTF-8 are
 * shown as U+FFFD, and control characters as in JSON on the plain line, too.
 */
#ifndef CLI_EVENTS_OUTPUT_H
#define CLI_EVENTS_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct event;

struct events_output {
	int fd;
	int stop_fd; /* readable: give up writing; -1: none */
	bool json;
	uint64_t left; /* events until it is over */
	struct buf buf;
	bool over; /* nothing is printed any more: enough, no reader, or stopped */
	int error; /* -errno: writing failed */
};

void events_output_done(struct events_output *o);
/* from: what a renamed file was called, or NULL. May write, and so block. */
void events_output_add(struct events_output *o, const struct event *e, const char *from);
/* Writes all that was added. Blocks while the reader does not read. */
void events_output_flush(struct events_output *o);

#endif
