/* SPDX-License-Identifier: Apache-2.0 */
/* From an open descriptor to the (s_dev, i_ino) by which the kernel half knows its inode. */
#ifndef HEAT_WRITE_KEY_H
#define HEAT_WRITE_KEY_H

#include <stdint.h>

#include "../bpf/write_count.h"

struct write_keys;

int write_keys_new(struct write_keys **ret_keys); /* 0 or -ENOMEM */
void write_keys_free(struct write_keys *keys);    /* NULL is fine */

/*
 * 0 and the key and size of the regular file fd; -EINVAL when it is not a regular file; -ENODATA
 * when the key is not known (no /proc, a mount that is not ours to see) or not unique (btrfs,
 * overlays across filesystems); another -errno of fstat. Four system calls, one read of the mount
 * table for each time it has changed.
 */
int write_key_of(struct write_keys *keys, int fd, struct write_key *ret_key, uint64_t *ret_size);

/* stat's st_dev as the kernel stores it. */
uint32_t write_key_dev(uint64_t st_dev);

#endif
