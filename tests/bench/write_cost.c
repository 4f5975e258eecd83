/* SPDX-License-Identifier: Apache-2.0 */
/*
 * write_cost [DIR [WRITES [ROUNDS]]]: what counting costs the writer. CPU time of one write(2) of
 * 100 bytes appended to a watched file, to one that nobody watches, and to that one while
 * directories are watched (not its own), with no program and on each rung that attaches, by turns
 * in one run, so that a machine that changes its speed changes it for all. The median of the
 * rounds, in ns and as a ratio to "off" of the same round.
 *
 * Then the same writes with the kernel's own run-time statistics: ns per run of each program, the
 * clock's own cost included (it is about that of the plain look-up). They are measured apart,
 * because the statistics themselves slow the writer down.
 *
 * DIR: on the filesystem that is written to (/dev/shm). Root. On an emulated processor the figures
 * mean nothing; the runs of each program do.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "heat/write_count.h"
#include "heat/write_told.h"

#define LEN          100
#define ROUNDS_MAX   101
#define PROGRAMS_MAX 64

enum file { WATCHED, OTHER, OTHER_WITH_DIRS, FILES };

static const char *const file_names[] = {"watched", "other", "other, dirs watched"};

struct cost {
	double ns[FILES][ROUNDS_MAX], ratio[FILES][ROUNDS_MAX];
	bool there;
	char why_not[256];
};

struct bench {
	const char *dir;
	long writes;
	int rounds;
	int fds[FILES];
	struct cost costs[RUNG_OFF + 1];
};

/* The thread's own time: other load on the machine is left out. */
static double now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void fail_with(const char *what)
{
	perror(what);
	exit(1);
}

static int file_new(const char *dir)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/write_cost.XXXXXX", dir);
	fd = mkostemp(path, O_APPEND | O_CLOEXEC);
	if (fd < 0)
		fail_with(path);
	unlink(path);
	return fd;
}

/* ns per write, over `writes` of them. */
static double writes_time(int fd, long writes)
{
	static char data[LEN];
	double begin;

	if (ftruncate(fd, 0) < 0)
		fail_with("ftruncate");
	begin = now_ns();
	for (long i = 0; i < writes; i++)
		if (write(fd, data, LEN) != LEN)
			fail_with("write");
	return (now_ns() - begin) / (double)writes;
}

/* NULL when this rung does not attach here. */
static struct write_count *rung_start(struct bench *b, enum rung rung)
{
	struct write_count *wc;
	const char *why;
	int slot, r = 0;

	if (write_count_new(rung, 1000, NULL, &wc) < 0)
		fail_with("write_count_new");
	if (write_count_rung(wc) == rung && rung != RUNG_OFF)
		r = write_count_add(wc, b->fds[WATCHED], NULL, &slot);
	if (write_count_rung(wc) == rung && r == 0)
		return wc;
	why = write_count_refusal(wc, rung);
	snprintf(b->costs[rung].why_not, sizeof(b->costs[rung].why_not), "%s",
		 why ? why : strerror(-r));
	write_count_free(wc);
	return NULL;
}

/* From here on each write to a file that is not watched asks for its directory too. */
static void dir_watch(struct bench *b, struct write_count *wc, enum file file)
{
	struct write_id id;
	int fd;

	if (file != OTHER_WITH_DIRS || write_count_rung(wc) == RUNG_OFF)
		return;
	fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	write_count_add_dir(wc, fd, &id);
	close(fd);
}

static void round_run(struct bench *b, int round)
{
	/* off first: the others are compared with it */
	for (int r = RUNG_OFF; r > RUNG_AUTO; r--) {
		struct cost *c = &b->costs[r];
		struct write_count *wc = rung_start(b, (enum rung)r);

		c->there = wc != NULL;
		for (int f = 0; f < FILES && wc; f++) {
			dir_watch(b, wc, (enum file)f);
			writes_time(b->fds[f], b->writes / 10);
			c->ns[f][round] = writes_time(b->fds[f], b->writes);
			c->ratio[f][round] = c->ns[f][round] / b->costs[RUNG_OFF].ns[f][round];
		}
		write_count_free(wc);
	}
}

static int number_cmp(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static double median(double *numbers, int n)
{
	qsort(numbers, (size_t)n, sizeof(*numbers), number_cmp);
	return numbers[n / 2];
}

static void costs_print(struct bench *b)
{
	printf("A write(2) of %d bytes on %s, %ld writes, %d rounds, median\n\n", LEN, b->dir,
	       b->writes, b->rounds);
	printf("| rung |");
	for (int f = 0; f < FILES; f++)
		printf(" %s, ns | of off |", file_names[f]);
	printf("\n|---|---|---|---|---|---|---|\n");
	for (int r = RUNG_OFF; r > RUNG_AUTO; r--) {
		struct cost *c = &b->costs[r];

		printf("| %s |", rung_name((enum rung)r));
		for (int f = 0; f < FILES; f++)
			if (c->there)
				printf(" %.0f | %.2f |", median(c->ns[f], b->rounds),
				       median(c->ratio[f], b->rounds));
			else
				printf(" - | - |");
		printf("\n");
	}
	printf("\n");
	for (int r = RUNG_OFF; r > RUNG_AUTO; r--)
		if (!b->costs[r].there)
			printf("%s: %s\n", rung_name((enum rung)r), b->costs[r].why_not);
}

struct program {
	__u32 id;
	char name[BPF_OBJ_NAME_LEN];
	__u64 ns, runs;
};

static bool program_read(__u32 id, struct program *ret_p)
{
	struct bpf_prog_info info = {};
	__u32 len = sizeof(info);
	int fd = bpf_prog_get_fd_by_id(id);
	bool found = fd >= 0 && bpf_obj_get_info_by_fd(fd, &info, &len) == 0;

	if (fd >= 0)
		close(fd);
	*ret_p = (struct program){.id = id, .ns = info.run_time_ns, .runs = info.run_cnt};
	memcpy(ret_p->name, info.name, sizeof(ret_p->name));
	return found;
}

/* Programs with a higher number than `after`: those loaded since. */
static size_t programs_list(__u32 after, struct program *ret_programs)
{
	size_t n = 0;

	while (n < PROGRAMS_MAX && bpf_prog_get_next_id(after, &after) == 0)
		n += program_read(after, &ret_programs[n]);
	return n;
}

static __u32 program_last(void)
{
	__u32 id = 0;

	while (bpf_prog_get_next_id(id, &id) == 0)
		;
	return id;
}

static void programs_print(struct bench *b, enum rung rung, enum file file, __u32 before)
{
	struct program programs[PROGRAMS_MAX], now;
	size_t n = programs_list(before, programs);

	writes_time(b->fds[file], b->writes);
	for (size_t i = 0; i < n; i++)
		if (program_read(programs[i].id, &now) && now.runs > programs[i].runs)
			printf("| %s | %s | %.15s | %llu | %.0f |\n", rung_name(rung),
			       file_names[file], now.name,
			       (unsigned long long)(now.runs - programs[i].runs),
			       (double)(now.ns - programs[i].ns) /
				       (double)(now.runs - programs[i].runs));
}

static void statistics_print(struct bench *b)
{
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);

	if (stats < 0) {
		printf("\nNo run-time statistics: %s\n", strerror(errno));
		return;
	}
	printf("\nRun-time statistics of the programs during %ld such writes\n\n", b->writes);
	printf("| rung | file | program | runs | ns per run |\n|---|---|---|---|---|\n");
	for (int r = RUNG_OFF - 1; r > RUNG_AUTO; r--) {
		__u32 before = program_last();
		struct write_count *wc = rung_start(b, (enum rung)r);

		for (int f = 0; f < FILES && wc; f++) {
			dir_watch(b, wc, (enum file)f);
			programs_print(b, (enum rung)r, (enum file)f, before);
		}
		write_count_free(wc);
	}
	close(stats);
}

int main(int argc, char **argv)
{
	struct bench b = {
		.dir = argc > 1 ? argv[1] : "/dev/shm",
		.writes = argc > 2 ? atol(argv[2]) : 100000,
		.rounds = argc > 3 ? atoi(argv[3]) : 7,
	};

	if (b.writes < 10 || b.rounds < 1 || b.rounds > ROUNDS_MAX) {
		fprintf(stderr, "usage: write_cost [DIR [WRITES [ROUNDS]]]\n");
		return 2;
	}
	b.fds[WATCHED] = file_new(b.dir);
	b.fds[OTHER] = b.fds[OTHER_WITH_DIRS] = file_new(b.dir);
	for (int round = 0; round < b.rounds; round++)
		round_run(&b, round);
	costs_print(&b);
	statistics_print(&b);
	return 0;
}
