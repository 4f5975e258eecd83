// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Touches what the kernel needs for reads of many files: a file that is written to a few times a
 * second has left the cache by the time it is read, and a read then waits for one line after the
 * other: struct file, inode, two nodes of the page cache's tree, folio. Here each step is taken for
 * all files before the next, without calls in between, so that the processor waits for the lines
 * of many files at once. A read of a file that is not in the cache takes 2.0 us instead of 2.8, the
 * touching counted; a thousand files at 10 MB/s take 14 to 18 % less processor time.
 *
 * Nothing is changed, and user space gets no more of it than how many pages were there. What is
 * looked at can be freed meanwhile, as nothing is held: then other words are taken for addresses.
 * The loads are those of bpf_rdonly_cast (Linux 6.2), which give 0 where nothing is mapped.
 *
 * Rejected: one object with the programs that count, which a start would take 10 ms less for (the
 * kernel's BTF is read once): Linux before 6.2 without CAP_SYS_ADMIN then refuses all of it, as
 * libbpf looks for bpf_rdonly_cast in modules. bpf_probe_read_kernel, which older kernels have (the
 * calls take as long as the misses that they hide: 2.7 us); touching the page's content too
 * (nothing won: what is copied in order is prefetched by the processor). A file on an overlay has
 * its pages in another inode: not followed.
 */
#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "warm_reads.h"

#define XA_CHUNK_SHIFT 6
#define XA_CHUNK_MASK  63
#define XA_TOP_SHIFT   18 /* of files up to 64 GiB; larger ones are not followed */
#define XA_TAG_MASK    3
#define XA_NODE        2   /* or a sibling, which is small. 0: a folio, or nothing */
#define XA_SIBLING_MAX 256 /* slot << 2 | XA_NODE: what is there is there for this one too */

void *bpf_rdonly_cast(const void *obj, __u32 btf_id) __ksym __weak;

#define AT(type, address) \
	((struct type *)bpf_rdonly_cast((void *)(address), bpf_core_type_id_kernel(struct type)))
/* To be kept in walks and taken from there: else the verifier knows that it is a pointer, and lets
 * nothing be computed from it. */
#define WORD(address) ((__u64)AT(hlist_head, address)->first)

struct warm_read reads[WARM_READS_MAX];
__u32 reads_n; /* user space's */
__u32 found_n; /* pages in the cache, of all runs */

/* Addresses in the kernel, so not where user space sees them. */
static volatile struct walk {
	__u64 at, node;
	__u64 seen; /* no use is made of it, but what is not kept is not loaded */
} walks[WARM_READS_MAX] SEC(".data.walks");

static __u64 descriptors SEC(".data.walks");
static __u32 descriptors_n SEC(".data.walks");

static long to_file(__u32 i, void *ctx)
{
	__u32 fd;

	if (i >= WARM_READS_MAX)
		return 1;
	fd = reads[i].fd;
	walks[i].at = fd < descriptors_n ? WORD(descriptors + 8 * (__u64)fd) : 0;
	return 0;
}

static long to_inode(__u32 i, void *ctx)
{
	__u64 at;

	if (i >= WARM_READS_MAX)
		return 1;
	at = walks[i].at;
	/* Its last line, where newer kernels count the references. */
	walks[i].seen = WORD(at + bpf_core_type_size(struct file) - 8);
	walks[i].at = (__u64)AT(file, at)->f_inode;
	walks[i].node = (__u64)AT(file, at)->f_path.dentry;
	return 0;
}

static long to_tree(__u32 i, void *ctx)
{
	__u64 at;

	if (i >= WARM_READS_MAX)
		return 1;
	at = walks[i].at;
	walks[i].seen = WORD(walks[i].node); /* the dentry's flags */
	walks[i].seen = (__u64)AT(inode, at)->i_sb;
	walks[i].seen = AT(inode, at)->i_size;
	walks[i].seen = AT(inode, at)->i_fsnotify_mask;
	walks[i].node = (__u64)AT(inode, at)->i_data.i_pages.xa_head;
	return 0;
}

/* From a node to the next. Which slot is the next is not computed from what the node says of
 * itself: the processor goes on to the next file before it knows. */
static long to_child(__u32 i, void *ctx)
{
	__u32 shift = *(__u32 *)ctx;
	__u64 node, slot;

	if (i >= WARM_READS_MAX)
		return 1;
	node = walks[i].node - XA_NODE;
	if ((node & XA_TAG_MASK) || AT(xa_node, node)->shift != shift)
		return 0;
	node += bpf_core_field_offset(struct xa_node, slots);
	slot = (reads[i].page >> shift) & XA_CHUNK_MASK;
	walks[i].node = WORD(node + 8 * slot);
	slot = walks[i].node;
	if (slot < XA_SIBLING_MAX && (slot & XA_TAG_MASK) == XA_NODE)
		walks[i].node = WORD(node + 8 * (slot >> 2));
	return 0;
}

static long to_folio(__u32 i, void *ctx)
{
	__u64 folio;

	if (i >= WARM_READS_MAX)
		return 1;
	folio = walks[i].node;
	if (!(folio & XA_TAG_MASK) && WORD(folio))
		found_n++;
	return 0;
}

SEC("syscall")
int warm_reads(void *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct files_struct *files = task->files;
	__u32 shift = XA_TOP_SHIFT;
	struct fdtable *fdt;

	if (!files)
		return 0;
	fdt = files->fdt;
	descriptors = (__u64)fdt->fd;
	descriptors_n = fdt->max_fds;
	bpf_loop(reads_n, to_file, 0, 0);
	bpf_loop(reads_n, to_inode, 0, 0);
	bpf_loop(reads_n, to_tree, 0, 0);
	for (int level = 0; level <= XA_TOP_SHIFT / XA_CHUNK_SHIFT; level++) {
		bpf_loop(reads_n, to_child, &shift, 0);
		shift -= XA_CHUNK_SHIFT;
	}
	bpf_loop(reads_n, to_folio, 0, 0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
