/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzzer has: the entry, as libFuzzer names it, and words that driver.c strews in. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
extern const char *const fuzz_words[];
extern const size_t fuzz_n_words;

#define CHECK(what)                                                                          \
	do {                                                                                 \
		if (!(what)) {                                                               \
			fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #what); \
			abort();                                                             \
		}                                                                            \
	} while (0)

#endif
