/* SPDX-License-Identifier: Apache-2.0 */
/* What of a frame is shown, and how: what keys change. Plain data. */
#ifndef CLI_TOP_VIEW_H
#define CLI_TOP_VIEW_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/top_frame.h"

#define TOP_PATTERN_MAX 254 /* a namespace has 63 characters, a directory's name 255 */

struct top_source;

struct top_view {
	enum top_value sort;
	bool reverse;
	char pattern[TOP_PATTERN_MAX + 1]; /* of namespaces; empty: all */
	int64_t delay_ns;
	uint64_t count; /* of frames; 0: no end */
	size_t rows;    /* SIZE_MAX: all */
};

/* On the terminal, until a key or a signal of those in signals, which are blocked, ends it, or
 * count frames were shown. 0 or -errno, after one line in the log; the terminal is as it was. */
int top_screen_run(struct top_source *source, struct top_view *view, const sigset_t *signals);
/* Can it be used as one? Else frames are printed. */
bool top_screen_works(void);

#endif
