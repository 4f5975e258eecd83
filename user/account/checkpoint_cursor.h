/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fields of a checkpoint (see checkpoint.h for how each is spelled), one after the other. Each
 * function takes one field at the cursor, writes it and moves on, or leaves the cursor where it is
 * and returns false; none of them looks behind the end of the line. The text may be anything.
 */
#ifndef ACCOUNT_CHECKPOINT_CURSOR_H
#define ACCOUNT_CHECKPOINT_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cursor {
	const char *at;
	const char *end;  /* of the line, where its newline is */
	const char *stop; /* of the text */
	unsigned long line;
	char *why;
	size_t why_size;
};

/* -EBADMSG, and c->why: what was expected here, and what came up to the next blank. */
int cursor_refuse(struct cursor *c, const char *expected);

/* Finds the end of the line that begins here; false when it has none. */
bool cursor_line(struct cursor *c);

bool cursor_text(struct cursor *c, const char *text);
bool cursor_number(struct cursor *c, uint64_t max, uint64_t *ret);
bool cursor_time(struct cursor *c, int64_t *ret_ns);
bool cursor_sum(struct cursor *c, uint32_t *ret);
/* LENGTH:SUM */
bool cursor_part(struct cursor *c, uint32_t max, uint32_t *ret_len, uint32_t *ret_sum);
bool cursor_dev(struct cursor *c, uint64_t *ret);

/* The rest of the line, an absolute path; the caller's to free. 0, -ENOMEM, or -EBADMSG without a
 * reason: the cursor is where it does not go on. */
int cursor_path(struct cursor *c, char **ret);

#endif
