/* SPDX-License-Identifier: Apache-2.0 */
/* What the user is told: the summary at the end, the state on SIGUSR1. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "collector_impl.h"
#include "config.h"
#include "files/files.h"
#include "output/outlet.h"
#include "output/sink.h"
#include "watch/tree.h"
#include "watch/watch.h"

void tally_add(struct tally *to, const struct tally *from)
{
	to->read_bytes += from->read_bytes;
	to->delivered_bytes += from->delivered_bytes;
	to->records += from->records;
	to->malformed_lines += from->malformed_lines;
	to->truncations += from->truncations;
	to->skipped_bytes += from->skipped_bytes;
	to->hole_bytes += from->hole_bytes;
}

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

void collector_summary(struct collector *c)
{
	double seconds = (double)(clock_now_ns() - c->start_ns) / (double)NS_PER_SEC;
	struct files_stats files;
	char read_text[16], gone_text[16];
	struct tally t;

	collector_tally(c, &t);
	files_stats(c->files, &files);
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
			 " files vanished before they could be opened",
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
	uint64_t pending = 0;
	unsigned waiting = 0;

	list_for_each (l, next, &c->queue) {
		pending += file_backlog(container_of(l, struct file, in_chain));
		waiting++;
	}
	fprintf(stderr,
		"  %s: read %" PRIu64 ", delivered %" PRIu64 ", pending %" PRIu64 " bytes; %" PRIu64
		" lines, %u rotations, %u generations waiting, %" PRIu64 " B/s\n",
		c->key, c->tally.read_bytes, c->tally.delivered_bytes, pending, c->tally.records,
		c->rotations, waiting, c->live ? c->live->rate : 0);
}

static unsigned length(const struct list *head)
{
	unsigned n = 0;

	list_for_each (l, next, head)
		n++;
	return n;
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
		length(&c->hot), length(&c->slow), files.unreadable, files.vanished, tree.dirs,
		tree.unwatched, tree.roots_missing, watch.events, watch.overflows, tree.rescans,
		c->blocked_turns);
	if (write_count_misses(c->counts))
		fprintf(stderr, "  the kernel left out %" PRIu64 " counts: rates are estimates\n",
			write_count_misses(c->counts));
	files_each_chain(c->files, state_chain, NULL);
}
