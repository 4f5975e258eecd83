/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge [OPTION].. [FILE]..: reads what a collector delivered of load.c's lines and says, as one
 * JSON object on standard output, what is lost, twice, out of order or torn, and how late it was.
 *
 * Input is NDJSON, CRI lines or any text: the message may stand anywhere in a line. It comes from
 * standard input, from FILEs one after the other (pipes of a collector that is started again, each
 * with a torn end of its own), from TCP connections (--listen) or from a file that grows
 * (--follow). The end is the end of input, or SIGTERM for the latter two.
 *
 * --throttle makes a slow sink: at most so many MB of log text per second, counted as load.c counts
 * its rate (message, CRI head and newline), however wide the collector's format is. It reads in
 * small pieces and keeps small socket buffers, so that what waits does so in the collector.
 *
 * Latency is arrival (the return of read) minus the time in the message, for lines written after
 * the judge began, in a log-linear histogram: 64 steps per power of two, so 1.6 % off at most.
 *
 * The judge of tests/e2e stays apart: static, without zlib, part of images and virtual machines,
 * strict about the JSON it is given. The two share the form of a message and nothing else.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "tally.h"

#define NS_PER_S   1000000000ull
#define BUF_SIZE   (4u << 20) /* a longer line is cut, and foreign */
#define READ_SIZE  (256u << 10)
#define SLOW_SIZE  (16u << 10) /* when throttled */
#define HEAD_BYTES 41u         /* of a CRI line beside its message, newline included */
#define PODS_MAX   1000000u
#define INPUTS_MAX 64

struct message {
	enum kind kind;
	uint64_t number, seq, time_ns;
	size_t len, head_len; /* to the checksum */
	bool is_err;
	const char *text;
};

struct input {
	int fd;
	size_t have;
	char *buf;
};

struct judge {
	struct pods pods[KINDS];
	uint64_t lines, bytes, text_bytes, torn, foreign, cut, distinct;
	uint64_t begin_ns, first_ns, first_new_ns, last_ns, free_ns;
	double bytes_per_ns; /* of the throttle, or 0 */
	size_t hint;         /* where in the last line the message was */
};

static volatile sig_atomic_t stopping, ticked;

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		stopping = 1;
	else
		ticked = 1;
}

static void fail_with(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* The digits at *p, at least min of them and a blank; *p goes behind it. */
static bool number_parse(const char **p, const char *end, int min, uint64_t *ret_value)
{
	const char *start = *p;
	uint64_t value = 0;

	for (; *p < end && **p >= '0' && **p <= '9' && *p - start < 20; (*p)++)
		value = value * 10 + (uint64_t)(**p - '0');
	if (*p - start < min || *p == end || **p != ' ')
		return false;
	(*p)++;
	*ret_value = value;
	return true;
}

/* "hot.3 o 00000012 1795221122367544321 0af76519 PAYLOAD" at p; a quoted one ends at the quote. */
static bool message_parse(const char *line, const char *p, const char *end, struct message *ret_m)
{
	struct message m = {.text = p, .kind = KINDS};
	const char *quote;

	for (unsigned i = 0; i < KINDS; i++) {
		size_t n = strlen(kind_names[i]);

		if ((size_t)(end - p) > n && !memcmp(p, kind_names[i], n) && p[n] == '.') {
			m.kind = (enum kind)i;
			p += n + 1;
			break;
		}
	}
	if (m.kind == KINDS || !number_parse(&p, end, 1, &m.number) || end - p < 2 || p[1] != ' ')
		return false;
	m.is_err = *p == 'e';
	p += 2;
	if (!number_parse(&p, end, 8, &m.seq) || !number_parse(&p, end, 19, &m.time_ns) ||
	    end - p < 9 || m.number >= PODS_MAX || m.seq >> 32)
		return false;
	m.head_len = (size_t)(p - m.text);
	if (m.text > line && m.text[-1] == '"') {
		quote = memchr(p, '"', (size_t)(end - p));
		end = quote ? quote : end;
	}
	m.len = (size_t)(end - m.text);
	*ret_m = m;
	return true;
}

/* Anywhere in the line, but first where the last line had it. All kinds end in t. */
static bool message_find(struct judge *j, const char *line, const char *end, struct message *ret_m)
{
	const char *p = line;

	if ((size_t)(end - line) > j->hint && message_parse(line, line + j->hint, end, ret_m))
		return true;
	while ((p = memmem(p, (size_t)(end - p), "t.", 2))) {
		for (unsigned i = 0; i < KINDS; i++) {
			const char *start = p + 1 - strlen(kind_names[i]);

			if (start >= line && message_parse(line, start, end, ret_m)) {
				j->hint = (size_t)(start - line);
				return true;
			}
		}
		p += 2;
	}
	return false;
}

static bool message_is_whole(const struct message *m)
{
	const char *sum = m->text + m->head_len, *payload = sum + 9;
	uLong crc = crc32(0, (const void *)m->text, (unsigned)m->head_len);

	if (m->len < m->head_len + 9 || sum[8] != ' ')
		return false;
	crc = crc32(crc, (const void *)payload, (unsigned)(m->len - m->head_len - 9));
	for (int i = 0; i < 8; i++)
		if (sum[i] != "0123456789abcdef"[crc >> (28 - 4 * i) & 15])
			return false;
	return true;
}

static void latency_add(struct judge *j, const struct message *m, uint64_t now)
{
	uint64_t ns = now > m->time_ns ? now - m->time_ns : 0;

	if (!j->first_new_ns && m->kind != REST)
		j->first_new_ns = now;
	pods_late(&j->pods[m->kind], ns);
}

static void line_judge(struct judge *j, const char *line, const char *end, uint64_t now)
{
	struct message m;

	j->lines++;
	j->bytes += (size_t)(end - line) + 1;
	if (!j->first_ns)
		j->first_ns = now;
	j->last_ns = now;
	if (!message_find(j, line, end, &m)) {
		j->foreign++;
		j->text_bytes += (size_t)(end - line) + 1;
		return;
	}
	j->text_bytes += m.len + HEAD_BYTES;
	if (!message_is_whole(&m)) {
		if (j->torn++ < 3)
			fprintf(stderr, "torn: %.*s\n", (int)(m.len < 200 ? m.len : 200), m.text);
		return;
	}
	if (stream_mark(stream_get(&j->pods[m.kind], m.number, m.is_err), m.seq)) {
		j->distinct++;
		if (m.time_ns >= j->begin_ns)
			latency_add(j, &m, now);
	}
}

/* Sleeps until what was read is paid for; an idle time of 5 ms at most is made up for. */
static void throttle(struct judge *j, uint64_t bytes)
{
	uint64_t now = clock_ns();
	struct timespec until;

	if (j->bytes_per_ns <= 0)
		return;
	if (j->free_ns + 5000000 < now)
		j->free_ns = now - 5000000;
	j->free_ns += (uint64_t)((double)bytes / j->bytes_per_ns);
	if (j->free_ns <= now)
		return;
	until = (struct timespec){(time_t)(j->free_ns / NS_PER_S), (long)(j->free_ns % NS_PER_S)};
	while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL) == EINTR && !stopping)
		;
}

/* So that a caller sees that it goes on, and when all is there. */
static void progress(const struct judge *j)
{
	static uint64_t said = UINT64_MAX;

	if (!ticked || said == j->lines)
		return;
	ticked = 0;
	said = j->lines;
	fprintf(stderr, "distinct %lu of %lu\n", j->distinct, j->lines);
}

/* One read: >0, 0 at the end, -EAGAIN, or another -errno. */
static int input_read(struct judge *j, struct input *in)
{
	uint64_t now, before = j->text_bytes;
	char *start = in->buf, *nl;
	ssize_t n;

	progress(j);
	n = read(in->fd, in->buf + in->have, j->bytes_per_ns > 0 ? SLOW_SIZE : READ_SIZE);
	now = clock_ns();
	if (n <= 0)
		return n == 0 ? 0 : errno == EINTR ? -EAGAIN : -errno;
	nl = memchr(in->buf + in->have, '\n', (size_t)n);
	in->have += (size_t)n;
	for (; nl; nl = memchr(start, '\n', in->have - (size_t)(start - in->buf))) {
		line_judge(j, start, nl, now);
		start = nl + 1;
	}
	in->have -= (size_t)(start - in->buf);
	memmove(in->buf, start, in->have);
	if (in->have + READ_SIZE > BUF_SIZE) {
		j->foreign++;
		in->have = 0;
	}
	throttle(j, j->text_bytes - before);
	return 1;
}

static void input_open(struct input *in, int fd)
{
	*in = (struct input){.fd = fd, .buf = must(malloc(BUF_SIZE))};
}

static void input_close(struct judge *j, struct input *in)
{
	j->cut += in->have > 0;
	close(in->fd);
	free(in->buf);
}

static void judge_file(struct judge *j, const char *path, bool grows)
{
	int fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO, r;
	struct timespec pause = {0, 500000};
	struct input in;

	if (fd < 0)
		fail_with(path);
	input_open(&in, fd);
	while ((r = input_read(j, &in)) != 0 || (grows && !stopping)) {
		if (r == 0)
			nanosleep(&pause, NULL);
		else if (r < 0 && (r != -EAGAIN || (stopping && !grows)))
			break;
	}
	input_close(j, &in);
}

static int listen_open(const struct judge *j, unsigned port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons((uint16_t)port),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, room = 1 << 16;
	socklen_t len = sizeof(addr);

	if (fd < 0)
		fail_with("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (j->bytes_per_ns > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, INPUTS_MAX) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		fail_with("listen");
	fprintf(stderr, "port %u\n", ntohs(addr.sin_port));
	return fd;
}

static void judge_listen(struct judge *j, unsigned port)
{
	struct pollfd fds[INPUTS_MAX + 1] = {{.fd = listen_open(j, port), .events = POLLIN}};
	struct input in[INPUTS_MAX + 1];
	nfds_t n = 1;

	for (;;) {
		int ready = poll(fds, n, stopping ? 0 : 100);

		progress(j);
		if (ready <= 0 && stopping)
			break;
		if (ready <= 0)
			continue;
		for (nfds_t i = n - 1; i > 0; i--) {
			int r = fds[i].revents ? input_read(j, &in[i]) : 1;

			if (r > 0 || r == -EAGAIN)
				continue;
			input_close(j, &in[i]);
			in[i] = in[--n];
			fds[i] = fds[n];
		}
		if (fds[0].revents && n <= INPUTS_MAX) {
			int fd = accept4(fds[0].fd, NULL, NULL, SOCK_CLOEXEC);

			if (fd < 0)
				continue;
			input_open(&in[n], fd);
			fds[n++] = (struct pollfd){.fd = fd, .events = POLLIN};
		}
	}
	while (--n > 0)
		input_close(j, &in[n]);
	close(fds[0].fd);
}

static bool manifest_read(struct judge *j, const char *path)
{
	FILE *f = path ? fopen(path, "r") : NULL;
	char name[8], stream;
	unsigned long long count;
	unsigned number;

	if (!f)
		return false;
	while (fscanf(f, " %7[a-z].%u %c %llu", name, &number, &stream, &count) == 4) {
		for (unsigned i = 0; i < KINDS; i++)
			if (!strcmp(name, kind_names[i]) && number < PODS_MAX)
				stream_get(&j->pods[i], number, stream == 'e')->written = count;
	}
	fclose(f);
	return true;
}

/* A member of the object; without a manifest what is missing below the highest number is lost. */
static void pods_print(const struct pods *p, const char *name, bool has_manifest)
{
	uint64_t written = 0, distinct = 0, lost = 0, twice = 0, late = 0, unknown = 0;

	for (size_t i = 0; i < p->cap; i++) {
		const struct stream *s = &p->streams[i];
		uint64_t all = has_manifest ? s->written : s->end;

		written += all;
		distinct += s->distinct;
		twice += s->twice;
		late += s->late;
		if (all > s->distinct)
			lost += all - s->distinct;
		else
			unknown += s->distinct - all;
	}
	printf("\"%s\": {\"written\": %lu, \"distinct\": %lu, \"lost\": %lu, \"twice\": %lu, "
	       "\"late\": %lu, \"unknown\": %lu, \"latencies\": %lu",
	       name, written, distinct, lost, twice, late, unknown, p->n_latencies);
	if (p->n_latencies)
		printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"max_us\": %.1f", percentile(p, .5),
		       percentile(p, .99), (double)p->latency_max_ns / 1e3);
	printf("}");
}

/* All kinds as one; the idle ones' latencies too, which are none as long as they are idle. */
static void all_print(struct judge *j, bool has_manifest)
{
	struct pods all = {0};

	for (unsigned k = 0; k < KINDS; k++) {
		const struct pods *p = &j->pods[k];

		if (p->cap) {
			all.streams = must(
				realloc(all.streams, (all.cap + p->cap) * sizeof(*all.streams)));
			memcpy(all.streams + all.cap, p->streams, p->cap * sizeof(*p->streams));
		}
		all.cap += p->cap;
		all.n_latencies += p->n_latencies;
		for (unsigned i = 0; i < BUCKETS; i++)
			all.latencies[i] += p->latencies[i];
		if (p->latency_max_ns > all.latency_max_ns)
			all.latency_max_ns = p->latency_max_ns;
	}
	pods_print(&all, "all", has_manifest);
	free(all.streams);
}

static void report(struct judge *j, const char *manifest)
{
	bool has_manifest = manifest_read(j, manifest);

	printf("{\"manifest\": %s, \"lines\": %lu, \"bytes\": %lu, \"text_bytes\": %lu, "
	       "\"torn\": %lu, \"foreign\": %lu, \"cut\": %lu, \"begin_ns\": %lu, "
	       "\"first_ns\": %lu, \"first_new_ns\": %lu, \"last_ns\": %lu, ",
	       has_manifest ? "true" : "false", j->lines, j->bytes, j->text_bytes, j->torn,
	       j->foreign, j->cut, j->begin_ns, j->first_ns, j->first_new_ns, j->last_ns);
	all_print(j, has_manifest);
	for (unsigned k = 0; k < KINDS; k++) {
		printf(", ");
		pods_print(&j->pods[k], kind_names[k], has_manifest);
	}
	printf("}\n");
}

static void usage(void)
{
	fputs("usage: judge [OPTION].. [FILE]..     - is standard input, the default\n"
	      "  --listen PORT    read connections to loopback instead; 0: any, said as \"port "
	      "N\"\n"
	      "  --follow FILE    read a file while it grows\n"
	      "  --throttle MB    take at most so many MB/s of log text\n"
	      "  --manifest FILE  what was written, as load says it; read at the end\n"
	      "\"distinct N of LINES\" goes to standard error while it reads.\n",
	      stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {{"listen", 1, NULL, 'l'},
					      {"follow", 1, NULL, 'f'},
					      {"throttle", 1, NULL, 't'},
					      {"manifest", 1, NULL, 'm'},
					      {NULL, 0, NULL, 0}};
	static struct judge j;
	struct itimerval tick = {{0, 100000}, {0, 100000}};
	const char *follow = NULL, *manifest = NULL;
	int port = -1, c;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'l')
			port = atoi(optarg);
		else if (c == 'f')
			follow = optarg;
		else if (c == 't')
			j.bytes_per_ns = strtod(optarg, NULL) / 1e3;
		else if (c == 'm')
			manifest = optarg;
		else
			usage();
	}
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
	sigaction(SIGALRM, &(struct sigaction){.sa_handler = on_signal}, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
	j.begin_ns = clock_ns();
	if (port >= 0)
		judge_listen(&j, (unsigned)port);
	else if (follow)
		judge_file(&j, follow, true);
	else if (optind == argc)
		judge_file(&j, "-", false);
	for (int i = optind; i < argc; i++)
		judge_file(&j, argv[i], false);
	report(&j, manifest);
	return 0;
}
