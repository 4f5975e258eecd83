/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLI_EVENTS_OPTIONS_H
#define CLI_EVENTS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum events_class {
	EVENTS_START = 1 << 0,
	EVENTS_STOP = 1 << 1,
	EVENTS_PAUSE = 1 << 2,
	EVENTS_FILE = 1 << 3,
	EVENTS_CONTROL = 1 << 4,
	EVENTS_ALL = (1 << 5) - 1,
};

struct events_options {
	unsigned classes; /* bits of enum events_class */
	bool json, list;
	char **roots; /* of argv, or the default */
	size_t n_roots;
	bool roots_given;
	const char *docker;  /* NULL: none */
	int64_t interval_ns; /* of the queue */
	uint64_t batch;      /* its high water */
	int64_t idle_ns;     /* -1: never */
	uint64_t most;       /* events to be printed */
	uint64_t paths_max;
};

/* 0; 1: --help was printed; -EINVAL or -ENOMEM after one line on standard error. *ret is written
 * only on 0 and then needs events_options_done. */
int events_options_parse(int argc, char **argv, struct events_options *ret);
void events_options_done(struct events_options *o);

#endif
