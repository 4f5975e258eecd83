/* SPDX-License-Identifier: Apache-2.0 */
/* Frames from a running daemon. */
#ifndef CLI_TOP_DAEMON_H
#define CLI_TOP_DAEMON_H

#include "cli/top_source.h"

/* dir: its state directory. The first question is asked at once: 0, or -errno and one clause in
 * why when nobody is there to ask. */
int top_daemon_open(const char *dir, struct top_source *ret_source, char why[TOP_WHY_MAX]);

#endif
