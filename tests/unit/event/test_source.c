/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <string.h>

#include "event/source.h"

static void new_source_has_only_its_path(void **state)
{
	char path[] = "/var/log/other/\xff name.log";
	struct source *s;

	assert_int_equal(source_new(path, &s), 0);
	path[0] = 'X';
	assert_string_equal(s->path, "/var/log/other/\xff name.log");
	assert_int_equal(s->path_len, strlen(path));
	assert_int_equal(s->k8s_namespace.len, 0);
	assert_int_equal(s->pod_name.len, 0);
	assert_int_equal(s->pod_uid.len, 0);
	assert_int_equal(s->container_name.len, 0);
	assert_int_equal(s->restart_count, -1);
	source_unref(s);
	source_unref(NULL);
}

/* A reference too few is a use after free here, one too many a leak: the sanitizer tells. */
static void *take_and_drop(void *arg)
{
	for (int i = 0; i < 20000; i++)
		source_unref(source_ref(arg));
	source_unref(arg);
	return NULL;
}

static void last_reference_frees(void **state)
{
	struct source *s;
	pthread_t t[3];

	assert_int_equal(source_new("/a", &s), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&t[i], NULL, take_and_drop, source_ref(s)), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(atomic_load(&s->refs), 1);
	assert_string_equal(s->path, "/a");
	source_unref(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(new_source_has_only_its_path),
		cmocka_unit_test(last_reference_frees),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
