/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of `hotdrain top`. */
#ifndef CLI_TOP_OPTIONS_H
#define CLI_TOP_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "heat/write_count.h"

struct top_options {       /* texts are argv's, or static */
	const char *state; /* NULL: not given */
	char **roots;      /* top_options_done frees the array */
	size_t n_roots;
	bool own; /* --root or --bpf was given */
	enum rung bpf;
	int64_t delay_ns;
	uint64_t count;                       /* of frames; 0: no end */
	size_t rows;                          /* SIZE_MAX: all */
	const char *namespace_pattern, *sort; /* sort NULL: by rate */
	bool reverse, batch, json;
};

/* 0: go on with *ret; 1: --help was printed; -EINVAL or -ENOMEM after one line on standard error.
 * top_options_done in any case. */
int top_options_parse(int argc, char **argv, struct top_options *ret);
void top_options_done(struct top_options *o);

#endif
