/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills serve/status.h. The loop only copies figures, log by log; what is made of them (containers,
 * text) is made by the thread that shows them, so that somebody who looks does not delay what is
 * looked at: 10,000 logs are some milliseconds.
 */
#include "collector_status.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "account/ledger.h"
#include "account/state.h"
#include "base/clock.h"
#include "base/sys.h"
#include "collector_counts.h"
#include "collector_end.h"
#include "collector_impl.h"
#include "collector_report.h"
#include "collector_seen.h"
#include "collector_state.h"
#include "config.h"
#include "event/event_queue.h"
#include "files/files.h"
#include "output/outlet.h"
#include "output/sink.h"
#include "serve/status.h"
#include "watch/tree.h"
#include "watch/watch.h"

static void account_from(struct status_account *a, const struct ledger_entry *e)
{
	*a = (struct status_account){.written = e->written,
				     .read = e->read,
				     .delivered = e->delivered,
				     .pending = e->pending,
				     .uncounted = e->uncounted,
				     .records = e->records};
	memcpy(a->lost, e->lost, sizeof(a->lost));
}

/* On the way through all logs. */
struct filling {
	struct collector *c;
	struct status *s;
	struct ledger_entry total;
	unsigned uncounted;
	int failure;
};

static struct status_row *row_put(struct filling *f, const char *path, const struct ledger_entry *e)
{
	struct status_row *row = f->failure ? NULL : status_row_add(f->s, path);

	ledger_add(&f->total, e);
	if (row)
		account_from(&row->account, e);
	else
		f->failure = -ENOMEM;
	return row;
}

static bool is_hot(const struct file *f)
{
	return f->displaced || file_attended(f);
}

static void row_from_files(const struct collector *c, const struct chain *chain,
			   struct status_row *row)
{
	list_for_each (l, next, &chain->queue) {
		const struct file *f = container_of(l, struct file, in_chain);
		struct claim claim;
		int64_t deadline_ns;

		row->hot = row->hot || is_hot(f);
		if (!file_backlog(f))
			continue;
		row->generations++;
		if (f->dirty_ns && (!row->oldest_ns || f->dirty_ns < row->oldest_ns))
			row->oldest_ns = f->dirty_ns;
		heat_claim(f, &c->limits, &claim);
		deadline_ns = priority_deadline_ns(&claim);
		if (deadline_ns != INT64_MAX &&
		    (row->deadline_ns < 0 || deadline_ns < row->deadline_ns))
			row->deadline_ns = deadline_ns;
	}
}

static void row_from_chain(void *ctx, struct chain *chain)
{
	struct filling *f = ctx;
	struct ledger_entry e;
	struct status_row *row;

	collector_chain_entry(chain, &e);
	row = row_put(f, chain->key, &e);
	if (!row)
		return;
	row->backlog_bytes = chain->unread_bytes;
	row->rate = clock_now_ns() - chain->rate_ns < NS_PER_SEC ? chain->rate : 0;
	row->rotations = chain->rotations;
	row->deadline_ns = -1;
	row->gone = !chain->members;
	row_from_files(f->c, chain, row);
}

static void row_from_kept(void *ctx, const struct tally *t, const char *path)
{
	struct filling *f = ctx;
	struct ledger_entry e;

	ledger_entry_from(&e, t);
	if (*path && files_directory_is_there(path))
		row_put(f, path, &e);
	else
		ledger_add(&f->total, &e);
}

/* Of logs that are gone only the rows: their bytes are in the total already. */
static void rows_from_ended(struct filling *f)
{
	struct ledger_entry e, total = f->total;

	list_for_each (l, next, &f->c->seen->ended) {
		const struct ended *gone = container_of(l, struct ended, in_ended);
		struct status_row *row;

		ledger_entry_from(&e, &gone->tally);
		row = row_put(f, gone->path, &e);
		if (!row)
			return;
		row->gone = true;
		row->rotations = gone->rotations;
		row->deadline_ns = -1;
	}
	f->total = total;
}

static void fill_rows(struct filling *f)
{
	struct ledger_entry e;

	collector_update_ledger(f->c);
	files_each_chain(f->c->files, row_from_chain, f);
	f->s->containers = (unsigned)f->s->n_rows;
	ledger_entry_from(&e, &f->c->ended);
	ledger_add(&f->total, &e);
	collector_each_kept(f->c, row_from_kept, f);
	rows_from_ended(f);
	account_from(&f->s->total, &f->total);
}

/* Who is drained first, as priority.h has it; fair and fifo: who has waited longest. */
static int compare_next(const void *x, const void *y, void *order)
{
	const struct status_row *a = *(struct status_row *const *)x,
				*b = *(struct status_row *const *)y;
	int64_t m = a->oldest_ns, n = b->oldest_ns;

	if (*(const enum order *)order == ORDER_HOT) {
		m = a->deadline_ns < 0 ? INT64_MAX : a->deadline_ns;
		n = b->deadline_ns < 0 ? INT64_MAX : b->deadline_ns;
	}
	return m < n ? -1 : m > n;
}

static int number_next(struct filling *f)
{
	_cleanup_free_ struct status_row **waiting = calloc(f->s->n_rows + 1, sizeof(*waiting));
	enum order order = f->c->cfg->order;
	size_t n = 0;

	if (!waiting)
		return -ENOMEM;
	for (size_t i = 0; i < f->s->n_rows; i++)
		if (f->s->rows[i].backlog_bytes)
			waiting[n++] = &f->s->rows[i];
	qsort_r(waiting, n, sizeof(struct status_row *), compare_next, &order);
	for (size_t i = 0; i < n; i++)
		waiting[i]->next = (unsigned)i + 1;
	return 0;
}

static void count_file(void *ctx, struct file *file)
{
	struct filling *f = ctx;

	f->uncounted += file->slot < 0 || file->uncounted;
}

static unsigned length(const struct list *head)
{
	unsigned n = 0;

	list_for_each (l, next, head)
		n++;
	return n;
}

static void fill_files(struct filling *f)
{
	struct collector *c = f->c;
	struct status *s = f->s;
	struct files_stats files;
	struct tree_stats tree;
	struct tally t;

	files_stats(c->files, &files);
	tree_stats(c->tree, &tree);
	collector_tally(c, &t);
	files_each(c->files, count_file, f);
	s->files_open = files.open;
	s->files_hot = length(&c->hot) + (unsigned)c->n_armed;
	s->files_slow = length(&c->slow);
	s->files_idle = files.open - MIN(files.open, s->files_hot + s->files_slow);
	s->files_closed = files.closed;
	s->files_uncounted = f->uncounted;
	s->files_found = files.found;
	s->files_vanished = files.vanished;
	s->files_unreadable = files.unreadable;
	s->rotations = files.rotations;
	s->truncations = t.truncations;
	s->malformed_lines = t.malformed_lines;
	s->hole_bytes = t.hole_bytes;
	s->cut_records = c->joins.cut_records;
	s->cut_bytes = c->joins.cut_bytes + t.skipped_bytes;
	s->watch_dirs = tree.dirs;
	s->watch_dirs_unwatched = tree.unwatched;
	s->roots_missing = tree.roots_missing;
	s->rescans = tree.rescans;
	s->held_bytes = c->held_bytes;
}

static void fill_events(struct filling *f)
{
	struct write_count_stats counts;
	struct event_queue_stats queue;
	struct counts_stats told;
	struct watch_stats watch;

	watch_stats(f->c->watch, &watch);
	event_queue_stats(f->c->queue, &queue);
	write_count_stats(f->c->counts, &counts);
	collector_counts_stats(f->c, &told);
	f->s->events = watch.events;
	f->s->overflows = watch.overflows;
	f->s->queue_depth = queue.depth;
	f->s->queue_blocked = queue.blocked;
	f->s->bpf_misses = counts.misses;
	f->s->bpf_refused = counts.refused;
	f->s->bpf_no_records = counts.no_records;
	f->s->bpf_woken = told.woken;
	f->s->bpf_enrolled = told.enrolled;
}

static void fill_sinks(struct filling *f)
{
	const struct collector *c = f->c;
	struct status *s = f->s;

	s->n_sinks = MIN(outlet_sinks(c->outlet), (size_t)STATUS_SINKS_MAX);
	for (size_t i = 0; i < s->n_sinks; i++) {
		const struct sink *sink = outlet_sink(c->outlet, i);
		struct status_sink *to = &s->sinks[i];
		struct sink_stats stats;

		sink_stats(sink, &stats);
		snprintf(to->name, sizeof(to->name), "%s", sink_name(sink));
		to->batches = stats.batches;
		to->records = stats.records;
		to->bytes = stats.bytes;
		to->invalid_records = stats.invalid_records;
		to->retries = stats.retries;
		to->failing = stats.failing;
	}
	s->batches = c->cfg->batches;
	s->batches_out = outlet_out(c->outlet);
	s->blocked_ns = (uint64_t)c->seen->blocked_ns;
	if (c->seen->blocked_since_ns)
		s->blocked_ns += (uint64_t)(s->now_ns - c->seen->blocked_since_ns);
	memcpy(s->latency, c->seen->latency, sizeof(s->latency));
	s->latency_sum_s = c->seen->latency_sum_s;
}

static double seconds_of(const struct timeval *t)
{
	return (double)t->tv_sec + (double)t->tv_usec / 1e6;
}

static void fill_self(struct filling *f)
{
	FILE *statm = fopen("/proc/self/statm", "re");
	struct state_stats saves = {.age_ns = -1};
	struct rusage usage;
	unsigned long pages;

	if (statm && fscanf(statm, "%*s %lu", &pages) == 1)
		f->s->rss_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	if (statm)
		fclose(statm);
	if (getrusage(RUSAGE_SELF, &usage) == 0)
		f->s->cpu_s = seconds_of(&usage.ru_utime) + seconds_of(&usage.ru_stime);
	if (f->c->state)
		state_stats(f->c->state, &saves);
	f->s->saves = saves.saves;
	f->s->save_failures = saves.failures;
	f->s->save_age_ns = saves.age_ns;
	f->s->reloads = f->c->reloads;
	f->s->reload_failures = f->c->reload_failures;
}

static void fill_head(struct filling *f)
{
	static const char *const proofs[] = {[LEDGER_PROVEN] = "proven",
					     [LEDGER_ESTIMATED] = "estimated",
					     [LEDGER_LOWER_BOUND] = "lower_bound"};
	const struct collector *c = f->c;
	struct status *s = f->s;
	struct ledger_head head;
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall);
	collector_ledger_head(c, &head);
	s->now_ns = clock_now_ns();
	s->wall_ns = wall.tv_sec * NS_PER_SEC + wall.tv_nsec;
	s->start_ns = c->start_ns;
	s->version = VERSION;
	s->rung = rung_name(write_count_rung(c->counts));
	s->order = order_name(c->cfg->order);
	s->proof = proofs[head.proof];
	snprintf(s->proof_why, sizeof(s->proof_why), "%s", head.why);
	s->scanned = c->start_ns && !c->scanning_ns;
}

int collector_status(struct collector *c, struct status *ret_status)
{
	struct status s = {0};
	struct filling f = {.c = c, .s = &s};

	fill_head(&f);
	fill_rows(&f);
	if (!f.failure)
		f.failure = number_next(&f);
	if (f.failure) {
		status_done(&s);
		return f.failure;
	}
	fill_files(&f);
	fill_events(&f);
	fill_sinks(&f);
	fill_self(&f);
	*ret_status = s;
	return 0;
}
