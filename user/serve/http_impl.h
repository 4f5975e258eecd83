/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between http.c, http_reply.c and the test. All but what is under the lock belongs to the thread.
 *
 * A client has one request:
 *
 *   READING --request needs a status, and there is no young one--> WAITING
 *   WAITING --http_answer, or too late: status stays NULL--------> ANSWERED
 *   READING, ANSWERED --reply--> libmicrohttpd sends it and closes the connection
 */
#ifndef SERVE_HTTP_IMPL_H
#define SERVE_HTTP_IMPL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "serve/mhd.h"
#include "serve/status.h"

#define HTTP_CLIENTS 16

struct http_limits {
	int64_t answer_ns;   /* how long a request waits for the event loop */
	int64_t young_ns;    /* how long a status is good for further requests */
	int64_t client_ns;   /* how long a client may take in all */
	unsigned idle_s;     /* how long it may do nothing */
	size_t memory_bytes; /* of a connection: its request's line and headers, and the reply's */
};
extern const struct http_limits http_limits;

struct http_status { /* counted by those who show it; merged */
	unsigned refs;
	struct status s;
};

enum http_state { READING, WAITING, ANSWERED };

struct http_client {
	struct MHD_Connection *connection; /* NULL: the place is free */
	int fd;
	enum http_state state;
	int64_t began_ns, asked_ns;
	struct http_status *status; /* a reference, may be NULL */
};

struct http {
	struct http_limits limits;
	int listener, epoll;
	int stop, ask, answered; /* eventfds */
	struct MHD_Daemon *daemon;
	pthread_t thread;
	bool started;
	struct http_status *young; /* NULL when there is none */
	int64_t young_until_ns;
	struct http_client clients[HTTP_CLIENTS];
	size_t taken; /* of these */

	pthread_mutex_t lock;
	/* Under the lock: */
	bool wanted, fresh_there;
	struct status fresh;
};

int http_new_limited(const char *address, const struct http_limits *limits, struct http **ret_http);

/* From now on c waits, and the event loop is asked. */
void http_ask(struct http *h, struct http_client *c);
/* The connection's, or NULL. */
struct http_client *http_client_of(struct http *h, const struct MHD_Connection *connection);
struct http_status *http_status_ref(struct http_status *s); /* NULL gives NULL */
void http_status_unref(struct http_status *s);

/* libmicrohttpd's callback for a request; cls is the struct http. */
enum MHD_Result http_reply(void *cls, struct MHD_Connection *connection, const char *url,
			   const char *method, const char *version, const char *body,
			   size_t *body_len, void **request);

#endif
