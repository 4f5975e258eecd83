/* SPDX-License-Identifier: Apache-2.0 */
/*
 * storm DIR PODS HOT MBPS SECONDS ROTATE_BYTES KEEP: writers of many pods in one process, rotated
 * as the kubelet does it.
 *
 * HOT of the PODS pods share 95 % of MBPS (MB/s, in all), the others the rest. Lines are about 200
 * bytes, in CRI form, with messages that tests/e2e/judge.c understands: ID STREAM SEQ TIME_NS CRC32
 * PAYLOAD. A file that has reached ROTATE_BYTES is renamed to 0.log.STAMP at once and made anew; of
 * the files of a pod KEEP are kept, the oldest is removed first. Prints "ID STREAM COUNT" per pod
 * at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#define KEEP_MAX 32

struct pod {
	char id[32], dir[3072], path[3100];
	char kept[KEEP_MAX][3200]; /* rotated names, a ring */
	unsigned oldest, n_kept, stamp;
	int fd;
	uint64_t seq, size, due_bytes;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void open_log(struct pod *p)
{
	p->fd = open(p->path, O_WRONLY | O_CREAT | O_APPEND, 0640);
	if (p->fd < 0) {
		perror(p->path);
		exit(1);
	}
	p->size = 0;
}

static void rotate(struct pod *p, unsigned keep)
{
	int old = p->fd;

	while (p->n_kept + 2 > keep) {
		unlink(p->kept[p->oldest++ % KEEP_MAX]);
		p->n_kept--;
	}
	snprintf(p->kept[(p->oldest + p->n_kept++) % KEEP_MAX], sizeof(p->kept[0]),
		 "%s.20261121-%06u", p->path, p->stamp++);
	rename(p->path, p->kept[(p->oldest + p->n_kept - 1) % KEEP_MAX]);
	open_log(p);
	close(old);
}

static size_t line(const struct pod *p, char *out)
{
	static const char payload[] =
		"GET /api/v1/items?id=4711 status=200 latency_ms=12 user=alice upstream=10.0.0.17 "
		"cache=miss bytes=5120 retry=0 trace=0af7";
	uint64_t t = now_ns(CLOCK_REALTIME);
	time_t s = (time_t)(t / 1000000000);
	char body[400];
	struct tm tm;
	size_t n;
	int head;

	head = snprintf(body, sizeof(body), "%s o %08llu %llu", p->id, (unsigned long long)p->seq,
			(unsigned long long)t);
	snprintf(body + head, sizeof(body) - (size_t)head, " %s", payload);
	gmtime_r(&s, &tm);
	n = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &tm);
	return n + (size_t)sprintf(out + n, ".%09lluZ stdout F %.*s %08x %s\n",
				   (unsigned long long)(t % 1000000000), head, body,
				   (unsigned)crc32(0, (const void *)body, (unsigned)strlen(body)),
				   payload);
}

static void write_due(struct pod *p, uint64_t rotate_bytes, unsigned keep)
{
	char text[600];

	while (p->due_bytes > 200) {
		size_t n = line(p, text);

		if (write(p->fd, text, n) != (ssize_t)n) {
			perror(p->path);
			exit(1);
		}
		p->seq++;
		p->size += n;
		p->due_bytes -= n < p->due_bytes ? n : p->due_bytes;
		if (p->size >= rotate_bytes)
			rotate(p, keep);
	}
}

int main(int argc, char **argv)
{
	unsigned n, hot, keep;
	uint64_t rotate_bytes, start, last;
	double mbps, seconds;
	struct pod *pods;

	if (argc != 8) {
		fprintf(stderr, "usage: storm DIR PODS HOT MBPS SECONDS ROTATE_BYTES KEEP\n");
		return 2;
	}
	n = (unsigned)atoi(argv[2]);
	hot = (unsigned)atoi(argv[3]);
	mbps = atof(argv[4]);
	seconds = atof(argv[5]);
	rotate_bytes = strtoull(argv[6], NULL, 10);
	keep = (unsigned)atoi(argv[7]);
	pods = calloc(n, sizeof(*pods));
	if (!pods || keep > KEEP_MAX || keep < 2)
		return 2;
	for (unsigned i = 0; i < n; i++) {
		struct pod *p = &pods[i];

		snprintf(p->id, sizeof(p->id), "%s.%u", i < hot ? "hot" : "quiet", i);
		snprintf(p->dir, sizeof(p->dir), "%s/storm_pod-%u_00000000-0000-4000-8000-%012u",
			 argv[1], i, i);
		mkdir(p->dir, 0755);
		strcat(p->dir, "/app");
		mkdir(p->dir, 0755);
		snprintf(p->path, sizeof(p->path), "%s/0.log", p->dir);
		open_log(p);
	}
	start = last = now_ns(CLOCK_MONOTONIC);
	while (last - start < (uint64_t)(seconds * 1e9)) {
		struct timespec pause = {0, 1000000};
		uint64_t now = now_ns(CLOCK_MONOTONIC);
		double bytes = mbps * 1e6 * (double)(now - last) / 1e9;

		for (unsigned i = 0; i < n; i++) {
			pods[i].due_bytes +=
				(uint64_t)(i < hot ? bytes * .95 / hot : bytes * .05 / (n - hot));
			write_due(&pods[i], rotate_bytes, keep);
		}
		last = now;
		nanosleep(&pause, NULL);
	}
	for (unsigned i = 0; i < n; i++)
		printf("%s o %llu\n", pods[i].id, (unsigned long long)pods[i].seq);
	return 0;
}
