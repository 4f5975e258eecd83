/* SPDX-License-Identifier: Apache-2.0 */
/* The BPF programs of one rung, loaded, attached and seen to count. */
#ifndef HEAT_WRITE_BPF_H
#define HEAT_WRITE_BPF_H

#include <stddef.h>
#include <stdint.h>

#include "../bpf/write_count.h"
#include "heat/write_count.h"

#define WRITE_WHY_MAX 256

struct write_bpf;

/*
 * 0, or -errno and in why one clause that says what was refused. rung is VFS, KPROBE or SYSCALL.
 * Attached programs have counted one test write by each call to a memory file before this returns
 * 0: a program can attach and yet see nothing (a function inlined into some of its callers).
 */
int write_bpf_new(enum rung rung, uint32_t slots_n, char why[WRITE_WHY_MAX],
		  struct write_bpf **ret_bpf);
void write_bpf_free(struct write_bpf *bpf); /* detaches; NULL is fine */

/* slots_n slots, shared with the kernel. */
struct write_slot *write_bpf_slots(struct write_bpf *bpf);
/* How this rung signs a slot: enum write_rung. */
uint32_t write_bpf_slot_rung(const struct write_bpf *bpf);
/* 0, -EEXIST, -ENOSPC or another -errno of the map update. */
int write_bpf_watch(struct write_bpf *bpf, const struct write_key *key, uint32_t slot);
int write_bpf_find(struct write_bpf *bpf, const struct write_key *key, uint32_t *ret_slot);
void write_bpf_unwatch(struct write_bpf *bpf, const struct write_key *key);
/* Runs the kernel left out because the same program was already running on that CPU. */
uint64_t write_bpf_misses(struct write_bpf *bpf);

#endif
