/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "collector.h"
#include "collector_impl.h"
#include "config.h"
#include "event/event.h"
#include "event/event_queue.h"

static void write_config(const char *path, const char *root, const char *linger)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fprintf(f, "root: %s\nsink: \"null\"\nstate: none\nbpf: off\nexit_when_idle: 300ms\n%s",
		root, linger);
	fclose(f);
}

/* As from any producer of the queue: a container socket, or whoever is added one day. */
static void a_control_event_reads_the_file_again(void **state)
{
	char *dir = test_dir_make(), path[64];
	char run[] = "run", flag[] = "-c", *argv[] = {run, flag, path, NULL};
	struct config cfg;
	struct collector *c;
	struct event e = {.type = EVENT_CONTROL, .action = CONTROL_RELOAD, .watch = -1};

	snprintf(path, sizeof(path), "%s/config.yaml", dir);
	write_config(path, dir, "linger: 6ms\n");
	assert_int_equal(config_parse(3, argv, &cfg), 0);
	write_config(path, dir, "linger: 7ms\n"); /* before its changes are watched */
	assert_int_equal(collector_new(&cfg, &c), 0);
	assert_int_equal(c->cfg->linger_ns, 6000000);
	assert_int_equal(event_queue_push(c->queue, &e), 0);
	assert_int_equal(collector_run(c), 0);
	assert_int_equal(c->cfg->linger_ns, 7000000);
	assert_int_equal(c->reloads, 1);
	collector_free(c);
	config_done(&cfg);
	test_dir_remove(dir);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_control_event_reads_the_file_again),
};

RUN_TESTS(tests)
