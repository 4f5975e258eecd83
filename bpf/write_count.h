/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the BPF programs and user space share: seven maps.
 *
 *   watch    HASH     struct write_key -> __u32 slot    which slot counts a file
 *   slots    ARRAY    __u32 slot -> struct write_slot   BPF_F_MMAPABLE: read without a system call
 *   dirs     HASH     struct write_key -> __u32 run     directories whose files enrol themselves
 *   filter   ARRAY    struct write_filter             which keys may be in watch or dirs
 *   unused   QUEUE    __u32 slot                      zeroed slots that were used before
 *   meta     ARRAY    one struct write_meta           BPF_F_MMAPABLE
 *   records  RINGBUF  struct write_record             what user space is told
 *
 * Most writes of a node are to files that nobody watches. They are sorted out by the filter: a key
 * whose counter is 0 is in neither map. It is raised before the insertion, lowered after the
 * deletion.
 *
 * A slot is taken by user space for an open file, or by a program at the first write to a regular
 * file in a watched directory, or its truncation; only user space gives it back. It starts at zero
 * and its counters only grow. dev, ino, gen and rung say whom it serves and which rung counts it: a
 * program that finds another value leaves the slot alone, so that no count goes to the wrong place.
 */
#ifndef BPF_WRITE_COUNT_H
#define BPF_WRITE_COUNT_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define WRITE_COUNT_LAYOUT    4     /* of all in this file; others that are pinned are replaced */
#define WRITE_COUNT_SLOTS_MAX 65536 /* 12 MiB of slots */
#define WRITE_NAME_MAX        56
#define WRITE_RECORDS_BYTES   65536

enum write_rung {
	WRITE_RUNG_NONE, /* nobody counts: a resting slot */
	WRITE_RUNG_FS,
	WRITE_RUNG_VFS,
	WRITE_RUNG_KPROBE,
	WRITE_RUNG_SYSCALL,
	WRITE_RUNG_FIRST, /* the first that counts a write: a truncation took the slot */
};

struct write_key {
	__u32 dev; /* s_dev: major << 20 | minor, not stat's st_dev; btrfs: the subvolume's own */
	__u32 zero;
	__u64 ino; /* i_ino */
};

#define WRITE_FILTER_BITS 17
#define WRITE_FILTER_N    (1U << (WRITE_FILTER_BITS - 1))

/* Values are multiples of eight bytes. The counter of hash h is filter[h / 2].n[h % 2]. */
struct write_filter {
	__u32 n[2];
};

static inline __attribute__((always_inline)) __u32 write_key_hash(const struct write_key *key)
{
	__u64 h = (key->ino ^ (__u64)key->dev << 40) * 0x9e3779b97f4a7c15ULL;

	return (__u32)(h >> (64 - WRITE_FILTER_BITS));
}

enum write_slot_flags {
	WRITE_SLOT_GEN = 1,      /* gen is known */
	WRITE_SLOT_ENROLLED = 2, /* taken by a program; user space takes the flag away */
	WRITE_SLOT_RESTING = 4,  /* given back, but not to be taken again yet */
};

/* Three cache lines: what changes with every write and every visit (a line that both sides write to
 * costs each a miss), what a write is compared with, and what user space keeps here. */
struct write_slot {
	/* Written by the programs, atomically. calls is last: who sees a call sees its size. */
	__u64 calls; /* that moved at least one byte (kprobe: that asked for one) */
	__u64 bytes;
	__u64 size;    /* i_size, sampled in order: a later sample never gives way to an earlier */
	__u64 last_ns; /* bpf_ktime_get_ns, that is CLOCK_MONOTONIC */
	/* Under the inode's lock: cuts + i_size is what was ever written at the file's end. */
	__u64 cuts; /* sum of (size before - size after) over all truncations; wraps */
	/* Wake-up: one record when cuts + size - collected >= threshold. By user space, but woken.
	 */
	__u64 collected;
	__u64 threshold; /* 0: never */
	__u32 woken;
	__u32 dir_dev; /* of dir_ino */
	__u64 shrinks; /* writes that found the file smaller than the one before left it */
	__u64 truncs;  /* truncations that made it smaller */
	__u64 parked;  /* a truncation is under way: the size before it, plus 1 */
	__u64 low; /* the smallest size that truncations left, plus 1, since it was last set to 0 */
	/* Written by whoever takes the slot, while no key leads here. */
	__u64 ino;
	__u32 dev;
	__u32 rung;
	__u32 gen; /* i_generation, from the first write on */
	__u32 flags;
	__u64 dir_ino; /* enrolled: the directory it was in then */
	__u64 acked;   /* delivered so far, for the next process that adopts pinned maps */
	char name[WRITE_NAME_MAX]; /* enrolled: the name it had then; cut, or empty if not known */
} __attribute__((aligned(64)));

struct write_meta {
	__u32 layout;
	__u32 rung; /* of the process that pinned it: enum rung of user space */
	__u32 slots_n;
	__u32 run;   /* processes so far; the value of a directory is when it was last watched */
	__u32 fresh; /* slots from here on were never used */
	__u32 no_records; /* records that found no room: latency, nothing else */
	__u64 refused;    /* writes to files that should have got a slot and did not */
};

enum write_record_type { WRITE_RECORD_WAKE = 1, WRITE_RECORD_ENROLLED };
struct write_record {
	__u32 type; /* enum write_record_type */
	__u32 slot;
};

_Static_assert(sizeof(struct write_key) == 16, "a key has no padding");
_Static_assert(sizeof(struct write_slot) == 192, "a slot is three cache lines");

#endif
