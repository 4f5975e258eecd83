/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings what the kernel needs for reads of many files into the processor's cache, for all of them
 * at once: bpf/warm_reads.bpf.c. The reads are the same without it, only slower.
 */
#ifndef HEAT_WARM_READS_H
#define HEAT_WARM_READS_H

#include <stdint.h>

struct warm_reads;

/* 0, or why it cannot be had as -errno: kernels before 6.2, no CAP_BPF and CAP_PERFMON. Takes some
 * 20 ms, and 10 MiB meanwhile. */
int warm_reads_new(struct warm_reads **ret_warm);
struct warm_reads *warm_reads_free(struct warm_reads *w); /* NULL is fine, here and below */
/* The file behind fd will be read at offset. */
void warm_reads_add(struct warm_reads *w, int fd, uint64_t offset);
/* Those that were added, if they are enough for it to pay. Gives how many of the pages were in the
 * page cache, of all runs so far. */
unsigned int warm_reads_run(struct warm_reads *w);

#endif
