/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the BPF programs and their maps: how often, how many bytes and how far each watched file was
 * written, and what truncations cut off it, counted in the kernel. See bpf/write_count.h for the
 * layout and the limits.
 *
 * Rungs, best first:
 *   fs       fexit on the filesystem's own write_iter: every way to write but mapped memory
 *   vfs      fexit on vfs_write and vfs_writev: bytes really written, size after the write
 *   kprobe   kprobe at entry of the same two: requested bytes, size before the write
 *   syscall  tracepoint at the exit of write, pwrite64, writev, pwritev, pwritev2
 *   off      no program: the caller looks at sizes itself
 * A rung is chosen by attaching the real programs: loading succeeds where attaching fails.
 */
#ifndef HEAT_WRITE_COUNT_H
#define HEAT_WRITE_COUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rung { RUNG_AUTO, RUNG_FS, RUNG_VFS, RUNG_KPROBE, RUNG_SYSCALL, RUNG_OFF };

struct write_count;

struct write_total {
	uint64_t calls; /* only growing */
	uint64_t bytes; /* only growing; requested bytes on RUNG_KPROBE */
	uint64_t size; /* the file's size at the last counted write; meaningless while calls == 0 */
	int64_t last_ns;  /* CLOCK_MONOTONIC of the last counted write, 0 for none */
	uint64_t shrinks; /* writes that found the file smaller than it was before: truncations */
	uint64_t cuts;    /* size before less size after of every truncation so far; wraps */
	uint64_t truncs;  /* truncations that made it shorter */
};

/*
 * wanted: AUTO tries every rung in order, another one only itself, OFF nothing. On AUTO a file that
 * fs cannot count is counted by vfs. max_files: slots, at most WRITE_COUNT_SLOTS_MAX. pin: a
 * directory of a BPF filesystem in which all goes on counting after write_count_free, to be found
 * there by the next process; or NULL. Always succeeds but for -ENOMEM, and -EBUSY when another
 * process has the directory: when nothing attaches the rung is OFF and write_count_refusal says why
 * for each that was tried, and what is wrong with pin is said on log_warn. libbpf's own messages go
 * to log_debug. All functions are for one thread.
 */
int write_count_new(enum rung wanted, uint32_t max_files, const char *pin,
		    struct write_count **ret_wc);
void write_count_free(struct write_count *wc); /* detaches what is not pinned; NULL is fine */
enum rung write_count_rung(const struct write_count *wc);
/* Why this rung is not used, in one clause ("fexit on vfs_write: Operation not permitted"), or NULL
 * when it was not tried or attached. Lives as long as wc. */
const char *write_count_refusal(const struct write_count *wc, enum rung rung);
/* An earlier process left counters, and they have counted since. */
bool write_count_adopted(const struct write_count *wc);

/*
 * Registers the open regular file fd. 0 and its slot, counted from this moment (take the size with
 * fstat after this call: no write falls between), or from its first write if it has enrolled
 * itself; -EEXIST with *ret_slot when the inode is registered already; -ENODATA when its kernel key
 * is not known or not unique, or no program counts its filesystem ("no counter"); -ENOSPC when all
 * slots are in use; -EOPNOTSUPP on RUNG_OFF; another -errno of the map update. The caller keeps fd
 * open until write_count_del, so that the inode cannot be reused. owner: for the hooks.
 */
int write_count_add(struct write_count *wc, int fd, void *owner, int *ret_slot);
/* This process ends: what is pinned goes on counting although its files are given up. */
void write_count_keep(struct write_count *wc);
/* The slot rests for a grace period before it is given out again. */
void write_count_del(struct write_count *wc, int slot);
/* Its slot has been counting since an earlier process added the file. */
bool write_count_inherited(const struct write_count *wc, int slot);
/* And that process left it at this position: else others have followed the file since. */
bool write_count_left_at(const struct write_count *wc, int slot, uint64_t position);

struct write_left {
	uint64_t written, acked; /* acked: as write_count_acked last said */
	bool positions;          /* false: written is the file's size, truncations are not in it */
};

/* Of a file that an earlier process had added and that is not added now (key: its st_dev, st_ino),
 * how much was written. Gives the slot back. False: there is none. */
bool write_count_left(struct write_count *wc, uint64_t st_dev, uint64_t ino,
		      struct write_left *ret_left);
/* A load, no system call. Counters start at 0 with the slot. */
void write_count_read(const struct write_count *wc, int slot, struct write_total *ret_total);
/* Are its truncations counted? Then cuts + size is exactly what was written to its end. */
bool write_count_positions(const struct write_count *wc, int slot);
/* What truncations did since the last call of this. */
struct write_cut {
	uint64_t cuts, truncs; /* as in write_total, and of one moment */
	uint64_t low; /* the shortest that the file was meanwhile; UINT64_MAX: it was not cut */
};

/* False while a truncation is under way. Only where write_count_positions. */
bool write_count_cut(const struct write_count *wc, int slot, struct write_cut *ret_cut);
/* How much of cuts + size is delivered, for a later process. */
void write_count_acked(struct write_count *wc, int slot, uint64_t acked);

struct write_count_stats {
	uint64_t misses;     /* runs of programs that the kernel left out, for any file */
	uint64_t refused;    /* writes to files that should have got a slot and did not */
	uint64_t no_records; /* records lost: latency only */
};

/* All 0: the counts are proven. A few system calls. */
void write_count_stats(const struct write_count *wc, struct write_count_stats *ret_stats);
uint64_t write_count_misses(const struct write_count *wc);
uint64_t write_count_no_records(const struct write_count *wc); /* no system call */
/* Why truncations are not counted, NULL when they are. */
const char *write_count_no_positions(const struct write_count *wc);

const char *rung_name(enum rung rung);
int rung_parse(const char *name, enum rung *ret_rung); /* 0 or -EINVAL */

#endif
