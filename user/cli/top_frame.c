/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/top_frame.h"

#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

void top_frame_done(struct top_frame *f)
{
	free(f->rows);
	buf_done(&f->text);
	*f = (struct top_frame){0};
}

void top_frame_clear(struct top_frame *f)
{
	*f = (struct top_frame){
		.rows = f->rows, .max = f->max, .text = {.data = f->text.data, .cap = f->text.cap}};
}

size_t top_frame_text(struct top_frame *f, const char *text, size_t len)
{
	size_t before = f->text.len, at;

	if (!before && buf_add(&f->text, "", 1) < 0)
		return 0;
	at = f->text.len;
	if (!len)
		return 0;
	if (buf_add(&f->text, text, len) < 0 || buf_add(&f->text, "", 1) < 0) {
		f->text.len = before;
		return 0;
	}
	return at;
}

struct top_row *top_frame_row(struct top_frame *f)
{
	struct top_row *r;

	if (f->all == f->max) {
		size_t max = f->max ? f->max * 2 : 64;
		struct top_row *more = realloc(f->rows, max * sizeof(*more));

		if (!more)
			return NULL;
		f->rows = more;
		f->max = max;
	}
	r = &f->rows[f->all++];
	f->n = f->all;
	*r = (struct top_row){0};
	for (int v = 0; v < TOP_VALUES; v++)
		r->value[v] = NAN;
	return r;
}

const char *top_frame_name(const struct top_frame *f, const struct top_row *r, enum top_name name)
{
	return r->name[name] ? f->text.data + r->name[name] : "";
}

struct order {
	const struct top_frame *frame;
	enum top_value by;
	bool small_first;
};

static int value_cmp(double a, double b, bool small_first)
{
	if (isnan(a) || isnan(b))
		return !!isnan(a) - !!isnan(b);
	if (a == b)
		return 0;
	return (a < b) == small_first ? -1 : 1;
}

static int row_cmp(const void *a, const void *b, void *ctx)
{
	static const enum top_name names[] = {TOP_NAMESPACE, TOP_POD, TOP_CONTAINER, TOP_PATH};
	const struct top_row *x = a, *y = b;
	const struct order *o = ctx;
	int c = value_cmp(x->value[o->by], y->value[o->by], o->small_first);

	if (!c)
		c = value_cmp(x->value[TOP_RATE], y->value[TOP_RATE], false);
	for (size_t i = 0; i < ARRAY_SIZE(names) && !c; i++)
		c = strcmp(top_frame_name(o->frame, x, names[i]),
			   top_frame_name(o->frame, y, names[i]));
	return c;
}

void top_frame_sort(struct top_frame *f, enum top_value by, bool reverse)
{
	struct order o = {.frame = f,
			  .by = by,
			  .small_first = (by == TOP_DEADLINE || by == TOP_IDLE) != reverse};

	if (f->n)
		qsort_r(f->rows, f->n, sizeof(*f->rows), row_cmp, &o);
}

void top_frame_filter(struct top_frame *f, const char *pattern)
{
	size_t kept = 0;

	f->n = f->all;
	if (!pattern || !*pattern)
		return;
	for (size_t i = 0; i < f->all; i++)
		if (fnmatch(pattern, top_frame_name(f, &f->rows[i], TOP_NAMESPACE), 0) == 0) {
			struct top_row row = f->rows[i];

			f->rows[i] = f->rows[kept];
			f->rows[kept++] = row;
		}
	f->n = kept;
}
