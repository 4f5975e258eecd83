/* SPDX-License-Identifier: Apache-2.0 */
/* Reading the configuration again: what differs, what is taken over, and whether the file changed.
 */
#include "test.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sys.h"
#include "config.h"
#include "config_table.h"
#include "config_watch.h"

static struct world {
	char *dir, path[80];
	char *argv[8];
	int argc;
	struct config config;
} world;

static int setup(void **state)
{
	struct world *w = &world;

	*w = (struct world){.dir = test_dir_make()};
	snprintf(w->path, sizeof(w->path), "%s/config.yaml", w->dir);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	config_done(&w->config);
	test_dir_remove(w->dir);
	return 0;
}

/* An editor's way: a new file in the old one's place. */
static void put(const char *text)
{
	char other[100];

	snprintf(other, sizeof(other), "%s.new", world.path);
	test_write(other, "w", text);
	assert_int_equal(rename(other, world.path), 0);
}

static void start(const char *text, char *extra)
{
	static char run[] = "run", flag[] = "-c";
	struct world *w = &world;

	put(text);
	w->argv[w->argc++] = run;
	w->argv[w->argc++] = flag;
	w->argv[w->argc++] = w->path;
	if (extra)
		w->argv[w->argc++] = extra;
	assert_int_equal(config_parse(w->argc, w->argv, &w->config), 0);
}

static void check_differences(const struct config *next, const char *live, const char *at_start)
{
	_cleanup_(buf_done) struct buf now = {}, later = {};
	int n = config_differences(&world.config, next, true, &now);

	assert_int_equal(n > 0, *live != 0);
	assert_string_equal(n ? now.data : "", live);
	n = config_differences(&world.config, next, false, &later);
	assert_int_equal(n > 0, *at_start != 0);
	assert_string_equal(n ? later.data : "", at_start);
}

static void the_same_file_differs_in_nothing(void **state)
{
	struct config next;
	char why[CONFIG_WHY_MAX];

	start("root: [/a, /b]\nkubernetes.label: x\nlinger: 3ms\nmetrics: ':1'\n", NULL);
	assert_int_equal(config_again(&world.config, &next, why), 0);
	check_differences(&next, "", "");
	put("linger: 3000us\nmetrics: ':1'\nroot:\n- /a\n- /b\nkubernetes.label: [x]\n");
	config_done(&next);
	assert_int_equal(config_again(&world.config, &next, why), 0);
	check_differences(&next, "", "");
	config_done(&next);
}

/* Each row of the table by itself, with a value that is not its first. */
static void each_key_is_told_apart(void **state)
{
	static const struct {
		const char *key, *value;
		bool live;
	} rows[] = {
		{"root", "/other", true},
		{"link_root", "/other", true},
		{"sink", "[stdout, 'null']", true},
		{"state", "/s", false},
		{"format", "raw", false},
		{"decode", "cri", false},
		{"start", "end", true},
		{"order", "fair", true},
		{"bpf", "off", false},
		{"bpf.pin", "/sys/fs/bpf/x", false},
		{"linger", "6ms", true},
		{"exit_when_idle", "1s", true},
		{"line_max", "2Mi", true},
		{"batch_bytes", "1Mi", true},
		{"batches", "9", false},
		{"join_max", "9Mi", true},
		{"held_max", "2Gi", true},
		{"rotate_size", "11Mi", true},
		{"rotate_files", "6", true},
		{"rotate_quiet", "3s", true},
		{"hot_quiet", "251ms", true},
		{"tick", "10ms", true},
		{"stop_timeout", "6s", true},
		{"files_max", "99", false},
		{"metrics", "':1'", false},
		{"series_keep", "1s", true},
		{"docker", "unix:///x", false},
		{"kubernetes.pods_url", "https://x/pods", false},
		{"kubernetes.token_file", "/t", false},
		{"kubernetes.ca_file", "/c", false},
		{"kubernetes.refresh", "31s", false},
		{"kubernetes.label", "[a, b]", false},
		{"kubernetes.annotation", "a", false},
		{"log_level", "debug", true},
	};
	char why[CONFIG_WHY_MAX], text[200];
	size_t keys = 0;

	start("", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config next;

		snprintf(text, sizeof(text), "%s: %s\n", rows[i].key, rows[i].value);
		put(text);
		assert_int_equal(config_again(&world.config, &next, why), 0);
		check_differences(&next, rows[i].live ? rows[i].key : "",
				  rows[i].live ? "" : rows[i].key);
		config_done(&next);
	}
	for (size_t i = 0; i < config_options_n; i++)
		keys += !config_options[i].flag_only;
	assert_int_equal(keys, ARRAY_SIZE(rows));
}

static void what_needs_a_start_is_not_touched(void **state)
{
	struct config next;
	char why[CONFIG_WHY_MAX];
	const char *metrics, *label;

	start("metrics: ':1'\nkubernetes.label: [a]\nroot: [/a, /b]\nbatches: 4\nlinger: 1ms\n",
	      NULL);
	metrics = world.config.metrics;
	label = world.config.pods_labels.items[0];
	put("metrics: ':2'\nkubernetes.label: [b]\nroot: /c\nbatches: 5\nlinger: 2ms\norder: "
	    "fifo\n");
	assert_int_equal(config_again(&world.config, &next, why), 0);
	check_differences(&next, "root, order, linger", "batches, metrics, kubernetes.label");
	config_exchange(&world.config, &next);
	assert_int_equal(world.config.roots.n, 1);
	assert_string_equal(world.config.roots.items[0], "/c");
	assert_int_equal(world.config.linger_ns, 2000000);
	assert_int_equal(world.config.order, ORDER_FIFO);
	assert_int_equal(world.config.batches, 4);
	assert_ptr_equal(world.config.metrics, metrics);
	assert_ptr_equal(world.config.pods_labels.items[0], label);
	assert_int_equal(next.roots.n, 2);
	config_done(&next);
	assert_string_equal(metrics, ":1");
	assert_string_equal(label, "a");
}

static void the_command_line_stays_on_top(void **state)
{
	static char linger[] = "--linger=9ms";
	struct config next;
	char why[CONFIG_WHY_MAX];

	start("linger: 1ms\n", linger);
	put("linger: 2ms\ntick: 1ms\n");
	assert_int_equal(config_again(&world.config, &next, why), 0);
	assert_int_equal(next.linger_ns, 9000000);
	check_differences(&next, "tick", "");
	config_done(&next);
}

static void what_is_wrong_is_one_line(void **state)
{
	struct config next;
	char why[CONFIG_WHY_MAX];

	start("", NULL);
	put("tick: 1ms\nlinger: x\ty\n");
	assert_int_equal(config_again(&world.config, &next, why), -EINVAL);
	assert_non_null(strstr(why, "config.yaml:2: linger: expected a duration"));
	assert_null(strpbrk(why, "\n\t"));
	assert_int_equal(unlink(world.path), 0);
	assert_int_equal(config_again(&world.config, &next, why), -ENOENT);
	assert_non_null(strstr(why, "config.yaml: No such file"));
	assert_int_equal(mkfifo(world.path, 0600), 0);
	assert_int_equal(config_again(&world.config, &next, why), -EINVAL);
	assert_non_null(strstr(why, "expected a regular file"));
}

static void check_changed(struct config_watch *w, bool wanted)
{
	assert_int_equal(config_watch_changed(w), wanted);
	assert_false(config_watch_changed(w));
}

static void each_way_of_changing_shows(void **state)
{
	struct config_watch *w;
	char other[120];

	snprintf(other, sizeof(other), "%s/other", world.dir);
	put("a");
	assert_int_equal(config_watch_new(world.path, &w), 0);
	check_changed(w, false);
	put("b");
	check_changed(w, true);
	test_write(world.path, "a", "c");
	check_changed(w, true);
	test_write(other, "w", "b");
	check_changed(w, false);
	assert_int_equal(unlink(world.path), 0);
	check_changed(w, true);
	assert_int_equal(symlink("other", world.path), 0);
	check_changed(w, true);
	assert_int_equal(rename(other, world.path), 0);
	check_changed(w, true);
	config_watch_free(w);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static const struct CMUnitTest tests[] = {
	TEST(the_same_file_differs_in_nothing),  TEST(each_key_is_told_apart),
	TEST(what_needs_a_start_is_not_touched), TEST(the_command_line_stays_on_top),
	TEST(what_is_wrong_is_one_line),         TEST(each_way_of_changing_shows),
};

RUN_TESTS(tests)
