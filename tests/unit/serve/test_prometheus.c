/* SPDX-License-Identifier: Apache-2.0 */
/* Golden text of one status, and what must hold for any: read back by a parser of the format's
 * grammar that knows nothing of the writer. promtool's verdict is in the end-to-end suite too. */
#include "test.h"

#include <unistd.h>

#include "base/buf.h"
#include "serve/prometheus.h"
#include "status_world.h"

#define T(name) cmocka_unit_test(name)

/* The caller frees. */
static char *text_of(const struct status *s)
{
	struct buf out = {0};

	assert_int_equal(buf_add(&out, ">", 1), 0); /* what is there already stays */
	assert_int_equal(prometheus_text(s, &out), 0);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_int_equal(out.data[0], '>');
	memmove(out.data, out.data + 1, out.len - 1);
	return out.data;
}

static void assert_has(const char *text, const char *lines)
{
	const char *at = strstr(text, lines);

	if (!at || (at > text && at[-1] != '\n'))
		fail_msg("these lines are missing:\n%s\nin:\n%s", lines, text);
}

static void one_status_in_full(void **state)
{
	struct status s;
	char *text;

	status_sample(&s);
	assert_int_equal(status_merge(&s), 0);
	text = text_of(&s);
	assert_has(text, "# HELP hotdrain_build_info The version, in a label; always 1.\n"
			 "# TYPE hotdrain_build_info gauge\n"
			 "hotdrain_build_info{version=\"0.1.0\"} 1\n");
	assert_has(text, "hotdrain_bpf_rung{rung=\"fs\"} 1\n");
	assert_has(text, "hotdrain_ledger_proof{proof=\"proven\"} 1\n");
	assert_has(text, "hotdrain_order{order=\"hot\"} 1\n");
	assert_has(text, "hotdrain_start_time_seconds 1699999940.25\n");
	assert_has(text, "hotdrain_scanned 1\n");
	assert_has(text, "hotdrain_node_written_bytes_total 5000\n");
	assert_has(text, "# TYPE hotdrain_node_lost_bytes_total counter\n"
			 "hotdrain_node_lost_bytes_total{reason=\"rotated_away\"} 0\n"
			 "hotdrain_node_lost_bytes_total{reason=\"truncated\"} 100\n"
			 "hotdrain_node_lost_bytes_total{reason=\"held_cap\"} 0\n"
			 "hotdrain_node_lost_bytes_total{reason=\"gz_corrupt\"} 0\n"
			 "hotdrain_node_lost_bytes_total{reason=\"vanished\"} 0\n");
	assert_has(text, "hotdrain_node_lost_events_total{reason=\"truncated\"} 2\n");
	assert_has(text, "hotdrain_files{state=\"hot\"} 2\nhotdrain_files{state=\"idle\"} 1\n"
			 "hotdrain_files{state=\"slow\"} 1\nhotdrain_files{state=\"closed\"} 0\n"
			 "hotdrain_files{state=\"uncounted\"} 0\n");
	assert_has(text, "hotdrain_blocked_seconds_total 1.5\n");
	assert_has(text, "hotdrain_checkpoint_age_seconds 0.5\n");
	assert_has(text, "hotdrain_sink_batches_total{sink=\"stdout\"} 7\n"
			 "hotdrain_sink_batches_total{sink=\"stdout#2\"} 0\n");
	assert_has(text, "hotdrain_sink_failing{sink=\"stdout\"} 0\n"
			 "hotdrain_sink_failing{sink=\"stdout#2\"} 1\n");
	assert_has(text, "# TYPE hotdrain_latency_seconds histogram\n"
			 "hotdrain_latency_seconds_bucket{le=\"0.001\"} 3\n"
			 "hotdrain_latency_seconds_bucket{le=\"0.0025\"} 3\n"
			 "hotdrain_latency_seconds_bucket{le=\"0.005\"} 3\n"
			 "hotdrain_latency_seconds_bucket{le=\"0.01\"} 3\n"
			 "hotdrain_latency_seconds_bucket{le=\"0.025\"} 5\n");
	assert_has(text, "hotdrain_latency_seconds_bucket{le=\"60\"} 5\n"
			 "hotdrain_latency_seconds_bucket{le=\"+Inf\"} 6\n"
			 "hotdrain_latency_seconds_sum 61.25\nhotdrain_latency_seconds_count 6\n");
	assert_has(text, "process_cpu_seconds_total 0.125\n");
	assert_has(text, "process_resident_memory_bytes 8388608\n");

	assert_has(text,
		   "log_logged_bytes_total{namespace=\"shop\",podname=\"web\",poduuid=\"" UID_A
		   "\",containername=\"app\",path=\"" PODS "shop_web_" UID_A "/app\"} 1500\n");
	assert_has(text, "# TYPE hotdrain_lost_bytes_total counter\n"
			 "hotdrain_lost_bytes_total{namespace=\"\",podname=\"\",poduuid=\"\","
			 "containername=\"\",path=\"/var/log/\\\"odd\\\\\\n.log\","
			 "reason=\"truncated\"} 100\n# HELP");
#define A                                                                                  \
	"{namespace=\"shop\",podname=\"web\",poduuid=\"" UID_A "\",containername=\"app\"," \
	"path=\"" PODS "shop_web_" UID_A "/app\"} "
#define B                                                                                  \
	"{namespace=\"shop\",podname=\"web\",poduuid=\"" UID_B "\",containername=\"app\"," \
	"path=\"" PODS "shop_web_" UID_B "/app\"} "
	assert_has(text, "hotdrain_deadline_seconds" A "30\nhotdrain_deadline_seconds" B "+Inf\n");
	assert_has(text, "hotdrain_oldest_unread_age_seconds" A
			 "10\nhotdrain_oldest_unread_age_seconds" B "0\n");
	assert_has(text, "hotdrain_rotations_total" A "3\n");
	assert_has(text, "hotdrain_write_rate_bytes_per_second" A "15\n");
	assert_has(text, "hotdrain_backlog_bytes" B "8\n");
	free(text);
	status_done(&s);
}

/* What is not there has no header either; what never was is no 0. */
static void nothing_of_nothing(void **state)
{
	struct status s = {.save_age_ns = -1};
	char *text;

	assert_int_equal(status_merge(&s), 0);
	text = text_of(&s);
	assert_null(strstr(text, "log_logged"));
	assert_null(strstr(text, "hotdrain_lost_bytes_total"));
	assert_null(strstr(text, "hotdrain_sink"));
	assert_null(strstr(text, "checkpoint_age"));
	assert_has(text, "hotdrain_scanned 0\n");
	free(text);
	status_done(&s);
}

/* The format's grammar */

static size_t name_len(const char *p)
{
	return strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_");
}

/* {a="…",b="…"}: its end. */
static const char *labels_end(const char *p)
{
	do {
		size_t n = name_len(++p);

		assert_true(n > 0);
		p += n;
		assert_memory_equal(p, "=\"", 2);
		for (p += 2; *p != '"'; p++) {
			assert_true(*p != '\n' && *p != '\0');
			if (*p == '\\') {
				p++;
				assert_true(*p == '\\' || *p == '"' || *p == 'n');
			}
		}
		p++;
	} while (*p == ',');
	assert_int_equal(*p, '}');
	return p + 1;
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

struct seen {
	char **lines; /* a series each, or "# TYPE NAME " */
	size_t n;
};

static void seen_add(struct seen *s, const char *what, size_t len)
{
	s->lines = reallocarray(s->lines, s->n + 1, sizeof(*s->lines));
	assert_non_null(s->lines);
	s->lines[s->n++] = strndup(what, len);
}

/* Each sample belongs to the family whose header came last, each family and series is there once.
 * Counts the series. */
static size_t assert_grammar(char *text)
{
	struct seen seen = {0};
	size_t samples = 0, family_len = 0;
	const char *family = "";

	for (char *line = text, *end; *line; line = end + 1) {
		const char *p = line;

		end = strchr(line, '\n');
		assert_non_null(end);
		if (strncmp(line, "# HELP ", 7) == 0) {
			family = line + 7;
			family_len = name_len(family);
			assert_true(end > family + family_len + 2);
			seen_add(&seen, line, 7 + family_len + 1);
			assert_memory_equal(end + 1, "# TYPE ", 7);
			assert_memory_equal(end + 8, family, family_len + 1);
			end = strchr(end + 1, '\n');
			assert_memory_not_equal(end + 1, "#", 1); /* a header without samples */
			continue;
		}
		assert_true(name_len(p) >= family_len && !memcmp(p, family, family_len));
		p += name_len(p);
		if (*p == '{')
			p = labels_end(p);
		assert_int_equal(*p, ' ');
		seen_add(&seen, line, (size_t)(p - line));
		p++;
		if (strncmp(p, "+Inf\n", 5) != 0)
			assert_int_equal(strspn(p, "0123456789."), end - p);
		samples++;
	}
	qsort(seen.lines, seen.n, sizeof(*seen.lines), compare_lines);
	for (size_t i = 0; i < seen.n; i++) {
		if (i && strcmp(seen.lines[i - 1], seen.lines[i]) == 0)
			fail_msg("twice: %s", seen.lines[i]);
	}
	for (size_t i = 0; i < seen.n; i++)
		free(seen.lines[i]);
	free(seen.lines);
	return samples;
}

/* Containers of every kind, of which many have the same names. */
static void random_rows(struct status *s, int n)
{
	static const char bytes[] = "ab_/.-\"\\\n\xff\xc3\xa9\x01";
	char path[300];

	for (int i = 0; i < n; i++) {
		size_t len = (size_t)snprintf(path, sizeof(path), "/r%d/", rand() % 3);

		if (rand() % 2) {
			snprintf(path, sizeof(path), PODS "n%d_p%d_u%d/c%d\xff/%d.log", rand() % 3,
				 rand() % 9, rand() % 3, rand() % 3, rand() % 3);
		} else {
			for (int k = rand() % 5; k >= 0; k--)
				path[len++] = bytes[(size_t)rand() % (sizeof(bytes) - 1)];
			path[len] = '\0';
		}
		row_of(s, path, 10 + (uint64_t)(rand() % 1000))->account.lost[rand() % 5].events =
			(uint64_t)(rand() % 2);
	}
}

static void every_series_is_there_once(void **state)
{
	srand(2);
	for (int round = 0; round < 30; round++) {
		struct status s;
		char *text;

		status_sample(&s);
		random_rows(&s, round * round);
		assert_int_equal(status_merge(&s), 0);
		text = text_of(&s);
		assert_true(assert_grammar(text) > 80 + 13 * s.n_rows);
		free(text);
		status_done(&s);
	}
}

/* However many containers: no piece is much longer than the longest row. */
static void pieces_are_small(void **state)
{
	struct buf out = {0}, whole = {0};
	struct prometheus p;
	struct status s;
	size_t len = 0;
	int r;

	status_sample(&s);
	srand(3);
	random_rows(&s, 5000);
	for (int i = 0; i < 3000; i++) {
		char path[64];

		snprintf(path, sizeof(path), PODS "many_p%d_u/c/0.log", i);
		row_of(&s, path, 20);
	}
	assert_int_equal(status_merge(&s), 0);
	assert_int_equal(prometheus_text(&s, &whole), 0);
	assert_true(whole.len > 1024 * 1024);
	p = prometheus_begin(&s);
	do {
		out.len = 0;
		r = prometheus_next(&p, &out);
		assert_true(r >= 0);
		assert_true(out.len > 0 && out.len <= 17 * 1024);
		assert_memory_equal(out.data, whole.data + len, out.len);
		len += out.len;
	} while (r);
	assert_int_equal(len, whole.len);
	buf_done(&out);
	buf_done(&whole);
	status_done(&s);
}

/* Prometheus' own opinion. */
static void promtool_finds_nothing(void **state)
{
	char command[600], *dir, *text, path[200];
	struct status s;
	int status;

	if (system("command -v promtool >/dev/null 2>&1")) {
		print_message("# skipped: no promtool (prometheus)\n");
		skip();
	}
	status_sample(&s);
	srand(4);
	random_rows(&s, 200);
	assert_int_equal(status_merge(&s), 0);
	text = text_of(&s);
	dir = test_dir_make();
	snprintf(path, sizeof(path), "%s/metrics", dir);
	test_write(path, "w", text);
	snprintf(command, sizeof(command), "promtool check metrics <%s >%s.out 2>&1", path, path);
	status = system(command);
	snprintf(command, sizeof(command), "sed 's/^/# /' %s.out; ! grep -q . %s.out", path, path);
	assert_int_equal(system(command), 0);
	assert_int_equal(status, 0);
	test_dir_remove(dir);
	free(text);
	status_done(&s);
}

static const struct CMUnitTest tests[] = {
	T(one_status_in_full), T(nothing_of_nothing),     T(every_series_is_there_once),
	T(pieces_are_small),   T(promtool_finds_nothing),
};

RUN_TESTS(tests)
