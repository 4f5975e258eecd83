/* SPDX-License-Identifier: Apache-2.0 */
/* What changes of the tree say of containers: each row's change adds its words. */
#include "test.h"

#include "base/sys.h"
#include "cli/events_pods.h"
#include "event/event.h"
#include "watch/mirror.h"

#define POD "/pods/shop_web_6b1f3c1e-0000-4000-8000-000000000001"

static char said[2048];

static void tell(void *ctx, const struct event *e)
{
	char text[256];

	assert_int_equal(e->type, EVENT_CONTAINER);
	assert_string_equal(e->attributes[0].key, "k8s.namespace.name");
	event_string(e, text, sizeof(text));
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s%s", *said ? ", " : "", text);
	for (size_t i = 4; i < e->n_attributes; i++)
		snprintf(said + strlen(said), sizeof(said) - strlen(said), " %s",
			 e->attributes[i].value);
}

struct step {
	uint32_t action;
	const char *path, *from, *said;
};

static bool is_dir(const char *path)
{
	return path[strlen(path) - 1] == '/';
}

static void change(struct pods *p, const struct step *s, bool was_there)
{
	char path[200], from[200];
	struct mirror_change c = {.action = s->action,
				  .path = path,
				  .is_dir = is_dir(s->path),
				  .was_there = was_there};

	snprintf(path, sizeof(path), "%.*s", (int)strlen(s->path) - c.is_dir, s->path);
	snprintf(from, sizeof(from), "%s", s->from ? s->from : "");
	c.from = s->from ? from : NULL;
	said[0] = '\0';
	pods_change(p, NULL, &c);
	if (strcmp(said, s->said) != 0)
		fail_msg("%s: wanted '%s', got '%s'", s->path, s->said, said);
}

static void changes(const struct step *steps, size_t n, bool was_there)
{
	struct pods *p;

	assert_int_equal(pods_new(tell, NULL, &p), 0);
	for (size_t i = 0; i < n; i++)
		change(p, &steps[i], was_there);
	pods_free(p);
}

static void a_container_starts_restarts_and_goes(void **state)
{
	static const struct step steps[] = {
		{FILE_CREATED, POD "/", NULL, ""},
		{FILE_CREATED, POD "/app/", NULL, "create shop/web/app"},
		{FILE_CREATED, POD "/app/0.log", NULL, "start shop/web/app 0"},
		{FILE_WRITTEN, POD "/app/0.log", NULL, ""},
		{FILE_RENAMED, POD "/app/0.log.20261121-000000", POD "/app/0.log", ""},
		{FILE_CREATED, POD "/app/0.log", NULL, ""},
		{FILE_CREATED, POD "/app/0.log.20261121-000000.gz", NULL, ""},
		{FILE_CREATED, POD "/app/2.log", NULL, "stop shop/web/app 0, start shop/web/app 2"},
		{FILE_CREATED, POD "/app/1.log", NULL, ""},
		{FILE_DELETED, POD "/app/0.log", NULL, ""},
		{FILE_DELETED, POD "/app/2.log", NULL, ""},
		{FILE_DELETED, POD "/app/", NULL, "stop shop/web/app 2, destroy shop/web/app"},
		{FILE_DELETED, POD "/", NULL, ""},
		{FILE_CREATED, POD "/app/", NULL, "create shop/web/app"},
		{FILE_DELETED, POD "/app/", NULL, "destroy shop/web/app"},
	};

	changes(steps, ARRAY_SIZE(steps), false);
}

/* conmon makes 0.log.tmp and renames it. */
static void a_log_that_is_renamed_into_place_starts(void **state)
{
	static const struct step steps[] = {
		{FILE_CREATED, POD "/app/", NULL, "create shop/web/app"},
		{FILE_CREATED, POD "/app/0.log.tmp", NULL, ""},
		{FILE_RENAMED, POD "/app/0.log", POD "/app/0.log.tmp", "start shop/web/app 0"},
	};

	changes(steps, ARRAY_SIZE(steps), false);
}

/* Not found in its order: the file's directory is a container's all the same. */
static void a_log_without_its_directory_creates(void **state)
{
	static const struct step steps[] = {
		{FILE_CREATED, POD "/app/3.log", NULL,
		 "create shop/web/app true, start shop/web/app 3 true"},
	};

	changes(steps, ARRAY_SIZE(steps), true);
}

static void what_is_no_container_is_left_out(void **state)
{
	static const struct step steps[] = {
		{FILE_CREATED, "/pods/", NULL, ""},
		{FILE_CREATED, "/pods/app/", NULL, ""},
		{FILE_CREATED, "/pods/app/0.log", NULL, ""},
		{FILE_CREATED, "/pods/a_b/app/0.log", NULL, ""},
		{FILE_CREATED, "/pods/a_b_c_d/app/0.log", NULL, ""},
		{FILE_CREATED, POD "/app.log", NULL, ""},
		{FILE_CREATED, "/c/web_shop_app-0123456789abcdef.log", NULL, ""},
		{FILE_DELETED, POD "/other/", NULL, ""},
		{FILE_CREATED, "/", NULL, ""},
	};

	changes(steps, ARRAY_SIZE(steps), false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_container_starts_restarts_and_goes),
		cmocka_unit_test(a_log_that_is_renamed_into_place_starts),
		cmocka_unit_test(a_log_without_its_directory_creates),
		cmocka_unit_test(what_is_no_container_is_left_out),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
