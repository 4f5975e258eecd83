/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What user space asks of warm_reads.bpf.c. */
#ifndef BPF_WARM_READS_H
#define BPF_WARM_READS_H

#define WARM_READS_MAX 128

struct warm_read {
	__u32 fd;   /* of the caller */
	__u32 page; /* of the file that will be read, from 0 */
};

#endif
