/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "files/pod_path.h"

static void paths_say_what_they_should(void **state)
{
	static const struct {
		const char *path, *ns, *pod, *uid, *container;
		int restart;
	} rows[] = {
		{"/var/log/pods/shop_web-1_11111111-2222-3333-4444-555555555555/app/0.log", "shop",
		 "web-1", "11111111-2222-3333-4444-555555555555", "app", 0},
		{"/var/log/pods/kube-system_etcd.node_0123456789abcdef0123456789abcdef/etcd/12.log",
		 "kube-system", "etcd.node", "0123456789abcdef0123456789abcdef", "etcd", 12},
		{"/r/a_b_c/d/3.log.20261121-101112", "a", "b", "c", "d", 3},
		{"a_b_c/d/0.log", "a", "b", "c", "d", 0},
		{"/var/log/containers/web_shop_app-0123456789abcdef.log", "shop", "web", NULL,
		 "app", -1},
		{"/var/log/containers/web_shop_side-car-0123456789abcdef.log", "shop", "web", NULL,
		 "side-car", -1},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pod_path p;

		assert_true(pod_path_parse(rows[i].path, &p));
		assert_int_equal(p.ns_len, strlen(rows[i].ns));
		assert_memory_equal(p.ns, rows[i].ns, p.ns_len);
		assert_int_equal(p.pod_len, strlen(rows[i].pod));
		assert_memory_equal(p.pod, rows[i].pod, p.pod_len);
		assert_int_equal(p.container_len, strlen(rows[i].container));
		assert_memory_equal(p.container, rows[i].container, p.container_len);
		assert_int_equal(p.restart_count, rows[i].restart);
		if (rows[i].uid) {
			assert_int_equal(p.uid_len, strlen(rows[i].uid));
			assert_memory_equal(p.uid, rows[i].uid, p.uid_len);
		} else {
			assert_null(p.uid);
		}
	}
}

static void other_paths_are_of_no_pod(void **state)
{
	static const char *const rows[] = {
		"/var/log/messages",
		"/var/log/pods/a_b_c/d/x.log",
		"/var/log/pods/a_b_c/d/0.logx",
		"/var/log/pods/a_b_c/d/0",
		"/var/log/pods/a_b/d/0.log",
		"/var/log/pods/a_b_c_d/d/0.log",
		"/var/log/pods/_b_c/d/0.log",
		"/var/log/pods/a__c/d/0.log",
		"/var/log/pods/a_b_/d/0.log",
		"/a_b_c/0.log",
		"0.log",
		"/0.log",
		"",
		"/var/log/pods/a_b_c/d/9999999999.log",
		"/var/log/containers/web_shop_app-xyz.log",
		"/var/log/containers/web_shop-0123456789abcdef.log",
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct pod_path p;

		if (pod_path_parse(rows[i], &p))
			fail_msg("taken for a pod's: %s", rows[i]);
	}
}

static void compressed_and_unfinished_are_never_followed(void **state)
{
	assert_true(pod_path_ignored("0.log.20261121-101112.gz"));
	assert_true(pod_path_ignored("0.log.tmp"));
	assert_true(pod_path_ignored("0.log.20261121-101112.tmp"));
	assert_false(pod_path_ignored("0.log"));
	assert_false(pod_path_ignored("0.log.20261121-101112"));
	assert_false(pod_path_ignored("gz"));
}

#define ID "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void an_engines_own_files_are_told_from_its_logs(void **state)
{
	static const char *const own[] = {
		"/var/lib/docker/containers/" ID "/config.v2.json",
		ID "/hosts",
		ID "/" ID ".log",
		"/s/overlay-containers/" ID "/userdata/config.json",
		ID "/userdata/pidfile",
		"/s/overlay-containers/containers.json",
		"/s/vfs-containers/volatile-containers.json",
		"/s/overlay-containers/containers.lock",
		"/s/overlay-containers/.tmp-containers.json123",
	};
	static const char *const logs[] = {
		"/var/lib/docker/containers/" ID "/" ID "-json.log",
		ID "/" ID "-json.log.2",
		"/s/overlay-containers/" ID "/userdata/ctr.log",
		"/s/overlay-containers/" ID "/userdata/ctr.log.1",
		"/data/" ID "/userdata/deeper/config.json",
		"/data/0123/hosts",
		"/data/0123/userdata/pidfile",
		"userdata/pidfile",
		"/var/log/containers.log",
		"/var/log/app/containers.json",
		"containers.json",
		"",
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (!pod_path_engine_own(own[i]))
			fail_msg("taken for a log: %s", own[i]);
	for (size_t i = 0; i < sizeof(logs) / sizeof(logs[0]); i++)
		if (pod_path_engine_own(logs[i]))
			fail_msg("not taken for a log: %s", logs[i]);
}

static void rotated_names_lead_to_the_live_one(void **state)
{
	static const struct {
		const char *name, *live;
	} rows[] = {
		{"0.log", "0.log"},
		{"0.log.20261121-101112", "0.log"},
		{"12.log.1", "12.log"},
		{"app.log-20261121", "app.log"},
		{"app.log.INFO", "app.log.INFO"},
		{"app.log.old", "app.log"},
		{"app.log.2026-11-21T10:11:12Z", "app.log"},
		{"app.log.1.bak", "app.log.1.bak"},
		{"0123-json.log.2", "0123-json.log"},
		{"messages.1", "messages"},
		{"messages-20261121", "messages"},
		{"messages-20261121-1011", "messages"},
		{"messages", "messages"},
		{"web-1", "web-1"},
		{"v1.2", "v1"},
		{".log", ".log"},
		{"a.logger", "a.logger"},
		{"123", "123"},
		{"", ""},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (pod_path_live_len(rows[i].name) != strlen(rows[i].live))
			fail_msg("%s: %zu", rows[i].name, pod_path_live_len(rows[i].name));
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(paths_say_what_they_should),
	cmocka_unit_test(other_paths_are_of_no_pod),
	cmocka_unit_test(compressed_and_unfinished_are_never_followed),
	cmocka_unit_test(an_engines_own_files_are_told_from_its_logs),
	cmocka_unit_test(rotated_names_lead_to_the_live_one),
};
RUN_TESTS(tests)
