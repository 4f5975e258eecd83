/* SPDX-License-Identifier: Apache-2.0 */
/* What every unit test includes: cmocka, TAP output, a private temporary directory. */
#ifndef TEST_H
#define TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RUN_TESTS(tests)                                          \
	int main(void)                                            \
	{                                                         \
		cmocka_set_message_output(CM_OUTPUT_TAP);         \
		return cmocka_run_group_tests(tests, NULL, NULL); \
	}

/* A new directory; the caller frees the name. test_dir_remove deletes it and all below. */
static inline char *test_dir_make(void)
{
	char *dir = strdup("/tmp/hotdrain-test-XXXXXX");

	assert_non_null(mkdtemp(dir));
	return dir;
}

static inline void test_dir_remove(char *dir)
{
	char command[256];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	assert_int_equal(system(command), 0);
	free(dir);
}

static inline void test_write(const char *path, const char *mode, const char *text)
{
	FILE *f = fopen(path, mode);

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
	assert_int_equal(fclose(f), 0);
}

#endif
