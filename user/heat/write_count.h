/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the BPF programs and their maps: how often, how many bytes and how far each watched file was
 * written, counted in the kernel. See bpf/write_count.h for the layout and the limits.
 *
 * Rungs, best first:
 *   vfs      fexit on vfs_write and vfs_writev: bytes really written, size after the write
 *   kprobe   kprobe at entry of the same two: requested bytes, size before the write
 *   syscall  tracepoint at the exit of write, pwrite64, writev, pwritev, pwritev2
 *   off      no program: the caller looks at sizes itself
 * A rung is chosen by attaching the real programs: loading succeeds where attaching fails.
 */
#ifndef HEAT_WRITE_COUNT_H
#define HEAT_WRITE_COUNT_H

#include <stdint.h>

enum rung { RUNG_AUTO, RUNG_VFS, RUNG_KPROBE, RUNG_SYSCALL, RUNG_OFF };

struct write_count;

struct write_total {
	uint64_t calls; /* only growing */
	uint64_t bytes; /* only growing; requested bytes on RUNG_KPROBE */
	uint64_t size; /* the file's size at the last counted write; meaningless while calls == 0 */
	int64_t last_ns;  /* CLOCK_MONOTONIC of the last counted write, 0 for none */
	uint64_t shrinks; /* writes that found the file smaller than it was before: truncations */
};

/*
 * wanted: AUTO tries every rung in order, another one only itself, OFF nothing. max_files: slots,
 * at most WRITE_COUNT_SLOTS_MAX. Always succeeds but for -ENOMEM: when nothing attaches the rung is
 * OFF and write_count_refusal says why for each that was tried. libbpf's own messages go to
 * log_debug. All functions are for one thread.
 */
int write_count_new(enum rung wanted, uint32_t max_files, struct write_count **ret_wc);
void write_count_free(struct write_count *wc); /* detaches; NULL is fine */
enum rung write_count_rung(const struct write_count *wc);
/* Why this rung is not used, in one clause ("fexit on vfs_write: Operation not permitted"), or NULL
 * when it was not tried or attached. Lives as long as wc. */
const char *write_count_refusal(const struct write_count *wc, enum rung rung);

/*
 * Registers the open regular file fd. 0 and its slot, counted from this moment (take the size with
 * fstat after this call: no write falls between); -EEXIST with *ret_slot when the inode is
 * registered already; -ENODATA when its kernel key is not known or not unique (btrfs, no fdinfo:
 * "no counter"); -ENOSPC when all slots are in use; -EOPNOTSUPP on RUNG_OFF; another -errno of the
 * map update. The caller keeps fd open until write_count_del, so that the inode cannot be reused.
 */
int write_count_add(struct write_count *wc, int fd, int *ret_slot);
/* The slot rests for a grace period before it is given out again. */
void write_count_del(struct write_count *wc, int slot);
/* A load, no system call. Counters start at 0 with write_count_add. */
void write_count_read(const struct write_count *wc, int slot, struct write_total *ret_total);
/* Writes to any file that may be missing from the counts, because the program was already running
 * on that CPU: 0 means that the counts are proven. One system call for each program. */
uint64_t write_count_misses(const struct write_count *wc);

const char *rung_name(enum rung rung);
int rung_parse(const char *name, enum rung *ret_rung); /* 0 or -EINVAL */

#endif
