/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain data: everything there is to see of a running collector, at one moment. Filled by the event
 * loop, read by whoever shows it (metrics, status page, top). Rows are logs as the loop knows them;
 * status_merge makes containers of them.
 *
 * Counters only grow; what is gone stays in total. Times are CLOCK_MONOTONIC but for wall_ns.
 */
#ifndef SERVE_STATUS_H
#define SERVE_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "files/tally.h"

#define STATUS_SINKS_MAX 16

/* Upper bounds of the latency histogram in seconds; one more for what is above the last. */
#define STATUS_LATENCY_BOUNDS                                                                  \
	{                                                                                      \
		0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60 \
	}
#define STATUS_LATENCY_N 15

/* Bytes of log files, as in the ledger: written + uncounted == delivered + pending + Σ lost. */
struct status_account {
	uint64_t written, read, delivered, pending, uncounted, records;
	struct lost lost[LOST_REASONS];
};

struct status_row {
	size_t path; /* where it begins in status.text, NUL-terminated: the log's path; after
			status_merge the container's directory, or the log's path */
	size_t ns, pod, uid, container; /* likewise, after status_merge; 0: empty */
	struct status_account account;
	uint64_t backlog_bytes; /* of pending: not yet read */
	uint64_t rate;          /* bytes per second being written, smoothed */
	int64_t oldest_ns;      /* when its oldest unread byte was written or seen; 0: none */
	int64_t deadline_ns;    /* from now until unread bytes can be rotated away as predicted;
				   -1: not in sight */
	unsigned rotations, generations; /* generations: files waiting to be read */
	unsigned next; /* its place in the order of draining, from 1; 0: nothing waits */
	bool hot;      /* looked at each tick, or armed */
	bool gone;     /* it has no file any more; kept for --series-keep */
};

struct status_sink {
	char name[64]; /* as given: stdout, file:PATH, … ; may be cut */
	uint64_t batches, records, bytes, invalid_records, retries;
	bool failing; /* its last attempt failed */
};

struct status {
	int64_t now_ns, wall_ns, start_ns;
	const char *version, *rung, *order; /* static */
	const char *proof;                  /* proven, estimated, lower_bound: account/ledger.h */
	char proof_why[128];
	bool scanned;                /* the first scan is over */
	struct status_account total; /* of all there is and was */
	unsigned files_open, files_hot, files_idle, files_slow, files_closed, files_uncounted;
	uint64_t files_found, files_vanished, files_unreadable, rotations, truncations;
	unsigned containers;
	unsigned watch_dirs, watch_dirs_unwatched, roots_missing;
	uint64_t held_bytes; /* unread, of removed files */
	uint64_t events, overflows, rescans;
	uint64_t queue_depth, queue_blocked; /* of the event queue: now; times it was full */
	unsigned batches, batches_out;       /* the pool's size; held by the sinks */
	uint64_t blocked_ns;                 /* time without a free batch */
	uint64_t bpf_misses, bpf_refused, bpf_no_records, bpf_woken, bpf_enrolled;
	uint64_t malformed_lines, cut_records, cut_bytes, hole_bytes;
	uint64_t saves, save_failures;
	int64_t save_age_ns; /* -1: never */
	uint64_t reloads, reload_failures;
	uint64_t latency[STATUS_LATENCY_N + 1]; /* batches' spans by time from write to
						   acknowledgement; not cumulative */
	double latency_sum_s;
	double cpu_s; /* user and system, since it began */
	uint64_t rss_bytes;
	size_t n_sinks;
	struct status_sink sinks[STATUS_SINKS_MAX];
	struct status_row *rows;
	size_t n_rows, max_rows;
	struct buf text; /* begins with an empty string */
};

/* Frees what it owns; the struct is the caller's. */
void status_done(struct status *s);
/* A zeroed row for the log at path, or NULL. */
struct status_row *status_row_add(struct status *s, const char *path);
/* All logs of one container (0.log, 1.log after a restart, …) become one row: sums; the earliest
 * deadline and oldest byte; sorted by namespace, pod, container, uid, path. 0 or -ENOMEM. */
int status_merge(struct status *s);

/*
 * One JSON object, after status_merge. Numbers are plain; unknown ones are null. limit: at most so
 * many containers, those that matter most first (who is next, then lost bytes, then rate); 0: all.
 *   {"version":S,"now":unix seconds,"uptime_s":N,"rung":S,"order":S,"proof":S,"proof_why":S,
 *    "scanned":B,"total":ACCOUNT,
 *    "files":{"open","hot","idle","slow","closed","uncounted","found","vanished","unreadable",
 *             "rotations","truncations"},
 *    "watch":{"dirs","dirs_unwatched","roots_missing","events","overflows","rescans",
 *             "queue_depth","queue_blocked"},
 *    "held_bytes":N,"batches":{"total","out"},"blocked_s":N,"lines":{"malformed","cut"},
 *    "bpf":{"misses","refused","no_records","woken","enrolled"},"cut_bytes":N,"hole_bytes":N,
 *    "checkpoint":{"saves","failures","age_s"},"reload":{"done","failed"},
 *    "latency":{"bounds_s":[…],"counts":[…],"sum_s":N},"cpu_s":N,"rss_bytes":N,
 *    "sinks":[{"name":S,"batches","records","bytes","invalid_records","retries","failing":B},…],
 *    "containers_total":N,"containers":[{"namespace":S,"pod":S,"uid":S,"container":S,"path":S,
 *      ACCOUNT's members,"backlog":N,"rate":N,"oldest_s":N|null,"deadline_s":N|null,"rotations":N,
 *      "generations":N,"next":N|null,"hot":B,"gone":B},…]}
 *   ACCOUNT: {"written","read","delivered","pending","uncounted","records","lost_bytes":Σ,
 *             "lost":{REASON:bytes,…},"lost_events":{REASON:N,…}}    only reasons that occurred
 * 0 or -ENOMEM, which leaves out as it was.
 */
int status_json(const struct status *s, size_t limit, struct buf *out);

#endif
