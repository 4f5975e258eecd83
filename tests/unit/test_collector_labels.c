/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include "collector_labels.h"
#include "event/labels.h"
#include "files/chain.h"

static void give(struct chain *chain, enum labels_part part, const char *json)
{
	collector_chain_labels(NULL, chain, part, json, strlen(json));
}

static void check_labels(const struct chain *chain, const char *expected)
{
	if (!*expected) {
		assert_null(chain->labels);
		return;
	}
	assert_non_null(chain->labels);
	assert_int_equal(chain->labels->len, strlen(expected));
	assert_memory_equal(chain->labels->json, expected, strlen(expected));
}

static void each_part_changes_by_itself(void **state)
{
	struct chain chain = {0};

	collector_chain_labels(NULL, &chain, LABELS_PODS, NULL, 0);
	check_labels(&chain, "");
	give(&chain, LABELS_PODS, ",\"p\":1");
	check_labels(&chain, ",\"p\":1");
	give(&chain, LABELS_DOCKER, ",\"d\":1");
	check_labels(&chain, ",\"d\":1,\"p\":1");
	give(&chain, LABELS_PODS, ",\"p\":22");
	check_labels(&chain, ",\"d\":1,\"p\":22");
	give(&chain, LABELS_DOCKER, ",\"d\":333");
	check_labels(&chain, ",\"d\":333,\"p\":22");
	collector_chain_labels(NULL, &chain, LABELS_PODS, NULL, 0);
	check_labels(&chain, ",\"d\":333");
	give(&chain, LABELS_PODS, ",\"p\":4");
	give(&chain, LABELS_DOCKER, "");
	check_labels(&chain, ",\"p\":4");
	give(&chain, LABELS_PODS, "");
	check_labels(&chain, "");
	assert_int_equal(chain.labels_split, 0);
}

/* Or each refresh would begin a new span. */
static void same_text_is_the_same_labels(void **state)
{
	struct chain chain = {0};
	struct labels *before;

	give(&chain, LABELS_DOCKER, ",\"d\":1");
	give(&chain, LABELS_PODS, ",\"p\":1");
	before = labels_ref(chain.labels);
	give(&chain, LABELS_PODS, ",\"p\":1");
	give(&chain, LABELS_DOCKER, ",\"d\":1");
	assert_ptr_equal(chain.labels, before);
	give(&chain, LABELS_DOCKER, ",\"d\":2");
	assert_ptr_not_equal(chain.labels, before);
	assert_memory_equal(before->json, ",\"d\":1,\"p\":1", before->len);
	assert_int_equal(atomic_load(&before->refs), 1);
	labels_unref(before);
	labels_unref(chain.labels);
}

/* container.id is known to both; names within values are not names. */
static void no_name_comes_twice(void **state)
{
	static const char docker[] = ",\"id\":\"a,\\\"n\\\":\",\"o\":{\"x\":[1,2],\"y\":3}";
	struct chain chain = {0};
	struct labels *before;

	give(&chain, LABELS_DOCKER, docker);
	give(&chain, LABELS_PODS, ",\"n\":1,\"id\":\"b\",\"x\":2,\"o\":{},\"i\":\"\"");
	check_labels(&chain, ",\"id\":\"a,\\\"n\\\":\",\"o\":{\"x\":[1,2],\"y\":3},\"n\":1,"
			     "\"x\":2,\"i\":\"\"");
	before = chain.labels;
	give(&chain, LABELS_PODS, ",\"n\":1,\"id\":\"b\",\"x\":2,\"o\":{},\"i\":\"\"");
	assert_ptr_equal(chain.labels, before);
	give(&chain, LABELS_PODS, ",\"id\":\"b\"");
	check_labels(&chain, docker);
	give(&chain, LABELS_DOCKER, "");
	check_labels(&chain, "");
	give(&chain, LABELS_PODS, ",\"id\":\"b\"");
	give(&chain, LABELS_DOCKER, ",\"id\":\"c\"");
	check_labels(&chain, ",\"id\":\"c\"");
	give(&chain, LABELS_DOCKER, "");
	give(&chain, LABELS_PODS, "");
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(each_part_changes_by_itself),
	cmocka_unit_test(same_text_is_the_same_labels),
	cmocka_unit_test(no_name_comes_twice),
};
RUN_TESTS(tests)
