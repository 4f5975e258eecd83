// SPDX-License-Identifier: Apache-2.0
/*
 * Reads a collector's NDJSON on standard input as fast as it comes and judges the messages written
 * by writer.c: each number of each (ID, stream) once and in order, checksums right. At the end of
 * input (or SIGTERM) it prints, one line each:
 *
 *   count ID STREAM DISTINCT HIGHEST+1 REPEATED OUT_OF_ORDER
 *   total LINES BYTES TORN FOREIGN
 *   latency PREFIX N P50_US P90_US P99_US MAX_US        for IDs that begin with -l PREFIX
 *
 * TORN is a message whose checksum is wrong; FOREIGN a line without a message of this form. The
 * Python judge checks the JSON itself; this one exists because a reader slower than the collector
 * measures itself. It prints "lines N" to standard error some times a second, so that a test can
 * see progress. -p SECONDS sleeps so long before it reads: a reader that stalls.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define READ_SIZE   (256u << 10)
#define RECORD_MAX  (8u << 20)
#define TABLE_SIZE  16384u
#define LATENCY_MAX (1u << 22)
#define NS_PER_S    1000000000ull

struct stream {
	char id[56], name;
	uint64_t distinct, end, repeated, late, bits_cap;
	uint64_t *bits;
};

struct judge {
	struct stream *table;
	uint64_t lines, bytes, torn, foreign;
	const char *prefix;
	uint32_t *latency_us;
	size_t n_latency;
};

static uint32_t crc_table[256];
static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	if (sig == SIGTERM)
		stopping = 1;
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

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static void *must(void *p)
{
	if (!p) {
		fputs("judge: out of memory\n", stderr);
		exit(1);
	}
	return p;
}

static struct stream *stream_get(struct judge *j, const char *id, size_t len, char name)
{
	uint32_t h = crc_add((uint32_t)name, id, len) % TABLE_SIZE;

	for (;; h = (h + 1) % TABLE_SIZE) {
		struct stream *s = &j->table[h];

		if (!s->name) {
			memcpy(s->id, id, len);
			s->name = name;
			return s;
		}
		if (s->name == name && !strncmp(s->id, id, len) && !s->id[len])
			return s;
	}
}

static void stream_mark(struct stream *s, uint64_t seq)
{
	uint64_t word = seq / 64, bit = 1ull << seq % 64;

	if (word >= s->bits_cap) {
		uint64_t cap = (word + 1) * 2;

		s->bits = must(realloc(s->bits, cap * 8));
		memset(s->bits + s->bits_cap, 0, (cap - s->bits_cap) * 8);
		s->bits_cap = cap;
	}
	if (s->bits[word] & bit) {
		s->repeated++;
		return;
	}
	s->bits[word] |= bit;
	s->distinct++;
	if (seq < s->end)
		s->late++;
	else
		s->end = seq + 1;
}

/* "ID S SEQ NS CRC PAYLOAD": false when it is none of ours; torn ones are counted. */
static bool message_judge(struct judge *j, const char *m, size_t len, uint64_t now_ns)
{
	const char *end = m + len, *id_end = memchr(m, ' ', len), *p;
	uint64_t seq = 0, ns = 0;
	uint32_t crc = 0, want;

	if (!id_end || id_end - m >= (long)sizeof(((struct stream *)0)->id) || end - id_end < 24)
		return false;
	for (p = id_end + 3; p < end && *p >= '0' && *p <= '9'; p++)
		seq = seq * 10 + (uint64_t)(*p - '0');
	for (p++; p < end && *p >= '0' && *p <= '9'; p++)
		ns = ns * 10 + (uint64_t)(*p - '0');
	if (p >= end || *p++ != ' ' || end - p < 10 || seq >> 32)
		return false;
	want = crc_add(crc_add(0, m, (size_t)(p - m)), p + 9, (size_t)(end - p - 9));
	for (int i = 0; i < 8; i++)
		crc = crc << 4 | (uint32_t)(p[i] <= '9' ? p[i] - '0' : p[i] - 'a' + 10);
	if (crc != want) {
		if (j->torn++ < 3)
			fprintf(stderr, "torn %.*s\n", (int)(len < 160 ? len : 160), m);
		return true;
	}
	stream_mark(stream_get(j, m, (size_t)(id_end - m), id_end[1]), seq);
	if (j->prefix && !strncmp(m, j->prefix, strlen(j->prefix)) && j->n_latency < LATENCY_MAX)
		j->latency_us[j->n_latency++] = now_ns > ns ? (uint32_t)((now_ns - ns) / 1000) : 0;
	return true;
}

static void line_judge(struct judge *j, const char *line, size_t len, uint64_t now_ns)
{
	static const char key[] = "\"message\":\"";
	const char *m = memmem(line, len, key, sizeof(key) - 1), *end = NULL;

	j->lines++;
	j->bytes += len + 1;
	if (m) {
		m += sizeof(key) - 1;
		end = memchr(m, '"', (size_t)(line + len - m));
	}
	if (!end || !message_judge(j, m, (size_t)(end - m), now_ns))
		j->foreign++;
}

static int latency_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void report(struct judge *j)
{
	uint32_t *l = j->latency_us;
	size_t n = j->n_latency;

	for (size_t i = 0; i < TABLE_SIZE; i++) {
		const struct stream *s = &j->table[i];

		if (s->name)
			printf("count %s %c %lu %lu %lu %lu\n", s->id, s->name, s->distinct, s->end,
			       s->repeated, s->late);
	}
	printf("total %lu %lu %lu %lu\n", j->lines, j->bytes, j->torn, j->foreign);
	if (!n)
		return;
	qsort(l, n, sizeof(*l), latency_compare);
	printf("latency %s %zu %u %u %u %u\n", j->prefix, n, l[n / 2], l[n * 90 / 100],
	       l[n * 99 / 100], l[n - 1]);
}

static void progress(const struct judge *j, uint64_t now_ns, uint64_t *next_ns)
{
	if (now_ns < *next_ns)
		return;
	*next_ns = now_ns + NS_PER_S / 5;
	fprintf(stderr, "lines %lu\n", j->lines);
}

static void judge_read(struct judge *j)
{
	char *buf = must(malloc(RECORD_MAX + READ_SIZE));
	uint64_t next_ns = 0;
	size_t have = 0;

	while (!stopping) {
		ssize_t n = read(STDIN_FILENO, buf + have, READ_SIZE);
		uint64_t now = clock_ns();
		char *start = buf, *nl;

		progress(j, now, &next_ns);
		if (n < 0 && errno == EINTR) /* also each quarter second: see main */
			continue;
		if (n <= 0)
			break;
		have += (size_t)n;
		/* Only what was just read can hold the first newline. */
		nl = memchr(buf + have - (size_t)n, '\n', (size_t)n);
		for (; nl; nl = memchr(start, '\n', have - (size_t)(start - buf))) {
			line_judge(j, start, (size_t)(nl - start), now);
			start = nl + 1;
		}
		have -= (size_t)(start - buf);
		memmove(buf, start, have);
		if (have > RECORD_MAX)
			break;
	}
	if (have)
		j->foreign++;
	free(buf);
}

int main(int argc, char **argv)
{
	struct judge j = {0};
	struct sigaction act = {.sa_handler = on_signal};
	struct itimerval tick = {{0, 250000}, {0, 250000}};
	int c;

	while ((c = getopt(argc, argv, "l:p:")) != -1) {
		if (c == 'l')
			j.prefix = optarg;
		else if (c == 'p')
			usleep((useconds_t)(strtod(optarg, NULL) * 1e6));
		else
			return 2;
	}
	crc_init();
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &tick, NULL);
	j.table = must(calloc(TABLE_SIZE, sizeof(*j.table)));
	j.latency_us = must(malloc(LATENCY_MAX * sizeof(*j.latency_us)));
	judge_read(&j);
	report(&j);
	for (size_t i = 0; i < TABLE_SIZE; i++)
		free(j.table[i].bits);
	free(j.table);
	free(j.latency_us);
	return 0;
}
