/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What every program does with the inode it was called for: finds its slot, or takes one for a new
 * file in a watched directory, counts, and wakes user space. After vmlinux.h and libbpf's headers.
 */
#ifndef BPF_WRITE_SLOT_BPF_H
#define BPF_WRITE_SLOT_BPF_H

#include "write_count.h"

/* Those with one entry are sized by user space before loading. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct write_key);
	__type(value, __u32);
} watch SEC(".maps"), dirs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct write_slot);
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, WRITE_FILTER_N);
	__type(key, __u32);
	__type(value, struct write_filter);
} filter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1);
	__type(value, __u32);
} unused SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct write_meta);
} meta SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WRITE_RECORDS_BYTES);
} records SEC(".maps");

/* Set before loading: helpers that read kernel memory may be called. */
const volatile bool may_probe = true;

#define SIZE_TRIES 4

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

#define S_IFMT    00170000
#define S_IFREG   0100000
#define ATTR_SIZE (1U << 3) /* include/linux/fs.h */

/*
 * How a program reaches its inode, a constant at every use. DIRECT: through pointers that the
 * verifier knows. PROBED: by helper. BTRFS: the same, and the device is the subvolume's, as that of
 * the superblock is shared by subvolumes that each number their inodes from 256.
 */
enum reach { DIRECT, PROBED, BTRFS };

static __always_inline __u32 inode_dev(struct inode *inode, enum reach reach)
{
	struct super_block *sb;

	if (reach == BTRFS) {
		struct btrfs_inode *bi =
			(void *)inode - bpf_core_field_offset(struct btrfs_inode, vfs_inode);
		struct btrfs_root *root = READ(false, bi, root);

		return READ(false, root, anon_dev);
	}
	sb = READ(reach == DIRECT, inode, i_sb);
	return READ(reach == DIRECT, sb, s_dev);
}

static __always_inline struct write_key inode_key(struct inode *inode, enum reach reach)
{
	return (struct write_key){.dev = inode_dev(inode, reach),
				  .ino = READ(reach == DIRECT, inode, i_ino)};
}

static __always_inline struct write_meta *meta_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&meta, &zero);
}

static __always_inline void refuse(void)
{
	struct write_meta *m = meta_get();

	if (m)
		__sync_fetch_and_add(&m->refused, 1);
}

static __always_inline void tell(enum write_record_type type, __u32 slot)
{
	struct write_record r = {.type = type, .slot = slot};
	struct write_meta *m;

	if (bpf_ringbuf_output(&records, &r, sizeof(r), 0) == 0)
		return;
	m = meta_get();
	if (m)
		__sync_fetch_and_add(&m->no_records, 1);
}

static __always_inline __u32 *filter_of(const struct write_key *key)
{
	__u32 h = write_key_hash(key), n = h / 2;
	struct write_filter *pair = bpf_map_lookup_elem(&filter, &n);

	return pair ? &pair->n[h % 2] : 0;
}

static __always_inline bool maybe_known(const struct write_key *key)
{
	__u32 *n = filter_of(key);

	return n && *n;
}

static __always_inline void filter_add(const struct write_key *key, __u32 n)
{
	__u32 *counter = filter_of(key);

	if (counter)
		__sync_fetch_and_add(counter, n);
}

/*
 * The slot of this inode, its number in *ret_index. A preallocated element is reused at once:
 * *index may by now belong to another key. *ret_stale: the slot served a file that is gone, whose
 * inode number this one was given.
 */
static __always_inline struct write_slot *slot_of(struct inode *inode, enum reach reach,
						  const struct write_key *key, __u32 *ret_index,
						  bool *ret_stale)
{
	__u32 *index, gen;
	struct write_slot *slot;

	*ret_stale = false;
	index = maybe_known(key) ? bpf_map_lookup_elem(&watch, key) : 0;
	if (!index)
		return 0;
	*ret_index = *index;
	slot = bpf_map_lookup_elem(&slots, ret_index);
	if (!slot || slot->ino != key->ino || slot->dev != key->dev)
		return 0;
	gen = READ(reach == DIRECT, inode, i_generation);
	if (slot->flags & WRITE_SLOT_GEN) {
		*ret_stale = slot->gen != gen;
		return *ret_stale ? 0 : slot;
	}
	slot->gen = gen;
	__sync_fetch_and_or(&slot->flags, WRITE_SLOT_GEN);
	return slot;
}

/* A slot that serves nobody: one that was used before, or the next fresh one. */
static __always_inline bool slot_take(__u32 *ret_index)
{
	struct write_meta *m = meta_get();

	if (bpf_map_pop_elem(&unused, ret_index) == 0)
		return true;
	if (!m || m->fresh >= m->slots_n)
		return false;
	*ret_index = __sync_fetch_and_add(&m->fresh, 1);
	return *ret_index < m->slots_n;
}

static __always_inline void slot_label(struct write_slot *slot, struct inode *inode,
				       struct dentry *dentry, enum reach reach, __u32 rung,
				       const struct write_key *key, const struct write_key *dir)
{
	slot->ino = key->ino;
	slot->dev = key->dev;
	slot->gen = READ(reach == DIRECT, inode, i_generation);
	slot->flags = WRITE_SLOT_GEN | WRITE_SLOT_ENROLLED;
	slot->dir_ino = dir->ino;
	slot->dir_dev = dir->dev;
	slot->name[0] = 0;
	if (may_probe)
		bpf_probe_read_kernel_str(slot->name, sizeof(slot->name),
					  READ(reach == DIRECT, dentry, d_name.name));
	*(volatile __u32 *)&slot->rung = rung;
}

/*
 * The first write to a regular file in a watched directory, or its first truncation: it gets a slot
 * here and now, and user space is told. When another CPU was faster its slot is taken.
 */
static __always_inline struct write_slot *slot_enrol(struct dentry *dentry, struct inode *inode,
						     enum reach reach, __u32 rung,
						     const struct write_key *key, bool stale,
						     __u32 *ret_index)
{
	bool known = reach == DIRECT, other;
	struct write_slot *slot;
	struct dentry *parent;
	struct inode *dir_inode;
	struct write_key dir;
	__u32 index;

	/* Nobody will open what has no name any more, and it would enrol again and again. */
	if ((READ(known, inode, i_mode) & S_IFMT) != S_IFREG || !READ(known, inode, i_nlink))
		return 0;
	parent = READ(known, dentry, d_parent);
	dir_inode = READ(known, parent, d_inode);
	if (!dir_inode)
		return 0;
	/* A directory and what is in it are of one device, on btrfs of one subvolume. */
	dir = (struct write_key){.dev = key->dev, .ino = READ(known, dir_inode, i_ino)};
	if (!maybe_known(&dir) || !bpf_map_lookup_elem(&dirs, &dir))
		return 0;
	if (stale && bpf_map_delete_elem(&watch, key) == 0)
		filter_add(key, -1);
	if (!slot_take(&index)) {
		refuse();
		return 0;
	}
	slot = bpf_map_lookup_elem(&slots, &index);
	if (!slot)
		return 0;
	slot_label(slot, inode, dentry, reach, rung, key, &dir);
	filter_add(key, 1);
	if (bpf_map_update_elem(&watch, key, &index, BPF_NOEXIST) == 0) {
		*ret_index = index;
		tell(WRITE_RECORD_ENROLLED, index);
		return slot;
	}
	filter_add(key, -1);
	slot->rung = WRITE_RUNG_NONE;
	slot->flags = 0; /* or its gen would be taken for that of the next file */
	slot->gen = 0;
	slot->name[0] = 0;
	bpf_map_push_elem(&unused, &index, 0);
	slot = slot_of(inode, reach, key, ret_index, &other);
	if (!slot)
		refuse();
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

/* One record until user space has looked: it sets woken back before it looks. */
static __always_inline void wake(struct write_slot *slot, __u32 index)
{
	__u64 threshold = slot->threshold, collected = slot->collected;
	__u64 unread = slot->cuts + slot->size - collected;

	if (!threshold || slot->woken || ((__s64)unread >= 0 && unread < threshold))
		return;
	if (__sync_val_compare_and_swap(&slot->woken, 0, 1) == 0)
		tell(WRITE_RECORD_WAKE, index);
}

static __always_inline void slot_count(struct write_slot *slot, __u32 index, struct inode *inode,
				       bool known, __u64 bytes)
{
	slot->last_ns = bpf_ktime_get_ns();
	__sync_fetch_and_add(&slot->bytes, bytes);
	size_store(slot, inode, known);
	__sync_fetch_and_add(&slot->calls, 1);
	wake(slot, index);
}

/* The slot in which this rung counts file; NULL when it is not watched or another rung counts. */
static __always_inline struct write_slot *slot_get(struct file *file, struct inode *inode,
						   enum reach reach, __u32 rung, __u32 *ret_index)
{
	struct write_key key = inode_key(inode, reach);
	struct write_slot *slot;
	bool stale;

	slot = slot_of(inode, reach, &key, ret_index, &stale);
	if (!slot)
		slot = slot_enrol(READ(reach == DIRECT, file, f_path.dentry), inode, reach, rung,
				  &key, stale, ret_index);
	if (!slot)
		return 0;
	if (slot->rung == WRITE_RUNG_FIRST)
		__sync_val_compare_and_swap(&slot->rung, WRITE_RUNG_FIRST, rung);
	return slot->rung == rung ? slot : 0;
}

static __always_inline void write_count(struct file *file, enum reach reach, __u32 rung, __s64 ret)
{
	struct write_slot *slot;
	struct inode *inode;
	__u32 index = 0;

	if (ret <= 0)
		return;
	inode = READ(reach == DIRECT, file, f_inode);
	slot = slot_get(file, inode, reach, rung, &index);
	if (slot)
		slot_count(slot, index, inode, reach == DIRECT, ret);
}

#endif
