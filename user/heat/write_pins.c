// SPDX-License-Identifier: Apache-2.0
#include "heat/write_pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/sys.h"

struct write_pins {
	int fd; /* of the directory: the lock */
	char dir[];
};

int write_pins_open(const char *dir, struct write_pins **ret_pins)
{
	size_t len = strlen(dir) + 1;
	struct write_pins *pins;
	bool made = mkdir(dir, 0700) == 0;
	struct statfs fs;
	int r = 0;

	if (!made && errno != EEXIST)
		return -errno;
	pins = calloc(1, sizeof(*pins) + len);
	if (!pins)
		return -ENOMEM;
	memcpy(pins->dir, dir, len);
	pins->fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (pins->fd < 0 || fstatfs(pins->fd, &fs) < 0)
		r = -errno;
	else if (fs.f_type != BPF_FS_MAGIC)
		r = -EMEDIUMTYPE;
	else if (flock(pins->fd, LOCK_EX | LOCK_NB) < 0)
		r = errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (r < 0) {
		if (made)
			rmdir(dir);
		write_pins_close(pins);
		return r;
	}
	*ret_pins = pins;
	return 0;
}

void write_pins_close(struct write_pins *pins)
{
	if (!pins)
		return;
	close_fd(&pins->fd);
	free(pins);
}

const char *write_pins_dir(const struct write_pins *pins)
{
	return pins->dir;
}

void write_pins_path(const struct write_pins *pins, const char *kind, const char *name, int n,
		     char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s-%s-%d", pins->dir, kind, name, n);
}

int write_pins_get(struct write_pins *pins, const char *kind, const char *name, int n)
{
	char path[PATH_MAX];
	int fd;

	write_pins_path(pins, kind, name, n, path);
	fd = bpf_obj_get(path);
	return fd < 0 ? -errno : fd;
}

int write_pins_put(struct write_pins *pins, int fd, const char *kind, const char *name, int n)
{
	char path[PATH_MAX];

	write_pins_path(pins, kind, name, n, path);
	return bpf_obj_pin(fd, path) < 0 ? -errno : 0;
}

static bool is_pin(const char *name)
{
	return strncmp(name, "map-", 4) == 0 || strncmp(name, "prog-", 5) == 0 ||
	       strncmp(name, "link-", 5) == 0;
}

int write_pins_clear(struct write_pins *pins)
{
	DIR *d = opendir(pins->dir);
	struct dirent *e;
	int n = 0, r = 0;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		if (!is_pin(e->d_name))
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			r = -errno;
		else
			n++;
	}
	closedir(d);
	return r < 0 ? r : n;
}
