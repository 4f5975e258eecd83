/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/top_dirs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/list.h"
#include "base/sys.h"
#include "heat/write_told.h"

struct dir_key {
	uint64_t dev, ino; /* no padding */
};

struct dir {
	struct table_node by_path, by_id;
	struct dir_key key;
	struct write_id id;
};

static void dir_forget(struct top_dirs *ds, struct dir *d)
{
	table_del(&ds->by_path, &d->by_path);
	table_del(&ds->by_id, &d->by_id);
	free(d);
}

static struct dir *dir_at(const struct top_dirs *ds, const char *path)
{
	struct table_node *n = table_get(&ds->by_path, path, strlen(path));

	return n ? container_of(n, struct dir, by_path) : NULL;
}

static bool is_dir(const struct dir *d, int fd)
{
	struct stat st;

	return sys.fstat(fd, &st) == 0 && d->id.ino == st.st_ino &&
	       makedev(d->id.dev >> 20, d->id.dev & 0xfffff) == st.st_dev;
}

/* A directory that was moved is added at its new path before it is removed at the old one, which
 * must not end its counting: the older entry is forgotten. */
void top_dirs_add(struct top_dirs *ds, const char *path, int fd)
{
	struct dir *d = dir_at(ds, path);
	struct table_node *other;
	struct write_id id;

	if (d && is_dir(d, fd))
		return;
	if (d)
		top_dirs_remove(ds, path);
	if (write_count_add_dir(ds->wc, fd, &id) < 0)
		return;
	d = calloc(1, sizeof(*d));
	if (!d)
		return;
	d->id = id;
	d->key = (struct dir_key){.dev = id.dev, .ino = id.ino};
	other = table_get(&ds->by_id, &d->key, sizeof(d->key));
	if (other)
		dir_forget(ds, container_of(other, struct dir, by_id));
	if (table_add(&ds->by_path, &d->by_path, path, strlen(path)) < 0 ||
	    table_add(&ds->by_id, &d->by_id, &d->key, sizeof(d->key)) < 0)
		dir_forget(ds, d);
}

void top_dirs_remove(struct top_dirs *ds, const char *path)
{
	struct dir *d = dir_at(ds, path);

	if (!d)
		return;
	write_count_del_dir(ds->wc, &d->id);
	dir_forget(ds, d);
}

void top_dirs_done(struct top_dirs *ds)
{
	struct table_node *n;

	while ((n = table_walk(&ds->by_path, NULL)))
		dir_forget(ds, container_of(n, struct dir, by_path));
	table_done(&ds->by_path);
	table_done(&ds->by_id);
}
