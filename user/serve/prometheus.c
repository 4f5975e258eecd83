/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table: what each family is called, what it means, and where its value stands. Most values are
 * a member of the status, of a sink or of a container's row, told by its offset and its kind; the
 * rest have a function. Names follow Prometheus' conventions (base units, counters end in _total),
 * which `promtool check metrics` holds them against.
 *
 * A family's samples must stand together, so the text goes family by family through the same rows,
 * and the labels are written each time: they are most of the text. It is made in pieces, because
 * all of it, for the containers of a large node, is as much memory as all the rest of the program.
 * A family without samples has no header either.
 */
#include "serve/prometheus.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "serve/text.h"

#define PIECE_BYTES (16 * 1024)

enum of { NODE, SINK, ROW }; /* one sample; one of each sink, of each container */
enum kind { U32, U64, FLAG, NS, SECONDS, WORD /* label="…" 1 */ };

struct family {
	const char *name, *type, *help;
	enum of of;
	enum kind kind;
	size_t at;
	const char *label; /* of a word, or of what put shows */
	/* Instead of the member: any number of samples. */
	void (*put)(struct prometheus *p, struct text *t, const struct family *f,
		    const struct status_row *row);
};

static void put_header(struct prometheus *p, struct text *t, const struct family *f)
{
	if (!p->headed)
		text_printf(t, "# HELP %s %s\n# TYPE %s %s\n", f->name, f->help, f->name, f->type);
	p->headed = true;
}

/* ",NAME="TEXT"", escaped; without the comma where it is the first. */
static void put_label(struct text *t, const char *before, const char *name, const char *text)
{
	text_printf(t, "%s%s=\"", before, name);
	for (size_t n; *text; text += n) {
		n = strcspn(text, "\\\"\n");
		text_printf(t, "%.*s", (int)n, text);
		if (text[n]) {
			text_add(t, text[n] == '\n' ? "\\n" : text[n] == '"' ? "\\\"" : "\\\\");
			n++;
		}
	}
	text_add(t, "\"");
}

/* NAME{…labels of the row, without the closing brace */
static void put_row_labels(struct prometheus *p, struct text *t, const struct family *f,
			   const struct status_row *row)
{
	const char *text = p->s->text.data;

	put_header(p, t, f);
	text_add(t, f->name);
	put_label(t, "{", "namespace", text + row->ns);
	put_label(t, ",", "podname", text + row->pod);
	put_label(t, ",", "poduuid", text + row->uid);
	put_label(t, ",", "containername", text + row->container);
	put_label(t, ",", "path", text + row->path);
}

static void put_value(struct text *t, const struct family *f, const void *base)
{
	const void *value = (const char *)base + f->at;

	text_add(t, " ");
	switch (f->kind) {
	case U32:
		text_printf(t, "%u", *(const unsigned *)value);
		break;
	case U64:
		text_printf(t, "%" PRIu64, *(const uint64_t *)value);
		break;
	case FLAG:
		text_add(t, *(const bool *)value ? "1" : "0");
		break;
	case NS:
		text_seconds(t, *(const uint64_t *)value);
		break;
	case SECONDS:
		text_seconds(t, seconds_to_ns(*(const double *)value));
		break;
	case WORD:
		text_add(t, "1");
		break;
	}
	text_add(t, "\n");
}

static void put_node(struct prometheus *p, struct text *t, const struct family *f)
{
	put_header(p, t, f);
	text_add(t, f->name);
	if (f->kind == WORD) {
		const char *word;

		memcpy(&word, (const char *)p->s + f->at, sizeof(word));
		put_label(t, "{", f->label, word ? word : "");
		text_add(t, "}");
	}
	put_value(t, f, p->s);
}

static void put_sinks(struct prometheus *p, struct text *t, const struct family *f)
{
	for (size_t i = 0; i < p->s->n_sinks; i++) {
		put_header(p, t, f);
		text_add(t, f->name);
		put_label(t, "{", "sink", p->s->sinks[i].name);
		text_add(t, "}");
		put_value(t, f, &p->s->sinks[i]);
	}
}

static void put_row(struct prometheus *p, struct text *t, const struct family *f,
		    const struct status_row *row)
{
	put_row_labels(p, t, f, row);
	text_add(t, "}");
	put_value(t, f, row);
}

/* What has a function */

static void put_states(struct prometheus *p, struct text *t, const struct family *f,
		       const struct status_row *row)
{
	const struct status *s = p->s;
	const struct {
		const char *name;
		unsigned n;
	} states[] = {
		{"hot", s->files_hot},
		{"idle", s->files_idle},
		{"slow", s->files_slow},
		{"closed", s->files_closed},
		{"uncounted", s->files_uncounted},
	};

	put_header(p, t, f);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		text_printf(t, "%s{state=\"%s\"} %u\n", f->name, states[i].name, states[i].n);
}

static uint64_t lost_of(const struct family *f, const struct lost *lost)
{
	return f->at ? lost->events : lost->bytes;
}

static void put_node_lost(struct prometheus *p, struct text *t, const struct family *f,
			  const struct status_row *row)
{
	put_header(p, t, f);
	for (int i = 0; i < LOST_REASONS; i++)
		text_printf(t, "%s{reason=\"%s\"} %" PRIu64 "\n", f->name,
			    lost_name((enum lost_reason)i), lost_of(f, &p->s->total.lost[i]));
}

static void put_lost(struct prometheus *p, struct text *t, const struct family *f,
		     const struct status_row *row)
{
	for (int i = 0; i < LOST_REASONS; i++) {
		const struct lost *lost = &row->account.lost[i];

		if (!lost->bytes && !lost->events)
			continue;
		put_row_labels(p, t, f, row);
		text_printf(t, ",reason=\"%s\"} %" PRIu64 "\n", lost_name((enum lost_reason)i),
			    lost_of(f, lost));
	}
}

static void put_oldest(struct prometheus *p, struct text *t, const struct family *f,
		       const struct status_row *row)
{
	int64_t age = row->oldest_ns ? p->s->now_ns - row->oldest_ns : 0;

	put_row_labels(p, t, f, row);
	text_add(t, "} ");
	text_seconds(t, (uint64_t)MAX(age, INT64_C(0)));
	text_add(t, "\n");
}

static void put_deadline(struct prometheus *p, struct text *t, const struct family *f,
			 const struct status_row *row)
{
	put_row_labels(p, t, f, row);
	text_add(t, "} ");
	if (row->deadline_ns < 0)
		text_add(t, "+Inf");
	else
		text_seconds(t, (uint64_t)row->deadline_ns);
	text_add(t, "\n");
}

static void put_start(struct prometheus *p, struct text *t, const struct family *f,
		      const struct status_row *row)
{
	const int64_t step = 10 * NS_PER_MS; /* the two clocks are not read at once */
	int64_t start = p->s->wall_ns - (p->s->now_ns - p->s->start_ns);

	put_header(p, t, f);
	text_printf(t, "%s ", f->name);
	text_seconds(t, (uint64_t)(MAX(start, INT64_C(0)) / step * step));
	text_add(t, "\n");
}

static void put_save_age(struct prometheus *p, struct text *t, const struct family *f,
			 const struct status_row *row)
{
	if (p->s->save_age_ns < 0)
		return;
	put_header(p, t, f);
	text_printf(t, "%s ", f->name);
	text_seconds(t, (uint64_t)p->s->save_age_ns);
	text_add(t, "\n");
}

static void put_latency(struct prometheus *p, struct text *t, const struct family *f,
			const struct status_row *row)
{
	static const double bounds[] = STATUS_LATENCY_BOUNDS;
	uint64_t sum = 0;

	put_header(p, t, f);
	for (size_t i = 0; i < STATUS_LATENCY_N; i++) {
		sum += p->s->latency[i];
		text_printf(t, "%s_bucket{le=\"", f->name);
		text_seconds(t, seconds_to_ns(bounds[i]));
		text_printf(t, "\"} %" PRIu64 "\n", sum);
	}
	sum += p->s->latency[STATUS_LATENCY_N];
	text_printf(t, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", f->name, sum, f->name);
	text_seconds(t, seconds_to_ns(p->s->latency_sum_s));
	text_printf(t, "\n%s_count %" PRIu64 "\n", f->name, sum);
}

/* The families */

#define S(member)   .at = offsetof(struct status, member)
#define K(member)   .of = SINK, .at = offsetof(struct status_sink, member)
#define R(member)   .of = ROW, .at = offsetof(struct status_row, member)
#define LOST_BYTES  .at = 0
#define LOST_EVENTS .at = 1

static const char counter[] = "counter", gauge[] = "gauge";

/* clang-format off */
static const struct family families[] = {
	{"hotdrain_build_info", gauge, "The version, in a label; always 1.",
	 NODE, WORD, S(version), .label = "version"},
	{"hotdrain_bpf_rung", gauge, "How the kernel counts writes, in a label (fs, vfs, kprobe, syscall, or off: not at all); always 1.",
	 NODE, WORD, S(rung), .label = "rung"},
	{"hotdrain_ledger_proof", gauge, "What the figures are worth, in a label (proven, estimated, lower_bound); always 1.",
	 NODE, WORD, S(proof), .label = "proof"},
	{"hotdrain_order", gauge, "Which file is drained first, in a label (hot, fair, fifo); always 1.",
	 NODE, WORD, S(order), .label = "order"},
	{"hotdrain_start_time_seconds", gauge, "When it began, since 1970.", .put = put_start},
	{"hotdrain_scanned", gauge, "Whether the first look at all directories is over.", NODE, FLAG, S(scanned)},

	{"hotdrain_node_written_bytes_total", counter, "Bytes written to logs, those that are gone included.", NODE, U64, S(total.written)},
	{"hotdrain_node_read_bytes_total", counter, "Bytes read from logs, those that are gone included.", NODE, U64, S(total.read)},
	{"hotdrain_node_delivered_bytes_total", counter, "Bytes of logs that every sink has acknowledged.", NODE, U64, S(total.delivered)},
	{"hotdrain_node_uncounted_bytes_total", counter, "Bytes that logs grew by beside the writes that were counted.", NODE, U64, S(total.uncounted)},
	{"hotdrain_node_records_total", counter, "Records made of log lines.", NODE, U64, S(total.records)},
	{"hotdrain_node_lost_bytes_total", counter, "Bytes that could not be read any more, as far as they are known.", .put = put_node_lost, LOST_BYTES},
	{"hotdrain_node_lost_events_total", counter, "Files or truncations by which bytes were lost, of unknown number included.", .put = put_node_lost, LOST_EVENTS},
	{"hotdrain_node_pending_bytes", gauge, "Bytes written and neither acknowledged nor lost.", NODE, U64, S(total.pending)},

	{"hotdrain_files", gauge, "Files by how they are followed: hot (looked at each tick), idle (watched), slow (looked at now and then), closed; uncounted: of them those without a counter in the kernel.", .put = put_states},
	{"hotdrain_files_open", gauge, "Files held open.", NODE, U32, S(files_open)},
	{"hotdrain_containers", gauge, "Containers with a log.", NODE, U32, S(containers)},
	{"hotdrain_files_found_total", counter, "Files that were found.", NODE, U64, S(files_found)},
	{"hotdrain_files_vanished_total", counter, "Files that were gone before they could be opened.", NODE, U64, S(files_vanished)},
	{"hotdrain_files_unreadable_total", counter, "Files that could not be opened or read.", NODE, U64, S(files_unreadable)},
	{"hotdrain_node_rotations_total", counter, "Rotations seen.", NODE, U64, S(rotations)},
	{"hotdrain_truncations_total", counter, "Truncations seen.", NODE, U64, S(truncations)},

	{"hotdrain_watched_directories", gauge, "Directories watched with inotify.", NODE, U32, S(watch_dirs)},
	{"hotdrain_unwatched_directories", gauge, "Directories for which there was no inotify watch left: they are listed now and then.", NODE, U32, S(watch_dirs_unwatched)},
	{"hotdrain_missing_roots", gauge, "Roots that are not there.", NODE, U32, S(roots_missing)},
	{"hotdrain_events_total", counter, "Events of files and directories.", NODE, U64, S(events)},
	{"hotdrain_event_overflows_total", counter, "Times the kernel's queue of events overflowed.", NODE, U64, S(overflows)},
	{"hotdrain_rescans_total", counter, "Times everything was listed anew.", NODE, U64, S(rescans)},
	{"hotdrain_event_queue_depth", gauge, "Events that wait for the event loop.", NODE, U64, S(queue_depth)},
	{"hotdrain_event_queue_blocked_total", counter, "Times the queue of events was full.", NODE, U64, S(queue_blocked)},

	{"hotdrain_held_deleted_bytes", gauge, "Unread bytes of removed files that are held open.", NODE, U64, S(held_bytes)},
	{"hotdrain_batches", gauge, "Batches there are.", NODE, U32, S(batches)},
	{"hotdrain_batches_out", gauge, "Batches that sinks hold.", NODE, U32, S(batches_out)},
	{"hotdrain_blocked_seconds_total", counter, "Time in which reading waited for a free batch.", NODE, NS, S(blocked_ns)},

	{"hotdrain_bpf_misses_total", counter, "Runs of its programs that the kernel left out.", NODE, U64, S(bpf_misses)},
	{"hotdrain_bpf_refused_total", counter, "Writes to watched files that the kernel could not count.", NODE, U64, S(bpf_refused)},
	{"hotdrain_bpf_records_dropped_total", counter, "Records from the kernel for which there was no room.", NODE, U64, S(bpf_no_records)},
	{"hotdrain_bpf_wakeups_total", counter, "Times the kernel woke hotdrain for a file.", NODE, U64, S(bpf_woken)},
	{"hotdrain_bpf_enrolled_total", counter, "Files that the kernel took up by itself.", NODE, U64, S(bpf_enrolled)},

	{"hotdrain_malformed_lines_total", counter, "Lines not of their file's format, delivered as they were.", NODE, U64, S(malformed_lines)},
	{"hotdrain_cut_records_total", counter, "Records cut at the longest line.", NODE, U64, S(cut_records)},
	{"hotdrain_cut_bytes_total", counter, "Bytes of lines beyond the longest.", NODE, U64, S(cut_bytes)},
	{"hotdrain_hole_bytes_total", counter, "NULs in files that nobody wrote.", NODE, U64, S(hole_bytes)},

	{"hotdrain_checkpoint_saves_total", counter, "Checkpoints written.", NODE, U64, S(saves)},
	{"hotdrain_checkpoint_failures_total", counter, "Checkpoints that could not be written.", NODE, U64, S(save_failures)},
	{"hotdrain_checkpoint_age_seconds", gauge, "Time since the last checkpoint.", .put = put_save_age},
	{"hotdrain_reloads_total", counter, "Times the configuration was read again and taken.", NODE, U64, S(reloads)},
	{"hotdrain_reload_failures_total", counter, "Times it was read again and refused.", NODE, U64, S(reload_failures)},

	{"hotdrain_sink_batches_total", counter, "Batches acknowledged.", .kind = U64, K(batches)},
	{"hotdrain_sink_records_total", counter, "Records acknowledged.", .kind = U64, K(records)},
	{"hotdrain_sink_bytes_total", counter, "Bytes given to the sink, in its own format.", .kind = U64, K(bytes)},
	{"hotdrain_sink_invalid_records_total", counter, "Records with text that was not UTF-8.", .kind = U64, K(invalid_records)},
	{"hotdrain_sink_retries_total", counter, "Attempts after one that failed.", .kind = U64, K(retries)},
	{"hotdrain_sink_failing", gauge, "Whether its last attempt failed.", .kind = FLAG, K(failing)},

	{"hotdrain_latency_seconds", "histogram", "From a write to its acknowledgement by every sink, by batches' spans.", .put = put_latency},
	{"process_cpu_seconds_total", counter, "User and system CPU time.", NODE, SECONDS, S(cpu_s)},
	{"process_resident_memory_bytes", gauge, "Resident memory.", NODE, U64, S(rss_bytes)},

	{"log_logged_bytes_total", counter, "Bytes written to the container's log.", .kind = U64, R(account.written)},
	{"hotdrain_written_bytes_total", counter, "Bytes written to the container's log.", .kind = U64, R(account.written)},
	{"hotdrain_read_bytes_total", counter, "Bytes read from the container's log.", .kind = U64, R(account.read)},
	{"hotdrain_delivered_bytes_total", counter, "Bytes of the container's log that every sink has acknowledged.", .kind = U64, R(account.delivered)},
	{"hotdrain_uncounted_bytes_total", counter, "Bytes that the container's log grew by beside the writes that were counted.", .kind = U64, R(account.uncounted)},
	{"hotdrain_records_total", counter, "Records made of the container's log lines.", .kind = U64, R(account.records)},
	{"hotdrain_lost_bytes_total", counter, "Bytes of the container's log that could not be read any more, as far as they are known.", .of = ROW, .put = put_lost, LOST_BYTES},
	{"hotdrain_lost_events_total", counter, "Files or truncations by which bytes of the container's log were lost.", .of = ROW, .put = put_lost, LOST_EVENTS},
	{"hotdrain_pending_bytes", gauge, "Bytes of the container's log neither acknowledged nor lost.", .kind = U64, R(account.pending)},
	{"hotdrain_backlog_bytes", gauge, "Bytes of the container's log that are not yet read.", .kind = U64, R(backlog_bytes)},
	{"hotdrain_oldest_unread_age_seconds", gauge, "Age of the container's oldest unread byte; 0 without one.", .of = ROW, .put = put_oldest},
	{"hotdrain_write_rate_bytes_per_second", gauge, "How fast the container writes, smoothed.", .kind = U64, R(rate)},
	{"hotdrain_deadline_seconds", gauge, "Time until unread bytes are predicted to be rotated away; +Inf when that is not in sight.", .of = ROW, .put = put_deadline},
	{"hotdrain_generations_waiting", gauge, "Files of the container that wait to be read.", .kind = U32, R(generations)},
	{"hotdrain_rotations_total", counter, "Rotations of the container's log.", .kind = U32, R(rotations)},
};
/* clang-format on */

/* From row on as many as fit into a piece; true when the family is finished. */
static bool put_rows(struct prometheus *p, struct text *t, const struct family *f)
{
	for (; p->row < p->s->n_rows; p->row++) {
		const struct status_row *row = &p->s->rows[p->row];

		if (t->failure || t->buf->len - t->began >= PIECE_BYTES)
			return false;
		if (f->put)
			f->put(p, t, f, row);
		else
			put_row(p, t, f, row);
	}
	return true;
}

static bool put_family(struct prometheus *p, struct text *t, const struct family *f)
{
	if (f->of == ROW)
		return put_rows(p, t, f);
	if (f->put)
		f->put(p, t, f, NULL);
	else if (f->of == SINK)
		put_sinks(p, t, f);
	else
		put_node(p, t, f);
	return true;
}

int prometheus_next(struct prometheus *p, struct buf *out)
{
	struct text t = text_begin(out);
	struct prometheus at = *p;

	while (at.family < ARRAY_SIZE(families) && !t.failure && out->len - t.began < PIECE_BYTES) {
		if (!put_family(&at, &t, &families[at.family]))
			break;
		at.family++;
		at.row = 0;
		at.headed = false;
	}
	if (text_end(&t) < 0)
		return t.failure;
	*p = at;
	return at.family < ARRAY_SIZE(families);
}

int prometheus_text(const struct status *s, struct buf *out)
{
	struct prometheus p = prometheus_begin(s);
	size_t began = out->len;
	int r;

	do
		r = prometheus_next(&p, out);
	while (r > 0);
	if (r < 0)
		out->len = began;
	return r;
}
