/* SPDX-License-Identifier: Apache-2.0 */
/*
 * open_plain keeps every open inside the roots: the caller's path is canonical (made of a resolved
 * root and names read from directories), so if no component is a symbolic link now, it leads where
 * it says. openat2(RESOLVE_NO_SYMLINKS) checks that without a race (Linux 5.6). Where it is missing
 * or a seccomp filter refuses it, the descriptor's own path is compared instead.
 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/syscall.h>

static int open_checked(const char *path, int flags)
{
	char link[64], real[PATH_MAX];
	_cleanup_fd_ int fd = open(path, flags | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return -1;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, real, sizeof(real));
	if (n < 0)
		return -1;
	if ((size_t)n != strlen(path) || memcmp(real, path, (size_t)n) != 0) {
		errno = ELOOP;
		return -1;
	}
	return take_fd(fd);
}

static int open_plain(const char *path, int flags)
{
	struct open_how how = {.flags = (uint64_t)(unsigned)flags, .resolve = RESOLVE_NO_SYMLINKS};
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, path, &how, sizeof(how));

	if (fd < 0 && errno == EPERM && (flags & O_NOATIME)) /* another user's file */
		return open_plain(path, flags & ~O_NOATIME);
	if (fd < 0 && (errno == ENOSYS || errno == EPERM))
		return open_checked(path, flags & ~O_NOATIME);
	return fd;
}

static int open_mode(const char *path, int flags, mode_t mode)
{
	return open(path, flags, mode);
}

static int birth(int fd, const char *path, int64_t *ret_ns)
{
	struct statx sx;

	if (statx(fd, path, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, STATX_BTIME, &sx) < 0)
		return -1;
	*ret_ns = sx.stx_mask & STATX_BTIME
			  ? sx.stx_btime.tv_sec * INT64_C(1000000000) + sx.stx_btime.tv_nsec
			  : 0;
	return 0;
}

struct sys sys = {
	.open_plain = open_plain,
	.open = open_mode,
	.close = close,
	.pread = pread,
	.read = read,
	.write = write,
	.fstat = fstat,
	.lstat = lstat,
	.birth = birth,
	.lseek = lseek,
	.fsync = fsync,
	.rename = rename,
	.mkdir = mkdir,
	.flock = flock,
	.inotify_init1 = inotify_init1,
	.inotify_add_watch = inotify_add_watch,
	.inotify_rm_watch = inotify_rm_watch,
};
