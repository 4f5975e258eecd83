/* SPDX-License-Identifier: Apache-2.0 */
/* What the readers of the checkpoint and of its changes share; nobody else includes this. */
#ifndef ACCOUNT_CHECKPOINT_PARSE_H
#define ACCOUNT_CHECKPOINT_PARSE_H

struct checkpoint;
struct cursor;

/* Each returns 0, -EBADMSG with a reason, or -ENOMEM. */

/* The first line up to what is behind "MAGIC VERSION "; -EPROTONOSUPPORT: it is above known. */
int checkpoint_get_version(struct cursor *c, const char *magic, unsigned known,
			   unsigned *ret_version);
/* From the end of the first line to the beginning of the third. */
int checkpoint_get_comment(struct cursor *c);
/* Adds all lines from here to the last one, whose numbers are those of cp and whose sum is that of
 * the text. What was added before a failure stays in cp. */
int checkpoint_get_lines(struct cursor *c, const char *text, struct checkpoint *cp);

#endif
