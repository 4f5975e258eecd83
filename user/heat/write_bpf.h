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

/* The ways to attach, best first; a rung may have several. */
struct write_way {
	enum rung rung;
	uint32_t slot_rung;      /* enum write_rung */
	const char *what;        /* "fexit on vfs_write and vfs_writev" */
	const char *programs[4]; /* names in bpf/write_count.bpf.c, NULL at the end */
};
extern const struct write_way write_ways[];
extern const size_t write_ways_n;

/*
 * 0, or -errno and in why one clause that says what was refused. Attached programs have counted two
 * test writes to a memory file before this returns 0: a program can attach and yet see nothing
 * (lockdown=confidentiality, a function inlined into its callers).
 */
int write_bpf_new(const struct write_way *way, uint32_t slots_n, char why[WRITE_WHY_MAX],
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
