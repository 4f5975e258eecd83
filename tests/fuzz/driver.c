/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs a fuzzer without libFuzzer, the same way every time:
 *
 *   fuzz_NAME [-n RUNS] [-s SEED] [FILE...]
 *
 * First each FILE as it is, then RUNS inputs that are made from them by a generator of its own.
 * What it was doing when it died is on standard error in hexadecimal. With libFuzzer
 * (-fsanitize=fuzzer) this file is left out.
 */
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX 2048
#define SEEDS_MAX 64

struct seed {
	unsigned char data[INPUT_MAX];
	size_t len;
};

static struct seed seeds[SEEDS_MAX];
static size_t n_seeds;
static const unsigned char *current; /* for the handler */
static size_t current_len;
static uint64_t state;

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

/* So that the handler below sees it. */
const char *__asan_default_options(void)
{
	return "abort_on_error=1";
}

const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

static void show_input(int sig)
{
	static const char hex[] = "0123456789abcdef";
	char line[2 * INPUT_MAX + 16] = "# input: ";
	size_t n = strlen(line);

	for (size_t i = 0; i < current_len; i++) {
		line[n++] = hex[current[i] >> 4];
		line[n++] = hex[current[i] & 15];
	}
	line[n++] = '\n';
	if (write(STDERR_FILENO, line, n) < 0)
		_exit(2);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* xorshift64* */
static uint32_t any(uint32_t below)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * UINT64_C(2685821657736338717)) >> 33) % below;
}

static void put(struct seed *s, size_t at, const void *data, size_t n)
{
	if (s->len + n > INPUT_MAX)
		return;
	memmove(s->data + at + n, s->data + at, s->len - at);
	memcpy(s->data + at, data, n);
	s->len += n;
}

static void mutate(struct seed *s)
{
	size_t at = any((uint32_t)s->len + 1), n = 1 + any(any(4) ? 8 : 64);
	unsigned char c = (unsigned char)any(256);
	const char *word = fuzz_words[any((uint32_t)fuzz_n_words)];
	const struct seed *other = &seeds[any((uint32_t)n_seeds)];

	if (n > s->len - at)
		n = s->len - at;
	switch (any(7)) {
	case 0: /* another byte */
		if (n)
			s->data[at] = c;
		break;
	case 1:
		if (n)
			s->data[at] ^= (unsigned char)(1 << any(8));
		break;
	case 2:
		put(s, at, &c, 1);
		break;
	case 3:
		put(s, at, word, strlen(word));
		break;
	case 4: /* without a piece */
		memmove(s->data + at, s->data + at + n, s->len - at - n);
		s->len -= n;
		break;
	case 5: { /* a piece twice */
		unsigned char piece[64];

		memcpy(piece, s->data + at, n);
		put(s, at, piece, n);
		break;
	}
	default: /* the end of another one */
		s->len = at;
		at = any((uint32_t)other->len + 1);
		put(s, s->len, other->data + at, other->len - at);
	}
}

/* In memory of exactly its size, so that the sanitizer sees a read beyond it. */
static void run(const struct seed *s)
{
	unsigned char *data = malloc(s->len ? s->len : 1);

	if (!data)
		abort();
	memcpy(data, s->data, s->len);
	current = s->data;
	current_len = s->len;
	LLVMFuzzerTestOneInput(data, s->len);
	free(data);
}

static int seed_read(const char *path)
{
	struct seed *s = &seeds[n_seeds];
	FILE *f = fopen(path, "rb");

	if (!f || n_seeds == SEEDS_MAX) {
		fprintf(stderr, "cannot use %s\n", path);
		return -1;
	}
	s->len = fread(s->data, 1, sizeof(s->data), f);
	fclose(f);
	run(s);
	n_seeds++;
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long runs = 50000, first = 1;
	int opt;

	while ((opt = getopt(argc, argv, "n:s:")) != -1) {
		if (opt == 'n')
			runs = strtoul(optarg, NULL, 10);
		else if (opt == 's')
			first = strtoul(optarg, NULL, 10);
		else
			return 2;
	}
	signal(SIGABRT, show_input);
	signal(SIGSEGV, show_input);
	for (int i = optind; i < argc; i++)
		if (seed_read(argv[i]) < 0)
			return 2;
	if (!n_seeds)
		n_seeds = 1; /* the empty one */
	state = first * UINT64_C(0x9e3779b97f4a7c15) + 1;
	for (unsigned long i = 0; i < runs; i++) {
		struct seed s = seeds[any((uint32_t)n_seeds)];

		for (uint32_t k = 1 + any(12); k; k--)
			mutate(&s);
		run(&s);
	}
	printf("ok 1 - %s, %zu files and %lu inputs made from them, seed %lu\n", basename(argv[0]),
	       n_seeds, runs, first);
	return 0;
}
