/* SPDX-License-Identifier: Apache-2.0 */
/* What is shown of the collector while it runs: its status (serve/status.h), and who asks for it.
 */
#ifndef COLLECTOR_STATUS_H
#define COLLECTOR_STATUS_H

#include <stdbool.h>
#include <stdint.h>

struct chain;
struct collector;
struct status;

/* 0; -errno after one line when --metrics cannot be served. */
int collector_open_status(struct collector *c);
void collector_close_status(struct collector *c);

/* For the event loop's poll: readable while somebody waits for a status; -1: nobody ever does. */
int collector_status_fd(const struct collector *c);
/* Answers who waits, if anybody does. */
void collector_answer_status(struct collector *c);
/* 0, and the caller's until status_done; -ENOMEM. */
int collector_status(struct collector *c, struct status *ret_status);

/* The last file of a container's log is gone. */
void collector_status_ended(struct collector *c, const struct chain *chain);
/* Those that have been gone for --series-keep are shown no more: about once a second. */
void collector_status_sweep(struct collector *c, int64_t now_ns);
/* A span was acknowledged so long after the file had something to read. */
void collector_status_acked(struct collector *c, int64_t after_ns);
/* Is there a free batch? Called when that may have changed. */
void collector_status_blocked(struct collector *c, bool blocked, int64_t now_ns);

#endif
