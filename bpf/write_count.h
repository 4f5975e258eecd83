/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the BPF programs and user space share: two maps.
 *
 *   watch   HASH   struct write_key -> __u32 slot    filled and emptied by user space only
 *   slots   ARRAY  __u32 slot -> struct write_slot   BPF_F_MMAPABLE: read without a system call
 *
 * Counters only grow, over every file a slot ever served; user space subtracts what it found when
 * it gave the slot out. dev, ino and rung say whom the slot serves now and which rung counts it: a
 * program that finds another value leaves the slot alone. So a watch entry that changes hands under
 * a running program, and two rungs attached at once, cannot make a count go to the wrong place.
 */
#ifndef BPF_WRITE_COUNT_H
#define BPF_WRITE_COUNT_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define WRITE_COUNT_SLOTS_MAX 65536 /* 4 MiB of slots */

enum write_rung {
	WRITE_RUNG_NONE, /* nobody counts: a resting slot */
	WRITE_RUNG_VFS,
	WRITE_RUNG_KPROBE,
	WRITE_RUNG_SYSCALL,
};

struct write_key {
	__u32 dev; /* the kernel's s_dev: major << 20 | minor, not stat's st_dev */
	__u32 zero;
	__u64 ino; /* i_ino */
};

/* One cache line, so that two busy files never share one. */
struct write_slot {
	/* Written by the programs, atomically. calls is last: who sees a call sees its size. */
	__u64 calls; /* that moved at least one byte (kprobe: that asked for one) */
	__u64 bytes;
	__u64 size;    /* i_size, sampled in order: a later sample never gives way to an earlier */
	__u64 last_ns; /* bpf_ktime_get_ns, that is CLOCK_MONOTONIC */
	__u64 shrinks; /* how often a write found the file smaller than the one before left it */
	/* Written by user space while no key leads here. */
	__u64 ino;
	__u32 dev;
	__u32 rung;  /* enum write_rung */
	__u32 epoch; /* files this slot has served */
	__u32 zero;
} __attribute__((aligned(64)));

_Static_assert(sizeof(struct write_key) == 16, "a key has no padding");
_Static_assert(sizeof(struct write_slot) == 64, "a slot is one cache line");

#endif
