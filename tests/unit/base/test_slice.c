// SPDX-License-Identifier: Apache-2.0
#include "base/slice.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "test.h"

#define SLICE_NS 250000

struct attr { /* struct sched_attr, sched_getattr(2) */
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

static void *asked(void *attr)
{
	syscall(SYS_sched_getattr, 0, attr, sizeof(struct attr), 0);
	return NULL;
}

static bool slices_are_kept(void)
{
	struct utsname u;
	unsigned major, minor;

	return uname(&u) == 0 && sscanf(u.release, "%u.%u", &major, &minor) == 2 &&
	       (major > 6 || (major == 6 && minor >= 12));
}

static void keeps_nice_and_is_inherited(void **state)
{
	struct attr attr = {0};
	pthread_t thread;

	assert_int_equal(setpriority(PRIO_PROCESS, 0, 3), 0);
	assert_int_equal(slice_ask(SLICE_NS), 0);
	assert_int_equal(pthread_create(&thread, NULL, asked, &attr), 0);
	pthread_join(thread, NULL);
	assert_int_equal(attr.policy, SCHED_OTHER);
	assert_int_equal(attr.nice, 3);
	if (slices_are_kept())
		assert_int_equal(attr.runtime_ns, SLICE_NS);
}

static void another_policy_stays(void **state)
{
	const struct sched_param none = {0};

	assert_int_equal(sched_setscheduler(0, SCHED_BATCH, &none), 0);
	assert_int_equal(slice_ask(SLICE_NS), 0);
	assert_int_equal(sched_getscheduler(0), SCHED_BATCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keeps_nice_and_is_inherited),
		cmocka_unit_test(another_policy_stays),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
