/* SPDX-License-Identifier: Apache-2.0 */
/* How hot a file is: brings its heat members up to date from the kernel's counters or its size. */
#ifndef HEAT_HEAT_H
#define HEAT_HEAT_H

#include <stdbool.h>
#include <stdint.h>

#include "heat/priority.h"

struct file;
struct write_count;

/* What is assumed of the rotation until it has been seen: the kubelet's containerLogMaxSize and
 * containerLogMaxFiles. */
struct heat_limits {
	uint64_t rotate_bytes;
	unsigned rotate_files;
};

/* Looks at the counter (a load), or at the size where there is none (fstat). */
void heat_look(const struct write_count *wc, struct file *f, int64_t now_ns);
/* Looks at the size whatever the counter says: after arming a watch, and in the slow sweep. True
 * when there is something to read that was not known. */
bool heat_look_size(struct file *f, int64_t now_ns);
/* f has backlog and is eligible: what it claims. */
void heat_claim(const struct file *f, const struct heat_limits *limits, struct claim *ret_claim);

#endif
