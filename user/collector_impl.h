/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the collector share; nobody else includes this. */
#ifndef COLLECTOR_IMPL_H
#define COLLECTOR_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"
#include "drain/join.h"
#include "drain/reader.h"
#include "files/file.h"
#include "heat/heat.h"
#include "heat/priority.h"
#include "heat/write_count.h"

struct accounts;
struct config;
struct containers;
struct counted;
struct event_queue;
struct files;
struct leave;
struct ledger_socket;
struct outlet;
struct pods_here;
struct reload;
struct resume;
struct seen;
struct state;
struct tree;
struct watch;

/* A log that has no file left, and of which something was lost. */
struct gone {
	struct list in_gone;
	struct tally tally;
	char key[];
};

struct collector {
	struct config *cfg; /* see config_exchange */
	struct event_queue *queue;
	struct watch *watch;
	struct tree *tree;
	struct files *files;
	struct write_count *counts;
	struct warm_reads *warm; /* NULL: this kernel cannot, or tells nothing */
	struct counted *counted; /* NULL: no program counts */
	struct outlet *outlet;
	struct state *state;          /* NULL: nothing is saved */
	struct ledger_socket *ledger; /* NULL: nobody can ask */
	struct seen *seen;            /* for those who look */
	struct accounts *accounts;    /* of an earlier run, or NULL */
	bool check_ledger;
	unsigned n_uncountable;   /* files that got no counter although there are some */
	struct resume *resume;    /* what the last run left behind, until it has been found */
	bool resuming, restarted; /* there was a checkpoint; there was one, good or bad */
	int64_t changed_ns;       /* something to save since, 0: nothing */
	struct changes *changes;  /* what, NULL: nothing is saved */
	struct pods_here *pods;   /* NULL: nobody is asked for labels */
	struct reload *reload;
	struct leave *leave; /* files that are not followed any more */
	uint64_t reloads, reload_failures;
	struct join_budget joins;
	struct reader reader;
	struct heat_limits limits;
	struct containers *containers; /* NULL: no --docker */

	struct list hot, slow; /* looked at each tick; a few times a second */
	size_t hot_n;          /* at the last look */
	struct file **armed;   /* hot, but the kernel tells */
	size_t n_armed, armed_max;
	size_t armed_next; /* of a look under way: those before it are still to be looked at */
	struct claim *claims, **scratch;
	size_t n_claims, max_claims;
	struct priority_shares shares;

	int signal_fd;
	int64_t look_ns, slow_ns, sweep_ns, retry_ns, check_ns; /* when next */
	int64_t armed_look_ns;      /* when the armed files were last looked at, */
	uint64_t seen_no_records;   /* and then */
	int64_t active_ns;          /* when something was last found, read or written */
	int64_t start_ns, busy_ns;  /* busy: hot files were last looked at */
	bool stop, blocked, lively; /* lively: files were hot in two ticks running */
	int64_t scanning_ns; /* on the wall clock: the first scan's beginning, 0: it is over */
	bool ending;         /* only what cannot be read again after a restart is still read */
	bool idle;      /* it ends because nothing more comes: torn tails are whole lines then */
	bool unsettled; /* a file was truncated: its copy may be in an event under way */
	bool acked;     /* something was delivered since acks were last taken */
	bool found_new; /* a file was opened since events were last taken, in the first scan too */
	int failure;    /* -errno that ends it */
	struct tally ended;    /* of the containers that are gone */
	struct tally restored; /* of those that are there, by earlier runs */
	struct list recent;    /* entries of files freed a moment ago (collector_state.c) */
	unsigned n_recent;
	struct list gone; /* those that lost something or whose directory is there: GONE_MAX */
	unsigned n_gone, n_ended;
	uint64_t held_bytes; /* unread bytes of unlinked files, at the last look */
	uint64_t blocked_turns;
	struct log_limit read_limit, held_limit, save_limit;
};

/* Reads have failed for so long that nothing waits for it any more; it is still tried. */
static inline bool file_given_up(const struct file *f, int64_t now_ns)
{
	return f->failed_ns && now_ns - f->failed_ns > 10 * INT64_C(1000000000);
}

/* collector_drain.c: who is read, and how much. True: there is more to read right now. */
bool collector_drain(struct collector *c, int64_t now_ns);
void collector_drain_found(void *ctx);
void collector_look(struct collector *c, int64_t now_ns);

/* collector_open.c: never feeds on its own log, nor on what it writes. */
void collector_exclude_own(struct collector *c);

#endif
