/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that works for microseconds at a time asks the scheduler for a short slice: when it
 * wakes it need not wait until the slice of whoever runs there, some milliseconds, is over. Its
 * share of the processor is the same, and no privilege is needed (sched_setattr(2), Linux 6.12;
 * older kernels take it and do as before).
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdint.h>

/* For the calling thread and those it makes from now on. 0 or -errno. */
int slice_ask(int64_t ns);

#endif
