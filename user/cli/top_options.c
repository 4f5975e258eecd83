/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/top_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/units.h"
#include "cli/top_columns.h"
#include "config.h"

#define DEFAULT_ROOT "/var/log/pods"
#define DELAY_LEAST  (100 * NS_PER_MS)
#define DELAY_MOST   (3600 * NS_PER_SEC)
#define SEE          "; see 'hotdrain top --help'"
#define OPTION_BPF   256
#define OPTION_ROWS  257
#define WORDS_MAX    256

static void usage(void)
{
	char words[WORDS_MAX], own[WORDS_MAX];

	printf("usage: hotdrain top [OPTION...]\n\n"
	       "Shows the hottest logs, refreshed each second: of the hotdrain that runs with the\n"
	       "default state directory, or, when there is none, counted by top itself.\n\n"
	       "  -s, --state DIR       ask the hotdrain that runs with this state directory\n"
	       "                        (default " CONFIG_STATE_DEFAULT ")\n"
	       "  -r, --root DIR        count by itself, per file, below this directory\n"
	       "                        (repeatable; default $CONTAINER_LOG_DIRECTORY, else\n"
	       "                        " DEFAULT_ROOT "); nothing is read or saved\n"
	       "      --bpf RUNG        count by itself with these programs: auto, fs, vfs,\n"
	       "                        kprobe, syscall, off (default auto)\n"
	       "  -d, --delay DURATION  between two frames (default 1s)\n"
	       "  -n, --count N         end after N frames\n"
	       "  -N, --namespace NAME  only these namespaces; * and ? match, as in a shell\n"
	       "  -o, --sort WORD       by %s;\n"
	       "                        counting by itself: %s\n"
	       "                        (default rate)\n"
	       "  -R, --reverse         the other way round\n"
	       "      --rows N          at most N rows\n"
	       "  -b, --batch           plain text, one frame below the other\n"
	       "  -j, --json            with --batch: each frame a JSON object in one line\n"
	       "  -h, --help            this text\n\n"
	       "Keys: q ends it, p pauses, n asks for a namespace, R turns the order round,\n"
	       "arrows scroll, ? shows all.\n",
	       top_column_words(TOP_DAEMON, words, sizeof(words)),
	       top_column_words(TOP_OWN, own, sizeof(own)));
}

static int number_parse(const char *name, uint64_t *ret)
{
	uint64_t n;

	if (count_parse(optarg, &n) < 0 || !n)
		return log_err(-EINVAL, "%s: expected a number from 1 on, got '%s'", name, optarg);
	*ret = n;
	return 0;
}

static int delay_parse(struct top_options *o)
{
	int64_t ns;

	if (duration_parse(optarg, &ns) < 0 || ns < DELAY_LEAST || ns > DELAY_MOST)
		return log_err(-EINVAL,
			       "--delay: expected a duration from 100ms to 1h, such as 2s, got "
			       "'%s'",
			       optarg);
	o->delay_ns = ns;
	return 0;
}

static int bpf_parse(struct top_options *o)
{
	o->own = true;
	if (rung_parse(optarg, &o->bpf) < 0)
		return log_err(-EINVAL,
			       "--bpf: expected auto, fs, vfs, kprobe, syscall or off, got '%s'",
			       optarg);
	return 0;
}

static int sort_parse(struct top_options *o)
{
	char words[WORDS_MAX], own[WORDS_MAX];

	if (!top_column_sorted(TOP_DAEMON | TOP_OWN, 0, optarg))
		return log_err(-EINVAL,
			       "--sort: expected one of %s (or, counting by itself, %s), got '%s'",
			       top_column_words(TOP_DAEMON, words, sizeof(words)),
			       top_column_words(TOP_OWN, own, sizeof(own)), optarg);
	o->sort = optarg;
	return 0;
}

static int root_add(struct top_options *o)
{
	if (!*optarg)
		return log_err(-EINVAL, "--root: the directory's name is empty");
	o->own = true;
	o->roots[o->n_roots++] = optarg;
	return 0;
}

static int option_take(struct top_options *o, int c, char **argv)
{
	uint64_t n = 0;
	int r = 0;

	switch (c) {
	case 's':
		o->state = optarg;
		return *optarg ? 0 : log_err(-EINVAL, "--state: the directory's name is empty");
	case 'r':
		return root_add(o);
	case OPTION_BPF:
		return bpf_parse(o);
	case 'd':
		return delay_parse(o);
	case 'n':
		return number_parse("--count", &o->count);
	case OPTION_ROWS:
		r = number_parse("--rows", &n);
		o->rows = (size_t)n;
		return r;
	case 'N':
		o->namespace_pattern = optarg;
		return 0;
	case 'o':
		return sort_parse(o);
	case 'R':
		o->reverse = true;
		return 0;
	case 'b':
		o->batch = true;
		return 0;
	case 'j':
		o->json = true;
		return 0;
	case ':':
		return log_err(-EINVAL, "%s needs a value" SEE, argv[optind - 1]);
	default:
		return log_err(-EINVAL, "unknown option '%s'" SEE, argv[optind - 1]);
	}
}

/* What does not go together, and what was not given. */
static int options_complete(struct top_options *o)
{
	char *root = getenv("CONTAINER_LOG_DIRECTORY");

	if (o->state && o->own)
		return log_err(-EINVAL, "--state: expected neither --root nor --bpf with it: a "
					"hotdrain that runs counts by itself");
	if (o->state && strcmp(o->state, "none") == 0)
		return log_err(-EINVAL, "--state none: expected a directory; a hotdrain without "
					"one cannot be asked");
	if (o->json && !o->batch)
		return log_err(-EINVAL, "--json: expected --batch with it");
	if (!o->n_roots)
		o->roots[o->n_roots++] = root && *root ? root : (char *)DEFAULT_ROOT;
	return 0;
}

int top_options_parse(int argc, char **argv, struct top_options *ret)
{
	static const struct option options[] = {
		{"state", required_argument, NULL, 's'},
		{"root", required_argument, NULL, 'r'},
		{"bpf", required_argument, NULL, OPTION_BPF},
		{"delay", required_argument, NULL, 'd'},
		{"count", required_argument, NULL, 'n'},
		{"namespace", required_argument, NULL, 'N'},
		{"sort", required_argument, NULL, 'o'},
		{"reverse", no_argument, NULL, 'R'},
		{"rows", required_argument, NULL, OPTION_ROWS},
		{"batch", no_argument, NULL, 'b'},
		{"json", no_argument, NULL, 'j'},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	int c, r;

	*ret = (struct top_options){.delay_ns = NS_PER_SEC, .rows = SIZE_MAX};
	ret->roots = calloc((size_t)argc + 1, sizeof(*ret->roots));
	if (!ret->roots)
		return log_err(-ENOMEM, "top: %s", strerror(ENOMEM));
	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":s:r:d:n:N:o:Rbjh", options, NULL)) != -1) {
		if (c == 'h') {
			usage();
			return 1;
		}
		r = option_take(ret, c, argv);
		if (r < 0)
			return r;
	}
	if (optind < argc)
		return log_err(-EINVAL, "unexpected argument '%s'" SEE, argv[optind]);
	return options_complete(ret);
}

void top_options_done(struct top_options *o)
{
	free(o->roots);
	o->roots = NULL;
}
