// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel half sees an inode as (s_dev, i_ino); on btrfs, whose subvolumes share one s_dev and
 * number their inodes alike, as (the subvolume's device, i_ino), which is what fstat says. User
 * space has three views of it:
 *
 *   fstat                st_dev, st_ino: unique, but filesystems may make them up (btrfs gives each
 *                        subvolume its own st_dev, overlay the one of the layer)
 *   fdinfo/N             "ino:" is i_ino (Linux 5.15 on), "mnt_id:" the mount
 *   mountinfo            mount -> s_dev as major:minor (proc(5))
 *
 * The last two are the key. It is taken only where it equals what fstat says, because fstat's pair
 * is the one a filesystem promises to be unique; so a mount id that was given to another mount
 * since we read the table cannot mislead.
 *
 * Linux 5.8 and later name the mount in statx as well. On the filesystems that are known to show
 * their own numbers (tmpfs, ext4, xfs) that is enough, in one call instead of four.
 *
 * A write to a file on an overlay ends in the filesystem of the upper directory, which the mount
 * table names. The file there is known to be the same by its size and times, as neither path nor
 * inode number are promised to agree.
 *
 * The mount table can be long, so it is kept, sorted, and read again only when an id is unknown or
 * the pair differs, and poll says that the table has changed since.
 *
 * Rejected: a key from fstat alone (wrong where st_dev is made up), name_to_handle_at (says nothing
 * about s_dev), a BPF iterator over our own descriptors (needs the privileges that may be missing).
 */
#include "heat/write_key.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/buf.h"
#include "base/sys.h"

struct mount_dev {
	int id;
	uint32_t dev;
	enum write_fs fs;
	char *at, *root, *upper; /* of an overlay: mount point, what of it is mounted, upperdir */
};

struct write_keys {
	int mountinfo; /* kept open: poll on it tells of changes; -1 before the first use */
	struct mount_dev *mounts; /* by id */
	size_t n, cap;
};

struct fd_info {
	int mnt_id;
	bool has_ino;
	uint64_t ino;
};

int write_keys_new(struct write_keys **ret_keys)
{
	struct write_keys *keys = calloc(1, sizeof(*keys));

	if (!keys)
		return -ENOMEM;
	keys->mountinfo = -1;
	*ret_keys = keys;
	return 0;
}

static void mounts_forget(struct write_keys *keys)
{
	for (size_t i = 0; i < keys->n; i++) {
		free(keys->mounts[i].at);
		free(keys->mounts[i].root);
		free(keys->mounts[i].upper);
	}
	keys->n = 0;
}

void write_keys_free(struct write_keys *keys)
{
	if (!keys)
		return;
	close_fd(&keys->mountinfo);
	mounts_forget(keys);
	free(keys->mounts);
	free(keys);
}

static uint32_t dev_encode(unsigned int maj, unsigned int min)
{
	return maj << 20 | min;
}

uint32_t write_key_dev(uint64_t st_dev)
{
	return dev_encode(major(st_dev), minor(st_dev));
}

static int mount_cmp(const void *a, const void *b)
{
	const struct mount_dev *ma = a, *mb = b;

	return (ma->id > mb->id) - (ma->id < mb->id);
}

static int mounts_add(struct write_keys *keys, struct mount_dev mount)
{
	if (keys->n == keys->cap) {
		size_t cap = keys->cap ? keys->cap * 2 : 64;
		struct mount_dev *mounts = reallocarray(keys->mounts, cap, sizeof(*mounts));

		if (!mounts)
			return -ENOMEM;
		keys->mounts = mounts;
		keys->cap = cap;
	}
	keys->mounts[keys->n++] = mount;
	return 0;
}

static int file_read(int fd, struct buf *b)
{
	for (;;) {
		ssize_t n;
		int r = buf_reserve(b, 16384);

		if (r < 0)
			return r;
		n = read(fd, b->data + b->len, b->cap - b->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		b->data[b->len += (size_t)n] = '\0';
		if (n == 0)
			return 0;
	}
}

static enum write_fs fs_named(const char *name, size_t len)
{
	static const char *const names[] = {[WRITE_FS_TMPFS] = "tmpfs",
					    [WRITE_FS_EXT4] = "ext4",
					    [WRITE_FS_XFS] = "xfs",
					    [WRITE_FS_BTRFS] = "btrfs",
					    [WRITE_FS_OVERLAY] = "overlay"};

	for (size_t i = WRITE_FS_TMPFS; i < ARRAY_SIZE(names); i++)
		if (strlen(names[i]) == len && strncmp(name, names[i], len) == 0)
			return (enum write_fs)i;
	return WRITE_FS_OTHER;
}

/* A field up to a space, a comma or the end, with its \ooo as bytes. NULL: no memory. */
static char *unescape(const char *text)
{
	char *out = strndup(text, strcspn(text, " ,\n")), *to = out;
	unsigned int byte;

	for (const char *from = out; out && *from; to++) {
		if (*from == '\\' && sscanf(from + 1, "%3o", &byte) == 1) {
			*to = (char)byte;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	if (out)
		*to = '\0';
	return out;
}

/* What an overlay's line says beyond the rest. Without it its files have no real inode. */
static void overlay_parse(struct mount_dev *m, const char *root, const char *options, size_t len)
{
	const char *at = strchr(root, ' ');
	const char *upper = memmem(options, len, "upperdir=", 9);

	if (!at || !upper)
		return;
	m->root = unescape(root);
	m->at = unescape(at + 1);
	m->upper = unescape(upper + 9);
}

/* A line is "ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD..] - TYPE SOURCE OPTIONS"; proc(5). */
static int mounts_parse(struct write_keys *keys, const char *text)
{
	mounts_forget(keys);
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t len = strcspn(line, "\n");
		const char *type = memmem(line, len, " - ", 3);
		struct mount_dev m = {0};
		unsigned int maj, min;
		int r, root = 0;

		if (sscanf(line, "%d %*d %u:%u %n", &m.id, &maj, &min, &root) != 3 || !root)
			continue;
		m.dev = dev_encode(maj, min);
		m.fs = type ? fs_named(type + 3, strcspn(type + 3, " ")) : WRITE_FS_OTHER;
		if (m.fs == WRITE_FS_OVERLAY)
			overlay_parse(&m, line + root, type, (size_t)(line + len - type));
		r = mounts_add(keys, m);
		if (r < 0)
			return r;
	}
	qsort(keys->mounts, keys->n, sizeof(*keys->mounts), mount_cmp);
	return 0;
}

static int mounts_read(struct write_keys *keys)
{
	_cleanup_(buf_done) struct buf b = {};
	int r;

	if (lseek(keys->mountinfo, 0, SEEK_SET) < 0)
		return -errno;
	r = file_read(keys->mountinfo, &b);
	return r < 0 ? r : mounts_parse(keys, b.data);
}

/* Reads the table when it was never read or poll says it has changed; true when it was read. */
static bool mounts_refresh(struct write_keys *keys)
{
	struct pollfd p = {.events = POLLPRI};

	if (keys->mountinfo < 0) {
		keys->mountinfo = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
		return keys->mountinfo >= 0 && mounts_read(keys) == 0;
	}
	p.fd = keys->mountinfo;
	return poll(&p, 1, 0) > 0 && mounts_read(keys) == 0;
}

static const struct mount_dev *mount_of(const struct write_keys *keys, int id)
{
	struct mount_dev key = {.id = id};

	return keys->n ? bsearch(&key, keys->mounts, keys->n, sizeof(key), mount_cmp) : NULL;
}

static int fd_info_read(int fd, struct fd_info *ret_info)
{
	_cleanup_fd_ int info_fd = -1;
	struct fd_info info = {};
	char path[40], text[512]; /* the fields wanted come before any that repeat */
	const char *p;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info_fd = open(path, O_RDONLY | O_CLOEXEC);
	if (info_fd < 0)
		return -errno;
	n = read(info_fd, text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	p = strstr(text, "mnt_id:");
	if (!p || sscanf(p, "mnt_id: %d", &info.mnt_id) != 1)
		return -ENODATA;
	p = strstr(text, "\nino:");
	info.has_ino = p && sscanf(p, "\nino: %" SCNu64, &info.ino) == 1;
	*ret_info = info;
	return 0;
}

/* Is this mount what fd, of which fstat says st, was found on? */
static bool mount_is(const struct mount_dev *m, int fd, const struct stat *st)
{
	struct statfs fs;

	if (m && m->fs == WRITE_FS_BTRFS)
		return fstatfs(fd, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC;
	return m && m->dev == write_key_dev(st->st_dev);
}

static bool same_times(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* The file in the upper directory that fd, on overlay m, is; a descriptor or -ENODATA. */
static int overlay_open(const struct mount_dev *m, int fd)
{
	size_t at_len = m->at ? strlen(m->at) : 0;
	char link[40], path[PATH_MAX], real[PATH_MAX];
	struct stat st, upper;
	ssize_t n;
	int real_fd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (!m->at || !m->root || !m->upper || m->upper[0] != '/' || n <= 0)
		return -ENODATA;
	path[n] = '\0';
	if (at_len == 1)
		at_len = 0; /* the root */
	if (strncmp(path, m->at, at_len) != 0 || path[at_len] != '/' ||
	    snprintf(real, sizeof(real), "%s%s%s", m->upper, m->root, path + at_len) >=
		    (int)sizeof(real))
		return -ENODATA;
	real_fd = sys.open_plain(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	for (int tries = 0; real_fd >= 0 && tries < 10; tries++)
		if (fstat(fd, &st) == 0 && fstat(real_fd, &upper) == 0 && same_times(&st, &upper))
			return real_fd;
	close_fd(&real_fd);
	return -ENODATA;
}

static int overlay_real(struct write_keys *keys, const struct mount_dev *m, int fd,
			struct write_place *ret_place)
{
	_cleanup_fd_ int real_fd = overlay_open(m, fd);

	return real_fd < 0 ? -ENODATA : write_key_of(keys, real_fd, false, ret_place);
}

/* Where st_dev is the filesystem's own and st_ino is i_ino, one call tells all: 0, or -ENODATA
 * where it does not, and the long way is to be taken. */
static int key_at_once(struct write_keys *keys, int fd, struct write_place *ret_place)
{
	const struct mount_dev *m;
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_INO | STATX_SIZE | STATX_MNT_ID, &st) <
		    0 ||
	    !(st.stx_mask & STATX_MNT_ID) || (!S_ISREG(st.stx_mode) && !S_ISDIR(st.stx_mode)))
		return -ENODATA;
	m = mount_of(keys, (int)st.stx_mnt_id);
	if (!m || m->dev != dev_encode(st.stx_dev_major, st.stx_dev_minor) ||
	    (m->fs != WRITE_FS_TMPFS && m->fs != WRITE_FS_EXT4 && m->fs != WRITE_FS_XFS))
		return -ENODATA;
	*ret_place = (struct write_place){
		.key = {.dev = m->dev, .ino = st.stx_ino}, .fs = m->fs, .size = st.stx_size};
	return 0;
}

int write_key_of(struct write_keys *keys, int fd, bool real, struct write_place *ret_place)
{
	const struct mount_dev *m;
	struct fd_info info = {};
	struct stat st;

	if (key_at_once(keys, fd, ret_place) == 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return -EINVAL;
	if (fd_info_read(fd, &info) < 0)
		return -ENODATA;
	m = mount_of(keys, info.mnt_id);
	if (!mount_is(m, fd, &st) && mounts_refresh(keys))
		m = mount_of(keys, info.mnt_id);
	if (m && m->fs == WRITE_FS_OVERLAY && real)
		return overlay_real(keys, m, fd, ret_place);
	/* Before 5.15 there is no "ino:". Where st_dev is the mount's own, st_ino is i_ino on every
	 * filesystem with 64-bit inode numbers. */
	if (!mount_is(m, fd, &st) || (info.has_ino && info.ino != st.st_ino))
		return -ENODATA;
	*ret_place = (struct write_place){
		.key = {.dev = write_key_dev(st.st_dev), .ino = st.st_ino},
		.fs = m->fs,
		.size = (uint64_t)st.st_size,
	};
	return 0;
}
