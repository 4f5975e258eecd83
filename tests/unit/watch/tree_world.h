/* SPDX-License-Identifier: Apache-2.0 */
/* A tree with its real inotify, and what it reported: shared by the tests of the tree. */
#ifndef TREE_WORLD_H
#define TREE_WORLD_H

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "event/event.h"
#include "event/event_queue.h"
#include "watch/tree.h"
#include "watch/watch.h"

struct world {
	char *dir;
	struct event_queue *queue;
	struct watch *watch;
	struct tree *tree;
	char names[200][160]; /* reported and not gone since */
	unsigned n, touched, overflows, vanished, born, written;
	char dirs[100][160];
	unsigned n_dirs, dirs_listed;
	char last_vanished[160], from[160];
	char alias[160];
	const char *rotating; /* is rotated when it is found: to this with .1 behind it */
	bool in_start;
	unsigned old, unfollowed; /* files found while a root was added; calls */
};

static inline void forget(struct world *w, const char *path, size_t len)
{
	for (unsigned i = 0; i < w->n; i++)
		if (strncmp(w->names[i], path, len) == 0 &&
		    (w->names[i][len] == '\0' || w->names[i][len] == '/'))
			memmove(w->names[i--], w->names[--w->n], sizeof(w->names[0]));
}

static inline void found(void *ctx, const char *path, const char *alias)
{
	struct world *w = ctx;

	forget(w, path, strlen(path));
	snprintf(w->names[w->n++], sizeof(w->names[0]), "%s", path);
	snprintf(w->alias, sizeof(w->alias), "%s", alias ? alias : "");
	w->old += w->in_start;
	if (w->rotating && strcmp(path, w->rotating) == 0) {
		char rotated[160];

		w->rotating = NULL;
		snprintf(rotated, sizeof(rotated), "%s.1", path);
		assert_int_equal(rename(path, rotated), 0);
		test_write(path, "w", "new");
	}
}

static inline void starting(void *ctx, bool begin)
{
	((struct world *)ctx)->in_start = begin;
}

static inline void unfollowed(void *ctx)
{
	((struct world *)ctx)->unfollowed++;
}

static inline void gone(void *ctx, const char *path)
{
	forget(ctx, path, strlen(path));
}

static inline void vanished(void *ctx, const char *path)
{
	struct world *w = ctx;

	w->vanished++;
	snprintf(w->last_vanished, sizeof(w->last_vanished), "%s", path);
}

static inline void born(void *ctx, const char *path, const char *from)
{
	struct world *w = ctx;

	w->born++;
	snprintf(w->from, sizeof(w->from), "%s", from ? from : "");
	found(ctx, path, NULL);
}

static inline void written(void *ctx, const char *path)
{
	struct world *w = ctx;

	w->written++;
	found(ctx, path, NULL);
}

static inline void forget_dir(struct world *w, const char *path)
{
	for (unsigned i = 0; i < w->n_dirs; i++)
		if (strcmp(w->dirs[i], path) == 0)
			memmove(w->dirs[i--], w->dirs[--w->n_dirs], sizeof(w->dirs[0]));
}

static inline void dir_removed(void *ctx, const char *path)
{
	struct world *w = ctx;

	assert_ptr_equal(*tree_tag(w->tree, path), w);
	forget_dir(w, path);
}

static inline void dir_added(void *ctx, const char *path, int fd)
{
	struct world *w = ctx;
	void **tag = tree_tag(w->tree, path);
	struct stat there, st;

	assert_true(!*tag || *tag == w);
	*tag = w;

	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(stat(path, &there), 0);
	assert_int_equal(st.st_ino, there.st_ino);
	forget_dir(w, path);
	w->dirs_listed++;
	if (w->n_dirs < ARRAY_SIZE(w->dirs))
		snprintf(w->dirs[w->n_dirs++], sizeof(w->dirs[0]), "%s", path);
}

static inline int on_flush(void *ctx, struct event *events, size_t n)
{
	struct world *w = ctx;

	for (size_t i = 0; i < n; i++) {
		if (events[i].type == EVENT_CONTROL) {
			w->overflows++;
			tree_rescan(w->tree);
		} else if (!tree_event(w->tree, &events[i])) {
			w->touched += (events[i].action & (FILE_WRITTEN | FILE_CLOSED)) != 0;
		}
	}
	return 0;
}

static inline void settle(struct world *w)
{
	struct pollfd fd = {event_queue_fd(w->queue), POLLIN, 0};

	while (poll(&fd, 1, 100) == 1)
		event_queue_flush(w->queue);
}

/* A round of directories without a watch, however many turns of the tree it takes. */
static inline void relist(struct world *w, int64_t now_ns)
{
	for (int i = 0; i < 49; i++)
		tree_turn(w->tree, now_ns + i * 100 * NS_PER_MS);
}

static inline void start_roots(struct world *w, char *const *roots, size_t n)
{
	struct event_queue_options q = {.capacity = 4096, .ctx = w, .on_flush = on_flush};
	struct tree_hooks hooks = {.ctx = w,
				   .found = found,
				   .born = born,
				   .written = written,
				   .dir_added = dir_added,
				   .dir_removed = dir_removed,
				   .vanished = vanished,
				   .gone = gone,
				   .gone_below = gone,
				   .starting = starting,
				   .unfollowed = unfollowed};

	assert_int_equal(event_queue_new(&q, &w->queue), 0);
	assert_int_equal(watch_new(w->queue, &w->watch), 0);
	assert_int_equal(tree_new(w->watch, roots, n, NULL, 0, &hooks, &w->tree), 0);
	tree_scan(w->tree);
}

static inline void start(struct world *w, const char *root)
{
	char path[160], *roots[1] = {path};

	snprintf(path, sizeof(path), "%s%s", w->dir, root);
	start_roots(w, roots, 1);
}

static struct sys whole; /* before any test puts its own calls there */

static inline int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	log_set_level(LOG_ERR);
	whole = sys;
	w->dir = test_dir_make();
	*state = w;
	return 0;
}

static inline int teardown(void **state)
{
	struct world *w = *state;

	sys = whole;
	if (w->queue)
		event_queue_cancel(w->queue);
	tree_free(w->tree);
	watch_free(w->watch);
	event_queue_free(w->queue);
	test_dir_remove(w->dir);
	free(w);
	return 0;
}

static inline void run(struct world *w, const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd '%s' && { %s; }", w->dir, command);
	assert_int_equal(system(line), 0);
}

static inline bool has(const struct world *w, const char *name)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/%s", w->dir, name);
	for (unsigned i = 0; i < w->n; i++)
		if (strcmp(w->names[i], path) == 0)
			return true;
	return false;
}

#endif
