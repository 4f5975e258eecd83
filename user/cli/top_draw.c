/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From top to bottom: the frame's head (only its first line where the screen is low), how it is
 * shown or what is asked for, titles, rows. Every line is cut to the width before it is drawn, so
 * that nothing wraps, and made of printable characters only (top_columns.h).
 *
 * What means loss is red, what will soon mean it is yellow; each is to be read from the figures as
 * well, so nothing is lost without colours.
 */
#include "cli/top_draw.h"

#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "cli/top_columns.h"

#define LOW_LINES 14 /* a screen lower than this has one line of head */
#define SOON_S    60

enum { PAIR_BAD = 1, PAIR_SOON };

void top_draw_init(void)
{
	const char *no = getenv("NO_COLOR"); /* no-color.org */

	if ((no && *no) || !has_colors())
		return;
	start_color();
	use_default_colors();
	init_pair(PAIR_BAD, COLOR_RED, -1);
	init_pair(PAIR_SOON, COLOR_YELLOW, -1);
}

static attr_t colour(int pair)
{
	const char *no = getenv("NO_COLOR");

	return (no && *no) || !has_colors() ? A_NORMAL : (attr_t)COLOR_PAIR(pair);
}

static void put_line(int y, const char *text, attr_t attr)
{
	char fit[TOP_CELL_MAX];

	if (y >= LINES)
		return;
	attron(attr);
	mvaddstr(y, 0, top_fit(text, (size_t)COLS, fit));
	attroff(attr);
}

static bool is_bad(const struct top_frame *f, const char *line)
{
	bool lost = strncmp(line, "lost ", 5) == 0 && strncmp(line, "lost 0 ", 7) != 0;

	return f->alarm && (lost || strstr(line, "FAILING"));
}

/* The number of lines. */
static int draw_head(const struct top_frame *f)
{
	const char *text = f->text.data ? f->text.data + f->head : "";
	int most = LINES < LOW_LINES ? 1 : LINES / 2, y = 0;
	char line[TOP_CELL_MAX];

	for (; *text; text += strcspn(text, "\n"), text += *text == '\n') {
		snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\n"), text);
		/* On a low screen what is wrong takes the place of the rest. */
		if (y < most)
			put_line(y++, line, is_bad(f, line) ? colour(PAIR_BAD) | A_BOLD : A_NORMAL);
		else if (is_bad(f, line)) {
			move(most - 1, 0);
			clrtoeol();
			put_line(most - 1, line, colour(PAIR_BAD) | A_BOLD);
		}
	}
	return y;
}

static const char *sort_word(const struct top_shown *s)
{
	for (int key = 'a'; key <= 'z'; key++) {
		const struct top_column *c = top_column_sorted(s->frame.from, (char)key, NULL);

		if (c && c->value == s->view->sort)
			return c->word;
	}
	return "rate";
}

static void draw_state(const struct top_shown *s, int y)
{
	const struct top_view *v = s->view;
	char line[TOP_WHY_MAX + 256];

	if (s->asking) {
		snprintf(line, sizeof(line), "namespace (* for all): %s", s->typed);
		put_line(y, line, A_BOLD);
		return;
	}
	if (*s->why) {
		snprintf(line, sizeof(line), "%s%s", s->frame.from ? "NOT NEW: " : "", s->why);
		put_line(y, line, colour(PAIR_BAD) | A_BOLD);
		return;
	}
	snprintf(line, sizeof(line), "%sby %s%s, every %.3g s, %zu of %zu%s%s%s%s",
		 s->paused ? "PAUSED  " : "", sort_word(s), v->reverse ? " reversed" : "",
		 (double)v->delay_ns / NS_PER_SEC, s->frame.n, s->frame.all,
		 *v->pattern ? ", namespace " : "", v->pattern, *s->said ? "  " : "  (? for help)",
		 s->said);
	put_line(y, line, s->paused ? A_BOLD : A_NORMAL);
}

static attr_t cell_attr(const struct top_row *row, const struct top_column *c)
{
	if (c->is_name)
		return A_NORMAL;
	if (c->value == TOP_LOST && row->value[TOP_LOST] > 0)
		return colour(PAIR_BAD) | A_BOLD;
	if (c->value == TOP_DEADLINE && row->value[TOP_DEADLINE] < SOON_S)
		return colour(row->value[TOP_DEADLINE] <= 0 ? PAIR_BAD : PAIR_SOON) | A_BOLD;
	return A_NORMAL;
}

static void draw_line(const struct top_shown *s, const struct top_row *row,
		      const struct top_layout *l, int y)
{
	attr_t line = !row ? A_REVERSE : row->gone ? A_DIM : row->hot ? A_BOLD : A_NORMAL;
	char cell[TOP_CELL_MAX];

	move(y, 0);
	for (size_t i = 0; i < l->n; i++) {
		const struct top_column *c = l->cells[i].column;
		attr_t attr = line | (row ? cell_attr(row, c) : A_NORMAL);

		if (!row && !c->is_name && c->value == s->view->sort)
			attr |= A_UNDERLINE | A_BOLD;
		attrset(line);
		addstr(i ? " " : "");
		attrset(attr);
		addstr(top_cell(&s->frame, row, l, i, cell));
	}
	attrset(line);
	for (int x = getcurx(stdscr); !row && getcury(stdscr) == y && x < COLS; x++)
		mvaddch(y, x, ' ');
	attrset(A_NORMAL);
}

static void draw_help(int y)
{
	static const char *const lines[] = {
		"q          end",
		"p, space   pause, go on",
		"n          show only some namespaces (* and ? match)",
		"R          turn the order round",
		"arrows, page up and down, home, end: scroll",
		"sort by:   r rate   v written or delivered   o rotations",
		"  daemon:  b backlog   d deadline   a age of the oldest unread byte   l lost",
		"  itself:  w writes/s   m bytes per write   s size   i idle",
		"rates are bytes per second; k, M, G are powers of 1000",
		"any other key: back",
	};

	for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
		put_line(y + (int)i, lines[i], A_NORMAL);
}

static void draw_rows(struct top_shown *s, int y, size_t room)
{
	struct top_layout l;
	size_t n = MIN(s->frame.n, s->view->rows), last = n - MIN(n, room);

	s->scroll = MIN(s->scroll, last);
	top_layout(&s->frame, s->scroll, room, (size_t)COLS, &l);
	if (y < LINES)
		draw_line(s, NULL, &l, y);
	for (size_t i = 0; i < room && s->scroll + i < n; i++)
		draw_line(s, &s->frame.rows[s->scroll + i], &l, y + 1 + (int)i);
}

size_t top_draw(struct top_shown *s)
{
	size_t room;
	int y;

	erase();
	y = draw_head(&s->frame);
	draw_state(s, y++);
	room = LINES > y + 1 ? (size_t)(LINES - y - 1) : 0;
	if (s->help)
		draw_help(y);
	else
		draw_rows(s, y, room);
	refresh();
	return room;
}
