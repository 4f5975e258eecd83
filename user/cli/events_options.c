/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/events_options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "base/units.h"

#define BATCH_MAX 65536
#define PATHS_MAX 100000000

static void usage(void)
{
	puts("Usage: hotdrain events [OPTION]...\n"
	     "Prints what happens to files and containers, one line each, as it happens.\n"
	     "\n"
	     "Which events; several are joined, none: all\n"
	     "      --start              containers: create, start, unpause\n"
	     "      --stop               containers: kill, die, stop, destroy\n"
	     "      --pause              containers: pause\n"
	     "      --file               files and directories: created, written, deleted, "
	     "renamed\n"
	     "      --control            overflow: the kernel dropped events; what they would "
	     "have\n"
	     "                           told follows as the difference to what was told before\n"
	     "\n"
	     "Where from\n"
	     "  -r, --root DIR           everything below this directory; may be repeated "
	     "(default:\n"
	     "                           $CONTAINER_LOG_DIRECTORY, else /var/log/pods); "
	     "containers\n"
	     "                           too, where it holds NAMESPACE_POD_UID/CONTAINER/N.log\n"
	     "      --docker URL         and the containers of Docker or Podman, such as\n"
	     "                           unix:///var/run/docker.sock\n"
	     "      --list               first what is there, as created and start, with the\n"
	     "                           attribute hotdrain.listed\n"
	     "      --paths-max NUMBER   what is beyond so many paths is left out (default: "
	     "1000000;\n"
	     "                           about 250 bytes each)\n"
	     "\n"
	     "How\n"
	     "  -j, --json               a JSON object per line: time, type, action, actor {name, "
	     "id,\n"
	     "                           attributes}, from (of a renamed file)\n"
	     "      --flush-interval DURATION\n"
	     "                           how long events are gathered (default: 100ms; 0 to 1h)\n"
	     "      --batch NUMBER       or until there are so many (default: 1024; 1 to 65536)\n"
	     "  -n, --count NUMBER       end after so many lines\n"
	     "      --exit-when-idle DURATION\n"
	     "                           end when nothing has happened for this long\n"
	     "  -h, --help               this text\n"
	     "\n"
	     "Applied in their order the file events give the tree that is there: a name is "
	     "created\n"
	     "once before it is deleted, and is free when something is renamed to it; a renamed\n"
	     "directory takes along what is in it. A file that goes on being written is told of "
	     "once\n"
	     "per flush interval, and after its last write. Links are not followed.");
}

enum { OPT_CLASS = 256, OPT_DOCKER = 512, OPT_LIST, OPT_PATHS, OPT_INTERVAL, OPT_BATCH, OPT_IDLE };

static const struct option options[] = {
	{"start", no_argument, NULL, OPT_CLASS | EVENTS_START},
	{"stop", no_argument, NULL, OPT_CLASS | EVENTS_STOP},
	{"pause", no_argument, NULL, OPT_CLASS | EVENTS_PAUSE},
	{"file", no_argument, NULL, OPT_CLASS | EVENTS_FILE},
	{"control", no_argument, NULL, OPT_CLASS | EVENTS_CONTROL},
	{"root", required_argument, NULL, 'r'},
	{"docker", required_argument, NULL, OPT_DOCKER},
	{"list", no_argument, NULL, OPT_LIST},
	{"paths-max", required_argument, NULL, OPT_PATHS},
	{"json", no_argument, NULL, 'j'},
	{"flush-interval", required_argument, NULL, OPT_INTERVAL},
	{"batch", required_argument, NULL, OPT_BATCH},
	{"count", required_argument, NULL, 'n'},
	{"exit-when-idle", required_argument, NULL, OPT_IDLE},
	{"help", no_argument, NULL, 'h'},
	{},
};

static int number(const char *flag, uint64_t min, uint64_t max, uint64_t *ret_value)
{
	uint64_t value;
	int r = count_parse(optarg, &value);

	if (r == 0 && value >= min && value <= max) {
		*ret_value = value;
		return 0;
	}
	return log_err(-EINVAL, "%s: expected a whole number, %llu to %llu, got '%s'", flag,
		       (unsigned long long)min, (unsigned long long)max, optarg);
}

static int duration(const char *flag, int64_t *ret_ns)
{
	int64_t ns;
	int r = duration_parse(optarg, &ns);

	if (r == 0 && ns <= INT64_C(3600000000000)) {
		*ret_ns = ns;
		return 0;
	}
	return log_err(-EINVAL,
		       "%s: expected a duration such as 5ms (units: ns, us, ms, s, m, h), 0 to 1h, "
		       "got '%s'",
		       flag, optarg);
}

static int add_root(struct events_options *o, char *dir)
{
	char **roots;

	if (!*dir)
		return log_err(-EINVAL, "--root: expected a directory, got ''");
	roots = realloc(o->roots, (o->n_roots + 1) * sizeof(*roots));
	if (!roots)
		return log_err(-ENOMEM, "out of memory");
	o->roots = roots;
	o->roots[o->n_roots++] = dir;
	return 0;
}

/* One of which getopt_long knows what it is. */
static int apply(int c, struct events_options *o)
{
	switch (c) {
	case 'r':
		return add_root(o, optarg);
	case 'j':
		o->json = true;
		return 0;
	case 'n':
		return number("--count", 1, UINT64_MAX, &o->most);
	case OPT_DOCKER:
		o->docker = optarg;
		return 0;
	case OPT_LIST:
		o->list = true;
		return 0;
	case OPT_PATHS:
		return number("--paths-max", 1, PATHS_MAX, &o->paths_max);
	case OPT_INTERVAL:
		return duration("--flush-interval", &o->interval_ns);
	case OPT_BATCH:
		return number("--batch", 1, BATCH_MAX, &o->batch);
	case OPT_IDLE:
		return duration("--exit-when-idle", &o->idle_ns);
	default:
		o->classes |= (unsigned)c & EVENTS_ALL;
		return 0;
	}
}

static int parse_all(int argc, char **argv, struct events_options *o)
{
	int c, r = 0;

	opterr = 0;
	optind = 1;
	while (r == 0 && (c = getopt_long(argc, argv, ":r:jn:h", options, NULL)) != -1) {
		if (c == 'h') {
			usage();
			return 1;
		}
		if (c == ':')
			return log_err(-EINVAL, "%s needs a value; see 'hotdrain events --help'",
				       argv[optind - 1]);
		if (c == '?')
			return log_err(-EINVAL, "unknown option '%s'; see 'hotdrain events --help'",
				       argv[optind - 1]);
		r = apply(c, o);
	}
	if (r == 0 && optind < argc)
		return log_err(-EINVAL, "unexpected argument '%s'; see 'hotdrain events --help'",
			       argv[optind]);
	return r;
}

int events_options_parse(int argc, char **argv, struct events_options *ret)
{
	struct events_options o = {.interval_ns = 100000000,
				   .batch = 1024,
				   .idle_ns = -1,
				   .most = UINT64_MAX,
				   .paths_max = 1000000};
	char *given = getenv("CONTAINER_LOG_DIRECTORY");
	int r = parse_all(argc, argv, &o);

	o.roots_given = o.n_roots || (given && *given);
	if (r == 0 && !o.n_roots)
		r = add_root(&o, given && *given ? given : (char *)"/var/log/pods");
	if (r != 0) {
		events_options_done(&o);
		return r;
	}
	if (!o.classes)
		o.classes = EVENTS_ALL;
	*ret = o;
	return 0;
}

void events_options_done(struct events_options *o)
{
	free(o->roots);
}
