/* SPDX-License-Identifier: Apache-2.0 */
/* The sets of BPF programs that count, each attached as a whole when it is wanted. */
#ifndef HEAT_WRITE_HOOKS_H
#define HEAT_WRITE_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WRITE_WHY_MAX 256

enum hook_set {
	HOOKS_TMPFS, /* WRITE_RUNG_FS: a filesystem's own write_iter */
	HOOKS_EXT4,
	HOOKS_XFS,
	HOOKS_BTRFS,
	HOOKS_POSITIONS, /* notify_change, but for btrfs, which brings its own */
	HOOKS_VFS,
	HOOKS_KPROBE,
	HOOKS_SYSCALL,
	HOOK_SETS
};

struct write_hooks;
struct write_maps;
struct write_pins;

/* maps stay the caller's, and are opened before the first set is attached. 0 or -ENOMEM. */
int write_hooks_new(const struct write_maps *maps, struct write_hooks **ret_hooks);
/* From now on sets are pinned there, or taken from there where the maps were (NULL: neither). */
void write_hooks_pin(struct write_hooks *hooks, struct write_pins *pins);
/* Of each set there is all or nothing. */
bool write_hooks_pins_whole(struct write_pins *pins);
/* Detaches all that is not pinned; NULL is fine. */
void write_hooks_free(struct write_hooks *hooks);

/* 0 when the set is attached, from before or now; else -errno, the same at each further call, and
 * write_hooks_why says what was refused. */
int write_hooks_attach(struct write_hooks *hooks, enum hook_set set);
void write_hooks_detach(struct write_hooks *hooks, enum hook_set set);
bool write_hooks_attached(const struct write_hooks *hooks, enum hook_set set);
/* One clause ("attaching fexit on xfs_file_write_iter: Operation not permitted"), or NULL. */
const char *write_hooks_why(const struct write_hooks *hooks, enum hook_set set);
/* "fexit on vfs_write and vfs_writev" */
const char *write_hooks_what(enum hook_set set);
/* What a refusal means: "Operation not permitted (needs CAP_BPF and CAP_PERFMON)". */
const char *write_hooks_words(int r);
/* Runs the kernel left out because the same program was already running on that CPU. One system
 * call for each program that is attached. */
uint64_t write_hooks_misses(const struct write_hooks *hooks);

#endif
