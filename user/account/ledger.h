/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger: what became of every byte that was written to a log. Pure.
 *
 *   written + uncounted == delivered + pending + Σ lost        all in bytes of the log files
 *
 * written is what the kernel's counters saw being written, uncounted what the files grew by
 * besides. What was read and is not yet acknowledged is pending, like what is not yet read.
 *
 * A ledger is built log by log and printed once: all logs of one container of a pod (0.log, 1.log
 * after a restart, …) are one line of it, any other log is a line of its own.
 */
#ifndef ACCOUNT_LEDGER_H
#define ACCOUNT_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "files/chain.h"

struct buf;
struct ledger_container;

struct ledger_entry { /* one log, or a sum of several */
	uint64_t written, read, delivered, pending, uncounted;
	uint64_t records;
	struct lost lost[LOST_REASONS];
};

/* As far as a tally says; pending: what was read and is not acknowledged. */
void ledger_entry_from(struct ledger_entry *e, const struct tally *t);
/* The left side of the equation minus the right one: 0 when it closes. */
int64_t ledger_check(const struct ledger_entry *e);
void ledger_add(struct ledger_entry *to, const struct ledger_entry *e);
void ledger_sub(struct ledger_entry *from, const struct ledger_entry *e); /* was added before */
uint64_t ledger_lost_bytes(const struct ledger_entry *e);

enum ledger_proof {
	LEDGER_PROVEN,
	LEDGER_ESTIMATED,   /* the kernel left out some counts, and says how many */
	LEDGER_LOWER_BOUND, /* truncations were not counted: head.why */
};

struct ledger_head {
	enum ledger_proof proof;
	char why[128]; /* without a full stop, may be empty */
	uint64_t missed;
};

/* LEDGER_STATUS: not the ledger, but what serve/status.h has; never asked of ledger_end. */
enum ledger_format { LEDGER_TABLE, LEDGER_JSON, LEDGER_STATUS };

struct ledger { /* between ledger_begin and ledger_end */
	struct ledger_head head;
	struct ledger_entry total, gone;
	struct ledger_container *logs;
	size_t n, cap;
	int failure;
};

void ledger_begin(struct ledger *l, const struct ledger_head *head);

/*
 * path: of the live log (the chain's key); it is borrowed until ledger_end. Two puts of one path
 * add up. NULL: a sum of logs that are gone; it is in the total, and shown as a container "(gone)"
 * of its own unless all of it is zero. What goes wrong is told by ledger_end.
 */
void ledger_put(struct ledger *l, const char *path, const struct ledger_entry *e);

/* Something of what was put so far was lost, be it of unknown size. */
bool ledger_lost(const struct ledger *l);

/*
 * Appends the text to out, sorted by namespace, pod, container, UID and path, and frees what the
 * builder holds in any case. 0 or -ENOMEM, which leaves out as it was.
 *
 * LEDGER_JSON is one line:
 *   {"total":{FIELDS},"containers":[{"namespace":S,"podname":S,"poduuid":S,"containername":S,
 *    "path":S,"log_logged_bytes_total":N,FIELDS},…],"proof":"proven|estimated|lower_bound",
 *    "why":S,"missed":N}
 *   FIELDS: "written":N,"read":N,"delivered":N,"pending":N,"uncounted":N,"lost":{REASON:N,…},
 *           "lost_events":{REASON:N,…}      with only those reasons that occurred
 * path is the container's directory, or the log's path; where a path has no names these are "".
 * log_logged_bytes_total and the four labels mean what OpenShift's log-file-metric-exporter means
 * by them: all bytes that were written to the container's logs, which is written.
 */
int ledger_end(struct ledger *l, enum ledger_format format, struct buf *out);

#endif
