/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Columns in the order in which they are shown. Names are as wide as the longest of the rows that
 * are on the screen; figures have a fixed width, so that they do not jump. Where all does not go
 * into the width, whole columns give way, those of the highest rank first, until the others fit
 * with names of NAME_MIN columns; what is left over widens the names.
 *
 * A log outside any pod has no names: its directory, or all of its path, stands for the pod.
 *
 * What a file is called is bytes that anybody may have chosen: control characters and what is not
 * of the locale's encoding become '?', before any of it reaches a terminal.
 *
 * Rejected: widths as wide as the longest of all rows (10,000 rows are measured for the 40 that are
 * shown), scrolling sideways (what matters most must be there at any width).
 */
#include "cli/top_columns.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/sys.h"

#define NAME_MIN   8
#define NAME_MAX_W 200 /* columns of one name, where the width has no limit */
#define FIGURE     8   /* columns */
#define BOTH       (TOP_DAEMON | TOP_OWN)

/* clang-format off */
static const struct top_column columns[] = {
	{"NAMESPACE", BOTH, true, TOP_NAMESPACE, 0, 0, NULL, 8},
	{"POD", BOTH, true, TOP_POD, 0, 0, NULL, 0},
	{"CONTAINER", BOTH, true, TOP_CONTAINER, 0, 0, NULL, 7},
	{"FILE", TOP_OWN, true, TOP_PATH, 0, 0, NULL, 2},
	{"RATE/s", BOTH, false, 0, TOP_RATE, 'r', "rate", 0},
	{"BACKLOG", TOP_DAEMON, false, 0, TOP_BACKLOG, 'b', "backlog", 1},
	{"DEADLINE", TOP_DAEMON, false, 0, TOP_DEADLINE, 'd', "deadline", 3},
	{"AGE", TOP_DAEMON, false, 0, TOP_AGE, 'a', "age", 4},
	{"DELIVERD", TOP_DAEMON, false, 0, TOP_DELIVERED, 'v', "delivered", 9},
	{"LOST", TOP_DAEMON, false, 0, TOP_LOST, 'l', "lost", 2},
	{"WRITES/s", TOP_OWN, false, 0, TOP_WRITE_RATE, 'w', "writes", 3},
	{"BYTES/WR", TOP_OWN, false, 0, TOP_MEAN, 'm', "mean", 6},
	{"SIZE", TOP_OWN, false, 0, TOP_SIZE, 's', "size", 5},
	{"IDLE", TOP_OWN, false, 0, TOP_IDLE, 'i', "idle", 4},
	{"WRITTEN", TOP_OWN, false, 0, TOP_WRITTEN, 'v', "written", 9},
	{"ROTATED", BOTH, false, 0, TOP_ROTATIONS, 'o', "rotations", 10},
};
/* clang-format on */

char *top_number(double x, char *out, size_t size)
{
	static const char units[] = " kMGTPE";
	size_t i = 0;

	if (isnan(x)) {
		snprintf(out, size, "-");
		return out;
	}
	/* What would be rounded up to the next unit is of it. */
	while (units[i + 1] && x >= 999.5) {
		x /= 1000;
		i++;
	}
	if (!i)
		snprintf(out, size, x > 0 && x < 9.95 && x != floor(x) ? "%.1f" : "%.0f", x);
	else
		snprintf(out, size, x < 99.95 ? "%.1f%c" : "%.0f%c", x, units[i]);
	return out;
}

char *top_seconds(double s, char *out, size_t size)
{
	long n = isnan(s) || s > 1e15 ? 0 : (long)s;

	if (isnan(s) || s > 1e15)
		snprintf(out, size, "-");
	else if (s <= 0)
		snprintf(out, size, "now");
	else if (s < 9.95)
		snprintf(out, size, "%.1fs", s);
	else if (n < 60)
		snprintf(out, size, "%lds", n);
	else if (n < 3600)
		snprintf(out, size, "%ldm%02lds", n / 60, n % 60);
	else if (n < 86400)
		snprintf(out, size, "%ldh%02ldm", n / 3600, n % 3600 / 60);
	else
		snprintf(out, size, "%ldd%02ldh", n / 86400, n % 86400 / 3600);
	return out;
}

/* The next character of *text, as it may be shown, and how many columns it takes. */
static int next_char(const char **text, mbstate_t *state, wchar_t *ret)
{
	size_t n = mbrtowc(ret, *text, strlen(*text), state);
	int width;

	if (n == (size_t)-1 || n == (size_t)-2 || n == 0) {
		*state = (mbstate_t){0};
		n = 1;
		*ret = L'?';
	}
	*text += n;
	width = wcwidth(*ret);
	if (width >= 0)
		return width;
	*ret = L'?';
	return 1;
}

static size_t text_width(const char *text)
{
	mbstate_t state = {0};
	size_t width = 0;
	wchar_t c;

	while (*text)
		width += (size_t)next_char(&text, &state, &c);
	return width;
}

static char *put_char(char *to, const char *end, wchar_t c, mbstate_t *state)
{
	char bytes[MB_LEN_MAX];
	size_t n = wcrtomb(bytes, c, state);

	if (n == (size_t)-1 || n > (size_t)(end - to))
		return to;
	memcpy(to, bytes, n);
	return to + n;
}

char *top_fit(const char *text, size_t width, char out[TOP_CELL_MAX])
{
	const char *end = &out[TOP_CELL_MAX - 1];
	size_t whole = text_width(text), room = width, skip = 0, at = 0;
	mbstate_t state = {0}, to_state = {0};
	wchar_t mark = MB_CUR_MAX > 1 ? L'…' : L'~', c;
	bool tail = *text == '/'; /* of a path the end says most */
	char *to = out;

	if (whole > width && width) {
		room = width - 1;
		skip = tail ? whole - room : 0;
	}
	if (skip)
		to = put_char(to, end, mark, &to_state);
	while (*text) {
		size_t w = (size_t)next_char(&text, &state, &c);

		if (at + w > skip + room)
			break;
		if (at >= skip)
			to = put_char(to, end, c, &to_state);
		at += w;
	}
	if (whole > width && width && !skip)
		to = put_char(to, end, mark, &to_state);
	*to = '\0';
	return out;
}

static const char *raw_name(const struct top_frame *f, const struct top_row *row,
			    enum top_name name, char *out)
{
	const char *path = top_frame_name(f, row, TOP_PATH), *slash = strrchr(path, '/');

	if (name == TOP_PATH)
		return slash ? slash + 1 : path;
	if (name != TOP_POD || row->name[TOP_POD] || row->name[TOP_NAMESPACE])
		return top_frame_name(f, row, name);
	if (f->from == TOP_DAEMON || !slash || slash == path)
		return path;
	snprintf(out, TOP_CELL_MAX, "%.*s", (int)(slash - path), path);
	return out;
}

/* As it is, before it is cut. out: TOP_CELL_MAX bytes that may be used for it. */
static const char *raw_cell(const struct top_frame *f, const struct top_row *row,
			    const struct top_column *c, char *out)
{
	if (!row)
		return c->title;
	if (c->is_name)
		return raw_name(f, row, c->name, out);
	if (c->value == TOP_DEADLINE || c->value == TOP_AGE || c->value == TOP_IDLE)
		return top_seconds(row->value[c->value], out, TOP_CELL_MAX);
	return top_number(row->value[c->value], out, TOP_CELL_MAX);
}

char *top_cell(const struct top_frame *f, const struct top_row *row, const struct top_layout *l,
	       size_t cell, char out[TOP_CELL_MAX])
{
	const struct top_column *c = l->cells[cell].column;
	size_t width = l->cells[cell].width, has, len, pad;
	char raw[TOP_CELL_MAX];

	top_fit(raw_cell(f, row, c, raw), width, out);
	has = text_width(out);
	len = strlen(out);
	pad = has < width ? MIN(width - has, TOP_CELL_MAX - 1 - len) : 0;
	if (c->is_name) {
		memset(out + len, ' ', pad);
	} else {
		memmove(out + pad, out, len);
		memset(out, ' ', pad);
	}
	out[len + pad] = '\0';
	return out;
}

static size_t natural_width(const struct top_frame *f, size_t first, size_t count,
			    const struct top_column *c)
{
	size_t width = strlen(c->title);
	char raw[TOP_CELL_MAX];

	if (!c->is_name)
		return FIGURE;
	for (size_t i = first; i < f->n && i - first < count; i++) {
		size_t w = text_width(raw_cell(f, &f->rows[i], c, raw));

		w = MIN(w, (size_t)NAME_MAX_W);
		width = MAX(width, w);
	}
	return width;
}

static size_t width_of(const struct top_layout *l)
{
	size_t width = 0;

	for (size_t i = 0; i < l->n; i++)
		width += l->cells[i].width + (i > 0);
	return width;
}

static void drop_worst(struct top_layout *l)
{
	size_t worst = 0;

	for (size_t i = 1; i < l->n; i++)
		if (l->cells[i].column->rank >= l->cells[worst].column->rank)
			worst = i;
	memmove(&l->cells[worst], &l->cells[worst + 1], (--l->n - worst) * sizeof(l->cells[0]));
}

/* What is left over goes to all who can use it alike. */
static void widen_names(const struct top_frame *f, size_t first, size_t count, size_t width,
			struct top_layout *l)
{
	size_t wanted[TOP_COLUMNS_MAX], has = width_of(l), before;

	for (size_t i = 0; i < l->n; i++)
		wanted[i] = natural_width(f, first, count, l->cells[i].column);
	do {
		before = has;
		for (size_t i = 0; i < l->n; i++)
			if (l->cells[i].width < wanted[i] && has < width) {
				l->cells[i].width++;
				has++;
			}
	} while (has != before);
}

void top_layout(const struct top_frame *f, size_t first, size_t count, size_t width,
		struct top_layout *ret_layout)
{
	struct top_layout l = {0};

	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		const struct top_column *c = &columns[i];

		if (!(c->from & f->from) || l.n == TOP_COLUMNS_MAX)
			continue;
		l.cells[l.n].column = c;
		l.cells[l.n++].width =
			c->is_name ? MIN(natural_width(f, first, count, c), (size_t)NAME_MIN)
				   : FIGURE;
	}
	while (l.n > 1 && width_of(&l) > width)
		drop_worst(&l);
	if (l.n)
		l.cells[0].width = MIN(l.cells[0].width, width);
	widen_names(f, first, count, width, &l);
	*ret_layout = l;
}

const struct top_column *top_column_sorted(unsigned from, char key, const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++) {
		const struct top_column *c = &columns[i];

		if ((c->from & from) && c->key &&
		    (word ? strcmp(c->word, word) == 0 : c->key == key))
			return c;
	}
	return NULL;
}

char *top_column_words(unsigned from, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(columns); i++)
		if ((columns[i].from & from) && columns[i].word && at < size)
			at += (size_t)snprintf(out + at, size - at, "%s%s", at ? ", " : "",
					       columns[i].word);
	return out;
}
