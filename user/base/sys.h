/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The system calls of watch, drain, output and checkpoint go through one table, so that a test can
 * make the Nth of them fail (short reads and writes included). Everything else calls libc directly.
 *
 * Each entry has the signature, the return value and the errno of its namesake. Also here: the
 * cleanup attributes by which locals own descriptors and memory.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct sys {
	/* Opens a regular path that must not contain a symbolic link anywhere (openat2, else
	 * checked after the fact). Returns a descriptor or -1. */
	int (*open_plain)(const char *path, int flags);
	int (*open)(const char *path, int flags, mode_t mode);
	int (*close)(int fd);
	ssize_t (*pread)(int fd, void *buf, size_t n, off_t offset);
	ssize_t (*read)(int fd, void *buf, size_t n);
	ssize_t (*write)(int fd, const void *buf, size_t n);
	int (*fstat)(int fd, struct stat *st);
	int (*lstat)(const char *path, struct stat *st);
	/* When the object was made, ns since 1970; 0 where the filesystem does not keep it. With
	 * path "" it is fd itself, else fd is AT_FDCWD and a symbolic link is not followed. 0 or -1
	 * (statx(2)). */
	int (*birth)(int fd, const char *path, int64_t *ret_ns);
	off_t (*lseek)(int fd, off_t offset, int whence);
	int (*fsync)(int fd);
	int (*rename)(const char *from, const char *to);
	int (*mkdir)(const char *path, mode_t mode);
	int (*flock)(int fd, int operation);
	int (*inotify_init1)(int flags);
	int (*inotify_add_watch)(int fd, const char *path, uint32_t mask);
	int (*inotify_rm_watch)(int fd, int wd);
};
extern struct sys sys;

static inline void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static inline void free_ptr(void *p)
{
	free(*(void **)p);
	*(void **)p = NULL;
}

#define _cleanup_(f)   __attribute__((cleanup(f)))
#define _cleanup_fd_   _cleanup_(close_fd)
#define _cleanup_free_ _cleanup_(free_ptr)
#define take_ptr(p)                         \
	({                                  \
		__typeof__(p) taken_ = (p); \
		(p) = NULL;                 \
		taken_;                     \
	})
#define take_fd(fd)                \
	({                         \
		int taken_ = (fd); \
		(fd) = -1;         \
		taken_;            \
	})
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ < b_ ? a_ : b_;      \
	})
#define MAX(a, b)                       \
	({                              \
		__typeof__(a) a_ = (a); \
		__typeof__(b) b_ = (b); \
		a_ > b_ ? a_ : b_;      \
	})

#endif
