// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts writes per watched inode. Three rungs, of which user space loads and attaches one:
 *
 *   vfs      fexit on vfs_write and vfs_writev. The second is static: a compiler may have changed
 *            its arguments (then it has no BTF) or inlined it into some callers (then user space
 *            sees its test writes missing), and the next rung is taken.
 *   kprobe   entry of vfs_write and vfs_writev. No kretprobe: it loses most calls when many
 *            tasks write at once.
 *   syscall  exit of every system call; the five that write are picked out by number.
 *
 * A call counts when it moved (kprobe: asked for) at least one byte. fexit programs read fields
 * directly, without bpf_probe_read_kernel, so that they also work under lockdown=confidentiality.
 * BPF_CMPXCHG wants Linux 5.12; older kernels refuse the load and work without counters.
 *
 * Rejected: fexit on do_writev and do_pwritev where vfs_writev cannot be had; Debian's 6.1 and 6.12
 * inline do_pwritev into part of the system calls.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "write_count.h"

/* Both are sized by user space before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct write_key);
	__type(value, __u32);
} watch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct write_slot);
} slots SEC(".maps");

#define IOV_MAX      1024          /* UIO_MAXIOV */
#define RW_COUNT_MAX 0x7ffff000ULL /* MAX_RW_COUNT: the kernel cuts longer requests to this */
#define SIZE_TRIES   4

/*
 * The inode as each kind of program may read it: pointers that the verifier knows are loaded from
 * directly, all others through bpf_probe_read_kernel. `known` is a constant at every use.
 */
#define READ(known, p, field)                                        \
	((known) ? *(volatile typeof((p)->field) *)&(p)->field : ({  \
		typeof((p)->field) value_ = 0;                       \
		bpf_core_read(&value_, sizeof(value_), &(p)->field); \
		value_;                                              \
	}))

static __always_inline struct write_slot *slot_of(struct inode *inode, bool known, __u32 rung)
{
	struct write_key key = {};
	struct write_slot *slot;
	struct super_block *sb;
	__u32 *index;

	sb = READ(known, inode, i_sb);
	key.dev = READ(known, sb, s_dev);
	key.ino = READ(known, inode, i_ino);
	index = bpf_map_lookup_elem(&watch, &key);
	if (!index)
		return 0;
	slot = bpf_map_lookup_elem(&slots, index);
	/* A preallocated element is reused at once: *index may by now belong to another key. */
	if (!slot || slot->ino != key.ino || slot->dev != key.dev || slot->rung != rung)
		return 0;
	return slot;
}

/*
 * The stored size is read before the inode's: a smaller inode size was then true later than the
 * stored one, so the file did shrink. Were it the other way round, two writers passing each other
 * between sampling and storing would look like a truncation. The exchange fails when another
 * writer stored meanwhile; its sample is then older than the one taken next.
 */
static __always_inline void size_store(struct write_slot *slot, struct inode *inode, bool known)
{
	for (int i = 0; i < SIZE_TRIES; i++) {
		__u64 stored = *(volatile __u64 *)&slot->size;
		__u64 size = READ(known, inode, i_size);

		if (size == stored)
			return;
		if (__sync_val_compare_and_swap(&slot->size, stored, size) != stored)
			continue;
		if (size < stored)
			__sync_fetch_and_add(&slot->shrinks, 1);
		return;
	}
}

static __always_inline void slot_count(struct write_slot *slot, struct inode *inode, bool known,
				       __u64 bytes)
{
	slot->last_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&slot->bytes, bytes);
	size_store(slot, inode, known);
	__sync_fetch_and_add(&slot->calls, 1);
}

static __always_inline void write_count(struct inode *inode, bool known, __u32 rung, ssize_t ret)
{
	struct write_slot *slot;

	if (ret <= 0)
		return;
	slot = slot_of(inode, known, rung);
	if (slot)
		slot_count(slot, inode, known, ret);
}

/* The current task's file behind a descriptor, or NULL. Another thread may have closed or replaced
 * it since the call began: then the write is missed or counted where the descriptor leads now. */
static __always_inline struct inode *fd_inode(struct task_struct *task, __u32 fd)
{
	struct files_struct *files = task->files;
	struct file **slot, *file = 0;
	struct fdtable *fdt;

	if (!files)
		return 0;
	fdt = files->fdt;
	if (!fdt || fd >= fdt->max_fds)
		return 0;
	slot = fdt->fd;
	bpf_probe_read_kernel(&file, sizeof(file), &slot[fd]);
	return file ? READ(false, file, f_inode) : 0;
}

SEC("?fexit/vfs_write")
int BPF_PROG(fexit_vfs_write, struct file *file, const char *buf, size_t count, loff_t *pos,
	     ssize_t ret)
{
	write_count(file->f_inode, true, WRITE_RUNG_VFS, ret);
	return 0;
}

SEC("?fexit/vfs_writev")
int BPF_PROG(fexit_vfs_writev, struct file *file, const struct iovec *vec, long unsigned int vlen,
	     loff_t *pos, rwf_t flags, ssize_t ret)
{
	write_count(file->f_inode, true, WRITE_RUNG_VFS, ret);
	return 0;
}

#if defined(__TARGET_ARCH_x86)

#define TS_COMPAT 0x0002 /* arch/x86/include/asm/thread_info.h; set until after sys_exit */

static __always_inline bool task_compat(struct task_struct *task)
{
	return task->thread_info.status & TS_COMPAT;
}

static __always_inline long syscall_number(struct pt_regs *regs)
{
	return regs->orig_ax;
}

static __always_inline __u32 syscall_fd(struct pt_regs *regs, bool compat)
{
	return compat ? regs->bx : regs->di;
}

/* write, pwrite64, writev, pwritev, pwritev2. An x32 call carries bit 30 and so matches none. */
#define WRITE_CALLS(f)        f(1) f(18) f(20) f(296) f(328)
#define COMPAT_WRITE_CALLS(f) f(4) f(181) f(146) f(334) f(379)

#elif defined(__TARGET_ARCH_arm64)

#define TIF_32BIT 22 /* arch/arm64/include/asm/thread_info.h */

static __always_inline bool task_compat(struct task_struct *task)
{
	return task->thread_info.flags & 1UL << TIF_32BIT;
}

static __always_inline long syscall_number(struct pt_regs *regs)
{
	return regs->syscallno;
}

/* The return value has replaced x0. */
static __always_inline __u32 syscall_fd(struct pt_regs *regs, bool compat)
{
	return regs->orig_x0;
}

#define WRITE_CALLS(f)        f(64) f(68) f(66) f(70) f(287)
#define COMPAT_WRITE_CALLS(f) f(4) f(181) f(146) f(362) f(393)

#endif

#define IS_CALL(n) || nr == n

/* A 32-bit task numbers its calls differently: the same number is another call. */
SEC("?tp_btf/sys_exit")
int BPF_PROG(tp_sys_exit, struct pt_regs *regs, long ret)
{
	long nr = syscall_number(regs);
	bool native = 0 WRITE_CALLS(IS_CALL);
	bool compat = 0 COMPAT_WRITE_CALLS(IS_CALL);
	struct task_struct *task;
	struct inode *inode;
	bool is_compat;

	if (ret <= 0 || !(native || compat))
		return 0;
	task = bpf_get_current_task_btf();
	is_compat = task_compat(task);
	if (!(is_compat ? compat : native))
		return 0;
	inode = fd_inode(task, syscall_fd(regs, is_compat));
	if (inode)
		write_count(inode, false, WRITE_RUNG_SYSCALL, ret);
	return 0;
}

static __always_inline struct write_slot *slot_asked(struct file *file, struct inode **ret_inode)
{
	*ret_inode = READ(false, file, f_inode);
	return slot_of(*ret_inode, false, WRITE_RUNG_KPROBE);
}

static __always_inline __u64 rw_count(__u64 bytes)
{
	return bytes > RW_COUNT_MAX ? RW_COUNT_MAX : bytes;
}

SEC("?kprobe/vfs_write")
int BPF_KPROBE(kprobe_vfs_write, struct file *file, const char *buf, size_t count)
{
	struct inode *inode;
	struct write_slot *slot = slot_asked(file, &inode);

	if (slot && (ssize_t)count > 0)
		slot_count(slot, inode, false, rw_count(count));
	return 0;
}

static __always_inline bool iov_read_len(const void *vec, __u32 i, bool compat, __u64 *ret_len)
{
	struct compat_iovec narrow = {};
	struct iovec wide = {};
	long r;

	if (compat)
		r = bpf_probe_read_user(&narrow, sizeof(narrow), vec + i * sizeof(narrow));
	else
		r = bpf_probe_read_user(&wide, sizeof(wide), vec + i * sizeof(wide));
	*ret_len = compat ? narrow.iov_len : wide.iov_len;
	return r == 0;
}

/* What a writev asks for is in the caller's memory. A page of the vector that is not there (never
 * touched, or swapped out) cannot be waited for: the call then counts with the bytes known. */
SEC("?kprobe/vfs_writev")
int BPF_KPROBE(kprobe_vfs_writev, struct file *file, const struct iovec *vec,
	       long unsigned int vlen)
{
	struct inode *inode;
	struct write_slot *slot = slot_asked(file, &inode);
	__u64 bytes = 0, len;
	bool compat, all = true;

	if (!slot || vlen > IOV_MAX)
		return 0;
	compat = task_compat(bpf_get_current_task_btf());
	for (__u32 i = 0; i < IOV_MAX && i < vlen && all; i++) {
		all = iov_read_len(vec, i, compat, &len);
		bytes += len;
	}
	if (bytes || !all)
		slot_count(slot, inode, false, rw_count(bytes));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
