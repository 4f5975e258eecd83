// SPDX-License-Identifier: Apache-2.0
/*
 * Writes log lines that can be judged: each carries who wrote it, its number, when, and a checksum.
 *
 *   ID STREAM SEQ TIME_NS CRC32 PAYLOAD      "web.0 o 00000017 1764000000123456789 5f3c09aa klmno…"
 *
 * STREAM is o or e, SEQ counts per stream from 0, CRC32 covers all other fields joined by spaces.
 * Without -f it writes plain text to its standard output and standard error, as a program in a
 * container does (one process per stream, so that they really run at once). With -f it is the
 * container runtime: it appends complete log lines to a file, one write per line, alternating the
 * streams; SIGHUP reopens the file, SIGUSR1 pauses, SIGUSR2 goes on. SIGTERM ends it after the line
 * begun. -R writes "ID STREAM COUNT" lines at the end: what was really written.
 *
 * In C because a Python writer neither saturates a collector nor fits in an image of busybox.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S    1000000000ull
#define PAYLOAD_MAX (4u << 20)

struct options {
	const char *id, *path, *format, *result, *streams;
	uint64_t count, rate, payload, long_every, long_payload, burst;
	double seconds;
	bool no_final_newline;
};

struct line_buf {
	char *data;
	size_t len;
};

static volatile sig_atomic_t stopping, reopening, paused;
static uint32_t crc_table[256];

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		stopping = 1;
	else if (sig == SIGHUP)
		reopening = 1;
	else
		paused = sig == SIGUSR1;
}

static void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
		crc_table[i] = c;
	}
}

static uint32_t crc_add(uint32_t crc, const char *data, size_t len)
{
	crc = ~crc;
	while (len--)
		crc = crc_table[(crc ^ (uint8_t)*data++) & 0xff] ^ (crc >> 8);
	return ~crc;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "writer: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void write_all(int fd, const char *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			die("write");
		data += n;
		len -= (size_t)n;
	}
}

static size_t payload_len(const struct options *o, uint64_t seq)
{
	if (o->long_every && seq % o->long_every == o->long_every - 1)
		return o->long_payload;
	return 1 + (seq * 2654435761u >> 7) % (2 * o->payload);
}

/* Appends one message, without a newline. */
static void message_add(const struct options *o, char stream, uint64_t seq, uint64_t now_ns,
			struct line_buf *out)
{
	size_t want = payload_len(o, seq);
	char *p = out->data + out->len;
	int head = sprintf(p, "%s %c %08llu %llu ", o->id, stream, (unsigned long long)seq,
			   (unsigned long long)now_ns);
	char *payload = p + head + 9;
	uint32_t crc = crc_add(0, p, (size_t)head);

	for (size_t i = 0; i < want; i++)
		payload[i] = (char)('!' + (seq + i * 7) % 90);
	for (size_t i = 0; i < want; i++) /* nothing JSON would escape: a fast judge need not */
		if (payload[i] == '"' || payload[i] == '\\')
			payload[i] = '_';
	crc = crc_add(crc, payload, want);
	sprintf(p + head, "%08x", crc);
	p[head + 8] = ' ';
	out->len += (size_t)head + 9 + want;
}

static void stamp_add(uint64_t now_ns, struct line_buf *out)
{
	time_t s = (time_t)(now_ns / NS_PER_S);
	struct tm tm;
	char *p = out->data + out->len;
	int n;

	gmtime_r(&s, &tm);
	n = (int)strftime(p, 64, "%Y-%m-%dT%H:%M:%S", &tm);
	n += sprintf(p + n, ".%09lluZ", (unsigned long long)(now_ns % NS_PER_S));
	out->len += (size_t)n;
}

static void text_add(const char *text, struct line_buf *out)
{
	size_t n = strlen(text);

	memcpy(out->data + out->len, text, n);
	out->len += n;
}

/* One line as the runtime would put it into its file. */
static void log_line_add(const struct options *o, char stream, uint64_t seq, struct line_buf *out)
{
	uint64_t now = clock_ns(CLOCK_REALTIME);
	const char *name = stream == 'o' ? "stdout" : "stderr";

	if (!strcmp(o->format, "cri")) {
		stamp_add(now, out);
		text_add(stream == 'o' ? " stdout F " : " stderr F ", out);
		message_add(o, stream, seq, now, out);
	} else if (!strcmp(o->format, "docker")) {
		text_add("{\"log\":\"", out);
		message_add(o, stream, seq, now, out);
		text_add("\\n\",\"stream\":\"", out);
		text_add(name, out);
		text_add("\",\"time\":\"", out);
		stamp_add(now, out);
		text_add("\"}", out);
	} else {
		message_add(o, stream, seq, now, out);
	}
	out->data[out->len++] = '\n';
}

/* Sleeps until line number seq is due at the wanted rate. */
static void pace(const struct options *o, uint64_t start_ns, uint64_t seq)
{
	uint64_t due;
	struct timespec t;

	if (!o->rate)
		return;
	due = start_ns + seq * NS_PER_S / o->rate;
	t.tv_sec = (time_t)(due / NS_PER_S);
	t.tv_nsec = (long)(due % NS_PER_S);
	while (!stopping && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static bool finished(const struct options *o, uint64_t start_ns, uint64_t seq)
{
	if (stopping || (o->count && seq >= o->count))
		return true;
	return o->seconds > 0 &&
	       (double)(clock_ns(CLOCK_MONOTONIC) - start_ns) > o->seconds * NS_PER_S;
}

static uint64_t write_stream(const struct options *o, int fd, char stream, struct line_buf *out)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), seq = 0;

	while (!finished(o, start, seq)) {
		pace(o, start, seq);
		out->len = 0;
		for (uint64_t i = 0; i < o->burst && (!o->count || seq < o->count); i++, seq++) {
			message_add(o, stream, seq, clock_ns(CLOCK_REALTIME), out);
			out->data[out->len++] = '\n';
		}
		if (o->no_final_newline && seq == o->count)
			out->len--;
		write_all(fd, out->data, out->len);
	}
	return seq;
}

static int log_open(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (fd < 0)
		die(path);
	return fd;
}

static uint64_t write_file(const struct options *o, struct line_buf *out)
{
	uint64_t start = clock_ns(CLOCK_MONOTONIC), seq = 0;
	int fd = log_open(o->path);

	while (!finished(o, start, seq)) {
		pace(o, start, seq);
		while (paused && !stopping)
			usleep(1000);
		if (reopening) {
			reopening = 0;
			close(fd);
			fd = log_open(o->path);
		}
		for (const char *s = o->streams; *s; s++) {
			out->len = 0;
			log_line_add(o, *s, seq, out);
			write_all(fd, out->data, out->len);
		}
		seq++;
	}
	close(fd);
	return seq;
}

static void result_write(const struct options *o, const char *stream, size_t n, uint64_t count)
{
	int fd = o->result ? open(o->result, O_WRONLY | O_CREAT | O_APPEND, 0644) : -1;

	for (size_t i = 0; fd >= 0 && i < n; i++)
		dprintf(fd, "%s %c %llu\n", o->id, stream[i], (unsigned long long)count);
}

static void usage(void)
{
	fputs("usage: writer [-n COUNT] [-t SECONDS] [-r LINES/S] [-l PAYLOAD] [-L EVERY:PAYLOAD] "
	      "[-s o|e|oe] [-b BURST] [-f FILE] [-F cri|docker|raw] [-x] [-R RESULT] ID\n",
	      stderr);
	exit(2);
}

static void options_parse(int argc, char **argv, struct options *o)
{
	int c;

	while ((c = getopt(argc, argv, "n:t:r:l:L:s:b:f:F:xR:")) != -1) {
		switch (c) {
		case 'n':
			o->count = strtoull(optarg, NULL, 10);
			break;
		case 't':
			o->seconds = strtod(optarg, NULL);
			break;
		case 'r':
			o->rate = strtoull(optarg, NULL, 10);
			break;
		case 'l':
			o->payload = strtoull(optarg, NULL, 10);
			break;
		case 'L':
			if (sscanf(optarg, "%lu:%lu", &o->long_every, &o->long_payload) != 2)
				exit(2);
			break;
		case 's':
			o->streams = optarg;
			break;
		case 'b':
			o->burst = strtoull(optarg, NULL, 10);
			break;
		case 'f':
			o->path = optarg;
			break;
		case 'F':
			o->format = optarg;
			break;
		case 'x':
			o->no_final_newline = true;
			break;
		case 'R':
			o->result = optarg;
			break;
		default:
			exit(2);
		}
	}
	if (optind != argc - 1 || !o->payload || !o->burst || o->long_payload > PAYLOAD_MAX)
		usage();
	o->id = argv[optind];
}

/* Both streams at once: a process for each. */
static void write_streams(const struct options *o, struct line_buf *out)
{
	bool both = strlen(o->streams) == 2;
	pid_t other = both ? fork() : 0;
	char stream = o->streams[both && !other];
	int fd = stream == 'e' ? STDERR_FILENO : STDOUT_FILENO;

	if (other < 0)
		die("fork");
	result_write(o, &stream, 1, write_stream(o, fd, stream, out));
	while (other && waitpid(other, NULL, 0) < 0 && errno == EINTR)
		;
}

int main(int argc, char **argv)
{
	struct options o = {.format = "cri", .streams = "oe", .payload = 80, .burst = 1};
	struct sigaction act = {.sa_handler = on_signal};
	struct line_buf out = {0};

	options_parse(argc, argv, &o);
	crc_init();
	for (const int *s = (const int[]){SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, 0}; *s; s++)
		sigaction(*s, &act, NULL);
	out.data = malloc(o.burst * (2 * o.payload + 256) + o.long_payload * (o.burst + 1) + 256);
	if (!out.data)
		die("memory");
	if (o.path)
		result_write(&o, o.streams, strlen(o.streams), write_file(&o, &out));
	else
		write_streams(&o, &out);
	free(out.data);
	return 0;
}
