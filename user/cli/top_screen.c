/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The terminal: one ppoll for keys, signals and the source, and nothing that blocks.
 *
 * All signals that end the program are blocked and come by a signalfd, SIGWINCH too, so that the
 * terminal is put right by the same few lines however it ends; curses' own handlers never run. A
 * stop (Ctrl-Z) is left to curses.
 *
 * What the log says meanwhile would be written across the screen: standard error is set aside when
 * it is the terminal, its last line shown, and all of it written at the end.
 *
 * Rejected: initscr (ends the process where the terminal is not known), a thread for the keys.
 */
#include <errno.h>
#include <fcntl.h>
#include <ncurses.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <term.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "cli/top_columns.h"
#include "cli/top_draw.h"
#include "cli/top_source.h"
#include "cli/top_view.h"

#define ESCAPE   27
#define CTRL_L   12
#define LOG_NAME "hotdrain: " /* each of its lines begins so */
#define SAID_MAX 4096         /* of the log's end, to find its last line */

struct screen {
	struct top_source *source;
	struct top_view *view;
	struct top_shown shown;
	size_t room; /* rows on the screen */
	uint64_t frames;
	int64_t next_ns; /* when the next frame is wanted */
	bool end, changed;
	int signal_fd, said_fd; /* said_fd -1: standard error is not set aside */
};

bool top_screen_works(void)
{
	const char *cup;
	int err;
	bool works;

	if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
	    setupterm(NULL, STDOUT_FILENO, &err) != OK)
		return false;
	cup = tigetstr("cup");
	works = cup && cup != (char *)-1;
	del_curterm(cur_term);
	return works;
}

static void arrange(struct screen *s)
{
	top_frame_filter(&s->shown.frame, s->view->pattern);
	top_frame_sort(&s->shown.frame, s->view->sort, s->view->reverse);
	s->changed = true;
}

static void end_asking(struct screen *s, bool take)
{
	s->shown.asking = false;
	s->changed = true;
	if (!take)
		return;
	snprintf(s->view->pattern, sizeof(s->view->pattern), "%s",
		 strcmp(s->shown.typed, "*") == 0 ? "" : s->shown.typed);
	s->shown.scroll = 0;
	arrange(s);
}

static void key_typed(struct screen *s, int key)
{
	char *typed = s->shown.typed;
	size_t len = strlen(typed);

	s->changed = true;
	if (key == '\n' || key == '\r' || key == KEY_ENTER)
		end_asking(s, true);
	else if (key == ESCAPE)
		end_asking(s, false);
	else if ((key == KEY_BACKSPACE || key == 127 || key == '\b') && len)
		typed[len - 1] = '\0';
	else if (key > ' ' && key < 127 && len < TOP_PATTERN_MAX) {
		typed[len] = (char)key;
		typed[len + 1] = '\0';
	}
}

static bool key_scrolls(struct screen *s, int key)
{
	size_t page = MAX(s->room, (size_t)1), *at = &s->shown.scroll;

	switch (key) {
	case KEY_UP:
		*at -= *at > 0;
		return true;
	case KEY_DOWN:
		*at += 1;
		return true;
	case KEY_PPAGE:
		*at -= MIN(*at, page);
		return true;
	case KEY_NPAGE:
		*at += page;
		return true;
	case KEY_HOME:
		*at = 0;
		return true;
	case KEY_END:
		*at = s->shown.frame.n;
		return true;
	default:
		return false;
	}
}

static void pause_toggle(struct screen *s)
{
	s->shown.paused = !s->shown.paused;
	if (!s->shown.paused)
		s->next_ns = 0;
}

static void key_sorts(struct screen *s, int key)
{
	const struct top_column *c = NULL;

	if (key >= 'a' && key <= 'z')
		c = top_column_sorted(s->shown.frame.from, (char)key, NULL);
	if (!c)
		return;
	s->view->sort = c->value;
	s->shown.scroll = 0;
	arrange(s);
}

static void key_pressed(struct screen *s, int key)
{
	s->changed = true;
	if (s->shown.asking) {
		key_typed(s, key);
		return;
	}
	if (s->shown.help && key != 'q') {
		s->shown.help = false;
		return;
	}
	if (key_scrolls(s, key))
		return;
	switch (key) {
	case 'q':
		s->end = true;
		break;
	case 'p':
	case ' ':
		pause_toggle(s);
		break;
	case 'n':
		s->shown.asking = true;
		s->shown.typed[0] = '\0';
		break;
	case 'R':
		s->view->reverse = !s->view->reverse;
		arrange(s);
		break;
	case '?':
	case 'h':
		s->shown.help = true;
		break;
	case CTRL_L:
		clear();
		break;
	default:
		key_sorts(s, key);
	}
}

static void take_signals(struct screen *s)
{
	struct signalfd_siginfo si;
	struct winsize size;

	while (read(s->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		s->end = s->end || si.ssi_signo != SIGWINCH;
		s->changed = true;
		if (si.ssi_signo == SIGWINCH && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 &&
		    size.ws_row && size.ws_col)
			resizeterm(size.ws_row, size.ws_col);
	}
}

/* The last whole line of what was set aside. */
static void take_said(struct screen *s)
{
	off_t end = s->said_fd >= 0 ? lseek(s->said_fd, 0, SEEK_END) : 0;
	char text[SAID_MAX + 1], *line;
	ssize_t n;

	if (end <= 0)
		return;
	n = pread(s->said_fd, text, SAID_MAX, MAX(end - SAID_MAX, (off_t)0));
	while (n > 0 && text[n - 1] == '\n')
		n--;
	if (n <= 0)
		return;
	text[n] = '\0';
	line = strrchr(text, '\n');
	line = line ? line + 1 : text;
	if (strncmp(line, LOG_NAME, strlen(LOG_NAME)) == 0)
		line += strlen(LOG_NAME);
	snprintf(s->shown.said, sizeof(s->shown.said), "%.255s", line);
}

static void take_frame(struct screen *s)
{
	char why[TOP_WHY_MAX];
	int r = s->source->ops->take(s->source->ctx, &s->shown.frame, why);

	if (r == -EAGAIN)
		return;
	s->changed = true;
	take_said(s);
	if (r < 0) {
		snprintf(s->shown.why, sizeof(s->shown.why), "%s", why);
		return;
	}
	s->shown.why[0] = '\0';
	s->frames++;
	s->end = s->end || (s->view->count && s->frames == s->view->count);
	arrange(s);
}

static void wait_for_any(struct screen *s, int64_t until_ns)
{
	struct pollfd fds[TOP_FDS + 2];
	size_t n = s->source->ops->fds(s->source->ctx, fds);
	int64_t left = MAX(until_ns - clock_now_ns(), INT64_C(0));
	struct timespec t = {left / NS_PER_SEC, left % NS_PER_SEC};
	int key;

	fds[n] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
	fds[n + 1] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	if (ppoll(fds, n + 2, &t, NULL) < 0)
		return;
	take_signals(s);
	if (fds[n + 1].revents & (POLLHUP | POLLERR))
		s->end = true;
	while ((key = getch()) != ERR)
		key_pressed(s, key);
}

static void screen_turn(struct screen *s)
{
	int64_t now = clock_now_ns(), at = s->source->ops->turn(s->source->ctx, now);

	if (now >= s->next_ns && !s->shown.paused) {
		s->source->ops->want(s->source->ctx);
		s->next_ns += s->view->delay_ns;
		if (s->next_ns < now) /* it was paused, or stopped */
			s->next_ns = now + s->view->delay_ns;
	}
	take_frame(s);
	if (s->changed && !s->end)
		s->room = top_draw(&s->shown);
	s->changed = false;
	if (!s->shown.paused)
		at = MIN(at, s->next_ns);
	if (!s->end)
		wait_for_any(s, at);
}

/* Standard error's copy, or -1: it is not the terminal. */
static int log_aside(int *ret_said)
{
	int saved, said;

	*ret_said = -1;
	if (!isatty(STDERR_FILENO))
		return -1;
	said = memfd_create("hotdrain-top", MFD_CLOEXEC);
	saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (said < 0 || saved < 0 || dup2(said, STDERR_FILENO) < 0) {
		close_fd(&said);
		close_fd(&saved);
		return -1;
	}
	*ret_said = said;
	return saved;
}

static void log_back(int saved, int said)
{
	char text[SAID_MAX];
	off_t at = 0;
	ssize_t n;

	if (saved < 0)
		return;
	dup2(saved, STDERR_FILENO);
	while ((n = pread(said, text, sizeof(text), at)) > 0) {
		if (write(STDERR_FILENO, text, (size_t)n) < 0)
			break;
		at += n;
	}
	close_fd(&saved);
	close_fd(&said);
}

int top_screen_run(struct top_source *source, struct top_view *view, const sigset_t *signals)
{
	struct screen s = {.source = source, .view = view, .shown = {.view = view}};
	SCREEN *terminal;
	int saved;

	s.signal_fd = signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s.signal_fd < 0)
		return log_err(-errno, "top: signalfd: %s", strerror(errno));
	terminal = newterm(NULL, stdout, stdin);
	if (!terminal) {
		close_fd(&s.signal_fd);
		return log_err(-ENOTTY, "top: this terminal is not known, expected --batch");
	}
	saved = log_aside(&s.said_fd);
	cbreak();
	noecho();
	nonl();
	keypad(stdscr, TRUE);
	nodelay(stdscr, TRUE);
	set_escdelay(25);
	curs_set(0);
	top_draw_init();
	s.changed = true;
	while (!s.end)
		screen_turn(&s);
	endwin();
	delscreen(terminal);
	log_back(saved, s.said_fd);
	top_frame_done(&s.shown.frame);
	close_fd(&s.signal_fd);
	return 0;
}
