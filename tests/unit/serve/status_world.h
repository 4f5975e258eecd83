/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses that tests show: one with something of everything, and rows. */
#ifndef STATUS_WORLD_H
#define STATUS_WORLD_H

#include "base/clock.h"
#include "base/sys.h"
#include "serve/status.h"

#define PODS  "/var/log/pods/"
#define UID_A "1f6c9e52-0000-1111-2222-333344445555"
#define UID_B "2a6c9e52-0000-1111-2222-333344445555"

static inline struct status_row *row_of(struct status *s, const char *path, uint64_t written)
{
	struct status_row *row = status_row_add(s, path);

	assert_non_null(row);
	assert_int_equal(row->deadline_ns, -1);
	row->account = (struct status_account){.written = written,
					       .read = written - 5,
					       .delivered = written - 10,
					       .pending = 10,
					       .records = 1};
	return row;
}

/* Two logs of one container, one of another, and a log without a pod; two sinks of one name. */
static inline void status_sample(struct status *s)
{
	struct status_row *row;

	*s = (struct status){
		.now_ns = 100 * NS_PER_SEC,
		.wall_ns = INT64_C(1700000000) * NS_PER_SEC + 250 * NS_PER_MS,
		.start_ns = 40 * NS_PER_SEC,
		.version = "0.1.0",
		.rung = "fs",
		.order = "hot",
		.proof = "proven",
		.proof_why = "a \"reason\"",
		.scanned = true,
		.total = {.written = 5000, .read = 4900, .delivered = 4800, .pending = 100},
		.files_open = 4,
		.files_hot = 2,
		.files_idle = 1,
		.files_slow = 1,
		.containers = 3,
		.blocked_ns = 1500 * (uint64_t)NS_PER_MS,
		.save_age_ns = 500 * NS_PER_MS,
		.latency = {[0] = 3, [4] = 2, [STATUS_LATENCY_N] = 1},
		.latency_sum_s = 61.25,
		.cpu_s = 0.125,
		.rss_bytes = 8 << 20,
		.n_sinks = 2,
		.sinks = {{.name = "stdout", .batches = 7}, {.name = "stdout", .failing = true}},
	};
	s->total.lost[LOST_TRUNCATED] = (struct lost){100, 2};
	row = row_of(s, PODS "shop_web_" UID_A "/app/1.log", 1000);
	row->rate = 10;
	row->oldest_ns = 90 * NS_PER_SEC;
	row->deadline_ns = 30 * NS_PER_SEC;
	row->next = 2;
	row = row_of(s, "/var/log/\"odd\\\n.log", 3000);
	row->account.lost[LOST_TRUNCATED] = (struct lost){100, 2};
	row->gone = true;
	row = row_of(s, PODS "shop_web_" UID_A "/app/0.log", 500);
	row->rate = 5;
	row->oldest_ns = 95 * NS_PER_SEC;
	row->rotations = 3;
	row->hot = true;
	row->gone = true;
	row = row_of(s, PODS "shop_web_" UID_B "/app/0.log", 500);
	row->backlog_bytes = 8;
	row->generations = 1;
	row->next = 1;
}

#endif
