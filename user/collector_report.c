/* SPDX-License-Identifier: Apache-2.0 */
/* What the user is told: the summary at the end, the state on SIGUSR1. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "account/ledger.h"
#include "account/state.h"
#include "base/clock.h"
#include "base/sys.h"
#include "collector_counts.h"
#include "collector_docker.h"
#include "collector_impl.h"
#include "collector_pods.h"
#include "collector_report.h"
#include "config.h"
#include "files/files.h"
#include "output/outlet.h"
#include "output/sink.h"
#include "watch/tree.h"
#include "watch/watch.h"

#define ACCOUNT_MAX 512

static void add_chain(void *ctx, struct chain *c)
{
	tally_add(ctx, &c->tally);
}

void collector_tally(struct collector *c, struct tally *ret_tally)
{
	struct tally t = c->ended;

	files_each_chain(c->files, add_chain, &t);
	*ret_tally = t;
}

/* What became of one container's log, in one line. */
static const char *account(const struct tally *t, uint64_t unread, unsigned rotations, char *line,
			   size_t size)
{
	uint64_t pending = unread + t->read_bytes - t->delivered_bytes, lost = 0;
	int at;

	for (int i = 0; i < LOST_REASONS; i++)
		lost += t->lost[i].bytes;
	at = snprintf(line, size,
		      "read %" PRIu64 ", delivered %" PRIu64 ", pending %" PRIu64 ", lost %" PRIu64
		      " bytes",
		      t->read_bytes, t->delivered_bytes, pending, lost);
	for (int i = 0, n = 0; i < LOST_REASONS; i++)
		if (t->lost[i].events)
			at += snprintf(line + at, size - (size_t)at,
				       "%s%s %" PRIu64 " bytes %" PRIu64 " times",
				       n++ ? ", " : " (", lost_name((enum lost_reason)i),
				       t->lost[i].bytes, t->lost[i].events);
	snprintf(line + at, size - (size_t)at, "%s; %" PRIu64 " lines, %u rotations",
		 tally_lost(t) ? ")" : "", t->records, rotations);
	return line;
}

static uint64_t unread_bytes(const struct chain *c)
{
	uint64_t n = 0;

	list_for_each (l, next, &c->queue)
		n += file_backlog(container_of(l, struct file, in_chain));
	return n;
}

static void summary_line(const char *key, const struct tally *t, uint64_t unread,
			 unsigned rotations)
{
	char line[ACCOUNT_MAX];

	log_at(tally_lost(t) ? LOG_WARN : LOG_INFO, 0, "container %s: %s", key,
	       account(t, unread, rotations, line, sizeof(line)));
}

static void summary_chain(void *ctx, struct chain *c)
{
	summary_line(c->key, &c->tally, unread_bytes(c), c->rotations);
}

/* 1536000 -> "1.5 MB". buf: at least 16 bytes. */
static const char *human(uint64_t bytes, char *buf)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
	double x = (double)bytes;
	size_t i = 0;

	while (x >= 1000 && i + 1 < ARRAY_SIZE(units)) {
		x /= 1000;
		i++;
	}
	snprintf(buf, 16, i ? "%.1f %s" : "%.0f %s", x, units[i]);
	return buf;
}

static void summary_containers(struct collector *c)
{
	files_each_chain(c->files, summary_chain, NULL);
	list_for_each (l, next, &c->gone) {
		const struct gone *g = container_of(l, struct gone, in_gone);

		if (tally_lost(&g->tally))
			summary_line(g->key, &g->tally, 0, 0);
	}
	if (c->n_ended) {
		char ended[32];

		snprintf(ended, sizeof(ended), "(%u gone)", c->n_ended);
		summary_line(ended, &c->ended, 0, 0);
	}
}

void collector_summary(struct collector *c)
{
	double seconds = (double)(clock_now_ns() - c->start_ns) / (double)NS_PER_SEC;
	struct files_stats files;
	char read_text[16], gone_text[16];
	struct tally t;

	collector_tally(c, &t);
	tally_sub(&t, &c->restored);
	files_stats(c->files, &files);
	summary_containers(c);
	log_info("%" PRIu64 " files, %" PRIu64 " lines, %s in %.1f s (%.0f lines/s), %" PRIu64
		 " rotations, bpf rung %s",
		 files.found, t.records, human(t.delivered_bytes, read_text), seconds,
		 (double)t.records / (seconds > 0 ? seconds : 1), files.rotations,
		 rung_name(write_count_rung(c->counts)));
	if (t.read_bytes != t.delivered_bytes)
		log_warn(0, "%s read but not delivered",
			 human(t.read_bytes - t.delivered_bytes, gone_text));
	if (c->joins.cut_records || t.skipped_bytes)
		log_info("%" PRIu64 " records cut at the line limit, %" PRIu64 " bytes left out",
			 c->joins.cut_records, c->joins.cut_bytes + t.skipped_bytes);
	if (t.malformed_lines)
		log_info("%" PRIu64 " lines were not of their file's format, delivered as they are",
			 t.malformed_lines);
	if (t.truncations || files.vanished)
		log_info("%" PRIu64 " truncations, %" PRIu64
			 " files or directories vanished before they could be opened",
			 t.truncations, files.vanished);
	if (t.hole_bytes)
		log_info("%" PRIu64 " bytes of holes that no writer filled, skipped", t.hole_bytes);
	for (size_t i = 0; i < outlet_sinks(c->outlet); i++) {
		struct sink_stats s;

		sink_stats(outlet_sink(c->outlet, i), &s);
		if (s.invalid_records || s.retries)
			log_info("sink %s: %" PRIu64 " records were not UTF-8, %" PRIu64 " retries",
				 sink_name(outlet_sink(c->outlet, i)), s.invalid_records,
				 s.retries);
	}
}

static void state_chain(void *ctx, struct chain *c)
{
	char line[ACCOUNT_MAX];
	unsigned waiting = 0;

	list_for_each (l, next, &c->queue)
		waiting++;
	fprintf(stderr, "  %s: %s, %u generations waiting, %" PRIu64 " B/s\n", c->key,
		account(&c->tally, unread_bytes(c), c->rotations, line, sizeof(line)), waiting,
		c->rate);
}

static unsigned length(const struct list *head)
{
	unsigned n = 0;

	list_for_each (l, next, head)
		n++;
	return n;
}

static void state_saves(const struct collector *c)
{
	struct state_stats s;

	state_stats(c->state, &s);
	fprintf(stderr,
		"  checkpoint: %" PRIu64 " saved, %" PRIu64 " failed, %" PRIu64
		" refused at the start, the last %.1f s ago%s%s\n",
		s.saves, s.failures, s.bad, s.age_ns < 0 ? -1.0 : (double)s.age_ns / 1e9,
		s.last_errno ? "; now failing: " : "", s.last_errno ? strerror(s.last_errno) : "");
}

static void state_counts(const struct collector *c)
{
	struct write_count_stats s;
	struct counts_stats told;

	if (write_count_rung(c->counts) == RUNG_OFF)
		return;
	write_count_stats(c->counts, &s);
	collector_counts_stats(c, &told);
	fprintf(stderr,
		"  counters: %" PRIu64 " files enrolled, %" PRIu64 " of them gone unread, %" PRIu64
		" wake-ups; left out by the kernel: %" PRIu64 " counts, %" PRIu64
		" enrolments, %" PRIu64 " records; %u files without a counter\n",
		told.enrolled, told.expired, told.woken, s.misses, s.refused, s.no_records,
		c->n_uncountable);
}

static void state_pods(const struct collector *c)
{
	struct pod_feed_stats s;

	if (!collector_pods_stats(c, &s))
		return;
	fprintf(stderr,
		"  pods: %u, from %" PRIu64 " requests, %" PRIu64 " of them failed%s; %" PRIu64
		" pods skipped, %" PRIu64 " labels and annotations left out\n",
		s.pods, s.requests, s.failures, s.failing ? ", the last too" : "", s.skipped,
		s.left_out);
}

void collector_state(struct collector *c)
{
	struct watch_stats watch;
	struct tree_stats tree;
	struct files_stats files;

	watch_stats(c->watch, &watch);
	tree_stats(c->tree, &tree);
	files_stats(c->files, &files);
	fprintf(stderr,
		"hotdrain: state: bpf rung %s, order %s\n"
		"  files: %u open, %u hot, %u without a watch, %" PRIu64 " unreadable, %" PRIu64
		" vanished\n"
		"  directories: %u, %u without a watch, %u roots missing\n"
		"  events: %" PRIu64 ", overflows %" PRIu64 ", rescans %" PRIu64
		"; turns without a free batch %" PRIu64 "\n",
		rung_name(write_count_rung(c->counts)), order_name(c->cfg->order), files.open,
		length(&c->hot) + (unsigned)c->n_armed, length(&c->slow), files.unreadable,
		files.vanished, tree.dirs, tree.unwatched, tree.roots_missing, watch.events,
		watch.overflows, tree.rescans, c->blocked_turns);
	fprintf(stderr,
		"  held: %" PRIu64 " unread bytes of removed files; closed for want of "
		"descriptors: %u files\n",
		c->held_bytes, files.closed);
	if (c->state)
		state_saves(c);
	list_for_each (l, next, &c->gone) {
		const struct gone *g = container_of(l, struct gone, in_gone);
		char line[ACCOUNT_MAX];

		if (!tally_lost(&g->tally))
			continue;
		fprintf(stderr, "  %s: %s\n", g->key, account(&g->tally, 0, 0, line, sizeof(line)));
	}
	state_counts(c);
	state_pods(c);
	collector_docker_state(c);
	files_each_chain(c->files, state_chain, NULL);
}

void collector_say_rung(const struct collector *c)
{
	static const enum rung rungs[] = {RUNG_FS, RUNG_VFS, RUNG_KPROBE, RUNG_SYSCALL};
	enum rung rung = write_count_rung(c->counts);

	for (size_t i = 0; i < ARRAY_SIZE(rungs); i++) {
		const char *why = write_count_refusal(c->counts, rungs[i]);

		if (why)
			log_info("bpf: rung %s refused: %s", rung_name(rungs[i]), why);
	}
	if (rung == RUNG_OFF && c->cfg->bpf != RUNG_OFF)
		log_warn(0, "bpf: no rung attaches, running on file sizes");
	else
		log_info("bpf: rung %s", rung_name(rung));
}
