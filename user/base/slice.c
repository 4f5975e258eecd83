/* SPDX-License-Identifier: Apache-2.0 */
#include "base/slice.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct sched_attr of linux/sched/types.h, which cannot be included with glibc's sched.h. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime_ns, deadline_ns, period_ns;
};

int slice_ask(int64_t ns)
{
	struct attr attr = {.size = sizeof(attr)};

	if (syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0) < 0)
		return -errno;
	if (attr.policy != SCHED_OTHER)
		return 0; /* somebody chose how it runs */
	attr.runtime_ns = (uint64_t)ns;
	return syscall(SYS_sched_setattr, 0, &attr, 0) < 0 ? -errno : 0;
}
