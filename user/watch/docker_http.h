/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP GET on a socket or a host, one at a time, which another thread can end at any moment. Uses
 * libcurl, loaded by the first docker_http_new.
 */
#ifndef WATCH_DOCKER_HTTP_H
#define WATCH_DOCKER_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct docker_http;

struct docker_get {
	const char *what; /* path and query */
	bool endless;     /* its answer may pause for ever, once it has begun */
	void *ctx;
	/* It is answered, with status 200: before the body. May be NULL. */
	void (*on_answer)(void *ctx);
	/* A piece of the body, only of such an answer. A negative return ends it. */
	int (*on_body)(void *ctx, const char *data, size_t len);
};

/* base: http://HOST[:PORT]; socket: the path of one to use instead of the network, or NULL. Both
 * are only lent. 0, -ENOENT (no libcurl, after a line) or -ENOMEM. */
int docker_http_new(const char *base, const char *socket, struct docker_http **ret_http);
void docker_http_free(struct docker_http *h);
/* From any thread: what is under way returns -ECANCELED, and so does what comes after. */
void docker_http_stop(struct docker_http *h);
/* 0 after that time, or -ECANCELED. */
int docker_http_wait(struct docker_http *h, int64_t ns);
/* 0: the whole answer was taken; what on_body returned; -ECANCELED; -ETIMEDOUT: nothing came for a
 * minute; else -EIO or -ENOMEM. error: what happened, in words. */
int docker_http_get(struct docker_http *h, const struct docker_get *get, char *error, size_t size);

#endif
