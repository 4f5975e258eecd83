/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "base/sys.h"
#include "cli/doctor.h"
#include "cli/events.h"
#include "cli/ledger.h"
#include "cli/top.h"
#include "cli/unpin.h"
#include "collector.h"
#include "config.h"

#define EXIT_USER  2 /* the user's: a flag, a key, a path */
#define HEAP_LARGE (128 * 1024)

/* A closed standard descriptor would be given to the next file opened, and written to as if it were
 * the output. A read-only one in its place makes such a write fail. */
static void keep_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", O_RDONLY);
}

static void raise_open_files(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

/* No thread allocates per line, so one heap serves them all; and what is large goes back to the
 * system when it is freed, instead of leaving a hole (glibc raises that limit by itself). */
static void keep_heap_small(void)
{
	mallopt(M_ARENA_MAX, 1);
	mallopt(M_MMAP_THRESHOLD, HEAP_LARGE);
}

/* Asked for before the collector can be told of it, it waits. */
static void hold_reload(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
}

static int run_main(int argc, char **argv)
{
	_cleanup_(config_done) struct config cfg = {0};
	struct collector *c;
	int r;

	hold_reload();
	r = config_parse(argc, argv, &cfg);

	if (r != 0)
		return r < 0 ? EXIT_USER : 0;
	log_set_level(cfg.log_level);
	raise_open_files();
	keep_heap_small();
	r = collector_new(&cfg, &c);
	if (r < 0)
		return r == -ENOMEM ? 1 : EXIT_USER;
	r = collector_run(c);
	if (r == -ETIMEDOUT)
		_exit(1);
	collector_free(c);
	return r < 0;
}

static const struct {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"run", run_main, "follow the logs and deliver every line"},
	{"top", top_main, "show the hottest logs, live"},
	{"events", events_main, "print what happens to files and containers"},
	{"ledger", ledger_main, "say what became of every byte that was written"},
	{"unpin", unpin_main, "remove the counters that `run --bpf-pin` left counting"},
	{"doctor", doctor_main, "say what this kernel and these privileges allow"},
};

static void usage(FILE *to)
{
	fprintf(to, "usage: hotdrain COMMAND [OPTION...]\n\n");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		fprintf(to, "  %-8s %s\n", commands[i].name, commands[i].help);
	fprintf(to, "\n`hotdrain COMMAND --help` lists a command's options; --version prints the "
		    "version.\n");
}

int main(int argc, char **argv)
{
	keep_standard_fds();
	if (argc < 2) {
		usage(stderr);
		return EXIT_USER;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		usage(stdout);
		return 0;
	}
	if (strcmp(argv[1], "--version") == 0) {
		printf("hotdrain %s\n", VERSION);
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(argv[1], commands[i].name) == 0)
			return commands[i].main(argc - 1, argv + 1);
	log_err(0,
		"unknown command '%s', expected run, top, ledger, events or doctor; see 'hotdrain "
		"--help'",
		argv[1]);
	return EXIT_USER;
}
