/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered for those who look: plain data of collector_seen.c and collector_status.c. */
#ifndef COLLECTOR_SEEN_H
#define COLLECTOR_SEEN_H

#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "files/tally.h"
#include "serve/status.h"

struct http;

/* Logs of one container that have no file any more. */
struct ended {
	struct table_node by_name;
	struct list in_ended; /* the one that ended longest ago first */
	struct tally tally;
	unsigned rotations;
	int64_t since_ns;
	size_t name_len; /* of the path: the container's directory, or all of it */
	char path[];
};

struct seen {
	struct http *http; /* NULL: not served */
	struct table by_name;
	struct list ended;
	int64_t blocked_ns, blocked_since_ns; /* since 0: there is a free batch */
	uint64_t latency[STATUS_LATENCY_N + 1];
	double latency_sum_s;
};

#endif
