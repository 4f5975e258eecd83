// SPDX-License-Identifier: Apache-2.0
/*
 * Puts bytes into log files and prints how many: what a ledger must say was written.
 *
 *   fill lines FILE BYTES [FILE BYTES]..        lines of 100 bytes, one write each
 *   fill cut FILE WRITERS SECONDS MS to0|down|any
 *           processes that append to one file, which is truncated every MS: to 0, to 0 and to
 *           anything below its size, or to something above it as well
 *   fill rotate DIR LOGS GENERATIONS BYTES KEEP
 *           logs N/0.log below DIR, renamed to 0.log.STAMP whenever they have so many bytes; of
 *           the old ones KEEP stay
 *   fill way FILE NAME BYTES                    by write, sendfile, mmap, …; "missing" if it cannot
 *
 * What a truncation makes a file longer by was written by nobody, and is not in the number.
 */
#include <signal.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "../unit/heat/write_ways.h"

#define LINE_BYTES   100
#define WRITERS_MAX  64
#define KEEP_MAX     64
#define NS_PER_MS    1000000ull
#define CUT_MAX_GROW 5000

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	stopping = sig == SIGTERM;
}

static void die(const char *what)
{
	fprintf(stderr, "fill: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int log_open(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | flags, 0640);

	if (fd < 0)
		die(path);
	return fd;
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 * NS_PER_MS + (uint64_t)t.tv_nsec;
}

static uint64_t write_line(int fd, uint64_t n)
{
	char line[LINE_BYTES + 1];
	ssize_t wrote;

	memset(line, 'a' + (int)(n % 26), LINE_BYTES);
	line[snprintf(line, sizeof(line), "%012llu", (unsigned long long)n)] = ' ';
	line[LINE_BYTES - 1] = '\n';
	wrote = write(fd, line, LINE_BYTES);
	if (wrote < 0)
		die("write");
	return (uint64_t)wrote;
}

static uint64_t fill_lines(int argc, char **argv)
{
	uint64_t total = 0;

	for (int i = 0; i + 1 < argc; i += 2) {
		uint64_t bytes = strtoull(argv[i + 1], NULL, 10);
		int fd = log_open(argv[i], 0);

		for (uint64_t had = 0; had < bytes; total += LINE_BYTES)
			had += write_line(fd, total);
		close(fd);
	}
	return total;
}

/* Until SIGTERM; how much goes to the pipe. */
static void append_on(const char *path, int result)
{
	uint64_t total = 0;
	int fd = log_open(path, 0);

	while (!stopping)
		total += write_line(fd, total);
	if (write(result, &total, sizeof(total)) != sizeof(total))
		die("pipe");
	exit(0);
}

static void cut(const char *path, const char *how, unsigned *seed)
{
	struct stat st;
	off_t to = 0;

	if (stat(path, &st) < 0) {
		if (errno == ENOENT)
			return; /* no writer came so far as to make it */
		die(path);
	}
	if (strcmp(how, "to0") != 0 && rand_r(seed) % 2)
		to = st.st_size ? rand_r(seed) % st.st_size : 0;
	if (strcmp(how, "any") == 0 && rand_r(seed) % 8 == 0)
		to = st.st_size + rand_r(seed) % CUT_MAX_GROW;
	if (truncate(path, to) < 0)
		die("truncate");
}

static uint64_t fill_cut(int argc, char **argv)
{
	const char *path = argv[0];
	int writers = atoi(argv[1]), pipes[2];
	uint64_t until = clock_ns() + strtoull(argv[2], NULL, 10) * 1000 * NS_PER_MS, total = 0,
		 one;
	unsigned every_us = (unsigned)atoi(argv[3]) * 1000, seed = (unsigned)until;
	pid_t pids[WRITERS_MAX];

	if (writers < 1 || writers > WRITERS_MAX || pipe(pipes) < 0)
		die("cut");
	for (int i = 0; i < writers; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (!pids[i])
			append_on(path, pipes[1]);
	}
	while (clock_ns() < until) {
		usleep(every_us);
		cut(path, argv[4], &seed);
	}
	for (int i = 0; i < writers; i++)
		kill(pids[i], SIGTERM);
	for (int i = 0; i < writers; i++) {
		if (read(pipes[0], &one, sizeof(one)) != sizeof(one))
			die("a writer's result");
		total += one;
	}
	while (wait(NULL) > 0)
		;
	return total;
}

static uint64_t fill_rotate(int argc, char **argv)
{
	int logs = atoi(argv[1]), generations = atoi(argv[2]), keep = atoi(argv[4]);
	uint64_t bytes = strtoull(argv[3], NULL, 10), total = 0;
	char dir[3000], path[3100], old[3200];

	for (int g = 0; g < generations; g++)
		for (int n = 0; n < logs; n++) {
			snprintf(dir, sizeof(dir), "%s/%d", argv[0], n);
			mkdir(dir, 0755);
			snprintf(path, sizeof(path), "%s/0.log", dir);
			int fd = log_open(path, 0);

			for (uint64_t had = 0; had < bytes; total += LINE_BYTES)
				had += write_line(fd, total);
			snprintf(old, sizeof(old), "%s.20261121-%06d", path, g);
			if (rename(path, old) < 0)
				die("rename");
			close(fd);
			snprintf(old, sizeof(old), "%s.20261121-%06d", path, g - keep);
			if (g >= keep && unlink(old) < 0)
				die("unlink");
		}
	return total;
}

static uint64_t fill_way(int argc, char **argv)
{
	static const struct {
		const char *name;
		way_put *put;
		int flags;
	} ways[] = {
		{"write", way_write, O_APPEND},
		{"writev", way_pwritev2, O_APPEND},
		{"sendfile", way_sendfile, 0},
		{"splice", way_splice, 0},
		{"copy_file_range", way_copy, 0},
		{"copy_blocks", way_copy_blocks, 0},
		{"aio", way_aio, 0},
		{"io_uring", way_io_uring, 0},
		{"mmap", way_mmap, 0},
	};
	static struct ways w;
	char dir[300], *slash;
	uint64_t len = strtoull(argv[2], NULL, 10);
	struct stat st;
	ssize_t put;

	snprintf(dir, sizeof(dir), "%s", argv[0]);
	slash = strrchr(dir, '/');
	if (!slash || len > WAYS_SOURCE_LEN)
		die("expected a path, and not so much");
	snprintf(slash, sizeof(dir) - (size_t)(slash - dir), "/../..");
	if (ways_init(&w, dir) < 0)
		die(dir);
	for (size_t i = len < 100 ? 0 : 99; i < sizeof(w.data); i += 100)
		w.data[i] = '\n';
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		if (strcmp(ways[i].name, argv[1]) != 0)
			continue;
		int fd = open(argv[0], O_RDWR | O_CREAT | ways[i].flags, 0640);

		if (fd < 0 || fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_END) < 0)
			die(argv[0]);
		put = ways[i].put(&w, fd, st.st_size, len);
		if (put < 0 && way_missing(errno)) {
			puts("missing");
			exit(0);
		}
		if (put < 0)
			die(argv[1]);
		return (uint64_t)put;
	}
	die("no such way");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int args;
		uint64_t (*fill)(int argc, char **argv);
	} kinds[] = {
		{"lines", 2, fill_lines},
		{"cut", 5, fill_cut},
		{"rotate", 5, fill_rotate},
		{"way", 3, fill_way},
	};
	struct sigaction act = {.sa_handler = on_signal};

	sigaction(SIGTERM, &act, NULL);
	for (size_t i = 0; argc > 1 && i < sizeof(kinds) / sizeof(*kinds); i++)
		if (strcmp(kinds[i].name, argv[1]) == 0 && argc - 2 >= kinds[i].args) {
			printf("%llu\n", (unsigned long long)kinds[i].fill(argc - 2, argv + 2));
			return 0;
		}
	fputs("usage: fill lines|cut|rotate|way ARGUMENT..\n", stderr);
	return 2;
}
