/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "base/sys.h"
#include "collector_docker.h"

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void the_id_of_a_log_is_in_its_path(void **state)
{
	static const char *const logs[] = {"/var/lib/docker/containers/" ID "/" ID "-json.log",
					   "/" ID "/" ID "-json.log", ID "/" ID "-json.log",
					   "/var/lib/containers/storage/overlay-containers/" ID
					   "/userdata/ctr.log",
					   ID "/userdata/ctr.log"};
	static const char *const others[] = {"",
					     "/",
					     "ctr.log",
					     "/ctr.log",
					     "userdata/ctr.log",
					     "/userdata/ctr.log",
					     "/" ID "/ctr.log",
					     "/" ID "/userdata/config.json",
					     "/" ID "/userdata/x/ctr.log",
					     "/" ID "0/" ID "0-json.log",
					     "/" ID "/" ID "-json.log.1",
					     "/" ID "/config.v2.json",
					     "/0123/0123-json.log",
					     "/var/log/pods/a_b_c/" ID "/0.log",
					     ID,
					     "//" ID "-json.log",
					     "/x/" ID "-json.log",
					     "/F123456789abcdef0123456789abcdef0123456789abcdef0123"
					     "456789abcdef/userdata/ctr.log"};

	for (size_t i = 0; i < ARRAY_SIZE(logs); i++) {
		const char *id = container_log_id(logs[i]);

		assert_non_null(id);
		assert_memory_equal(id, ID, CONTAINER_ID_LEN);
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		assert_null(container_log_id(others[i]));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(the_id_of_a_log_is_in_its_path),
};

RUN_TESTS(tests)
