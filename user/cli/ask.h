/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other end of account/ledger_socket.h: one question to the running daemon and its answer.
 * Nothing is printed: what went wrong is one clause in why, which names the socket.
 */
#ifndef CLI_ASK_H
#define CLI_ASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define ASK_WHY_MAX 1024

struct ask {
	const char *dir; /* as given to ask_open */
	int fd;          /* to poll for reading, -1: nothing is under way */
	int64_t until_ns, patience_ns;
	struct buf reply;
};

struct ask_answer { /* text: until ask_close or the next ask_open; not NUL-terminated */
	const char *text;
	size_t len;
	bool lost;
};

#define ASK_INIT         \
	(struct ask)     \
	{                \
		.fd = -1 \
	}

/*
 * question: a byte of the socket's protocol. patience_ns: for a place in the daemon's queue, and
 * then for the answer. 0, or -errno and why: -ENOENT (also: no such directory) and -ECONNREFUSED
 * when nobody is there.
 */
int ask_open(struct ask *a, const char *dir, char question, int64_t patience_ns,
	     char why[ASK_WHY_MAX]);
/* Waits until until_ns at most. 0 and the whole answer; -EAGAIN: more is to come; another -errno
 * and why, -ETIMEDOUT when the patience is over. */
int ask_read(struct ask *a, int64_t until_ns, struct ask_answer *ret_answer, char why[ASK_WHY_MAX]);
void ask_close(struct ask *a); /* may be of ASK_INIT, or closed */

#endif
