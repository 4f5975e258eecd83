/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything there is to set, one row each, and the few kinds of value a row may take. Defaults and
 * limits are written as a person would write them and go through the parser of the row's kind, so
 * that the help text, the error messages and the checks cannot disagree.
 */
#include "config_table.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/sys.h"
#include "base/units.h"
#include "config.h"

static int number_check(const struct option *o, int (*parse)(const char *, uint64_t *),
			const char *text, uint64_t *ret_value)
{
	uint64_t value, min = 0, max = UINT64_MAX;
	int r;

	r = parse(text, &value);
	if (r < 0)
		return r;
	if (o->min)
		parse(o->min, &min);
	if (o->max)
		parse(o->max, &max);
	if (value < min || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

static int duration_parse_unsigned(const char *text, uint64_t *ret_ns)
{
	return duration_parse(text, (int64_t *)ret_ns);
}

static int kind_duration(const struct option *o, const char *text, void *field)
{
	return number_check(o, duration_parse_unsigned, text, field);
}

static int kind_duration_or_never(const struct option *o, const char *text, void *field)
{
	if (strcmp(text, "never"))
		return kind_duration(o, text, field);
	*(int64_t *)field = -1;
	return 0;
}

static int kind_size(const struct option *o, const char *text, void *field)
{
	return number_check(o, size_parse, text, field);
}

static int kind_count(const struct option *o, const char *text, void *field)
{
	uint64_t value;
	int r;

	r = number_check(o, count_parse, text, &value);
	if (r < 0)
		return r;
	*(uint32_t *)field = (uint32_t)value;
	return 0;
}

static int kind_text(const struct option *o, const char *text, void *field)
{
	char **to = field, *copy;

	if (!text[0])
		return -EINVAL;
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	free(*to);
	*to = copy;
	return 0;
}

static int kind_web_url(const struct option *o, const char *text, void *field)
{
	size_t scheme = strncasecmp(text, "https://", 8) == 0  ? 8
			: strncasecmp(text, "http://", 7) == 0 ? 7
							       : 0;

	if (strcmp(text, "none") && (!scheme || !text[scheme] || text[scheme] == '/'))
		return -EINVAL;
	return kind_text(o, text, field);
}

static int kind_list(const struct option *o, const char *text, void *field)
{
	struct config_list *list = field;
	char **items;

	if (!text[0])
		return -EINVAL;
	items = realloc(list->items, (list->n + 1) * sizeof(*items));
	if (!items)
		return -ENOMEM;
	list->items = items;
	items[list->n] = strdup(text);
	if (!items[list->n])
		return -ENOMEM;
	list->n++;
	return 0;
}

/* The place of text in "a|b|c". */
static int word_index(const char *words, const char *text)
{
	size_t len = strlen(text);
	int i = 0;

	for (const char *p = words;; i++) {
		size_t n = strcspn(p, "|");

		if (n == len && !strncmp(p, text, n))
			return i;
		if (!p[n])
			return -EINVAL;
		p += n + 1;
	}
}

static int kind_word(const struct option *o, const char *text, void *field)
{
	int i = word_index(o->words, text);

	if (i < 0)
		return i;
	*(unsigned *)field = (unsigned)i;
	return 0;
}

static int kind_format(const struct option *o, const char *text, void *field)
{
	return encode_format_parse(text, field);
}

static int kind_decode(const struct option *o, const char *text, void *field)
{
	return decode_format_parse(text, field);
}

static int kind_order(const struct option *o, const char *text, void *field)
{
	return order_parse(text, field);
}

static int kind_rung(const struct option *o, const char *text, void *field)
{
	return rung_parse(text, field);
}

_Static_assert(sizeof(enum config_start) == sizeof(unsigned) &&
		       sizeof(enum log_level) == sizeof(unsigned),
	       "kind_word writes an unsigned");
_Static_assert((int)CONFIG_START_END == 1 && (int)LOG_ERR == 0 && (int)LOG_DEBUG == 3,
	       "words are in the order of their enum");

/* clang-format off */
static const struct kind
	duration = {"DURATION", "a duration such as 5ms (units: ns, us, ms, s, m, h)",
		false, sizeof(int64_t), kind_duration},
	duration_or_never = {"DURATION",
		"'never' or a duration such as 5ms (units: ns, us, ms, s, m, h)",
		false, sizeof(int64_t), kind_duration_or_never},
	size = {"SIZE", "a size such as 64Ki (units: k, M, G, T, Ki, Mi, Gi, Ti)",
		false, sizeof(uint64_t), kind_size},
	count = {"NUMBER", "a whole number", false, sizeof(uint32_t), kind_count},
	directory = {"DIR", "a directory", true, sizeof(struct config_list), kind_list},
	sink = {"SPEC", "stdout, file:PATH or null", true, sizeof(struct config_list), kind_list},
	path = {"FILE", "a file", false, 0, kind_text},
	file = {"FILE", "a file or 'none'", false, 0, kind_text},
	address = {"ADDR:PORT", "an address and port such as 127.0.0.1:2112, or 'none'", false, 0, kind_text},
	url = {"URL", "a URL, or 'none'", false, 0, kind_text},
	web_url = {"URL", "a URL that begins with https:// or http://, or 'none'", false, 0, kind_web_url},
	label = {"NAME", "a name, '*' or 'none'", true, sizeof(struct config_list), kind_list},
	state = {"DIR", "a directory or 'none'", false, 0, kind_text},
	word = {NULL, NULL, false, sizeof(unsigned), kind_word},
	format = {NULL, NULL, false, sizeof(enum encode_format), kind_format},
	decode = {NULL, NULL, false, sizeof(enum decode_format), kind_decode},
	order = {NULL, NULL, false, sizeof(enum order), kind_order},
	rung = {NULL, NULL, false, sizeof(enum rung), kind_rung};

#define FIELD(name) .offset = offsetof(struct config, name)

const struct option config_options[] = {
	{"config", 'c', true, &path, FIELD(config_path),
	 .help = "read settings from this YAML file, again when it changes and on SIGHUP; what the "
		 "command line says wins"},
	{"root", 'r', false, &directory, FIELD(roots),
	 .help = "follow every log below this directory; may be repeated "
		 "(default: $CONTAINER_LOG_DIRECTORY, else /var/log/pods)"},
	{"link_root", 0, false, &directory, FIELD(link_roots),
	 .help = "a further directory that symbolic links below a root may lead into; may "
		 "be repeated"},
	{"sink", 'o', false, &sink, FIELD(sinks), .initial = "stdout",
	 .help = "where lines go: stdout, file:PATH or null; may be repeated"},
	{"state", 's', false, &state, FIELD(state), .initial = CONFIG_STATE_DEFAULT,
	 .at_start = true,
	 .help = "directory of the checkpoint, by which the next start goes on where this one "
		 "ended, or 'none'; the default is used where it can be made"},
	{"format", 'f', false, &format, FIELD(format), .initial = "ndjson", .words = "ndjson|raw",
	 .at_start = true,
	 .help = "one JSON object per line, or the line's text as it was"},
	{"decode", 0, false, &decode, FIELD(decode),
	 .initial = "auto", .words = "auto|cri|docker|raw",
	 .at_start = true,
	 .help = "how log files are written; auto looks at each file's content"},
	{"start", 0, false, &word, FIELD(start), .initial = "beginning", .words = "beginning|end",
	 .help = "where to begin in files that are already there; one that appears later is always "
		 "read from its first byte"},
	{"order", 0, false, &order, FIELD(order), .initial = "hot", .words = "hot|fair|fifo",
	 .help = "which file is drained first: the one whose unread bytes will be rotated away "
		 "soonest, each in turn, or the one that changed first"},
	{"bpf", 0, false, &rung, FIELD(bpf),
	 .initial = "auto", .words = "auto|fs|vfs|kprobe|syscall|off",
	 .at_start = true,
	 .help = "how the kernel counts writes; auto takes the best that attaches"},
	{"bpf.pin", 0, false, &state, FIELD(bpf_pin), .initial = "none",
	 .at_start = true,
	 .help = "directory of a BPF filesystem where the counters stay when hotdrain ends and go on "
		 "counting, or 'none'; `hotdrain unpin` removes them"},
	{"linger", 0, false, &duration, FIELD(linger_ns), .initial = "5ms", .min = "0", .max = "1m",
	 .help = "longest time a line waits in a batch for others; 0: busy files are looked at "
		 "each 250us instead of each tick"},
	{"exit_when_idle", 0, false, &duration_or_never, FIELD(exit_when_idle_ns),
	 .initial = "never", .min = "0", .max = "24h",
	 .help = "finish when everything is drained and nothing new came for this long"},
	{"line_max", 0, false, &size, FIELD(line_max_bytes),
	 .initial = "1Mi", .min = "1Ki", .max = "64Mi",
	 .help = "a longer line is cut there, and marked"},
	{"batch_bytes", 0, false, &size, FIELD(batch_bytes),
	 .initial = "256Ki", .min = "4Ki", .max = "16Mi",
	 .help = "log text in a batch before it goes to the sinks"},
	{"batches", 0, false, &count, FIELD(batches), .initial = "8", .min = "2", .max = "256",
	 .at_start = true,
	 .help = "batches there are; when the sinks hold them all, reading waits"},
	{"join_max", 0, false, &size, FIELD(join_max_bytes),
	 .initial = "8Mi", .min = "1Ki", .max = "1Gi",
	 .help = "memory for lines of which only parts have come"},
	{"held_max", 0, false, &size, FIELD(held_max_bytes), .initial = "1Gi", .min = "0", .max = "1024Ti",
	 .help = "unread bytes of removed files that are still held open; beyond it the oldest "
		 "are given up, and counted"},
	{"rotate_size", 0, false, &size, FIELD(rotate_size_bytes),
	 .initial = "10Mi", .min = "1Ki", .max = "1Ti",
	 .help = "size at which logs are taken to be rotated until a rotation was seen "
		 "(as kubelet's containerLogMaxSize)"},
	{"rotate_files", 0, false, &count, FIELD(rotate_files),
	 .initial = "5", .min = "1", .max = "1000",
	 .help = "files kept per container, likewise (as kubelet's containerLogMaxFiles)"},
	{"rotate_quiet", 0, false, &duration, FIELD(rotate_quiet_ns),
	 .initial = "2s", .min = "0", .max = "1h",
	 .help = "silence after which a rotated file that somebody still holds open keeps its "
		 "successor waiting no longer; five times that if it is never silent"},
	{"hot_quiet", 0, false, &duration, FIELD(hot_quiet_ns),
	 .initial = "250ms", .min = "1ms", .max = "1m",
	 .help = "a file that was not written for this long is watched again instead of polled"},
	{"tick", 0, false, &duration, FIELD(tick_ns), .initial = "9ms", .min = "100us", .max = "1s",
	 .help = "how often the counters of busy files are looked at; what is read then goes on "
		 "at once, unless linger is longer"},
	{"stop_timeout", 0, false, &duration, FIELD(stop_timeout_ns),
	 .initial = "5s", .min = "0", .max = "10m",
	 .help = "how long sinks may take at the end to write what was read"},
	{"files_max", 0, false, &count, FIELD(files_max),
	 .initial = "16384", .min = "1", .max = "65536",
	 .at_start = true,
	 .help = "files the kernel counts; one beyond is followed by its size"},
	{"metrics", 0, false, &address, FIELD(metrics), .initial = "none",
	 .at_start = true,
	 .help = "serve metrics, health and the status page over HTTP there, or 'none'; :2112 is "
		 "127.0.0.1:2112"},
	{"series_keep", 0, false, &duration, FIELD(series_keep_ns),
	 .initial = "5m", .min = "0", .max = "24h",
	 .help = "how long a container that is gone is still shown by itself; its figures stay in "
		 "the totals"},
	{"docker", 0, false, &url, FIELD(docker), .initial = "none",
	 .at_start = true,
	 .help = "the socket of Docker or Podman, such as unix:///var/run/docker.sock: records get "
		 "the container's name, id and labels, and one that stops is drained first"},
	{"kubernetes.pods_url", 0, false, &web_url, FIELD(pods_url), .initial = "none",
	 .at_start = true,
	 .help = "where the node's pods are listed, such as https://127.0.0.1:10250/pods: records "
		 "get their labels, annotations, node, owner and container id"},
	{"kubernetes.token_file", 0, false, &file, FIELD(pods_token), .initial = "none",
	 .at_start = true,
	 .help = "a bearer token for it, or 'none'; read again before each request"},
	{"kubernetes.ca_file", 0, false, &file, FIELD(pods_ca), .initial = "none",
	 .at_start = true,
	 .help = "certificates that its own must be signed by, or 'none': the system's"},
	{"kubernetes.refresh", 0, false, &duration, FIELD(pods_refresh_ns),
	 .initial = "30s", .min = "100ms", .max = "1h",
	 .at_start = true,
	 .help = "how often the pods are asked for; at once when one turns up that is not known"},
	{"kubernetes.label", 0, false, &label, FIELD(pods_labels), .initial = "*",
	 .at_start = true,
	 .help = "a pod label that records get, '*': all, or 'none'; may be repeated"},
	{"kubernetes.annotation", 0, false, &label, FIELD(pods_annotations),
	 .initial = "none",
	 .at_start = true,
	 .help = "a pod annotation that records get, '*': all, or 'none'; may be repeated"},
	{"log_level", 0, false, &word, FIELD(log_level),
	 .initial = "info", .words = "error|warning|info|debug",
	 .help = "what hotdrain says about itself on standard error"},
	{"verbose", 'v', true, &word, FIELD(log_level), .fixed = "debug",
	 .words = "error|warning|info|debug", .help = "same as --log-level=debug"},
	{"quiet", 'q', true, &word, FIELD(log_level), .fixed = "warning",
	 .words = "error|warning|info|debug", .help = "same as --log-level=warning"},
	{"version", 0, true, .offset = ACTION_VERSION, .help = "print the version"},
	{"help", 'h', true, .offset = ACTION_HELP, .help = "print this text"},
};
/* clang-format on */

const size_t config_options_n = ARRAY_SIZE(config_options);

char option_dash(char c)
{
	return (char)(c == '_' || c == '.' ? '-' : c);
}

char *option_flag(const struct option *o, char *name, size_t max)
{
	snprintf(name, max, "--%s", o->key);
	for (char *p = name; *p; p++)
		*p = option_dash(*p);
	return name;
}

bool option_takes_value(const struct option *o)
{
	return o->kind && !o->fixed;
}
