/* SPDX-License-Identifier: Apache-2.0 */
/* Which files of the table are held open, and names that could not be opened yet. */
#ifndef FILES_DESCRIPTORS_H
#define FILES_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

#include "files/identity.h"

struct file;
struct files;

/*
 * Descriptors. At most max files are open at a time: beyond it the least urgent one that can be
 * found again by its name is closed. files_open makes sure that f is open: 0, -ESTALE (its name
 * leads elsewhere, or there is none), or -errno of the open.
 */
void files_open_max(struct files *fs, unsigned max);
int files_open(struct files *fs, struct file *f);
/* Names that could not be opened: when they are to be tried again, INT64_MAX: there are none. */
int64_t files_postponed_ns(const struct files *fs);
/* There are some that failed only a moment ago. */
bool files_settling(const struct files *fs);
/* A name that led to this file is one of them. */
bool files_waits_for(const struct files *fs, struct file_id id);
void files_take_postponed(struct files *fs);
/* Those that are not wanted any more are not tried again. */
void files_keep_postponed(struct files *fs, bool (*wanted)(void *ctx, const char *path), void *ctx);

#endif
