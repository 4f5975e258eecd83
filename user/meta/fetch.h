/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET of one URL, again and again, by libcurl (base/dl.h). Belongs to one thread, which others can
 * only wake.
 */
#ifndef META_FETCH_H
#define META_FETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FETCH_WHY_MAX 320

struct fetch;

struct fetch_options {
	const char *url;        /* http:// or https:// */
	const char *token_file; /* read before each request, and sent over https only; or NULL */
	const char *ca_file;    /* NULL: the system's */
	size_t max_bytes;       /* of one response */
	int64_t silence_ns, timeout_ns; /* without a byte; for all of it */
};

/* The strings are used, not copied. To be called before threads are started. 0; -ENOENT (no
 * libcurl, logged); -ENOMEM. */
int fetch_new(const struct fetch_options *o, struct fetch **ret_fetch);
void fetch_free(struct fetch *f); /* may be NULL */

/*
 * next: put into the URL as continue=, or NULL. take is given the body of a 200 as it comes; what
 * it returns below 0 ends the request and is returned. Else 0; -ECANCELED after fetch_stop; -EIO:
 * no answer, another status or too long; -ENOMEM. why says it in words, without a line's end.
 */
int fetch_get(struct fetch *f, const char *next, int (*take)(void *ctx, const char *data, size_t n),
	      void *ctx, char why[static FETCH_WHY_MAX]);

/* Until then, or until it is woken, perhaps earlier. */
void fetch_wait(struct fetch *f, int64_t until_ns);
/* From any thread: */
void fetch_wake(struct fetch *f);
/* ends the request that is under way, and every later one. */
void fetch_stop(struct fetch *f);
bool fetch_stopped(const struct fetch *f);

#endif
