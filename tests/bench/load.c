/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load --dir DIR [OPTION]..: the writers of many pods in one process, rotated as the kubelet does
 * it, or by copytruncate. help has the options.
 *
 * A line is in CRI form and written by a call of its own, as containerd (write) and conmon (writev)
 * do it; nothing is batched. Its message is one that judge.c, and the judge of tests/e2e, can
 * check: ID STREAM SEQ TIME_NS CRC32 PAYLOAD, with ID hot.N, quiet.N, or rest.N for a pod that
 * writes one line only. The payload has no character that JSON escapes, so that a judge need not
 * undo it.
 *
 * The writers share the machine with what is measured, so a line must cost little more than its
 * system call: payloads are made once, in some lengths, and with each goes the table that moves a
 * checksum over its length (a CRC is linear). Hence only the 29 characters that differ are summed.
 * A thread per pod was rejected: 1,000 of them measure the scheduler.
 *
 * Each pod's turn is drawn by chance with its weight, from the seed. What is due is written even
 * when it is late, so the mean rate holds after a stall; the last line on standard error says how
 * much of the due was written and how late it was at worst.
 *
 * No gzip of older generations: it would take the processor from what is measured.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "line.h"

#define NS_PER_S 1000000000ull
#define TURN     64u /* lines of one group before the other has its turn */

struct options {
	const char *dir, *manifest;
	double rate, active_lines, seconds, zipf, hot_share, rotate_every, on, period;
	uint64_t rotate_bytes, seed;
	unsigned pods, hot, keep, idle, line_bytes, tick_us;
	bool copytruncate, use_writev, hold;
};

struct pod {
	char *path;
	struct ident id;
	uint32_t oldest, newest; /* stamps of the rotated files: [oldest, newest) */
	int fd;
	uint64_t seq, size, rotated_ns;
};

/* Pods that share a rate. share and other: Walker's alias table, NULL when all weigh the same. */
struct group {
	struct pod *pods;
	unsigned n;
	double rate, due; /* in bytes, or in lines */
	bool bursts;
	double *share;
	uint32_t *other;
};

struct load {
	struct options o;
	struct pod *pods;
	struct group groups[2];
	struct lines made;
	uint64_t random, lines, bytes, rotations;
	double accrued, late_max, took_s;
};

static volatile sig_atomic_t stopping;

static void on_signal(int sig)
{
	(void)sig;
	stopping = 1;
}

static void fail_with(const char *what)
{
	perror(what);
	exit(1);
}

static void *must(void *p)
{
	if (!p)
		fail_with("load");
	return p;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

/* 32 bits of xorshift64 */
static uint32_t rnd(struct load *l)
{
	l->random ^= l->random << 13;
	l->random ^= l->random >> 7;
	l->random ^= l->random << 17;
	return (uint32_t)(l->random >> 32);
}

static void log_open(struct pod *p)
{
	p->fd = open(p->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
	if (p->fd < 0)
		fail_with(p->path);
	p->size = 0;
}

static void rotated_name(const struct pod *p, uint32_t stamp, char *out, size_t size)
{
	snprintf(out, size, "%s.20261121-%06u", p->path, stamp);
}

static void log_copy(const struct pod *p, const char *target)
{
	static char block[1 << 18];
	int from = open(p->path, O_RDONLY | O_CLOEXEC);
	int to = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
	ssize_t n;

	if (from < 0 || to < 0)
		fail_with(target);
	while ((n = read(from, block, sizeof(block))) > 0)
		if (write(to, block, (size_t)n) != n)
			fail_with(target);
	close(from);
	close(to);
}

/* keep counts the live file, as the kubelet's containerLogMaxFiles does. */
static void rotate(struct load *l, struct pod *p)
{
	char name[4200];

	while (p->newest - p->oldest + 2 > l->o.keep) {
		rotated_name(p, p->oldest++, name, sizeof(name));
		unlink(name);
	}
	rotated_name(p, p->newest++, name, sizeof(name));
	if (l->o.copytruncate) {
		log_copy(p, name);
		if (ftruncate(p->fd, 0) < 0)
			fail_with(p->path);
		p->size = 0;
	} else {
		int old = p->fd;

		if (rename(p->path, name) < 0)
			fail_with(p->path);
		log_open(p);
		close(old);
	}
	l->rotations++;
	p->rotated_ns = now_ns();
}

static void rotate_when_due(struct load *l, struct pod *p)
{
	if (!l->o.rotate_bytes || p->size < l->o.rotate_bytes)
		return;
	if (p->rotated_ns && (double)(now_ns() - p->rotated_ns) < l->o.rotate_every * 1e9)
		return;
	rotate(l, p);
}

static size_t line_write(struct load *l, struct pod *p)
{
	static char out[LINE_SIZE_MAX];
	size_t n = line_make(&l->made, &p->id, p->seq, &l->made.shapes[rnd(l) % SHAPES], out);
	struct iovec parts[2] = {{out, CRI_LEN}, {out + CRI_LEN, n - CRI_LEN}};
	ssize_t r = l->o.use_writev ? writev(p->fd, parts, 2) : write(p->fd, out, n);

	if (r != (ssize_t)n)
		fail_with(p->path);
	p->seq++;
	p->size += n;
	l->lines++;
	l->bytes += n;
	rotate_when_due(l, p);
	return n;
}

static struct pod *group_draw(struct load *l, const struct group *g)
{
	uint32_t i = (uint32_t)((uint64_t)rnd(l) * g->n >> 32);

	if (g->share && rnd(l) / 4294967296.0 >= g->share[i])
		i = g->other[i];
	return &g->pods[i];
}

/* True when there is more to do. */
static bool group_turn(struct load *l, struct group *g)
{
	for (unsigned i = 0; i < TURN && g->due > 0; i++) {
		size_t n = line_write(l, group_draw(l, g));

		g->due -= l->o.active_lines > 0 ? 1 : (double)n;
	}
	return g->due > 0;
}

/* What has come due between two moments, in seconds since the start. */
static void group_accrue(struct load *l, struct group *g, double from, double to)
{
	double peak = g->bursts ? g->rate * l->o.period / l->o.on : g->rate;
	bool pauses = g->bursts && fmod(to, l->o.period) >= l->o.on;
	double add = pauses ? 0 : peak * (to - from), late = peak > 0 ? g->due / peak : 0;

	if (late > l->late_max)
		l->late_max = late;
	g->due += add;
	l->accrued += add;
}

static void load_run(struct load *l)
{
	uint64_t start = now_ns(), last = start, now = start;

	while (!stopping && (double)(now - start) < l->o.seconds * 1e9) {
		bool more = false;

		for (int i = 0; i < 2; i++) {
			struct group *g = &l->groups[i];

			if (!g->n)
				continue;
			group_accrue(l, g, (double)(last - start) / 1e9,
				     (double)(now - start) / 1e9);
			more |= group_turn(l, g);
		}
		if (!more) {
			struct timespec pause = {0, (long)l->o.tick_us * 1000};

			nanosleep(&pause, NULL);
		}
		last = now;
		now = now_ns();
	}
	l->took_s = (double)(now - start) / 1e9;
}

/* Zipf: the pod of rank k weighs 1 / k^s. Vose's way of building the alias table. */
static void group_weigh(struct group *g, double s)
{
	double *weight = must(malloc(g->n * sizeof(*weight))), sum = 0;
	uint32_t *small = must(malloc(g->n * sizeof(*small)));
	uint32_t *large = must(malloc(g->n * sizeof(*large)));
	unsigned n_small = 0, n_large = 0;

	g->share = must(malloc(g->n * sizeof(*g->share)));
	g->other = must(calloc(g->n, sizeof(*g->other)));
	for (unsigned i = 0; i < g->n; i++)
		sum += weight[i] = pow(i + 1, -s);
	for (unsigned i = 0; i < g->n; i++) {
		g->share[i] = 1;
		weight[i] *= g->n / sum;
		*(weight[i] < 1 ? &small[n_small++] : &large[n_large++]) = i;
	}
	while (n_small && n_large) {
		uint32_t a = small[--n_small], b = large[n_large - 1];

		g->share[a] = weight[a];
		g->other[a] = b;
		weight[b] -= 1 - weight[a];
		if (weight[b] < 1) {
			n_large--;
			small[n_small++] = b;
		}
	}
	free(weight);
	free(small);
	free(large);
}

static void pod_make(const struct load *l, struct pod *p, const char *kind, unsigned id,
		     unsigned number)
{
	char path[4096];
	size_t n;

	n = (size_t)snprintf(path, sizeof(path), "%s/load_%s-%u_00000000-0000-4000-8000-%012u",
			     l->o.dir, kind[0] == 'r' ? kind : "pod", number, number);
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		fail_with(path);
	n += (size_t)snprintf(path + n, sizeof(path) - n, "/app");
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		fail_with(path);
	snprintf(path + n, sizeof(path) - n, "/0.log");
	p->path = must(strdup(path));
	p->id.len = (size_t)snprintf(p->id.text, sizeof(p->id.text), "%s.%u o ", kind, id);
	p->id.crc = (uint32_t)crc32(0, (const void *)p->id.text, (unsigned)p->id.len);
	log_open(p);
}

/* Ranks go to directories by chance: the order of names must not be the order of heat. */
static void pods_make(struct load *l)
{
	unsigned *numbers = must(calloc(l->o.pods, sizeof(*numbers)));

	l->pods = must(calloc(l->o.pods, sizeof(*l->pods)));
	for (unsigned i = 0; i < l->o.pods; i++) {
		unsigned j = rnd(l) % (i + 1);

		numbers[i] = numbers[j];
		numbers[j] = i;
	}
	for (unsigned i = 0; i < l->o.pods; i++)
		pod_make(l, &l->pods[i], i < l->o.hot ? "hot" : "quiet", i, numbers[i]);
	free(numbers);
	for (unsigned i = 0; i < l->o.idle; i++) {
		struct pod rest = {0};

		pod_make(l, &rest, "rest", i, i);
		line_write(l, &rest);
		close(rest.fd);
		free(rest.path);
	}
}

static void groups_make(struct load *l)
{
	const struct options *o = &l->o;
	double rate = o->active_lines > 0 ? o->active_lines * o->pods : o->rate * 1e6;
	double hot = o->pods == o->hot ? 1 : o->hot ? o->hot_share / 100 : 0;
	bool bursts = o->period > 0;

	if (o->zipf > 0) {
		l->groups[0] = (struct group){.pods = l->pods, .n = o->pods, .rate = rate};
		l->groups[0].bursts = bursts;
		group_weigh(&l->groups[0], o->zipf);
		return;
	}
	l->groups[0] =
		(struct group){.pods = l->pods, .n = o->hot, .rate = rate * hot, .bursts = bursts};
	l->groups[1] = (struct group){.pods = l->pods + o->hot,
				      .n = o->pods - o->hot,
				      .rate = rate * (1 - hot),
				      .bursts = bursts && !o->hot};
}

/* "ID STREAM COUNT" per pod. */
static void manifest_write(const struct load *l)
{
	FILE *f = l->o.manifest ? must(fopen(l->o.manifest, "w")) : stdout;

	for (unsigned i = 0; i < l->o.pods; i++)
		fprintf(f, "%s%llu\n", l->pods[i].id.text, (unsigned long long)l->pods[i].seq);
	for (unsigned i = 0; i < l->o.idle; i++)
		fprintf(f, "rest.%u o 1\n", i);
	if (fflush(f))
		fail_with("manifest");
}

static const char help[] =
	"usage: load --dir DIR [OPTION]..\n"
	"  --pods N           pods that write (20)\n"
	"  --hot N            of them named hot.N, the others quiet.N (0)\n"
	"  --hot-share PCT    what the hot ones write of the rate, evenly (95)\n"
	"  --zipf S           all pods by rank instead, the hot ones first: 1 / rank^S\n"
	"  --rate MB          MB/s in all (10)\n"
	"  --active-lines N   lines per second of each pod instead\n"
	"  --seconds S        (10); SIGTERM ends it before\n"
	"  --burst ON/PERIOD  the hot pods (all, with --zipf or without hot ones) write only\n"
	"                     in the first ON of PERIOD seconds; the mean stays\n"
	"  --line-bytes N     mean of a line, spread evenly beyond what its head takes (540)\n"
	"  --rotate-bytes N   rotate a file that has reached this (0: never)\n"
	"  --rotate-every S   but not before so long after its last rotation\n"
	"  --keep N           files of a pod, the live one included (5)\n"
	"  --copytruncate     copy and truncate instead of rename and create\n"
	"  --writev           a line's head and its text in two vectors\n"
	"  --idle N           further pods, rest.N, that write one line before the start\n"
	"  --hold             make the files, print \"ready\", begin at the end of input\n"
	"  --tick US          pause when nothing is due (500)\n"
	"  --seed N           (1)\n"
	"  --manifest FILE    ID STREAM COUNT of each pod at the end (standard output)\n";

static void usage(void)
{
	fputs(help, stderr);
	exit(2);
}

enum { BURST = 256, COPYTRUNCATE, WRITEV, HOLD, NUMBER };

static void options_parse(int argc, char **argv, struct options *o)
{
	double pods = 20, hot = 0, keep = 5, idle = 0, line = 540, tick = 500, bytes = 0, seed = 1;
	double *numbers[] = {
		&pods,       &hot,  &o->hot_share, &o->zipf,         &o->rate, &o->active_lines,
		&o->seconds, &line, &bytes,        &o->rotate_every, &keep,    &idle,
		&tick,       &seed};
	static const char *const names[] = {
		"pods",         "hot",     "hot-share",  "zipf",         "rate",
		"active-lines", "seconds", "line-bytes", "rotate-bytes", "rotate-every",
		"keep",         "idle",    "tick",       "seed"};
	struct option longs[32] = {
		{"dir", 1, NULL, 'd'},       {"manifest", 1, NULL, 'm'},
		{"burst", 1, NULL, BURST},   {"copytruncate", 0, NULL, COPYTRUNCATE},
		{"writev", 0, NULL, WRITEV}, {"hold", 0, NULL, HOLD}};
	char *end;
	int c;

	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++)
		longs[6 + i] = (struct option){names[i], 1, NULL, (int)(NUMBER + i)};
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		if (c == 'd')
			o->dir = optarg;
		else if (c == 'm')
			o->manifest = optarg;
		else if (c == BURST && sscanf(optarg, "%lf/%lf", &o->on, &o->period) == 2)
			;
		else if (c == COPYTRUNCATE)
			o->copytruncate = true;
		else if (c == WRITEV)
			o->use_writev = true;
		else if (c == HOLD)
			o->hold = true;
		else if (c < NUMBER || c == '?')
			usage();
		else if ((*numbers[c - NUMBER] = strtod(optarg, &end)) < 0 || end == optarg || *end)
			usage();
	}
	o->pods = (unsigned)pods;
	o->hot = (unsigned)hot;
	o->keep = (unsigned)keep;
	o->idle = (unsigned)idle;
	o->line_bytes = (unsigned)line;
	o->tick_us = (unsigned)tick;
	o->rotate_bytes = (uint64_t)bytes;
	o->seed = (uint64_t)seed;
	if (!o->dir || optind != argc || o->pods < 1 || o->hot > o->pods || o->keep < 2 ||
	    o->line_bytes > TEXT_MAX / 2 || o->tick_us > 500000 || o->on > o->period ||
	    (o->period > 0 && o->on <= 0))
		usage();
}

static void report(const struct load *l)
{
	double written = l->o.active_lines > 0 ? (double)(l->lines - l->o.idle) : (double)l->bytes;
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	fprintf(stderr,
		"{\"lines\": %llu, \"bytes\": %llu, \"rotations\": %llu, \"reached\": %.3f, "
		"\"late_ms\": %.0f, \"took_s\": %.2f, \"cpu_s\": %.2f}\n",
		(unsigned long long)l->lines, (unsigned long long)l->bytes,
		(unsigned long long)l->rotations, l->accrued > 0 ? written / l->accrued : 1,
		l->late_max * 1e3, l->took_s,
		(double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
			(double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6);
}

int main(int argc, char **argv)
{
	static struct load l = {.o = {.hot_share = 95, .rate = 10, .seconds = 10}};
	struct rlimit files;
	char c;

	options_parse(argc, argv, &l.o);
	l.random = l.o.seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	prctl(PR_SET_TIMERSLACK, 1000);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
	lines_init(&l.made, l.o.line_bytes);
	pods_make(&l);
	groups_make(&l);
	if (l.o.hold) {
		printf("ready\n");
		fflush(stdout);
		while (!stopping && read(STDIN_FILENO, &c, 1) > 0)
			;
	}
	load_run(&l);
	manifest_write(&l);
	report(&l);
	return 0;
}
