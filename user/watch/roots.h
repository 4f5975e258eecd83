/* SPDX-License-Identifier: Apache-2.0 */
/* The roots, where they lead now, and the directories that symbolic links may lead into. */
#ifndef WATCH_ROOTS_H
#define WATCH_ROOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct root {
	char *given, *path; /* path: resolved, NULL while it is missing */
	dev_t dev;
	ino_t ino;
	bool added; /* in this walk: it was not known before */
};

struct roots { /* zero-initialised */
	struct root *items;
	size_t n;
	unsigned missing;
	char **allowed; /* canonical; beside the roots themselves */
	size_t n_allowed;
};

/* See tree_new; on failure why (TREE_WHY_MAX bytes) says what is wrong. roots_done also then. */
int roots_init(struct roots *rs, char *const *given, size_t n, char *const *links, size_t n_links,
	       char *why);
void roots_done(struct roots *rs);
/* May a link lead to this canonical path? */
bool roots_allow(const struct roots *rs, const char *path);
/* Is path below a root, or a directory that links may lead into, that is there? */
bool roots_cover(const struct roots *rs, const char *path);
/* Where a link leads in its first step, if it is not the final path: the name that carries the
 * pod's. Else link itself. out: PATH_MAX bytes. */
void link_first_step(const char *link, const char *final, char *out);
/* Resolves a root that has no path: 0, or -errno when it is not there. */
int root_find(struct root *r);
/* Its path still leads to the same directory. */
bool root_is_there(const struct root *r);

#endif
