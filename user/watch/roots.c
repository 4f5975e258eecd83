/* SPDX-License-Identifier: Apache-2.0 */
#include "watch/roots.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "watch/tree.h"

static bool below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

bool roots_allow(const struct roots *rs, const char *path)
{
	for (size_t i = 0; i < rs->n_allowed; i++)
		if (below(path, rs->allowed[i]))
			return true;
	for (size_t i = 0; i < rs->n; i++)
		if (rs->items[i].path && below(path, rs->items[i].path))
			return true;
	return false;
}

int root_find(struct root *r)
{
	_cleanup_free_ char *path = realpath(r->given, NULL);
	struct stat st;

	if (!path)
		return -errno;
	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (access(path, R_OK | X_OK) < 0)
		return -errno;
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	r->path = take_ptr(path);
	return 0;
}

bool root_is_there(const struct root *r)
{
	struct stat st;

	return sys.lstat(r->path, &st) == 0 && st.st_dev == r->dev && st.st_ino == r->ino;
}

static int allow(struct roots *rs, const char *dir)
{
	char **more = realloc(rs->allowed, (rs->n_allowed + 1) * sizeof(*more));
	char *path;

	if (!more)
		return -ENOMEM;
	rs->allowed = more;
	path = realpath(dir, NULL);
	if (path)
		rs->allowed[rs->n_allowed++] = path;
	return 0;
}

/* /var/log/containers holds links into /var/log/pods, beside it. */
static int allow_pods_beside(struct roots *rs, const struct root *r)
{
	char dir[PATH_MAX], *slash;

	if (!r->path)
		return 0;
	snprintf(dir, sizeof(dir), "%s", r->path);
	slash = strrchr(dir, '/');
	if (strcmp(slash, "/containers") != 0)
		return 0;
	snprintf(slash, sizeof(dir) - (size_t)(slash - dir), "/pods");
	return allow(rs, dir);
}

bool roots_cover(const struct roots *rs, const char *path)
{
	struct stat st;

	for (size_t i = 0; i < rs->n; i++)
		if (rs->items[i].path && below(path, rs->items[i].path))
			return true;
	for (size_t i = 0; i < rs->n_allowed; i++)
		if (below(path, rs->allowed[i]) && sys.lstat(rs->allowed[i], &st) == 0)
			return true;
	return false;
}

void link_first_step(const char *link, const char *final, char *out)
{
	char target[PATH_MAX];
	ssize_t n = readlink(link, target, sizeof(target) - 1);

	snprintf(out, PATH_MAX, "%s", link);
	if (n <= 0)
		return;
	target[n] = '\0';
	if (target[0] == '/' && strcmp(target, final) != 0)
		snprintf(out, PATH_MAX, "%s", target);
}

int roots_init(struct roots *rs, char *const *given, size_t n, char *const *links, size_t n_links,
	       char *why)
{
	int err = -ENOENT, r = 0;

	snprintf(why, TREE_WHY_MAX, "roots: %s", strerror(ENOMEM));
	rs->items = calloc(n, sizeof(*rs->items));
	if (!rs->items)
		return -ENOMEM;
	rs->n = n;
	rs->missing = (unsigned)n;
	for (size_t i = 0; i < n && r == 0; i++) {
		int missing;

		rs->items[i].given = strdup(given[i]);
		if (!rs->items[i].given)
			return -ENOMEM;
		missing = root_find(&rs->items[i]);
		if (missing < 0) {
			snprintf(why, TREE_WHY_MAX, "root %s: %s", given[i], strerror(-missing));
			err = n == 1 ? missing : log_warn(missing, "%s", why);
			continue;
		}
		rs->missing--;
		r = allow_pods_beside(rs, &rs->items[i]);
	}
	if (rs->missing == n && n > 1)
		snprintf(why, TREE_WHY_MAX, "none of the roots is there");
	if (rs->missing == n)
		return err;
	for (size_t i = 0; i < n_links && r == 0; i++)
		r = allow(rs, links[i]);
	if (r == 0)
		r = allow(rs, "/var/log/pods");
	if (r == 0)
		r = allow(rs, "/var/lib/docker/containers");
	return r;
}

void roots_done(struct roots *rs)
{
	for (size_t i = 0; i < rs->n; i++) {
		free(rs->items[i].given);
		free(rs->items[i].path);
	}
	free(rs->items);
	for (size_t i = 0; i < rs->n_allowed; i++)
		free(rs->allowed[i]);
	free(rs->allowed);
}
