// SPDX-License-Identifier: Apache-2.0
#include "test.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>

#include "base/sys.h"
#include "cli/top_frame.h"
#include "cli/top_status.h"
#include "cli/top_text.h"

#define GOOD                                                                                      \
	"{\"version\":\"0.1.0\",\"now\":1795277544.5,\"uptime_s\":185,\"rung\":\"fs\","           \
	"\"order\":\"hot\",\"proof\":\"proven\",\"proof_why\":\"\",\"scanned\":true,"             \
	"\"total\":{\"written\":5000,\"read\":4000,\"delivered\":3500,\"pending\":1000,"          \
	"\"uncounted\":0,\"records\":10,\"lost_bytes\":500,\"lost\":{\"truncated\":500},"         \
	"\"lost_events\":{\"truncated\":1}},"                                                     \
	"\"files\":{\"open\":3,\"hot\":1},\"held_bytes\":0,"                                      \
	"\"sinks\":[{\"name\":\"stdout\",\"bytes\":4200,\"retries\":0,\"failing\":false},"        \
	"{\"name\":\"http://x\",\"bytes\":1,\"retries\":7,\"failing\":true}],"                    \
	"\"containers_total\":2,"                                                                 \
	"\"containers\":[{\"namespace\":\"shop\",\"pod\":\"web\",\"uid\":\"u\","                  \
	"\"container\":\"app\",\"path\":\"/p\",\"written\":5000,\"delivered\":3500,"              \
	"\"lost_bytes\":500,\"backlog\":1000,\"rate\":250,\"oldest_s\":1.25,\"deadline_s\":30.5," \
	"\"rotations\":2,\"generations\":1,\"next\":1,\"hot\":true,\"gone\":false},"              \
	"{\"namespace\":\"\",\"path\":\"/q \\u001b\",\"rate\":0,\"oldest_s\":null,"               \
	"\"deadline_s\":null,\"next\":null,\"hot\":false,\"gone\":true}]}"

static int parse(const char *text, size_t len, struct top_frame *f, char *why)
{
	strcpy(why, "nothing was said");
	return top_status_parse(text, len, f, why);
}

static void every_figure_arrives(void **state)
{
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];
	const double *v;

	assert_int_equal(parse(GOOD, strlen(GOOD), &f, why), 0);
	assert_int_equal(f.from, TOP_DAEMON);
	assert_true(f.now_s == 1795277544.5);
	assert_int_equal(f.n, 2);
	v = f.rows[0].value;
	assert_true(v[TOP_RATE] == 250 && v[TOP_BACKLOG] == 1000 && v[TOP_DEADLINE] == 30.5);
	assert_true(v[TOP_AGE] == 1.25 && v[TOP_DELIVERED] == 3500 && v[TOP_LOST] == 500);
	assert_true(v[TOP_ROTATIONS] == 2 && v[TOP_WRITTEN] == 5000 && isnan(v[TOP_IDLE]));
	assert_true(f.rows[0].hot && !f.rows[0].gone);
	assert_string_equal(top_frame_name(&f, &f.rows[0], TOP_NAMESPACE), "shop");
	assert_string_equal(top_frame_name(&f, &f.rows[0], TOP_POD), "web");
	assert_string_equal(top_frame_name(&f, &f.rows[0], TOP_CONTAINER), "app");
	v = f.rows[1].value;
	assert_true(isnan(v[TOP_AGE]) && isnan(v[TOP_DEADLINE]) && isnan(v[TOP_LOST]));
	assert_true(!f.rows[1].hot && f.rows[1].gone);
	assert_string_equal(top_frame_name(&f, &f.rows[1], TOP_POD), "");
	assert_string_equal(top_frame_name(&f, &f.rows[1], TOP_PATH), "/q \x1b");
	top_frame_done(&f);
}

static void the_head_says_what_concerns_all(void **state)
{
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];

	assert_int_equal(parse(GOOD, strlen(GOOD), &f, why), 0);
	assert_true(f.alarm);
	assert_string_equal(f.text.data + f.head,
			    "hotdrain 0.1.0  up 3m05s  rung fs  order hot  proof proven\n"
			    "lost 500 (truncated 500)  held 0  pending 1.0k  delivered 3.5k"
			    "  written 5.0k  containers 2  files 3 (1 hot)\n"
			    "sinks stdout 4.2k | http://x 1, 7 retries, FAILING\n");
	top_frame_done(&f);
}

static void what_is_missing_is_unknown(void **state)
{
	static const char least[] = "{\"total\":{},\"containers\":[{}]}";
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];

	assert_int_equal(parse(least, strlen(least), &f, why), 0);
	assert_int_equal(f.n, 1);
	assert_false(f.alarm);
	for (int i = 0; i < TOP_VALUES; i++)
		assert_true(isnan(f.rows[0].value[i]));
	for (int i = 0; i < TOP_NAMES; i++)
		assert_string_equal(top_frame_name(&f, &f.rows[0], (enum top_name)i), "");
	top_frame_done(&f);
}

static void bad_text_is_refused_with_its_place(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
		{"", "expected the status as JSON: line 1"},
		{"NAMESPACE  POD\n", "line 1, column 9"},
		{"[]", "expected an object with \"total\" and \"containers\", got an array"},
		{"{}", "got another one"},
		{"{\"total\":[],\"containers\":[]}", "got another one"},
		{"{\"total\":{}}", "\"containers\": expected an array, got nothing"},
		{"{\"total\":{},\"containers\":{}}", "expected an array, got an object"},
		{"{\"total\":{},\"containers\":[{},7]}",
		 "\"containers\"[1]: expected an object, got a number"},
		{"{\"total\":{},\"containers\":[{\"rate\":\"1\"}]}",
		 "\"containers\"[0]: \"rate\": expected a number, got a string"},
		{"{\"total\":{},\"containers\":[{\"backlog\":true}]}", "got a truth value"},
		{"{\"total\":{},\"containers\":[{\"pod\":3}]}",
		 "\"pod\": expected a string, got a number"},
		{"{\"total\":{},\"containers\":[],\"now\":\"x\"}", "\"now\": expected a number"},
		{"{\"total\":{},\"containers\":[]} {}", "end of file expected"},
		{"{\"total\":{},\"total\":{},\"containers\":[]}", "duplicate"},
	};
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(cases[i].text, strlen(cases[i].text), &f, why), -EBADMSG);
		if (!strstr(why, cases[i].says))
			fail_msg("%s: %s", cases[i].text, why);
		assert_int_equal(f.n, 0);
		assert_int_equal(f.from, 0);
	}
	top_frame_done(&f);
}

static void every_beginning_of_it_is_refused(void **state)
{
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];

	for (size_t len = 0; len < strlen(GOOD); len++)
		assert_int_equal(parse(GOOD, len, &f, why), -EBADMSG);
	top_frame_done(&f);
}

static void no_byte_of_it_can_break_anything(void **state)
{
	static const char others[] = {'\0', '"', '{', ']', '-', 'e', '9', '\\', '\xff'};
	_cleanup_free_ char *text = strdup(GOOD);
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];

	for (size_t i = 0; i < strlen(GOOD); i++)
		for (size_t k = 0; k < ARRAY_SIZE(others); k++) {
			text[i] = others[k];
			parse(text, strlen(GOOD), &f, why);
			text[i] = GOOD[i];
		}
	top_frame_done(&f);
}

static void deep_nesting_is_refused(void **state)
{
	size_t n = 1 << 20;
	_cleanup_free_ char *text = malloc(n);
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];

	memset(text, '[', n);
	assert_int_equal(parse(text, n, &f, why), -EBADMSG);
	top_frame_done(&f);
}

/* To JSON and back, by another parser. */
static void json_of_a_frame_is_whole(void **state)
{
	_cleanup_(buf_done) struct buf out = {0};
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];
	const json_t *row;
	json_t *root;

	assert_int_equal(parse(GOOD, strlen(GOOD), &f, why), 0);
	assert_int_equal(top_text_json(&f, SIZE_MAX, &out), 0);
	assert_int_equal(out.data[out.len - 1], '\n');
	assert_ptr_equal(memchr(out.data, '\n', out.len), out.data + out.len - 1);
	root = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "source")), "daemon");
	assert_string_equal(
		json_string_value(json_object_get(json_object_get(root, "status"), "proof")),
		"proven");
	assert_null(json_object_get(json_object_get(root, "status"), "containers"));
	row = json_array_get(json_object_get(root, "rows"), 0);
	assert_int_equal(json_integer_value(json_object_get(row, "backlog")), 1000);
	assert_true(json_real_value(json_object_get(row, "deadline_s")) == 30.5);
	row = json_array_get(json_object_get(root, "rows"), 1);
	assert_true(json_is_null(json_object_get(row, "deadline_s")));
	assert_string_equal(json_string_value(json_object_get(row, "path")), "/q \x1b");
	json_decref(root);
	out.len = 0;
	assert_int_equal(top_text_json(&f, 1, &out), 0);
	root = json_loadb(out.data, out.len, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(root, "rows")), 1);
	assert_int_equal(json_integer_value(json_object_get(root, "rows_total")), 2);
	json_decref(root);
	top_frame_done(&f);
}

static void text_of_a_frame_cannot_write_to_a_terminal(void **state)
{
	_cleanup_(buf_done) struct buf out = {0};
	struct top_frame f = {0};
	char why[TOP_WHY_MAX];

	assert_int_equal(parse(GOOD, strlen(GOOD), &f, why), 0);
	assert_int_equal(top_text_plain(&f, SIZE_MAX, &out), 0);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_null(strchr(out.data, '\x1b'));
	assert_non_null(strstr(out.data, "/q ?"));
	assert_non_null(strstr(out.data, "shop"));
	top_frame_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_figure_arrives),
		cmocka_unit_test(the_head_says_what_concerns_all),
		cmocka_unit_test(what_is_missing_is_unknown),
		cmocka_unit_test(bad_text_is_refused_with_its_place),
		cmocka_unit_test(every_beginning_of_it_is_refused),
		cmocka_unit_test(no_byte_of_it_can_break_anything),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(json_of_a_frame_is_whole),
		cmocka_unit_test(text_of_a_frame_cannot_write_to_a_terminal),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
