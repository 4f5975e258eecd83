/* SPDX-License-Identifier: Apache-2.0 */
/* Draws a frame with curses. */
#ifndef CLI_TOP_DRAW_H
#define CLI_TOP_DRAW_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/top_frame.h"
#include "cli/top_status.h" /* TOP_WHY_MAX */
#include "cli/top_view.h"

struct top_shown {
	struct top_frame frame; /* filtered and sorted; from 0: none has come yet */
	const struct top_view *view;
	char why[TOP_WHY_MAX]; /* why there is no newer frame; empty: there is */
	char said[256];        /* the last line of the log */
	size_t scroll;         /* rows above the first one shown */
	bool paused, help;
	bool asking; /* for a namespace: what was typed so far */
	char typed[TOP_PATTERN_MAX + 1];
};

/* After the terminal was set up: colours, unless $NO_COLOR says not to. */
void top_draw_init(void);
/* All of the screen, for the size that it has now. How many rows there was room for. */
size_t top_draw(struct top_shown *s);

#endif
