/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The kernel types the BPF programs touch, written by hand: of each struct only the fields used.
 * preserve_access_index lets libbpf move every access to where the running kernel has the field,
 * so order and padding mean nothing here; names and types do, and ./check compares both with a
 * kernel's BTF. Types are spelled as "bpftool btf dump format c" spells them, one field a line.
 */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef unsigned char __u8;
typedef short unsigned int __u16;
typedef unsigned int __u32;
typedef long long unsigned int __u64;
typedef signed char __s8;
typedef short int __s16;
typedef int __s32;
typedef long long int __s64;

/* Wanted by bpf_helper_defs.h. */
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;

typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef _Bool bool;
enum { false = 0, true = 1 };
typedef __u32 dev_t;
typedef long long int loff_t;
typedef long unsigned int size_t;
typedef long int ssize_t;
typedef int rwf_t;
typedef short unsigned int umode_t;

/* From uapi/linux/bpf.h, which cannot be included beside this header. */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_QUEUE = 22,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_NOEXIST = 1 };
enum { BPF_F_MMAPABLE = 1U << 10 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct super_block {
	dev_t s_dev;
	long unsigned int s_magic;
};

struct hlist_head {
	struct hlist_node *first;
};

struct xarray {
	void *xa_head;
};

struct xa_node {
	unsigned char shift;
	void *slots[64];
};

struct address_space {
	struct xarray i_pages;
};

struct inode {
	umode_t i_mode;
	struct super_block *i_sb;
	long unsigned int i_ino;
	unsigned int i_nlink;
	loff_t i_size;
	__u32 i_generation;
	struct address_space i_data;
	__u32 i_fsnotify_mask;
};

struct qstr {
	const unsigned char *name;
};

struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
};

struct path {
	struct dentry *dentry;
};

struct file {
	struct path f_path;
	struct inode *f_inode;
};

struct iov_iter;

struct kiocb {
	struct file *ki_filp;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct iattr {
	unsigned int ia_valid;
};

#if defined(__TARGET_ARCH_x86)

struct thread_info {
	u32 status;
};

struct pt_regs {
	long unsigned int bx;
	long unsigned int dx;
	long unsigned int si;
	long unsigned int di;
	long unsigned int orig_ax;
};

#elif defined(__TARGET_ARCH_arm64)

struct thread_info {
	long unsigned int flags;
};

struct user_pt_regs {
	__u64 regs[31];
};

struct pt_regs {
	u64 orig_x0;
	s32 syscallno;
};

#else
#error "only x86-64 and arm64 are described here"
#endif

struct task_struct {
	struct thread_info thread_info;
	struct files_struct *files;
};

#pragma clang attribute pop

/* Of the btrfs module, so in a kernel's BTF only where that is built in. */
struct btrfs_root {
	dev_t anon_dev;
} __attribute__((preserve_access_index));

struct btrfs_inode {
	struct btrfs_root *root;
	struct inode vfs_inode;
} __attribute__((preserve_access_index));

/* User-space memory, not relocated: these are ABI. */
struct iovec {
	void *iov_base;
	size_t iov_len;
};

struct compat_iovec {
	__u32 iov_base;
	__u32 iov_len;
};

#endif
