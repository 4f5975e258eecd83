/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input: what a server answers when it is asked for pods. It is read as it is; as the items of a
 * list; and as members of a pod. However it is cut into pieces, the result is the same; what is
 * taken is JSON as a whole, with as many pods; and the labels that come of it are members of an
 * object without a name that comes twice.
 */
#include "fuzz.h"

#include <errno.h>
#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "meta/podlist.h"

const char *const fuzz_words[] = {
	"{\"kind\":\"PodList\",\"items\":[",
	"]}",
	"},{",
	"{\"metadata\":{\"uid\":\"u\",\"name\":\"n\",\"namespace\":\"s\",",
	"\"uid\":\"",
	"\"name\":\"c\",",
	"\"namespace\":\"s\"",
	"\"items\":[",
	"\"items\" : ",
	"\"metadata\":{\"continue\":\"t\"},",
	"\"labels\":{\"a\":\"b\"},",
	"\"labels\":{\"pod-template-hash\":\"5f4d\"},",
	"\"annotations\":{\"kubernetes.io/config.hash\":\"u\"},",
	"\"annotations\":{\"kubernetes.io/config.mirror\":\"h\"},",
	"\"ownerReferences\":[{\"controller\":true,\"kind\":\"ReplicaSet\",\"name\":\"w-5f4d\"}]",
	"\"ownerReferences\":[{\"kind\":\"Node\",\"name\":\"n\"}],",
	"\"spec\":{\"nodeName\":\"n\",\"containers\":[{\"name\":\"c\",\"image\":\"r:5/"
	"i:t@sha256:0\"}]}",
	"\"image\":\"",
	"\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"restartCount\":1,",
	"\"containerID\":\"containerd://0123\"",
	"\"lastState\":{\"terminated\":{\"containerID\":\"cri-o://4567\"}}",
	"\"initContainers\":[",
	"\"ephemeralContainers\":[{\"name\":\"c\"}]",
	"\\u0000",
	"\\ud83d\\ude00",
	"\\u0069",
	"\\\"",
	"\\\\",
	"\"",
	"{",
	"}",
	"[",
	"]",
	",",
	":",
	"null",
	"true",
	"-1",
	"99999999999999999999",
	"\xc3\xa9",
	"\xff",
	" \t\r\n",
};
const size_t fuzz_n_words = ARRAY_SIZE(fuzz_words);

static const char *const all[] = {"*"};
static const char *const some[] = {"none", "a"};
static const struct pod_choice choice = {{all, 1}, {some, 2}};

struct result {
	struct podlist *list;
	const char *next, *why;
	struct podlist_stats stats;
	int r;
};

static void read_list(const char *text, size_t len, size_t piece, struct result *ret)
{
	struct result res = {0};

	CHECK(podlist_new(&choice, &res.list) == 0);
	for (size_t at = 0; at < len && res.r == 0; at += piece) {
		size_t n = MIN(piece, len - at);
		char *copy = malloc(n);

		CHECK(copy);
		memcpy(copy, text + at, n);
		res.r = podlist_read(res.list, copy, n, &res.why);
		free(copy);
	}
	if (res.r == 0)
		res.r = podlist_end(res.list, &res.next, &res.why);
	CHECK(res.r == 0 || res.r == -EBADMSG || res.r == -EFBIG);
	CHECK((res.r == 0) == !res.why);
	podlist_stats(res.list, &res.stats);
	*ret = res;
}

/* Of the pod that the words make. */
static void check_labels(const struct result *res)
{
	struct pod *p = podlist_find(res->list, "u", 1);

	if (!p)
		return;
	CHECK(strcmp(p->uid, "u") == 0 || strcmp(p->hash, "u") == 0);
	for (int restart = -1; restart < 2; restart++) {
		struct buf out = {0};
		json_t *object;

		CHECK(buf_add(&out, "{\"\":0", 5) == 0);
		CHECK(pod_labels(p, "c", 1, restart, &out) >= 0);
		CHECK(buf_add(&out, "}", 1) == 0);
		object = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL,
				    NULL);
		CHECK(json_is_object(object));
		json_decref(object);
		buf_done(&out);
	}
}

static void check_whole(const char *text, size_t len, const struct result *res)
{
	json_t *whole = json_loadb(text, len, JSON_ALLOW_NUL, NULL);

	CHECK(whole);
	json_decref(whole);
	whole = json_loadb(text, len, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, NULL);
	if (whole)
		CHECK(json_array_size(json_object_get(whole, "items")) ==
		      res->stats.pods + res->stats.skipped);
	json_decref(whole);
}

static void check(const char *text, size_t len)
{
	static const size_t pieces[] = {1, 3, 50};
	struct result whole, cut;

	read_list(text, len, len + 1, &whole);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		read_list(text, len, pieces[i], &cut);
		CHECK(cut.r == whole.r);
		CHECK(whole.r < 0 || (memcmp(&cut.stats, &whole.stats, sizeof(cut.stats)) == 0 &&
				      !cut.next == !whole.next));
		podlist_free(cut.list);
	}
	if (whole.r == 0) {
		check_whole(text, len, &whole);
		check_labels(&whole);
	}
	podlist_free(whole.list);
}

static void check_within(const char *before, const uint8_t *data, size_t len, const char *behind)
{
	struct buf b = {0};

	CHECK(buf_add(&b, before, strlen(before)) == 0);
	CHECK(!len || buf_add(&b, data, len) == 0);
	CHECK(buf_add(&b, behind, strlen(behind)) == 0);
	check(b.data, b.len);
	buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	check((const char *)data, len);
	check_within("{\"kind\":\"PodList\",\"items\":[", data, len, "]}");
	check_within("{\"kind\":\"PodList\",\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":\"n\","
		     "\"namespace\":\"s\",",
		     data, len, "}}]}");
	check_within("{\"items\":[{\"metadata\":{\"uid\":\"u\",\"name\":\"n\",\"namespace\":\"s\","
		     "\"labels\":{\"a\":\"",
		     data, len, "\"}}}],\"kind\":\"PodList\"}");
	return 0;
}
