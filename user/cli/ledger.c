/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/ledger.h"

#include <errno.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "cli/ask.h"
#include "config.h"

#define EXIT_LOST   1
#define EXIT_USER   2
#define PATIENCE_NS (30 * NS_PER_SEC) /* the daemon may have other clients, five seconds each */

struct question {
	const char *dir;
	char format; /* as the socket's protocol has it */
};

static void usage(void)
{
	puts("usage: hotdrain ledger [OPTION...]\n\n"
	     "Asks the running hotdrain what became of every byte that was written to the\n"
	     "containers' logs. The exit status is 1 when something was lost.\n\n"
	     "  -s, --state DIR  the state directory it runs with (default\n"
	     "                   " CONFIG_STATE_DEFAULT ")\n"
	     "  -j, --json       print one JSON object instead of a table\n"
	     "  -h, --help       this text");
}

/* *ret holds the defaults. 0: go on; 1: --help was printed; -EINVAL after one line on standard
 * error. */
static int options_parse(int argc, char **argv, struct question *ret)
{
	static const struct option options[] = {
		{"state", required_argument, NULL, 's'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	struct question q = *ret;
	int c;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":s:jh", options, NULL)) != -1)
		switch (c) {
		case 's':
			q.dir = optarg;
			break;
		case 'j':
			q.format = 'j';
			break;
		case 'h':
			usage();
			return 1;
		case ':':
			return log_err(-EINVAL, "%s needs a value; see 'hotdrain ledger --help'",
				       argv[optind - 1]);
		default:
			return log_err(-EINVAL, "unknown option '%s'; see 'hotdrain ledger --help'",
				       argv[optind - 1]);
		}
	if (optind < argc)
		return log_err(-EINVAL, "unexpected argument '%s'; see 'hotdrain ledger --help'",
			       argv[optind]);
	if (!*q.dir)
		return log_err(-EINVAL, "--state: the directory's name is empty");
	if (strcmp(q.dir, "none") == 0)
		return log_err(-EINVAL,
			       "--state none: expected a directory; a hotdrain without one cannot "
			       "be asked");
	*ret = q;
	return 0;
}

int ledger_main(int argc, char **argv)
{
	_cleanup_(ask_close) struct ask ask = ASK_INIT;
	struct question q = {.dir = CONFIG_STATE_DEFAULT, .format = 't'};
	struct ask_answer answer = {0};
	char why[ASK_WHY_MAX];
	int r = options_parse(argc, argv, &q);

	if (r != 0)
		return r < 0 ? EXIT_USER : 0;
	r = ask_open(&ask, q.dir, q.format, PATIENCE_NS, why);
	if (r == 0)
		r = ask_read(&ask, INT64_MAX, &answer, why);
	if (r < 0)
		return log_err(EXIT_USER, "ledger: %s", why);
	if (fwrite(answer.text, 1, answer.len, stdout) != answer.len || fflush(stdout) != 0)
		return log_err(EXIT_USER, "ledger: standard output: %s", strerror(errno));
	return answer.lost ? EXIT_LOST : 0;
}
