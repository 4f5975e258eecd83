/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that top counts by itself: per file, how much and how often it is written. No log is read
 * and nothing is saved. A frame's JSON members:
 *   "rung":S,"roots":[S,…],"total":{"files":N,"rate":N,"writes_per_s":N,"writes":N,"written":N,
 *    "active":N,"uncounted":N,"unseen_files":N,"unseen_bytes":N,"dirs":N,"dirs_unwatched":N,
 *    "overflows":N,"misses":N}
 * written and writes are since top began, of files that are gone too; unseen: of that, in files
 * that were gone before they were found; active: files written to in this interval.
 */
#ifndef CLI_TOP_OWN_H
#define CLI_TOP_OWN_H

#include <stddef.h>

#include "cli/top_source.h"
#include "heat/write_count.h"

/* 0, or -errno after one line in the log: none of the roots is there. The roots are borrowed. Call
 * it with those signals blocked that its thread must not take. */
int top_own_open(char *const *roots, size_t n_roots, enum rung bpf, struct top_source *ret_source);

#endif
