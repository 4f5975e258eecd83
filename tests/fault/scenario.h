/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to the logs: five files, each with its own way to go, always in the same order.
 *
 *      while it runs                                 while it is stopped
 *   a  partial and torn lines at the stop            both are ended
 *   b  a P, renamed, late lines, its F in the next   renamed once more
 *   c  made in a new directory                       renamed, gzipped, gone; twice
 *   d  made in a new pod, replaced as by conmon      goes on
 *   e  truncated, then a hole and lines behind it    goes on
 *
 * Each line says its stream and its number in it, and how long it is follows from those, so a line
 * that is cut, repeated, out of order or missing can be told from the output alone.
 */
#ifndef SCENARIO_H
#define SCENARIO_H

#include <assert.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#define STREAMS  2 /* of a log: stdout, stderr */
#define TEXT_MAX 128
#define LOGS     5
#define PAUSE_US 130000 /* in which a checkpoint is saved */

struct log_file {
	char letter;
	char path[PATH_MAX - 64];
	int fd;                    /* the writer's */
	unsigned written[STREAMS]; /* lines that are whole */
};

struct scenario {
	struct log_file logs[LOGS]; /* a, b, c, d, e */
	unsigned rotation;
};

/* "ao 00012 kkkkkkkkkkkk": where, the how manieth from 1 on, and a tail of its own length. */
static int line_text(char letter, int stream, unsigned n, char text[TEXT_MAX])
{
	return snprintf(text, TEXT_MAX, "%c%c %05u %.*s", letter, "oe"[stream], n,
			(int)(3 + n * 7 % 60),
			"kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk");
}

static void write_whole(int fd, const char *data, size_t n)
{
	ssize_t done = write(fd, data, n);

	assert(done == (ssize_t)n);
	(void)done;
}

/* The bytes [from, to) of a text as a CRI line, to 0: to its end. */
static int cri_line(const struct log_file *l, int stream, unsigned n, char tag, int from, int to,
		    char line[2 * TEXT_MAX])
{
	static const char *const names[] = {"stdout", "stderr"};
	char text[TEXT_MAX];
	int len = line_text(l->letter, stream, n, text);

	return snprintf(line, 2 * TEXT_MAX, "2026-11-21T00:32:02.%09uZ %s %c %.*s\n", n,
			names[stream], tag, (to ? to : len) - from, text + from);
}

static void put_lines(struct log_file *l, int stream, unsigned count)
{
	char line[2 * TEXT_MAX];

	for (unsigned i = 0; i < count; i++) {
		unsigned n = ++l->written[stream];

		write_whole(l->fd, line, (size_t)cri_line(l, stream, n, 'F', 0, 0, line));
	}
}

/* A line in two: P and its first bytes, then F and the others. */
static void put_partial(struct log_file *l, int stream)
{
	char line[2 * TEXT_MAX];

	write_whole(l->fd, line,
		    (size_t)cri_line(l, stream, l->written[stream] + 1, 'P', 0, 9, line));
}

static void put_final(struct log_file *l, int stream)
{
	char line[2 * TEXT_MAX];
	unsigned n = ++l->written[stream];

	write_whole(l->fd, line, (size_t)cri_line(l, stream, n, 'F', 9, 0, line));
}

/* A line torn across two writes. */
static void put_torn(struct log_file *l, int stream, bool rest)
{
	char line[2 * TEXT_MAX];
	size_t at = 41, n;

	n = (size_t)cri_line(l, stream, l->written[stream] + 1, 'F', 0, 0, line);
	if (rest)
		write_whole(l->fd, line + at, n - at);
	else
		write_whole(l->fd, line, at);
	l->written[stream] += rest;
}

static int log_create(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | flags, 0640);

	assert(fd >= 0);
	return fd;
}

/* Makes the directories above path, and opens it. */
static void log_start(struct log_file *l)
{
	char dir[PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", l->path);
	for (char *slash = strchr(dir + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(dir, 0755);
		*slash = '/';
	}
	l->fd = log_create(l->path, O_APPEND);
}

static void scenario_init(struct scenario *s, const char *root)
{
	for (int i = 0; i < LOGS; i++) {
		struct log_file *l = &s->logs[i];

		*l = (struct log_file){.letter = (char)('a' + i), .fd = -1};
		snprintf(l->path, sizeof(l->path),
			 "%.2000s/shop_%c_6b1f3c1e-0000-4000-8000-00000000000%d/app/0.log", root,
			 l->letter == 'c' ? 'a' : l->letter, l->letter == 'c' ? 0 : i);
	}
	/* c is another container of a's pod. */
	memcpy(strstr(s->logs[2].path, "/app/"), "/two/", 5);
	s->rotation = 0;
}

static void scenario_done(struct scenario *s)
{
	for (int i = 0; i < LOGS; i++)
		if (s->logs[i].fd >= 0)
			close(s->logs[i].fd);
}

static unsigned scenario_lines(const struct scenario *s)
{
	unsigned n = 0;

	for (int i = 0; i < LOGS; i++)
		n += s->logs[i].written[0] + s->logs[i].written[1];
	return n;
}

/* 0.log gets the name of a rotated file; what is open stays so. */
static void log_rename(struct scenario *s, struct log_file *l, char to[PATH_MAX])
{
	snprintf(to, PATH_MAX, "%s.20261121-%06u", l->path, ++s->rotation);
	assert(rename(l->path, to) == 0);
}

static void log_gzip(const char *path)
{
	char data[65536], gz[PATH_MAX + 8], tmp[PATH_MAX + 8];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	gzFile out;
	ssize_t n;

	snprintf(gz, sizeof(gz), "%s.gz", path);
	snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	out = gzopen(tmp, "wb1");
	assert(fd >= 0 && out);
	while ((n = read(fd, data, sizeof(data))) > 0)
		gzwrite(out, data, (unsigned)n);
	gzclose(out);
	close(fd);
	assert(rename(tmp, gz) == 0 && unlink(path) == 0);
}

static void log_rotate(struct scenario *s, struct log_file *l, bool gzip)
{
	char to[PATH_MAX];

	close(l->fd);
	log_rename(s, l, to);
	if (gzip)
		log_gzip(to);
	l->fd = log_create(l->path, O_APPEND);
}

/* What is there before the first start. */
static void scenario_before(struct scenario *s)
{
	struct log_file *a = &s->logs[0], *b = &s->logs[1], *e = &s->logs[4];

	log_start(a);
	log_start(b);
	log_start(e);
	put_lines(a, 0, 3);
	put_lines(a, 1, 2);
	put_lines(b, 0, 4);
	put_lines(e, 0, 5);
}

static void conmon_replaces(struct log_file *l)
{
	char tmp[PATH_MAX];
	int fd;

	snprintf(tmp, sizeof(tmp), "%s.tmp", l->path);
	close(l->fd);
	fd = log_create(tmp, 0);
	assert(rename(tmp, l->path) == 0);
	l->fd = fd;
}

static void truncated_without_append(struct log_file *l)
{
	off_t at = lseek(l->fd, 0, SEEK_END);

	close(l->fd);
	l->fd = open(l->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert(l->fd >= 0 && lseek(l->fd, at, SEEK_SET) == at);
}

/* While it runs. wait: until the lines written so far have been delivered, but not for ever. */
static void scenario_live(struct scenario *s, void (*wait)(void *ctx), void *ctx)
{
	struct log_file *a = &s->logs[0], *b = &s->logs[1], *c = &s->logs[2], *d = &s->logs[3],
			*e = &s->logs[4];
	char rotated[PATH_MAX];
	int old;

	log_start(c);
	put_lines(c, 0, 4);
	log_start(d);
	put_lines(d, 0, 3);
	wait(ctx);
	put_partial(b, 0);
	log_rename(s, b, rotated);
	put_lines(b, 1, 2);
	old = b->fd;
	b->fd = log_create(b->path, O_APPEND);
	put_final(b, 0);
	close(old);
	put_lines(b, 0, 3);
	wait(ctx);
	usleep(PAUSE_US);
	put_lines(d, 0, 3);
	conmon_replaces(d);
	put_lines(d, 0, 4);
	wait(ctx);
	truncated_without_append(e);
	put_lines(e, 0, 3);
	wait(ctx);
	put_lines(a, 0, 60);
	put_lines(a, 1, 30);
	put_partial(a, 0);
	put_torn(a, 1, false);
}

static void scenario_stopped(struct scenario *s)
{
	struct log_file *a = &s->logs[0], *b = &s->logs[1], *c = &s->logs[2], *d = &s->logs[3],
			*e = &s->logs[4];

	put_torn(a, 1, true);
	put_final(a, 0);
	put_lines(a, 0, 3);
	put_lines(c, 0, 5);
	log_rotate(s, c, true);
	put_lines(c, 0, 4);
	log_rotate(s, c, true);
	put_lines(c, 0, 3);
	log_rotate(s, b, false);
	put_lines(b, 0, 2);
	put_lines(d, 0, 2);
	put_lines(e, 0, 2);
}

#endif
