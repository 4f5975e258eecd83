// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Counts writes per watched inode. User space loads the programs of one or more sets (heat/
 * write_hooks.c) and attaches them:
 *
 *   fs         fexit on one filesystem's write_iter: the target is named at run time, one instance
 *              for each filesystem. Sees every way to write but stores to mapped memory; and fexit
 *              on its remap_file_range for reflinks, which write nothing.
 *   positions  fentry and fexit on notify_change: what truncations cut off
 *   vfs        fexit on vfs_write and vfs_writev. The second is static: a compiler may have changed
 *              its arguments (then it has no BTF) or inlined it into some callers (then user space
 *              sees its test writes missing), and the next rung is taken.
 *   kprobe     entry of vfs_write and vfs_writev. No kretprobe: it loses most calls when many
 *              tasks write at once.
 *   syscall    exit of every system call; the five that write are picked out by number.
 *
 * A call counts when it moved (kprobe: asked for) at least one byte. fexit programs read fields
 * directly, without bpf_probe_read_kernel, so that they also work under lockdown=confidentiality;
 * but for those of btrfs, whose own structs cannot be reached in that way.
 * BPF_CMPXCHG wants Linux 5.12; older kernels refuse the load and work without counters. From 5.12
 * on notify_change has four arguments, the second being the dentry.
 *
 * Rejected: fexit on do_writev and do_pwritev where vfs_writev cannot be had; Debian's 6.1 and 6.12
 * inline do_pwritev into part of the system calls. fexit on vfs_copy_file_range for reflinks: it
 * returns the same for a copy that went through write_iter and was counted there.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "write_slot.bpf.h"

#define LOW_TRIES    4
#define IOV_MAX      1024          /* UIO_MAXIOV */
#define RW_COUNT_MAX 0x7ffff000ULL /* MAX_RW_COUNT: the kernel cuts longer requests to this */

/* iocb is gone already when the call goes on without its caller; then ret is negative. */
SEC("?fexit")
int BPF_PROG(fexit_write_iter, struct kiocb *iocb, struct iov_iter *from, ssize_t ret)
{
	if (ret > 0)
		write_count(iocb->ki_filp, DIRECT, WRITE_RUNG_FS, ret);
	return 0;
}

SEC("?fexit")
int BPF_PROG(fexit_write_iter_btrfs, struct kiocb *iocb, struct iov_iter *from, ssize_t ret)
{
	if (ret > 0)
		write_count(iocb->ki_filp, BTRFS, WRITE_RUNG_FS, ret);
	return 0;
}

#define REMAP_FILE_DEDUP 1 /* include/linux/fs.h: the bytes were there already */

SEC("?fexit")
int BPF_PROG(fexit_remap, struct file *in, loff_t in_at, struct file *out, loff_t out_at,
	     loff_t len, unsigned int flags, loff_t ret)
{
	if (!(flags & REMAP_FILE_DEDUP))
		write_count(out, DIRECT, WRITE_RUNG_FS, ret);
	return 0;
}

SEC("?fexit")
int BPF_PROG(fexit_remap_btrfs, struct file *in, loff_t in_at, struct file *out, loff_t out_at,
	     loff_t len, unsigned int flags, loff_t ret)
{
	if (!(flags & REMAP_FILE_DEDUP))
		write_count(out, BTRFS, WRITE_RUNG_FS, ret);
	return 0;
}

/*
 * notify_change runs with the inode locked: no write falls between these two, and no other
 * truncation. What fails cuts nothing. A write that is done, but not counted yet as its task lost
 * the processor, may be cut off already: then this is where its file enrols.
 */
static __always_inline void cut_begin(struct dentry *dentry, unsigned int valid, enum reach reach)
{
	struct inode *inode = dentry->d_inode;
	struct write_slot *slot;
	struct write_key key;
	__u32 index = 0;
	__u64 size;
	bool stale;

	if (!(valid & ATTR_SIZE))
		return;
	size = READ(reach == DIRECT, inode, i_size);
	key = inode_key(inode, reach);
	slot = slot_of(inode, reach, &key, &index, &stale);
	if (!slot && size)
		slot = slot_enrol(dentry, inode, reach, WRITE_RUNG_FIRST, &key, stale, &index);
	if (slot)
		slot->parked = size + 1;
}

static __always_inline void cut_count(struct write_slot *slot, struct inode *inode, bool known,
				      __u64 before, __u64 after)
{
	size_store(slot, inode, known); /* cuts + size counts what is cut off once */
	if (after < before)
		for (int i = 0; i < LOW_TRIES; i++) { /* user space takes it away at any time */
			__u64 low = *(volatile __u64 *)&slot->low;

			if ((low && low <= after + 1) ||
			    __sync_val_compare_and_swap(&slot->low, low, after + 1) == low)
				break;
		}
	__sync_fetch_and_add(&slot->cuts, before - after);
	if (after < before)
		__sync_fetch_and_add(&slot->truncs, 1);
}

static __always_inline void cut_end(struct inode *inode, unsigned int valid, enum reach reach,
				    int ret)
{
	__u64 before, after;
	struct write_slot *slot;
	struct write_key key;
	__u32 index;
	bool stale;

	if (!(valid & ATTR_SIZE))
		return;
	key = inode_key(inode, reach);
	slot = slot_of(inode, reach, &key, &index, &stale);
	if (!slot || !slot->parked)
		return;
	before = slot->parked - 1;
	after = READ(reach == DIRECT, inode, i_size);
	if (ret == 0 && after != before)
		cut_count(slot, inode, reach == DIRECT, before, after);
	__sync_fetch_and_and(&slot->parked, 0); /* last: what user space sees then is whole */
}

SEC("?fentry/notify_change")
int BPF_PROG(fentry_notify_change, void *idmap, struct dentry *dentry, struct iattr *attr)
{
	cut_begin(dentry, attr->ia_valid, DIRECT);
	return 0;
}

SEC("?fexit/notify_change")
int BPF_PROG(fexit_notify_change, void *idmap, struct dentry *dentry, struct iattr *attr,
	     struct inode **delegated, int ret)
{
	cut_end(dentry->d_inode, attr->ia_valid, DIRECT, ret);
	return 0;
}

#define BTRFS_SUPER_MAGIC 0x9123683e

SEC("?fentry/notify_change")
int BPF_PROG(fentry_notify_change_btrfs, void *idmap, struct dentry *dentry, struct iattr *attr)
{
	if (dentry->d_inode->i_sb->s_magic == BTRFS_SUPER_MAGIC)
		cut_begin(dentry, attr->ia_valid, BTRFS);
	return 0;
}

SEC("?fexit/notify_change")
int BPF_PROG(fexit_notify_change_btrfs, void *idmap, struct dentry *dentry, struct iattr *attr,
	     struct inode **delegated, int ret)
{
	if (dentry->d_inode->i_sb->s_magic == BTRFS_SUPER_MAGIC)
		cut_end(dentry->d_inode, attr->ia_valid, BTRFS, ret);
	return 0;
}

SEC("?fexit/vfs_write")
int BPF_PROG(fexit_vfs_write, struct file *file, const char *buf, size_t count, loff_t *pos,
	     ssize_t ret)
{
	write_count(file, DIRECT, WRITE_RUNG_VFS, ret);
	return 0;
}

SEC("?fexit/vfs_writev")
int BPF_PROG(fexit_vfs_writev, struct file *file, const struct iovec *vec, long unsigned int vlen,
	     loff_t *pos, rwf_t flags, ssize_t ret)
{
	write_count(file, DIRECT, WRITE_RUNG_VFS, ret);
	return 0;
}

/* The current task's file behind a descriptor, or NULL. Another thread may have closed or replaced
 * it since the call began: then the write is missed or counted where the descriptor leads now. */
static __always_inline struct file *fd_file(struct task_struct *task, __u32 fd)
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
	return file;
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
	struct file *file;
	bool is_compat;

	if (ret <= 0 || !(native || compat))
		return 0;
	task = bpf_get_current_task_btf();
	is_compat = task_compat(task);
	if (!(is_compat ? compat : native))
		return 0;
	file = fd_file(task, syscall_fd(regs, is_compat));
	if (file)
		write_count(file, PROBED, WRITE_RUNG_SYSCALL, ret);
	return 0;
}

static __always_inline struct write_slot *slot_asked(struct file *file, struct inode **ret_inode,
						     __u32 *ret_index)
{
	*ret_inode = READ(false, file, f_inode);
	return slot_get(file, *ret_inode, PROBED, WRITE_RUNG_KPROBE, ret_index);
}

static __always_inline __u64 rw_count(__u64 bytes)
{
	return bytes > RW_COUNT_MAX ? RW_COUNT_MAX : bytes;
}

SEC("?kprobe/vfs_write")
int BPF_KPROBE(kprobe_vfs_write, struct file *file, const char *buf, size_t count)
{
	struct inode *inode;
	__u32 index = 0;
	struct write_slot *slot = slot_asked(file, &inode, &index);

	if (slot && (ssize_t)count > 0)
		slot_count(slot, index, inode, false, rw_count(count));
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
	__u32 index = 0;
	struct write_slot *slot = slot_asked(file, &inode, &index);
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
		slot_count(slot, index, inode, false, rw_count(bytes));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
