/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events only say when to look; what counts is what stat(2) says of the file. So names in events
 * need not be understood: an editor renames a new file over the old one, a ConfigMap renames a link
 * called ..data, two directories above the file, and neither leaves an event with the file's name.
 *
 *   /etc/hotdrain/config.yaml -> ..data/config.yaml     watched: /etc/hotdrain
 *   /etc/hotdrain/..data -> ..2026_11_21                         /etc/hotdrain/..2026_11_21
 *
 * What happens where nobody watches (a link in the middle of a long chain) is found by the slow
 * look that the caller takes anyway.
 *
 * Rejected: a watch on the file (it stays with the old one), the tree's inotify instance (a
 * directory that is in both would have one watch, and lose it with the first to leave).
 */
#include "config_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "base/sys.h"

#define DIR_MASK                                                                                 \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE_SELF | \
	 IN_MOVE_SELF | IN_ATTRIB | IN_ONLYDIR)

struct config_watch {
	char *path;
	int fd, wds[2];   /* of the name's directory, and of that which it leads to */
	struct stat last; /* all zero: there was none */
};

static void watch_dir_of(struct config_watch *w, const char *path, int *wd)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 1;

	if (len >= sizeof(dir))
		return;
	memcpy(dir, slash ? path : ".", len);
	dir[len] = '\0';
	*wd = sys.inotify_add_watch(w->fd, len ? dir : "/", DIR_MASK);
}

/* The directories are other ones, perhaps, each time that something has changed. Adding a watch to
 * one that has it changes nothing. */
static void watch_again(struct config_watch *w)
{
	_cleanup_free_ char *real = realpath(w->path, NULL);
	int was[2] = {w->wds[0], w->wds[1]};

	if (w->fd < 0)
		return;
	watch_dir_of(w, w->path, &w->wds[0]);
	if (real)
		watch_dir_of(w, real, &w->wds[1]);
	for (int i = 0; i < 2; i++)
		if (was[i] >= 0 && was[i] != w->wds[0] && was[i] != w->wds[1])
			sys.inotify_rm_watch(w->fd, was[i]);
}

static void look(const struct config_watch *w, struct stat *ret_st)
{
	if (stat(w->path, ret_st) < 0)
		*ret_st = (struct stat){};
}

int config_watch_new(const char *path, struct config_watch **ret_watch)
{
	struct config_watch *w = calloc(1, sizeof(*w));

	if (w)
		w->path = strdup(path);
	if (!w || !w->path) {
		free(w);
		return -ENOMEM;
	}
	w->wds[0] = w->wds[1] = -1;
	w->fd = sys.inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	watch_again(w);
	look(w, &w->last);
	*ret_watch = w;
	return 0;
}

void config_watch_free(struct config_watch *w)
{
	if (!w)
		return;
	close_fd(&w->fd);
	free(w->path);
	free(w);
}

int config_watch_fd(const struct config_watch *w)
{
	return w->fd;
}

void config_watch_clear(struct config_watch *w)
{
	char events[4096];

	while (sys.read(w->fd, events, sizeof(events)) > 0)
		;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

bool config_watch_changed(struct config_watch *w)
{
	struct stat was = w->last;

	watch_again(w); /* before looking: what comes later has its event */
	look(w, &w->last);
	return w->last.st_dev != was.st_dev || w->last.st_ino != was.st_ino ||
	       w->last.st_size != was.st_size || !same_time(&w->last.st_mtim, &was.st_mtim) ||
	       !same_time(&w->last.st_ctim, &was.st_ctim);
}
