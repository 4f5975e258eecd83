// SPDX-License-Identifier: Apache-2.0
/*
 * provoke -t SECONDS -q QUIET_US [-S SILENCE_MS] [-s SEED] FILE..
 *
 * Writes tiny lines into files, one write each, so that a collector which watches a file with
 * one-shot watches has to re-arm while it is being written: bursts in a tight loop, and between
 * them pauses of about the time QUIET_US after which the collector takes a file to be quiet, a
 * little shorter, a little longer. Each file is in its own phase. About one burst in 500 is long.
 *
 * What is missed between two bursts comes with the next one, which would hide it. So with -S a file
 * gets one line, after about QUIET_US a second one, which races with the arming, and then nothing
 * for SILENCE_MS to twice that: nothing but the watch can tell of the second line.
 *
 * The messages are those of writer.c without a payload to speak of, ID being fN.0 for the Nth file
 * and the stream o. At the end it prints "ID STREAM COUNT" per file: what was written.
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

#define FILES_MAX  4096
#define NS_PER_S   1000000000ull
#define BURST_MAX  48
#define LONG_BURST 20000
#define LONG_EVERY 500

struct target {
	int fd;
	uint64_t seq, due_ns;
};

static uint32_t crc_table[256];
static uint64_t random_state;

static void die(const char *what)
{
	fprintf(stderr, "provoke: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* xorshift64: Marsaglia 2003. */
static uint64_t random_below(uint64_t end)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state % end;
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

static void line_write(struct target *t, unsigned id)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "f%u.0 o %08llu %llu ", id, (unsigned long long)t->seq,
			 (unsigned long long)clock_ns(CLOCK_REALTIME));
	uint32_t crc = crc_add(crc_add(0, line, (size_t)n), "-", 1);

	n += snprintf(line + n, sizeof(line) - (size_t)n, "%08x -\n", crc);
	while (write(t->fd, line, (size_t)n) < 0)
		if (errno != EINTR)
			die("write");
	t->seq++;
}

/* Half of the pauses lie within a tenth of the quiet time around it, the others below twice it. */
static uint64_t pause_ns(uint64_t quiet_ns)
{
	if (random_below(2))
		return quiet_ns - quiet_ns / 10 + random_below(quiet_ns / 5 + 1);
	return random_below(2 * quiet_ns + 1);
}

/* The second line comes when arming is due: quiet time, a tick or two, and the time to notice. */
static void race(struct target *t, unsigned id, uint64_t quiet_ns, uint64_t silence_ns)
{
	line_write(t, id);
	t->due_ns = clock_ns(CLOCK_MONOTONIC);
	if (t->seq % 2)
		t->due_ns += quiet_ns / 2 + random_below(quiet_ns * 7 / 2);
	else
		t->due_ns += silence_ns + random_below(silence_ns);
}

static void burst(struct target *t, unsigned id, uint64_t quiet_ns)
{
	uint64_t lines = random_below(LONG_EVERY) ? 1 + random_below(BURST_MAX) : LONG_BURST;

	while (lines--)
		line_write(t, id);
	t->due_ns = clock_ns(CLOCK_MONOTONIC) + pause_ns(quiet_ns);
}

static struct target *first_due(struct target *targets, unsigned n)
{
	struct target *first = targets;

	for (unsigned i = 1; i < n; i++)
		if (targets[i].due_ns < first->due_ns)
			first = &targets[i];
	return first;
}

static void wait_until(uint64_t due_ns)
{
	struct timespec t = {(time_t)(due_ns / NS_PER_S), (long)(due_ns % NS_PER_S)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

int main(int argc, char **argv)
{
	static struct target targets[FILES_MAX];
	uint64_t end_ns, quiet_ns = 1000000, silence_ns = 0;
	double seconds = 1;
	unsigned n;
	int c;

	random_state = clock_ns(CLOCK_REALTIME) | 1;
	while ((c = getopt(argc, argv, "t:q:s:S:")) != -1) {
		if (c == 't')
			seconds = strtod(optarg, NULL);
		else if (c == 'q')
			quiet_ns = strtoull(optarg, NULL, 10) * 1000;
		else if (c == 'S')
			silence_ns = strtoull(optarg, NULL, 10) * 1000000;
		else if (c == 's')
			random_state = strtoull(optarg, NULL, 10) * 2 + 1;
		else
			return 2;
	}
	n = (unsigned)(argc - optind);
	if (!n || n > FILES_MAX)
		return 2;
	crc_init();
	for (unsigned i = 0; i < n; i++) {
		targets[i].fd = open(argv[optind + (int)i], O_WRONLY | O_CREAT | O_APPEND, 0640);
		if (targets[i].fd < 0)
			die(argv[optind + (int)i]);
		if (silence_ns) /* all phases at once */
			targets[i].due_ns = clock_ns(CLOCK_MONOTONIC) + random_below(silence_ns);
	}
	end_ns = clock_ns(CLOCK_MONOTONIC) + (uint64_t)(seconds * (double)NS_PER_S);
	while (clock_ns(CLOCK_MONOTONIC) < end_ns) {
		struct target *t = first_due(targets, n);

		wait_until(t->due_ns);
		if (silence_ns)
			race(t, (unsigned)(t - targets), quiet_ns, silence_ns);
		else
			burst(t, (unsigned)(t - targets), quiet_ns);
	}
	for (unsigned i = 0; i < n; i++)
		printf("f%u.0 o %llu\n", i, (unsigned long long)targets[i].seq);
	return 0;
}
