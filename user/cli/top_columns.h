/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a row is shown as: one table of columns, and how they share the width there is. All text
 * given out is printable in the locale (LC_CTYPE) and measured in columns of a terminal.
 */
#ifndef CLI_TOP_COLUMNS_H
#define CLI_TOP_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/top_frame.h"

#define TOP_COLUMNS_MAX 12
#define TOP_CELL_MAX    1024 /* bytes of a cell's text, with its NUL */
#define TOP_WIDE        ((size_t)-1)

struct top_column {
	const char *title;
	unsigned from; /* enum top_from it is shown with */
	bool is_name;
	enum top_name name;
	enum top_value value;
	char key;         /* by which the screen sorts; 0: not at all */
	const char *word; /* of --sort */
	unsigned rank;    /* the higher, the sooner it gives way to others */
};

struct top_layout {
	size_t n;
	struct {
		const struct top_column *column;
		size_t width;
	} cells[TOP_COLUMNS_MAX];
};

/* For rows first to first + count, in width columns (TOP_WIDE: as wide as it takes); one space
 * stands between two cells. */
void top_layout(const struct top_frame *f, size_t first, size_t count, size_t width,
		struct top_layout *ret_layout);
/* The cell's text, cut or padded to its width; row NULL: its title. Returns out. */
char *top_cell(const struct top_frame *f, const struct top_row *row, const struct top_layout *l,
	       size_t cell, char out[TOP_CELL_MAX]);
/* text as far as it goes into width columns: … in place of the rest. Returns out. */
char *top_fit(const char *text, size_t width, char out[TOP_CELL_MAX]);

/* By key or by word (the other 0 or NULL): NULL when there is none with these figures. */
const struct top_column *top_column_sorted(unsigned from, char key, const char *word);
/* "rate, backlog, …", of these figures. Returns out. */
char *top_column_words(unsigned from, char *out, size_t size);

/* 0, 999, 1.5k, 23.4M, 150G: four digits at most. -: unknown. size: at least 16. Return out. */
char *top_number(double x, char *out, size_t size);
/* 0.3s, 12s, 3m05s, 2h07m, 4d03h. now: not above 0. */
char *top_seconds(double s, char *out, size_t size);

#endif
