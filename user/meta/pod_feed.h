/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks for the node's pods now and then, in a thread of its own: the kubelet (/pods) or the API
 * server (/api/v1/pods?fieldSelector=spec.nodeName=NODE), which both answer with a PodList. A
 * server that does not answer, or not with one, is told of in the log now and then, counted, and
 * asked again with backoff and jitter; what was known stays known.
 */
#ifndef META_POD_FEED_H
#define META_POD_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include "meta/pod.h"

struct pod_feed;
struct podlist;

struct pod_feed_options {
	const char *url, *token_file, *ca_file; /* the latter two may be NULL: see meta/fetch.h */
	int64_t refresh_ns;
	struct pod_choice choice;
};

struct pod_feed_stats {
	uint64_t requests, failures; /* of whole lists; failures are logged, not each */
	uint64_t skipped, left_out;  /* of the last list, see meta/podlist.h */
	unsigned pods;               /* likewise */
	bool failing;                /* the last one did */
};

/* Starts asking. The options are used until pod_feed_free, not copied. 0; -EINVAL or -ENOENT,
 * logged; -ENOMEM. */
int pod_feed_new(const struct pod_feed_options *o, struct pod_feed **ret_feed);
/* Ends at once, whatever the server does. */
void pod_feed_free(struct pod_feed *p);
/* Readable when there is a new list. */
int pod_feed_fd(const struct pod_feed *p);
/* The newest list, the caller's from now on; NULL: there is none since the last call. */
struct podlist *pod_feed_take(struct pod_feed *p);
/* True: something was looked up and not found. It is asked at once, but no sooner than a second
 * after the last request (or refresh_ns, if that is less), and again after twice that each time,
 * until this is called with false. */
void pod_feed_want(struct pod_feed *p, bool want);
void pod_feed_stats(struct pod_feed *p, struct pod_feed_stats *ret_stats);

#endif
