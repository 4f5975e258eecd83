/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "account/ledger.h"
#include "base/buf.h"
#include "base/sys.h"

#define UID_A "1f6c9e52-0000-1111-2222-333344445555"
#define UID_B "2a6c9e52-0000-1111-2222-333344445555"
#define PODS  "/var/log/pods/"

static const struct ledger_head proven = {.proof = LEDGER_PROVEN};

/* Closes: written is read, delivered and pending n, 10 and n - 10. */
static struct ledger_entry entry(uint64_t written)
{
	return (struct ledger_entry){.written = written,
				     .read = written - 5,
				     .delivered = written - 10,
				     .pending = 10,
				     .records = 1};
}

static struct ledger_entry with_lost(uint64_t written, enum lost_reason why, uint64_t bytes,
				     uint64_t events)
{
	struct ledger_entry e = entry(written);

	e.written += bytes;
	e.lost[why] = (struct lost){bytes, events};
	return e;
}

struct put {
	const char *path;
	struct ledger_entry e;
};

/* The caller frees. */
static char *text_of(enum ledger_format format, const struct ledger_head *head,
		     const struct put *puts, size_t n)
{
	struct ledger l;
	struct buf out = {0};

	ledger_begin(&l, head);
	for (size_t i = 0; i < n; i++)
		ledger_put(&l, puts[i].path, &puts[i].e);
	assert_int_equal(buf_add(&out, "> ", 2), 0); /* what is there already stays */
	assert_int_equal(ledger_end(&l, format, &out), 0);
	assert_null(l.logs);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_memory_equal(out.data, "> ", 2);
	memmove(out.data, out.data + 2, out.len - 2);
	return out.data;
}

static void assert_text(enum ledger_format format, const struct ledger_head *head,
			const struct put *puts, size_t n, const char *want)
{
	char *text = text_of(format, head, puts, n);

	assert_string_equal(text, want);
	free(text);
}

/* Each of the strings, in this order. */
static void assert_order(const char *text, const char *const *want, size_t n)
{
	const char *at = text;

	for (size_t i = 0; i < n; i++) {
		at = strstr(at, want[i]);
		if (!at)
			fail_msg("no %s, or not there, in %s", want[i], text);
		at += strlen(want[i]);
	}
}

static size_t count(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static void each_term_counts_in_the_check(void **state)
{
	struct ledger_entry e = {.written = 100, .uncounted = 7, .delivered = 60, .pending = 20};

	assert_int_equal(ledger_check(&e), 27);
	e.lost[LOST_TRUNCATED] = (struct lost){20, 1};
	e.lost[LOST_VANISHED] = (struct lost){7, 3};
	assert_int_equal(ledger_check(&e), 0);
	assert_int_equal(ledger_lost_bytes(&e), 27);
	e.pending++;
	assert_int_equal(ledger_check(&e), -1);
	e.delivered--;
	e.written++;
	assert_int_equal(ledger_check(&e), 1);
	e.uncounted--;
	assert_int_equal(ledger_check(&e), 0);
	e.read = 12345;
	e.records = 99;
	e.lost[LOST_GZ_CORRUPT].events = 5;
	assert_int_equal(ledger_check(&e), 0);
}

static void every_reason_is_a_term(void **state)
{
	for (int i = 0; i < LOST_REASONS; i++) {
		struct ledger_entry e = {.written = 10};

		e.lost[i].bytes = 10;
		assert_int_equal(ledger_check(&e), 0);
	}
}

static void sums_close_when_their_parts_do_even_beyond_64_bits(void **state)
{
	struct ledger_entry sum = {0}, e = with_lost(UINT64_MAX - 50, LOST_HELD_CAP, 40, 1);

	assert_int_equal(ledger_check(&e), 0);
	for (int i = 0; i < 3; i++) {
		ledger_add(&sum, &e);
		assert_int_equal(ledger_check(&sum), 0);
	}
	assert_true(sum.lost[LOST_HELD_CAP].bytes == 120 && sum.lost[LOST_HELD_CAP].events == 3);
	assert_true(sum.records == 3 && sum.pending == 30);
}

static void adding_adds_every_field_and_subtracting_takes_it_away(void **state)
{
	struct ledger_entry a, b, sum;
	uint64_t *p = (uint64_t *)&a, *q = (uint64_t *)&b, *r = (uint64_t *)&sum;
	size_t n = sizeof(a) / sizeof(*p);

	_Static_assert(sizeof(a) % sizeof(*p) == 0, "only such fields");
	for (size_t i = 0; i < n; i++) {
		p[i] = i + 1;
		q[i] = 1000 * (i + 1);
	}
	sum = a;
	ledger_add(&sum, &b);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(r[i], 1001 * (i + 1));
	ledger_sub(&sum, &b);
	assert_memory_equal(&sum, &a, sizeof(sum));
}

static void reasons_have_different_names_of_small_letters(void **state)
{
	for (int i = 0; i < LOST_REASONS; i++) {
		const char *name = lost_name((enum lost_reason)i);

		assert_true(*name && name[strspn(name, "abcdefghijklmnopqrstuvwxyz_")] == '\0');
		for (int j = 0; j < i; j++)
			assert_string_not_equal(name, lost_name((enum lost_reason)j));
	}
}

#define NOTHING                                                                               \
	"\"written\":0,\"read\":0,\"delivered\":0,\"pending\":0,\"uncounted\":0,\"lost\":{}," \
	"\"lost_events\":{}"

static void nothing_is_a_ledger_too(void **state)
{
	const struct ledger_entry zero = {0};
	const struct put gone = {NULL, zero};

	assert_text(LEDGER_JSON, &proven, NULL, 0,
		    "{\"total\":{" NOTHING "},\"containers\":[],\"proof\":\"proven\",\"why\":\"\","
		    "\"missed\":0}\n");
	assert_text(LEDGER_JSON, &proven, &gone, 1,
		    "{\"total\":{" NOTHING "},\"containers\":[],\"proof\":\"proven\",\"why\":\"\","
		    "\"missed\":0}\n");
	assert_text(LEDGER_TABLE, &proven, NULL, 0,
		    "CONTAINER  WRITTEN  READ  DELIVERED  PENDING  LOST  UNCOUNTED\n"
		    "TOTAL            0     0          0        0     0          0\n"
		    "proven: every truncation and every write was counted\n");
}

static void json_is_as_the_header_shows_it(void **state)
{
	const struct ledger_head head = {LEDGER_LOWER_BOUND, "bpf is \"off\"", 0};
	struct put puts[] = {
		{PODS "ns_web-0_" UID_A "/app/0.log", with_lost(1000, LOST_TRUNCATED, 50, 2)},
		{PODS "ns_web-0_" UID_A "/app/1.log", with_lost(100, LOST_VANISHED, 0, 1)},
		{"/srv/a.log", entry(20)},
		{NULL, with_lost(30, LOST_TRUNCATED, 1, 1)},
	};

	puts[2].e.uncounted = 3;
	assert_text(
		LEDGER_JSON, &head, puts, ARRAY_SIZE(puts),
		"{\"total\":{\"written\":1201,\"read\":1130,\"delivered\":1110,\"pending\":40,"
		"\"uncounted\":3,\"lost\":{\"truncated\":51,\"vanished\":0},"
		"\"lost_events\":{\"truncated\":3,\"vanished\":1}},\"containers\":["
		"{\"namespace\":\"\",\"podname\":\"\",\"poduuid\":\"\",\"containername\":\"\","
		"\"path\":\"/srv/a.log\",\"log_logged_bytes_total\":20,\"written\":20,\"read\":15,"
		"\"delivered\":10,\"pending\":10,\"uncounted\":3,\"lost\":{},\"lost_events\":{}},"
		"{\"namespace\":\"ns\",\"podname\":\"web-0\",\"poduuid\":\"" UID_A "\","
		"\"containername\":\"app\",\"path\":\"" PODS "ns_web-0_" UID_A "/app\","
		"\"log_logged_bytes_total\":1150,\"written\":1150,\"read\":1090,"
		"\"delivered\":1080,\"pending\":20,\"uncounted\":0,"
		"\"lost\":{\"truncated\":50,\"vanished\":0},"
		"\"lost_events\":{\"truncated\":2,\"vanished\":1}},"
		"{\"namespace\":\"\",\"podname\":\"\",\"poduuid\":\"\","
		"\"containername\":\"(gone)\",\"path\":\"\",\"log_logged_bytes_total\":31,"
		"\"written\":31,\"read\":25,\"delivered\":20,\"pending\":10,\"uncounted\":0,"
		"\"lost\":{\"truncated\":1},\"lost_events\":{\"truncated\":1}}],"
		"\"proof\":\"lower_bound\",\"why\":\"bpf is \\\"off\\\"\",\"missed\":0}\n");
}

static void table_is_as_a_person_wants_it(void **state)
{
	struct put puts[] = {
		{PODS "ns_web-0_" UID_A "/app/1.log", with_lost(123456, LOST_VANISHED, 0, 1)},
		{PODS "ns_web-0_" UID_A "/app/0.log", with_lost(1000, LOST_TRUNCATED, 50, 2)},
		{"/srv/a.log", entry(20)},
		{NULL, with_lost(30, LOST_ROTATED_AWAY, 1, 1)},
	};
	struct ledger_head head = proven;
	char text[2000];
	static const char rows[] =
		"CONTAINER     WRITTEN    READ  DELIVERED  PENDING  LOST  UNCOUNTED\n"
		"/srv/a.log         20      15         10       10     0          0\n"
		"ns/web-0/app   124506  124446     124436       20    50          0\n"
		"(gone)             31      25         20       10     1          0\n"
		"TOTAL          124557  124486     124466       40    51          0\n"
		"lost in ns/web-0/app: truncated, 50 bytes, 2 times\n"
		"lost in ns/web-0/app: vanished, 0 bytes, 1 times\n"
		"lost in (gone): rotated_away, 1 bytes, 1 times\n";
	static const struct {
		struct ledger_head head;
		const char *last;
	} proofs[] = {
		{{LEDGER_PROVEN, "", 0}, "proven: every truncation and every write was counted\n"},
		{{LEDGER_ESTIMATED, "", 12}, "estimated: the kernel left out 12 counts\n"},
		{{LEDGER_LOWER_BOUND, "no program could be attached", 0},
		 "lower bound: no program could be attached\n"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(proofs); i++) {
		head = proofs[i].head;
		snprintf(text, sizeof(text), "%s%s", rows, proofs[i].last);
		assert_text(LEDGER_TABLE, &head, puts, ARRAY_SIZE(puts), text);
	}
}

static void what_does_not_close_is_said(void **state)
{
	struct put puts[] = {{"/a.log", entry(100)}};
	char *text;

	puts[0].e.written = 103;
	text = text_of(LEDGER_TABLE, &proven, puts, 1);
	assert_non_null(strstr(text,
			       "\ndoes not close: written and uncounted are 3 bytes more than "
			       "delivered, pending and lost\nproven"));
	free(text);
	puts[0].e.written = 99;
	text = text_of(LEDGER_TABLE, &proven, puts, 1);
	assert_non_null(strstr(text, " are 1 bytes less than delivered, pending and lost\n"));
	free(text);
	puts[0].e.written = 100;
	text = text_of(LEDGER_TABLE, &proven, puts, 1);
	assert_null(strstr(text, "does not close"));
	free(text);
}

static void largest_figures_have_room(void **state)
{
	struct put puts[] = {{"/a.log", {.written = UINT64_MAX, .pending = UINT64_MAX}}};
	char *text = text_of(LEDGER_TABLE, &proven, puts, 1);

	assert_order(text,
		     (const char *[]){"CONTAINER               WRITTEN  READ  DELIVERED  "
				      "             PENDING  LOST  UNCOUNTED\n",
				      "/a.log     18446744073709551615     0          0  "
				      "18446744073709551615     0          0\n"},
		     2);
	free(text);
}

static void logs_of_one_container_are_one_line(void **state)
{
	const struct put puts[] = {
		{PODS "ns_web-0_" UID_A "/app/10.log", entry(100)},
		{PODS "ns_web-0_" UID_A "/side/0.log", entry(100)},
		{PODS "ns_web-0_" UID_A "/app/0.log", entry(100)},
		{PODS "ns_web-0_" UID_B "/app/0.log", entry(100)}, /* the pod, made again */
		{PODS "ns_web-0_" UID_A "/app/9.log", entry(100)},
		{PODS "ns_web_" UID_A "/app/0.log", entry(100)},
		{PODS "n_web-0_" UID_A "/app/0.log", entry(100)},
		{PODS "ns_web-0_" UID_A "/app/0.log", entry(100)}, /* again */
	};
	static const char *const want[] = {
		"{\"namespace\":\"n\",\"podname\":\"web-0\"",
		"{\"namespace\":\"ns\",\"podname\":\"web\"",
		"{\"namespace\":\"ns\",\"podname\":\"web-0\",\"poduuid\":\"" UID_A
		"\",\"containername\":\"app\",\"path\":\"" PODS "ns_web-0_" UID_A
		"/app\",\"log_logged_bytes_total\":400,",
		"{\"namespace\":\"ns\",\"podname\":\"web-0\",\"poduuid\":\"" UID_B
		"\",\"containername\":\"app\"",
		"\"containername\":\"side\"",
		"\"proof\"",
	};
	char *text = text_of(LEDGER_JSON, &proven, puts, ARRAY_SIZE(puts));

	assert_order(text, want, ARRAY_SIZE(want));
	assert_int_equal(count(text, "\"namespace\""), 5);
	free(text);
	text = text_of(LEDGER_TABLE, &proven, puts, ARRAY_SIZE(puts));
	assert_order(text,
		     (const char *[]){"\nn/web-0/app ", "\nns/web/app ",
				      "\nns/web-0/app (" UID_A ") ", "\nns/web-0/app (" UID_B ") ",
				      "\nns/web-0/side "},
		     5);
	free(text);
}

static void links_of_one_container_are_one_line_by_their_path(void **state)
{
	const struct put puts[] = {
		{"/var/log/containers/web-0_ns_app-bbbbbbbbbbbb2222.log", entry(100)},
		{"/var/log/containers/web-0_ns_app-aaaaaaaaaaaa1111.log", entry(50)},
	};
	char *text = text_of(LEDGER_JSON, &proven, puts, ARRAY_SIZE(puts));

	assert_int_equal(count(text, "\"namespace\""), 1);
	assert_non_null(strstr(
		text, "\"namespace\":\"ns\",\"podname\":\"web-0\",\"poduuid\":\"\","
		      "\"containername\":\"app\",\"path\":\"/var/log/containers/"
		      "web-0_ns_app-aaaaaaaaaaaa1111.log\",\"log_logged_bytes_total\":150,"));
	free(text);
}

static void other_logs_are_a_line_each_by_their_path(void **state)
{
	const struct put puts[] = {{"/srv/b.log", entry(100)},
				   {"/srv/a.log", entry(100)},
				   {"/srv/b.log", entry(100)},
				   {"/", entry(100)}};
	char *text = text_of(LEDGER_JSON, &proven, puts, ARRAY_SIZE(puts));

	assert_int_equal(count(text, "\"namespace\""), 3);
	assert_order(text,
		     (const char *[]){"\"path\":\"/\"", "\"path\":\"/srv/a.log\"",
				      "\"path\":\"/srv/b.log\",\"log_logged_bytes_total\":200"},
		     3);
	free(text);
}

static void gone_ones_add_up_and_are_shown_when_only_an_event_is_left(void **state)
{
	struct put puts[] = {{NULL, entry(100)}, {"/a", entry(10)}, {NULL, entry(11)}};
	char *text = text_of(LEDGER_JSON, &proven, puts, ARRAY_SIZE(puts));

	assert_int_equal(count(text, "(gone)"), 1);
	assert_non_null(strstr(text, "\"(gone)\",\"path\":\"\",\"log_logged_bytes_total\":111,"));
	assert_non_null(strstr(text, "{\"total\":{\"written\":121,"));
	free(text);
	memset(&puts[0].e, 0, sizeof(puts[0].e));
	puts[0].e.lost[LOST_VANISHED].events = 1;
	text = text_of(LEDGER_JSON, &proven, puts, 1);
	assert_int_equal(count(text, "(gone)"), 1);
	assert_int_equal(count(text, "\"lost\":{\"vanished\":0},\"lost_events\":{\"vanished\":1}"),
			 2);
	free(text);
}

static void lost_is_known_before_the_end(void **state)
{
	struct ledger_entry e = entry(10);
	struct buf out = {0};
	struct ledger l;

	ledger_begin(&l, &proven);
	assert_false(ledger_lost(&l));
	ledger_put(&l, "/a", &e);
	assert_false(ledger_lost(&l));
	e.lost[LOST_VANISHED].events = 1;
	ledger_put(&l, NULL, &e);
	assert_true(ledger_lost(&l));
	assert_int_equal(ledger_end(&l, LEDGER_TABLE, &out), 0);
	buf_done(&out);
}

static void names_are_escaped(void **state)
{
	const struct put puts[] = {
		{PODS "n\"s_p\\d_u\nid/c\x01\xff\xc3\xa4/0.log", entry(100)},
		{"/odd\t\x7f\xf0\x9f\x98\x80\xe2\x82/\"", entry(100)},
	};
	char *text = text_of(LEDGER_JSON, &proven, puts, ARRAY_SIZE(puts));

	assert_order(text,
		     (const char *[]){
			     "\"path\":\"/odd\\t\x7f\xf0\x9f\x98\x80\xef\xbf\xbd/\\\"\",",
			     "{\"namespace\":\"n\\\"s\",\"podname\":\"p\\\\d\",\"poduuid\":"
			     "\"u\\nid\",\"containername\":\"c\\u0001\xef\xbf\xbd\xc3\xa4\","
			     "\"path\":\"" PODS "n\\\"s_p\\\\d_u\\nid/c\\u0001\xef\xbf\xbd\xc3\xa4"
			     "\",",
		     },
		     2);
	assert_int_equal(count(text, "\n"), 1);
	free(text);
	text = text_of(LEDGER_TABLE, &proven, puts, ARRAY_SIZE(puts));
	assert_order(text,
		     (const char *[]){"\n/odd??\xf0\x9f\x98\x80\xe2\x82/\" ",
				      "\nn\"s/p\\d/c?\xff\xc3\xa4 "},
		     2);
	assert_int_equal(count(text, "\n"), 5);
	free(text);
}

static void a_why_without_an_end_is_cut(void **state)
{
	struct ledger_head head = {.proof = LEDGER_LOWER_BOUND};
	char *text;

	memset(head.why, 'w', sizeof(head.why));
	head.missed = UINT64_MAX; /* what is behind it is no part of it */
	text = text_of(LEDGER_JSON, &head, NULL, 0);
	assert_non_null(strstr(text, "www\",\"missed\":18446744073709551615}\n"));
	assert_int_equal(count(text, "w"), 3 + sizeof(head.why)); /* written, lower, why */
	free(text);
	text = text_of(LEDGER_TABLE, &head, NULL, 0);
	assert_int_equal(count(text, "w"), 1 + sizeof(head.why)); /* lower */
	free(text);
}

static void long_names_move_only_their_own_row(void **state)
{
	char path[4096];
	struct put puts[] = {{path, entry(100)}, {"/b", entry(100)}};
	char *text;

	memset(path, 'x', sizeof(path) - 1);
	path[0] = '/';
	path[sizeof(path) - 1] = '\0';
	text = text_of(LEDGER_TABLE, &proven, puts, 2);
	assert_int_equal(strchr(text, '\n') - text,
			 64 + strlen("  WRITTEN  READ  DELIVERED  PENDING  LOST  UNCOUNTED"));
	assert_non_null(strstr(text, path));
	free(text);
}

static void thousands_of_logs_come_in_order(void **state)
{
	enum { N = 30000 };
	static char paths[N][80];
	struct buf out = {0};
	struct ledger l;
	const char *at;

	ledger_begin(&l, &proven);
	for (unsigned i = 0; i < N; i++) {
		const struct ledger_entry e = entry(100);
		unsigned k = i * 7919 % N; /* a prime: each once, in no order */

		snprintf(paths[i], sizeof(paths[i]), PODS "ns%02u_pod%05u_%s/app/%u.log",
			 k / 2 % 50, k / 2, UID_A, k % 2);
		ledger_put(&l, paths[i], &e);
	}
	assert_int_equal(l.total.written, 100 * N);
	assert_int_equal(ledger_end(&l, LEDGER_TABLE, &out), 0);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_int_equal(count(out.data, "/app "), N / 2);
	at = strstr(out.data, "\nns");
	for (int i = 0; i < N / 2 - 1; i++) {
		const char *next = strchr(at + 1, '\n');

		assert_true(memcmp(at, next, strlen("\nns00/pod00000/")) < 0);
		at = next;
	}
	buf_done(&out);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_term_counts_in_the_check),
	cmocka_unit_test(every_reason_is_a_term),
	cmocka_unit_test(sums_close_when_their_parts_do_even_beyond_64_bits),
	cmocka_unit_test(adding_adds_every_field_and_subtracting_takes_it_away),
	cmocka_unit_test(reasons_have_different_names_of_small_letters),
	cmocka_unit_test(nothing_is_a_ledger_too),
	cmocka_unit_test(json_is_as_the_header_shows_it),
	cmocka_unit_test(table_is_as_a_person_wants_it),
	cmocka_unit_test(what_does_not_close_is_said),
	cmocka_unit_test(largest_figures_have_room),
	cmocka_unit_test(logs_of_one_container_are_one_line),
	cmocka_unit_test(links_of_one_container_are_one_line_by_their_path),
	cmocka_unit_test(other_logs_are_a_line_each_by_their_path),
	cmocka_unit_test(gone_ones_add_up_and_are_shown_when_only_an_event_is_left),
	cmocka_unit_test(lost_is_known_before_the_end),
	cmocka_unit_test(names_are_escaped),
	cmocka_unit_test(a_why_without_an_end_is_cut),
	cmocka_unit_test(long_names_move_only_their_own_row),
	cmocka_unit_test(thousands_of_logs_come_in_order),
};

RUN_TESTS(tests)
