/* SPDX-License-Identifier: Apache-2.0 */
/* From an open descriptor to the (s_dev, i_ino) by which the kernel half knows its inode. */
#ifndef HEAT_WRITE_KEY_H
#define HEAT_WRITE_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "../bpf/write_count.h"

struct write_keys;

enum write_fs {
	WRITE_FS_OTHER,
	WRITE_FS_TMPFS,
	WRITE_FS_EXT4,
	WRITE_FS_XFS,
	WRITE_FS_BTRFS,
	WRITE_FS_OVERLAY,
};

struct write_place {
	struct write_key key;
	enum write_fs fs;
	uint64_t size;
};

int write_keys_new(struct write_keys **ret_keys); /* 0 or -ENOMEM */
void write_keys_free(struct write_keys *keys);    /* NULL is fine */

/*
 * 0 and where the regular file or directory fd is counted; -EINVAL when it is neither; -ENODATA
 * when the key is not known (no /proc, a mount that is not ours to see) or not unique; another
 * -errno of fstat. One system call (statx) on tmpfs, ext4 and xfs, else five; one read of the
 * mount table for each time it has changed.
 *
 * On btrfs the key's device is the subvolume's own. real: a file on an overlay is looked for in its
 * upper directory, and key and filesystem are those of the inode that is written to; without it an
 * overlay has a key of its own, where that is unique.
 */
int write_key_of(struct write_keys *keys, int fd, bool real, struct write_place *ret_place);

/* stat's st_dev as the kernel stores it. */
uint32_t write_key_dev(uint64_t st_dev);

#endif
