/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was delivered, against what was written.
 *
 * Each line exactly once, and in the order of its stream. A line may be missing only if the program
 * has named a loss of that container's log in one of its summaries, of at least as many bytes or of
 * an unknown number (0 bytes, or vanished). Bytes that are named as lost while no line is missing
 * are wrong as well; 0 bytes are only a file of which the end was not seen, and how much of e was
 * cut off unread is not known when its truncation was seen too late.
 */
#ifndef JUDGE_H
#define JUDGE_H

#include <stdarg.h>

#include "scenario.h"

#define LINES_MAX  512
#define REPORT_MAX 8192

struct report {
	size_t len;
	char text[REPORT_MAX];
};

struct losses {
	unsigned long long bytes;
	bool any, unknown; /* something was lost, of which the bytes are not all known */
};

struct allowed {
	bool repeats;
	char missing; /* of this log lines may be missing, 0: of none */
};

struct verdict {
	bool repeats, losses; /* where they are allowed */
};

static void say(struct report *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(struct report *r, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(r->text + r->len, REPORT_MAX - r->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		r->len = MIN(r->len + (size_t)n, (size_t)REPORT_MAX - 1);
}

/* The whole of a file as a string: a NUL in it is a '?'. The caller frees it. */
static char *slurp(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st = {0};
	char *text;
	ssize_t n = 0;

	if (fd >= 0)
		fstat(fd, &st);
	text = malloc((size_t)st.st_size + 1);
	assert(text);
	if (fd >= 0) {
		n = read(fd, text, (size_t)st.st_size);
		close(fd);
	}
	n = n < 0 ? 0 : n;
	for (ssize_t i = 0; i < n; i++)
		if (!text[i])
			text[i] = '?';
	text[n] = '\0';
	return text;
}

/* container PATH: read N, …, lost N bytes (REASON N bytes N times, …); … */
static void add_account(const char *line, struct losses *sum)
{
	const char *lost = strstr(line, ", lost "), *open, *end = strstr(line, "; ");

	if (!lost || !end)
		return;
	sum->bytes += strtoull(lost + strlen(", lost "), NULL, 10);
	open = strstr(lost, " bytes (");
	if (!open || open > end)
		return;
	sum->any = true;
	for (const char *p = strstr(open, " 0 bytes "); p && p < end;
	     p = strstr(p + 1, " 0 bytes "))
		sum->unknown = true;
	sum->unknown = sum->unknown || (strstr(open, "vanished") && strstr(open, "vanished") < end);
}

/* What log says of the container at path. Of one that it never had open it can only say how many
 * vanished in all. */
static void find_losses(const char *log, const char *path, struct losses *sum)
{
	char want[PATH_MAX];
	bool seen = false;

	snprintf(want, sizeof(want), "container %s: ", path);
	for (const char *p = strstr(log, want); p; p = strstr(p + 1, want)) {
		add_account(p, sum);
		seen = true;
	}
	for (const char *p = strstr(log, " truncations, "); p && !seen;
	     p = strstr(p + 1, " truncations, "))
		if (strtoul(p + strlen(" truncations, "), NULL, 10) &&
		    strstr(p, " vanished before"))
			sum->any = sum->unknown = true;
}

/* How often each line of a stream came, and whether in order. */
struct seen {
	unsigned count[LINES_MAX], last;
	bool order;
};

/* False: the line is none of ours. */
static bool note_line(const struct scenario *s, const char *line, size_t len,
		      struct seen seen[LOGS][STREAMS])
{
	unsigned log = (unsigned char)line[0] - 'a', stream = line[1] == 'e', n;
	char text[TEXT_MAX];
	struct seen *to;

	if (len < 9 || log >= LOGS)
		return false;
	n = (unsigned)strtoul(line + 3, NULL, 10);
	if (n == 0 || n > s->logs[log].written[stream] || n >= LINES_MAX ||
	    (size_t)line_text((char)('a' + log), (int)stream, n, text) != len ||
	    memcmp(text, line, len) != 0)
		return false;
	to = &seen[log][stream];
	if (!to->count[n]++) {
		to->order = to->order && n > to->last;
		to->last = n;
	}
	return true;
}

/* What is wrong with one log; counts what is allowed. */
static bool judge_log(const struct log_file *l, const struct seen seen[STREAMS], const char *said,
		      const struct allowed *allowed, struct report *r, struct verdict *v)
{
	unsigned missing = 0, repeated = 0;
	unsigned long long missing_bytes = 0;
	struct losses sum = {0};
	char text[TEXT_MAX];
	bool good = true;

	for (int k = 0; k < STREAMS; k++) {
		for (unsigned n = 1; n <= l->written[k]; n++) {
			unsigned count = seen[k].count[n];

			if (count > 1 && ++repeated <= 3 && !allowed->repeats)
				say(r, "# repeated: %c%c %u\n", l->letter, "oe"[k], n);
			if (count)
				continue;
			if (++missing <= 3)
				say(r, "# missing: %c%c %u\n", l->letter, "oe"[k], n);
			missing_bytes += (unsigned)line_text(l->letter, k, n, text);
		}
		if (!seen[k].order)
			say(r, "# out of order: %c%c\n", l->letter, "oe"[k]);
		good = good && seen[k].order;
	}
	find_losses(said, l->path, &sum);
	if (l->letter == allowed->missing)
		sum.any = sum.unknown = true;
	if (missing && (!sum.any || (!sum.unknown && sum.bytes < missing_bytes)))
		say(r, "# %c: %u lines, %llu bytes missing; named as lost: %s%llu bytes\n",
		    l->letter, missing, missing_bytes, sum.any ? "" : "nothing, ", sum.bytes);
	else if (!missing && sum.bytes && l->letter != 'e')
		say(r, "# %c: nothing is missing, and a loss of %llu bytes named\n", l->letter,
		    sum.bytes);
	else if (!repeated || allowed->repeats) {
		v->losses = v->losses || missing;
		v->repeats = v->repeats || repeated;
		return good;
	}
	if (repeated)
		say(r, "# %c: %u lines repeated\n", l->letter, repeated);
	return false;
}

static bool judge(const struct scenario *s, const char *out, const char *said,
		  const struct allowed *allowed, struct report *r, struct verdict *ret)
{
	struct seen seen[LOGS][STREAMS] = {0};
	struct verdict v = {0};
	bool good = true;

	for (int i = 0; i < LOGS * STREAMS; i++)
		seen[i / STREAMS][i % STREAMS].order = true;
	for (const char *at = out, *eol; *at; at = eol + 1) {
		eol = strchrnul(at, '\n');
		if (!*eol || !note_line(s, at, (size_t)(eol - at), seen)) {
			say(r, "# no line of ours, %d bytes: %.*s\n", (int)(eol - at),
			    (int)MIN(eol - at, (ptrdiff_t)100), at);
			good = false;
		}
		if (!*eol)
			break;
	}
	for (int i = 0; i < LOGS; i++)
		good = judge_log(&s->logs[i], seen[i], said, allowed, r, &v) && good;
	*ret = v;
	return good;
}

#endif
