/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The watched directories: everything below the roots at any depth, and the directories that
 * symbolic links found there lead to (as far as they lie inside the allowed roots). Turns names
 * that come and go into calls of its hooks. Belongs to the event loop; nothing here is an error
 * that ends the program.
 *
 * Each directory is listed after its watch is in place; what is found twice is reported twice, and
 * who is told must recognise the inode. A directory that got no watch (ENOSPC) is listed again
 * every second, or as often as half of the time allows; a root that vanished is looked for every
 * half second.
 */
#ifndef WATCH_TREE_H
#define WATCH_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_WHY_MAX 512

struct event;
struct roots;
struct tree;
struct watch;

struct tree_hooks {
	void *ctx;
	/* There may be a file called path (canonical). alias: the symbolic link it was reached by,
	 * or where that led in its first step; else NULL. */
	void (*found)(void *ctx, const char *path, const char *alias);
	/* As found, by an event of its own, not by listing: from is the name that it had before if
	 * it was renamed within the tree, else NULL. May be NULL: then found. */
	void (*born)(void *ctx, const char *path, const char *from);
	/* As found, by tree_look: if it was new, an event of its birth may be still to come. May be
	 * NULL: then found. */
	void (*written)(void *ctx, const char *path);
	/* The directory path, open as fd, is about to be listed, for the first time or again,
	 * whether it got a watch or not; and it is not known by that path any more. In between path
	 * stays where it is, and tree_tag is not NULL. May be NULL. */
	void (*dir_added)(void *ctx, const char *path, int fd);
	void (*dir_removed)(void *ctx, const char *path);
	/* A directory was gone before it could be looked into. */
	void (*vanished)(void *ctx, const char *path);
	/* The name path is gone, or leads to something else. */
	void (*gone)(void *ctx, const char *path);
	/* Every name below this directory is gone: it was moved away or its events were lost. */
	void (*gone_below)(void *ctx, const char *dir);
	/* What is found from here on, until it is called with false, was there before its root was
	 * followed. Then unfollowed: of some directories nothing is told any more (see tree_wants).
	 * May be NULL. */
	void (*starting)(void *ctx, bool begin);
	void (*unfollowed)(void *ctx);
	/* Between two directories of tree_scan: not for changing the tree. May be NULL. */
	void (*between)(void *ctx);
};

struct tree_stats {
	unsigned dirs, unwatched; /* unwatched: without a watch, listed again and again */
	unsigned roots_missing;
	uint64_t rescans, links_refused;
};

/*
 * roots: as the user gave them; at least one must be a directory that can be opened, else -errno.
 * One line in the log for each that is not; it is waited for. links: further directories that links
 * may lead into; /var/log/pods, /var/lib/docker/containers and, for a root X/containers, X/pods
 * always count.
 */
int tree_new(struct watch *w, char *const *roots, size_t n_roots, char *const *links,
	     size_t n_links, const struct tree_hooks *hooks, struct tree **ret_tree);
void tree_free(struct tree *t);
/*
 * Other roots and links. tree_prepare finds them and changes nothing: 0, or -errno and why
 * (TREE_WHY_MAX bytes). tree_change takes *ret_roots over; tree_prepare_free: it is not wanted.
 * What only the old roots led to is not followed any more; what both lead to keeps its watch.
 */
int tree_prepare(char *const *roots, size_t n_roots, char *const *links, size_t n_links,
		 struct roots **ret_roots, char *why);
void tree_prepare_free(struct roots *rs);
void tree_change(struct tree *t, struct roots *rs);
/* Lists the roots for the first time. */
void tree_scan(struct tree *t);
/* A file event of the read loop. True when its watch is a directory's (and it is dealt with). */
bool tree_event(struct tree *t, const struct event *e);
/* Somebody has written to a file called name in dir, which is known: finds it by that name, or,
 * when that is empty or not there, by listing dir: then true. */
bool tree_look(struct tree *t, const char *dir, const char *name);
/* Is a file called path reported if it is there? Not in a directory that is not known. */
bool tree_wants(const struct tree *t, const char *path);
/* What a follower keeps of a directory, NULL to begin with. Returns NULL: it is not known. */
void **tree_tag(const struct tree *t, const char *dir);
/* Lists everything again, after an overflow. */
void tree_rescan(struct tree *t);
/* Some directory could not be opened only a moment ago. */
bool tree_settling(const struct tree *t);
/* Retries what is missing. When to call again: at the time returned at the latest. */
int64_t tree_turn(struct tree *t, int64_t now_ns);
int64_t tree_next_ns(const struct tree *t);
/* Would path be found if it were there? Not below a root that is missing. */
bool tree_covers(const struct tree *t, const char *path);
void tree_stats(const struct tree *t, struct tree_stats *ret_stats);

#endif
