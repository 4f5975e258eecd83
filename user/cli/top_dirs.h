/* SPDX-License-Identifier: Apache-2.0 */
/* The directories whose files are counted from their first write, by path and by kernel id. */
#ifndef CLI_TOP_DIRS_H
#define CLI_TOP_DIRS_H

#include "base/table.h"

struct write_count;

struct top_dirs { /* zero-initialised, then wc */
	struct write_count *wc;
	struct table by_path, by_id;
};

/* Hooks of the tree: path is the tree's, and unchanged until it is removed; fd is open. Nothing
 * happens where directories cannot be counted. */
void top_dirs_add(struct top_dirs *ds, const char *path, int fd);
void top_dirs_remove(struct top_dirs *ds, const char *path);
void top_dirs_done(struct top_dirs *ds); /* only the memory: the counting ends with wc */

#endif
