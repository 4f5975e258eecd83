/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gen_cri DIR FILES BYTES SEED: a pods tree of CRI logs, BYTES in all, spread evenly.
 *
 * Lines are 80 B to 16 KiB with a mean of about 0.54 kB: nine in ten up to 700 B, one in two
 * hundred above 2 kB, as service logs are. One line in twenty holds characters that JSON must
 * escape, one in fifty text beyond ASCII. Deterministic for a seed.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t state;

static uint32_t rnd(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)((state >> 32) % n);
}

static size_t line_bytes(void)
{
	uint32_t kind = rnd(1000);

	if (kind < 900)
		return 80 + rnd(640);
	if (kind < 995)
		return 700 + rnd(1400);
	return 2000 + rnd(14384);
}

static void fill(char *to, size_t n)
{
	static const char words[] =
		"GET /api/v1/items?id=4711 200 status=ok latency_ms=12 user=alice "
		"retry connection established to upstream host cache miss ";
	size_t at = rnd(sizeof(words) - 1);

	for (size_t i = 0; i < n; i++) {
		to[i] = words[at++];
		if (at == sizeof(words) - 1)
			at = 0;
	}
	if (rnd(20) == 0)
		for (size_t i = 10; i + 1 < n; i += 40)
			to[i] = "\"\\\t"[rnd(3)];
	if (rnd(50) == 0)
		for (size_t i = 12; i + 2 < n; i += 60)
			memcpy(to + i, "\xc3\xa9", 2);
}

static int write_file(const char *dir, unsigned file, uint64_t bytes)
{
	char path[4096], line[20000];
	uint64_t done = 0, seq = 0;
	FILE *f;

	snprintf(path, sizeof(path), "%s/bench_pod-%u_00000000-0000-4000-8000-%012u", dir, file,
		 file);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -1;
	strcat(path, "/app");
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -1;
	strcat(path, "/0.log");
	f = fopen(path, "w");
	if (!f)
		return -1;
	while (done < bytes) {
		size_t n = line_bytes();
		int head = snprintf(
			line, sizeof(line), "2026-11-21T10:%02u:%02u.%09uZ %s F f%u s%llu ",
			(unsigned)(seq / 60000 % 60), (unsigned)(seq / 1000 % 60), rnd(1000000000),
			rnd(10) ? "stdout" : "stderr", file, (unsigned long long)seq);

		if (n < (size_t)head + 1)
			n = (size_t)head + 1;
		fill(line + head, n - (size_t)head - 1);
		line[n - 1] = '\n';
		fwrite(line, 1, n, f);
		done += n;
		seq++;
	}
	return fclose(f);
}

int main(int argc, char **argv)
{
	unsigned files;
	uint64_t bytes;

	if (argc != 5) {
		fprintf(stderr, "usage: gen_cri DIR FILES BYTES SEED\n");
		return 2;
	}
	files = (unsigned)atoi(argv[2]);
	bytes = strtoull(argv[3], NULL, 10);
	state = strtoull(argv[4], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (unsigned i = 0; i < files; i++) {
		if (write_file(argv[1], i, bytes / files) < 0) {
			perror(argv[1]);
			return 1;
		}
	}
	return 0;
}
