/* SPDX-License-Identifier: Apache-2.0 */
/* Pure: from the JSON text of serve/status.h to what top shows. */
#ifndef CLI_TOP_STATUS_H
#define CLI_TOP_STATUS_H

#include <stddef.h>

#define TOP_WHY_MAX 1024

struct top_frame;

/* Members that are not there, or null, are unknown. 0; -EBADMSG and one clause in why that says
 * where the text is not what it should be, -ENOMEM and why: *f is then empty (top_frame_clear). */
int top_status_parse(const char *text, size_t len, struct top_frame *f, char why[TOP_WHY_MAX]);

#endif
