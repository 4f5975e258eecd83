/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A status as Prometheus reads it: text exposition format 0.0.4, each family with HELP and TYPE.
 * After status_merge, which leaves no two rows or sinks that would be one series.
 *
 * Per container (label "path" tells apart what has no pod): figures of those that the status holds.
 * hotdrain_node_…, and all that has no container's labels: of all there is and was.
 */
#ifndef SERVE_PROMETHEUS_H
#define SERVE_PROMETHEUS_H

#include <stdbool.h>
#include <stddef.h>

#include "serve/status.h"

/* A node may have thousands of containers, and each has 4 KiB of text: it is made in pieces. */
struct prometheus {
	const struct status *s; /* borrowed */
	size_t family, row;     /* which comes next */
	bool headed;            /* the family has its HELP and TYPE */
};

static inline struct prometheus prometheus_begin(const struct status *s)
{
	return (struct prometheus){.s = s};
}

/* Appends the next piece, of about 16 KiB at most. 1: go on; 0: it was the last one; -ENOMEM: out
 * and p are as they were. */
int prometheus_next(struct prometheus *p, struct buf *out);

/* All of it. 0 or -ENOMEM, which leaves out as it was. */
int prometheus_text(const struct status *s, struct buf *out);

#endif
