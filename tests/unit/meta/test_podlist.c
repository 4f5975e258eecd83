/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <errno.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/sys.h"
#include "meta/podlist.h"

#define RECORDED "tests/unit/meta/data/podlist.json"
#define UID(n)   "6b1f3c1e-0000-4000-8000-00000000000" #n
#define NODE     ",\"k8s.node.name\":\"node-1.example.org\""

static const char *const all[] = {"*"};
static const char *const none[] = {"none"};
static const char *const some[] = {"none", "tier", "app", "prometheus.io/port"};
static const struct pod_choice everything = {{all, 1}, {all, 1}};
static const struct pod_choice nothing = {{none, 1}, {none, 1}};
static const struct pod_choice labels_only = {{all, 1}, {none, 1}};
static const struct pod_choice by_name = {{some, 4}, {some, 4}};

static char *recorded(size_t *ret_len)
{
	FILE *f = fopen(RECORDED, "rb");
	char *text = malloc(1 << 20);

	assert_non_null(f);
	assert_non_null(text);
	*ret_len = fread(text, 1, 1 << 20, f);
	assert_int_equal(fclose(f), 0);
	text[*ret_len] = '\0';
	return text;
}

/* In pieces of so many bytes, each in memory of exactly its size. */
static int read_in_pieces(struct podlist *l, const char *text, size_t len, size_t piece,
			  const char **ret_next, const char **ret_why)
{
	for (size_t at = 0; at < len; at += piece) {
		size_t n = MIN(piece, len - at);
		char *copy = malloc(n);
		int r;

		assert_non_null(copy);
		memcpy(copy, text + at, n);
		r = podlist_read(l, copy, n, ret_why);
		free(copy);
		if (r < 0)
			return r;
	}
	return podlist_end(l, ret_next, ret_why);
}

static struct podlist *read_list(const char *text, size_t len, const struct pod_choice *choice)
{
	const char *next = "", *why = NULL;
	struct podlist *l;

	assert_int_equal(podlist_new(choice, &l), 0);
	assert_int_equal(read_in_pieces(l, text, len, len, &next, &why), 0);
	assert_null(next);
	assert_null(why);
	return l;
}

static struct podlist *read_recorded(const struct pod_choice *choice)
{
	size_t len;
	_cleanup_free_ char *text = recorded(&len);

	return read_list(text, len, choice);
}

/* 1 or 0 as pod_labels says. */
static void check_labels(const struct podlist *l, const char *uid, const char *container,
			 int restart, int wanted, const char *expected)
{
	const struct pod *p = podlist_find(l, uid, strlen(uid));
	_cleanup_(buf_done) struct buf out = {0};

	assert_non_null(p);
	assert_int_equal(buf_add(&out, "+", 1), 0);
	assert_int_equal(pod_labels(p, container, strlen(container), restart, &out), wanted);
	assert_int_equal(buf_add(&out, "", 1), 0);
	assert_string_equal(out.data + 1, expected);
}

static void a_deployment_is_named_with_its_labels(void **state)
{
	struct podlist *l = read_recorded(&labels_only);
	struct podlist_stats s;

	check_labels(l, UID(1), "app", 2, 1,
		     ",\"container.id\":"
		     "\"76f41f516a1b166a0449c1b9e50fcbb8a3642b81010a629d60c44a970c3df1c3\""
		     ",\"container.image.name\":\"registry.example.org:5000/shop/cart\""
		     ",\"container.image.tag\":\"1.4.2\"" NODE ",\"k8s.deployment.name\":\"cart\""
		     ",\"k8s.replicaset.name\":\"cart-5f4d8c7b9\""
		     ",\"k8s.pod.label.app.kubernetes.io/name\":\"cart\""
		     ",\"k8s.pod.label.pod-template-hash\":\"5f4d8c7b9\""
		     ",\"k8s.pod.label.tier\":\"\""
		     ",\"k8s.pod.label.release\":\"2026.11-rc.1_b\"");
	podlist_stats(l, &s);
	assert_int_equal(s.pods, 7);
	assert_int_equal(s.skipped, 0);
	assert_int_equal(s.left_out, 0);
	podlist_free(l);
}

#define CART                                                                          \
	",\"container.image.name\":\"registry.example.org:5000/shop/cart\""           \
	",\"container.image.tag\":\"1.4.2\"" NODE ",\"k8s.deployment.name\":\"cart\"" \
	",\"k8s.replicaset.name\":\"cart-5f4d8c7b9\""

/* 2.log is the container that runs, 1.log the one before; of 0.log nobody knows any more, and 3.log
 * is so new that the status does not have it. */
static void the_id_is_of_the_restart(void **state)
{
	struct podlist *l = read_recorded(&nothing);

	check_labels(l, UID(1), "app", 1, 1,
		     ",\"container.id\":"
		     "\"e66763d46117adb4233b8deb6a98eb168e6552e1a6afbe342cec1232a834d664\"" CART);
	check_labels(l, UID(1), "app", 0, 0, CART);
	check_labels(l, UID(1), "app", 3, 0, CART);
	check_labels(l, UID(1), "app", -1, 0, CART);
	check_labels(l, UID(1), "ap", 2, 0,
		     NODE ",\"k8s.deployment.name\":\"cart\""
			  ",\"k8s.replicaset.name\":\"cart-5f4d8c7b9\"");
	podlist_free(l);
}

static void every_kind_of_container_and_owner(void **state)
{
	struct podlist *l = read_recorded(&nothing);

	check_labels(l, UID(1), "migrate", 0, 1,
		     ",\"container.id\":"
		     "\"9bb599102b6d817bf83aad9b9427a2b1e488bafe014800c2ffaee82c5314c2ab\""
		     ",\"container.image.name\":\"registry.example.org:5000/shop/migrate\"" NODE
		     ",\"k8s.deployment.name\":\"cart\""
		     ",\"k8s.replicaset.name\":\"cart-5f4d8c7b9\"");
	check_labels(l, UID(3), "backup", 7, 0,
		     ",\"container.image.name\":\"registry.example.org/ops/backup\"" NODE
		     ",\"k8s.job.name\":\"backup-29389990\"");
	check_labels(l, UID(4), "node-exporter", 0, 1,
		     ",\"container.id\":"
		     "\"ce17a932255838ec6f4c4ecd85ca72c4ab2ae28045a33c6f92b628f1823d3e44\""
		     ",\"container.image.name\":\"quay.io/prometheus/node-exporter\""
		     ",\"container.image.tag\":\"v1.8.2\"" NODE
		     ",\"k8s.daemonset.name\":\"node-exporter\"");
	check_labels(l, UID(5), "postgres", 9, 0,
		     ",\"container.image.name\":\"localhost:5000/postgres\""
		     ",\"container.image.tag\":\"16.4\"" NODE ",\"k8s.statefulset.name\":\"db\"");
	check_labels(l, UID(6), "shell", 0, 0, ",\"container.image.name\":\"busybox\"" NODE);
	/* The owner that controls it, not the first. */
	check_labels(l, UID(7), "debugger-x9", 9, 0,
		     ",\"container.image.name\":\"busybox\",\"container.image.tag\":\"1.36\"" NODE
		     ",\"k8s.owner.kind\":\"Workflow\",\"k8s.owner.name\":\"render-wf\"");
	podlist_free(l);
}

/* Its directory is called after the hash of its file, not after the UID the API server gave. */
static void a_static_pod_is_found_by_its_hash(void **state)
{
	static const char hash[] = "8f2b1c6f0e0c4d2fa4f61cb1d5a7f9f3";
	struct podlist *l = read_recorded(&nothing);
	const struct pod *p = podlist_find(l, hash, strlen(hash));

	assert_non_null(p);
	assert_ptr_equal(p, podlist_find(l, UID(2), strlen(UID(2))));
	assert_string_equal(p->name, "kube-system/kube-apiserver-node-1.example.org");
	check_labels(l, hash, "kube-apiserver", 5, 0,
		     ",\"container.image.name\":\"registry.k8s.io/kube-apiserver\""
		     ",\"container.image.tag\":\"v1.31.3\"" NODE);
	assert_ptr_equal(podlist_find_name(l, "shop", 4, "db-0", 4),
			 podlist_find(l, UID(5), strlen(UID(5))));
	assert_null(podlist_find_name(l, "shop", 4, "db-", 3));
	assert_null(podlist_find(l, UID(5), strlen(UID(5)) - 1));
	assert_null(podlist_find(l, "", 0));
	podlist_free(l);
}

static void labels_and_annotations_are_chosen_by_name(void **state)
{
	struct podlist *l = read_recorded(&by_name);

	check_labels(l, UID(1), "none", 0, 0,
		     NODE ",\"k8s.deployment.name\":\"cart\""
			  ",\"k8s.replicaset.name\":\"cart-5f4d8c7b9\",\"k8s.pod.label.tier\":\"\""
			  ",\"k8s.pod.annotation.prometheus.io/port\":\"9100\"");
	podlist_free(l);
	l = read_recorded(&everything);
	check_labels(l, UID(5), "none", 0, 0,
		     NODE ",\"k8s.statefulset.name\":\"db\",\"k8s.pod.label.app\":\"db\""
			  ",\"k8s.pod.label.apps.kubernetes.io/pod-index\":\"0\""
			  ",\"k8s.pod.label.statefulset.kubernetes.io/pod-name\":\"db-0\""
			  ",\"k8s.pod.annotation.example.org/owner\":\"Zoë Müller 😀\""
			  ",\"k8s.pod.annotation.example.org/ü\":\"key beyond ASCII\""
			  ",\"k8s.pod.annotation.example.org/nul\":\"a\\u0000b\"");
	check_labels(l, UID(3), "none", 0, 0,
		     NODE ",\"k8s.job.name\":\"backup-29389990\""
			  ",\"k8s.pod.label.batch.kubernetes.io/controller-uid\":"
			  "\"0aa1c0de-0000-4000-8000-000000000003\""
			  ",\"k8s.pod.label.batch.kubernetes.io/job-name\":\"backup-29389990\""
			  ",\"k8s.pod.label.job-name\":\"backup-29389990\"");
	podlist_free(l);
}

/* The annotation of 5,000 bytes; what stays is escaped. */
static void a_large_annotation_is_left_out_and_counted(void **state)
{
	struct podlist *l = read_recorded(&everything);
	const struct pod *p = podlist_find(l, UID(1), strlen(UID(1)));
	static const char config[] =
		",\"k8s.pod.annotation.example.org/config\":"
		"\"{\\\"a\\\": [1, 2],\\n\\t\\\"path\\\": \\\"C:\\\\\\\\x\\\"}\"";
	struct podlist_stats s;

	assert_non_null(p);
	assert_non_null(memmem(p->json, p->json_len, config, strlen(config)));
	assert_null(memmem(p->json, p->json_len, "xxxx", 4));
	podlist_stats(l, &s);
	assert_int_equal(s.left_out, 1);
	podlist_free(l);
}

static void pieces_make_the_same_list(void **state)
{
	static const size_t pieces[] = {1, 2, 3, 7, 64, 1000, 16384};
	struct podlist *whole = read_recorded(&everything);
	const struct pod *p = podlist_find(whole, UID(1), strlen(UID(1)));
	size_t len;
	_cleanup_free_ char *text = recorded(&len);

	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		const char *next, *why;
		struct podlist *l;
		const struct pod *q;

		assert_int_equal(podlist_new(&everything, &l), 0);
		assert_int_equal(read_in_pieces(l, text, len, pieces[i], &next, &why), 0);
		q = podlist_find(l, UID(1), strlen(UID(1)));
		assert_non_null(q);
		assert_int_equal(p->size, q->size);
		assert_memory_equal(p->text, q->text, p->size - offsetof(struct pod, text));
		podlist_free(l);
	}
	podlist_free(whole);
}

/* Wherever the connection ends. */
static void half_a_list_is_none(void **state)
{
	size_t len;
	_cleanup_free_ char *text = recorded(&len);

	while (text[len - 1] != '}')
		len--;
	for (size_t n = 0; n < len; n += n < 4000 ? 1 : 97) {
		const char *next = NULL, *why = NULL;
		struct podlist *l;

		assert_int_equal(podlist_new(&labels_only, &l), 0);
		assert_int_equal(read_in_pieces(l, text, n, 1000, &next, &why), -EBADMSG);
		assert_string_equal(why, "it is cut short");
		podlist_free(l);
	}
}

static int read_text(const char *text, struct podlist_stats *ret_stats, const char **ret_why)
{
	const char *next;
	struct podlist *l;
	int r;

	*ret_why = NULL;
	assert_int_equal(podlist_new(&everything, &l), 0);
	r = read_in_pieces(l, text, strlen(text), strlen(text) + 1, &next, ret_why);
	podlist_stats(l, ret_stats);
	podlist_free(l);
	return r;
}

static void what_is_no_podlist_is_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{"", "it is cut short"},
		{" \n", "it is cut short"},
		{"<html><body>Sign in</body></html>", "it is no JSON"},
		{"Unauthorized\n", "it is no JSON"},
		{"{}", "it is no PodList"},
		{"[]", "it is no PodList"},
		{"[{\"kind\":\"PodList\",\"items\":[]}]", "it is no PodList"},
		{"{\"kind\":\"Status\",\"code\":401}", "it is no PodList"},
		{"{\"kind\":\"NodeList\",\"items\":[]}", "it is no PodList"},
		{"{\"kind\":[\"PodList\"],\"items\":[]}", "it is no PodList"},
		{"{\"kind\":\"PodList\"}", "it is no PodList"},
		{"{\"kind\":\"PodList\",\"items\":{}}", "it is no PodList"},
		{"{\"kind\":\"PodList\",\"\\u0069tems\":[{}]}", "it is no PodList"},
		{"{\"kind\":\"PodList\",\"items\":[]}}", "it goes on behind its end"},
		{"{\"kind\":\"PodList\",\"items\":[]}{}", "it is no JSON"},
		{"{\"kind\":\"PodList\",\"items\":[,]}", "one of its items is no JSON object"},
		{"{\"kind\":\"PodList\",\"items\":[{},]}", "one of its items is no JSON object"},
		{"{\"kind\":\"PodList\",\"items\":[{}{}]}", "one of its items is no JSON object"},
		{"{\"kind\":\"PodList\",\"items\":[1]}", "one of its items is no JSON object"},
		{"{\"kind\":\"PodList\",\"items\":[[]]}", "one of its items is no JSON object"},
		{"{\"kind\":\"PodList\",\"items\":[{\"a\":]}",
		 "one of its items is no JSON object"},
		{"{\"kind\":\"PodList\",\"items\":[{\"a\":\"\xff\"}]}",
		 "one of its items is no JSON object"},
		{"{\"kind\":\"PodList\",\"items\":[}", "it is cut short"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct podlist_stats s;
		const char *why;

		if (read_text(cases[i].text, &s, &why) != -EBADMSG)
			fail_msg("taken: %s", cases[i].text);
		assert_string_equal(why, cases[i].why);
	}
}

static void odd_lists_are_read(void **state)
{
	static const struct {
		const char *text;
		unsigned pods;
		uint64_t skipped;
	} cases[] = {
		{"{\"kind\":\"PodList\",\"items\":null}", 0, 0},
		{"{\"items\" : [ \n ],\"kind\":\"PodList\"}\n\n", 0, 0},
		{"{\"x\":{\"items\":[1,2]},\"a\":[[\"items\"],[{}]],\"kind\":\"PodList\",\"items\":"
		 "[]}",
		 0, 0},
		{"{\"\\\"items\":[1,2],\"kind\":\"PodList\",\"items\":[{}]}", 0, 1},
		{"{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":\"n\"}}]}",
		 0, 1},
		{"{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":7,\"name\":\"n\","
		 "\"namespace\":\"s\"}}]}",
		 0, 1},
		{"{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":\"n\","
		 "\"namespace\":\"s\",\"labels\":[1],\"annotations\":\"x\",\"ownerReferences\":{}},"
		 "\"spec\":{\"containers\":[1,{\"name\":\"c\"},{\"name\":[]}]},"
		 "\"status\":{\"containerStatuses\":{}}}]}",
		 1, 0},
		/* twice the same UID: the first counts */
		{"{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":\"n\","
		 "\"namespace\":\"s\"}},{\"metadata\":{\"uid\":\"u\",\"name\":\"m\",\"namespace\":"
		 "\"s\"}}]}",
		 1, 1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct podlist_stats s;
		const char *why;
		int r = read_text(cases[i].text, &s, &why);

		if (r < 0)
			fail_msg("%s: %s", cases[i].text, why ? why : strerror(-r));
		assert_int_equal(s.pods, cases[i].pods);
		assert_int_equal(s.skipped, cases[i].skipped);
	}
}

static void pages_make_one_list(void **state)
{
	static const char *const pages[] = {
		"{\"kind\":\"PodList\",\"metadata\":{\"continue\":\"eyJ2/+=\"},\"items\":["
		"{\"metadata\":{\"uid\":\"u1\",\"name\":\"n1\",\"namespace\":\"s\"}}]}",
		"{\"kind\":\"PodList\",\"items\":["
		"{\"metadata\":{\"uid\":\"u2\",\"name\":\"n2\",\"namespace\":\"s\"}}],"
		"\"metadata\":{\"continue\":\"\"}}",
	};
	const char *next, *why = NULL;
	struct podlist *l;

	assert_int_equal(podlist_new(&everything, &l), 0);
	assert_int_equal(read_in_pieces(l, pages[0], strlen(pages[0]), 5, &next, &why), 0);
	assert_string_equal(next, "eyJ2/+=");
	assert_int_equal(read_in_pieces(l, pages[1], strlen(pages[1]), 5, &next, &why), 0);
	assert_null(next);
	assert_non_null(podlist_find(l, "u1", 2));
	assert_non_null(podlist_find(l, "u2", 2));
	podlist_free(l);
}

/* A gone pod goes on to the next list: found there in every way, and only there. */
static void a_pod_moves_to_the_next_list(void **state)
{
	static const char text[] = "{\"kind\":\"PodList\",\"items\":[]}";
	struct podlist *from = read_recorded(&nothing);
	struct podlist *to = read_list(text, strlen(text), &nothing);
	static const char hash[] = "8f2b1c6f0e0c4d2fa4f61cb1d5a7f9f3";
	struct pod *p = podlist_find(from, hash, strlen(hash));

	podlist_move(from, to, p);
	assert_null(podlist_find(from, hash, strlen(hash)));
	assert_null(podlist_find(from, UID(2), strlen(UID(2))));
	podlist_free(from);
	assert_ptr_equal(podlist_find(to, hash, strlen(hash)), p);
	assert_ptr_equal(podlist_find(to, UID(2), strlen(UID(2))), p);
	assert_string_equal(
		podlist_find_name(to, "kube-system", 11, "kube-apiserver-node-1.example.org", 33)
			->uid,
		UID(2));
	podlist_free(to);
}

/* Whatever a server sends, no more than the limits is held of it. */
static void limits_hold(void **state)
{
	static const char head[] = "{\"kind\":\"PodList\",\"items\":[";
	_cleanup_free_ char *filler = malloc(1 << 20);
	const char *next, *why = NULL;
	struct podlist_stats s;
	struct podlist *l;
	int r = 0;

	assert_non_null(filler);
	memset(filler, 'x', 1 << 20);
	assert_int_equal(podlist_new(&everything, &l), 0);
	assert_int_equal(podlist_read(l, head, strlen(head), &why), 0);
	assert_int_equal(podlist_read(l, "{\"x\":\"", 6, &why), 0);
	for (int i = 0; i < 6; i++)
		assert_int_equal(podlist_read(l, filler, 1 << 20, &why), 0);
	assert_int_equal(podlist_read(l, "\"}]}", 4, &why), 0);
	assert_int_equal(podlist_end(l, &next, &why), 0);
	podlist_stats(l, &s);
	assert_int_equal(s.skipped, 1);
	podlist_free(l);
	assert_int_equal(podlist_new(&everything, &l), 0);
	for (int i = 0; i < 100 && r == 0; i++)
		r = podlist_read(l, "          ", 10, &why);
	assert_int_equal(r, 0);
	r = podlist_read(l, filler, 1 << 20, &why);
	assert_int_equal(r, -EFBIG);
	assert_string_equal(why, "it has too much that is no pod");
	podlist_free(l);
}

static void pods_are_counted(void **state)
{
	static const char head[] = "{\"kind\":\"PodList\",\"items\":[";
	const char *why = NULL;
	struct podlist *l;
	int r, n = 0;

	assert_int_equal(podlist_new(&everything, &l), 0);
	r = podlist_read(l, head, strlen(head), &why);
	for (; r == 0; n++)
		r = podlist_read(l, "{},", 3, &why);
	assert_int_equal(r, -EFBIG);
	assert_int_equal(n, PODLIST_PODS_MAX + 1);
	assert_string_equal(why, "it has too many pods");
	podlist_free(l);
}

/* Many labels that are each small enough: those that fit, and a count of the others. */
static void one_pod_has_a_limit(void **state)
{
	_cleanup_(buf_done) struct buf text = {0};
	struct podlist_stats s;
	struct podlist *l;
	struct pod *p;

	buf_printf(&text, "{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":"
			  "\"n\",\"namespace\":\"s\",\"annotations\":{");
	for (int i = 0; i < 20; i++)
		buf_printf(&text, "%s\"k%d\":\"%01000d\"", i ? "," : "", i, i);
	buf_printf(&text, "}}}]}");
	l = read_list(text.data, text.len, &everything);
	p = podlist_find(l, "u", 1);
	assert_non_null(p);
	assert_in_range(p->json_len, POD_JSON_MAX - 1100, POD_JSON_MAX);
	podlist_stats(l, &s);
	assert_in_range(s.left_out, 3, 5);
	podlist_free(l);
}

/* A text of 180 KB that would be 14 MB when it is parsed. The pod behind it is taken. */
static void a_pod_of_many_values_is_skipped(void **state)
{
	_cleanup_(buf_done) struct buf text = {0};
	struct podlist_stats s;
	struct podlist *l;

	buf_printf(&text, "{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":"
			  "\"n\",\"namespace\":\"s\"},\"spec\":{\"imagePullSecrets\":[{}");
	for (int i = 0; i < 60000; i++)
		buf_add(&text, ",{}", 3);
	buf_printf(&text,
		   "]}},{\"metadata\":{\"uid\":\"v\",\"name\":\"m\",\"namespace\":\"s\"}}]}");
	l = read_list(text.data, text.len, &everything);
	assert_null(podlist_find(l, "u", 1));
	assert_non_null(podlist_find(l, "v", 1));
	podlist_stats(l, &s);
	assert_int_equal(s.skipped, 1);
	podlist_free(l);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(a_deployment_is_named_with_its_labels),
	cmocka_unit_test(the_id_is_of_the_restart),
	cmocka_unit_test(every_kind_of_container_and_owner),
	cmocka_unit_test(a_static_pod_is_found_by_its_hash),
	cmocka_unit_test(labels_and_annotations_are_chosen_by_name),
	cmocka_unit_test(a_large_annotation_is_left_out_and_counted),
	cmocka_unit_test(pieces_make_the_same_list),
	cmocka_unit_test(half_a_list_is_none),
	cmocka_unit_test(what_is_no_podlist_is_refused),
	cmocka_unit_test(odd_lists_are_read),
	cmocka_unit_test(pages_make_one_list),
	cmocka_unit_test(a_pod_moves_to_the_next_list),
	cmocka_unit_test(limits_hold),
	cmocka_unit_test(pods_are_counted),
	cmocka_unit_test(one_pod_has_a_limit),
	cmocka_unit_test(a_pod_of_many_values_is_skipped),
};
RUN_TESTS(tests)
