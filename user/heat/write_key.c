// SPDX-License-Identifier: Apache-2.0
/*
 * The kernel half sees an inode as (s_dev, i_ino). User space has three views of it:
 *
 *   fstat                st_dev, st_ino: unique, but filesystems may make them up (btrfs gives each
 *                        subvolume its own st_dev, overlay the one of the layer)
 *   fdinfo/N             "ino:" is i_ino (Linux 5.15 on), "mnt_id:" the mount
 *   mountinfo            mount -> s_dev as major:minor (proc(5))
 *
 * The last two are the key. It is taken only where it equals what fstat says, because fstat's pair
 * is the one a filesystem promises to be unique; so no list of filesystem names is needed, and a
 * mount id that was given to another mount since we read the table cannot mislead.
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
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/buf.h"
#include "base/sys.h"

struct mount_dev {
	int id;
	uint32_t dev;
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

void write_keys_free(struct write_keys *keys)
{
	if (!keys)
		return;
	close_fd(&keys->mountinfo);
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

/* A line is "ID PARENT MAJOR:MINOR ROOT ..."; see proc(5). */
static int mounts_parse(struct write_keys *keys, const char *text)
{
	keys->n = 0;
	for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		unsigned int maj, min;
		int id, r;

		if (sscanf(line, "%d %*d %u:%u", &id, &maj, &min) != 3)
			continue;
		r = mounts_add(keys, (struct mount_dev){.id = id, .dev = dev_encode(maj, min)});
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

static bool mount_is(const struct write_keys *keys, int id, uint32_t dev)
{
	struct mount_dev key = {.id = id}, *found;

	if (!keys->n)
		return false;
	found = bsearch(&key, keys->mounts, keys->n, sizeof(key), mount_cmp);
	return found && found->dev == dev;
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

int write_key_of(struct write_keys *keys, int fd, struct write_key *ret_key, uint64_t *ret_size)
{
	struct fd_info info = {};
	struct stat st;
	uint32_t dev;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	if (fd_info_read(fd, &info) < 0)
		return -ENODATA;
	/* Before 5.15 there is no "ino:". Where st_dev is the mount's own, st_ino is i_ino on every
	 * filesystem with 64-bit inode numbers. */
	if (info.has_ino && info.ino != st.st_ino)
		return -ENODATA;
	dev = write_key_dev(st.st_dev);
	if (!mount_is(keys, info.mnt_id, dev) &&
	    (!mounts_refresh(keys) || !mount_is(keys, info.mnt_id, dev)))
		return -ENODATA;
	*ret_key = (struct write_key){.dev = dev, .ino = st.st_ino};
	*ret_size = (uint64_t)st.st_size;
	return 0;
}
