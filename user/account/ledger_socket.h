/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `hotdrain ledger` and `hotdrain top` ask the running daemon: a Unix socket in the state
 * directory, and a thread that talks to its clients, one at a time, so that none of them can hold
 * up the event loop.
 *
 *   client -> 't' (ledger, as a table), 'j' (as JSON) or 's' (status: all of status_json)
 *   daemon -> "0 LENGTH\n" or "1 LENGTH\n" (something was lost), then LENGTH bytes of text
 *
 * Then the daemon closes. A client has five seconds to ask and five to read; one that goes away,
 * asks for anything else or takes longer is left. All functions belong to the event loop's thread
 * and return at once, but for ledger_socket_free, which waits for the thread's end: no longer than
 * it takes to be scheduled.
 */
#ifndef ACCOUNT_LEDGER_SOCKET_H
#define ACCOUNT_LEDGER_SOCKET_H

#include <stdbool.h>

#include "account/ledger.h"

#define LEDGER_SOCKET_NAME "ledger.sock"

struct buf;
struct ledger_socket;
struct sockaddr_un;

/*
 * Listens on DIR/ledger.sock, of mode 0600 from its first moment. A socket that is there already is
 * a dead one, and replaced: the caller holds the directory's lock. -errno, after one warning, when
 * there can be no socket (a read-only or full directory, another file of that name): nothing else
 * depends on it.
 */
int ledger_socket_new(const char *dir, struct ledger_socket **ret_socket);
void ledger_socket_free(struct ledger_socket *s); /* may be NULL; removes the socket */

/* For the event loop's poll: readable while an answer is wanted. */
int ledger_socket_fd(const struct ledger_socket *s);
/* What is wanted, and by it the question that the next answer is for. */
enum ledger_format ledger_socket_wanted(struct ledger_socket *s);
/* Takes the text over (*text becomes empty, without memory). An empty text, for want of memory,
 * ends the connection without an answer; an answer nobody waits for any more is dropped. */
void ledger_socket_answer(struct ledger_socket *s, struct buf *text, bool lost);

/* For both ends: the address in a directory that dir_fd refers to (O_PATH will do), by its path
 * where that is short enough for a socket, else through /proc. */
void ledger_socket_address(const char *dir, int dir_fd, struct sockaddr_un *ret_address);

#endif
