/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a status says, over HTTP, on a thread of its own:
 *
 *   /metrics       Prometheus text format
 *   /healthz       200 while the event loop answers, else 503
 *   /readyz        200 when the first scan is over and no sink is failing, else 503 and why
 *   /status.json   ?limit=N: at most so many containers (status.h has its shape)
 *   /              the status page
 *
 * Only GET and HEAD. There is no authentication and no encryption, and names of pods and paths are
 * shown: so an address without a host means loopback, and whoever gives another one has to decide
 * who can reach it.
 *
 * The event loop is asked for a status when a request needs one, at most four times a second, and
 * is never made to wait: it hands the status over, and all the rest is the thread's.
 */
#ifndef SERVE_HTTP_H
#define SERVE_HTTP_H

#include <stdbool.h>

struct http;
struct status;

/*
 * address: "127.0.0.1:2112", ":2112" (loopback), "localhost:2112", "[::1]:2112", "0.0.0.0:2112".
 * Port 0 is any that is free; the line in the log says which. 0; -EINVAL, -EADDRINUSE or another
 * -errno after one line that names --metrics, what was expected and what came; -ENOENT when the
 * library is missing, -ENOMEM.
 */
int http_new(const char *address, struct http **ret_http);
/* At once, whatever clients are doing. May be NULL. */
void http_free(struct http *h);

/* For the event loop's poll: readable while a status is wanted. */
int http_fd(const struct http *h);
/* A status is wanted; the descriptor is not readable any more. */
bool http_wants(struct http *h);
/* Takes over what *s owns, and leaves it empty. It need not be merged, nor be wanted any more. */
void http_answer(struct http *h, struct status *s);

#endif
