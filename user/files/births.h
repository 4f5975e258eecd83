/* SPDX-License-Identifier: Apache-2.0 */
/* How a file's name became known, and files that came and went before they could be opened. */
#ifndef FILES_BIRTHS_H
#define FILES_BIRTHS_H

#include <stdbool.h>
#include <stdint.h>

#include "files/file.h"

struct files;

/* There is, or may be, a file of that name. alias: the link by which it was found, or NULL. */
void files_found(struct files *fs, const char *path, const char *alias);
/*
 * As files_found, by an event: a file got this name, from the name from if that is known. A log's
 * generations are born under its live name, each with one event: when it leads to a file that had
 * its event already, another one came and went in between, and is counted as vanished.
 */
void files_born(struct files *fs, const char *path, const char *from);
/* As files_found, by its first write: the event of its birth may be still to come. */
void files_written(struct files *fs, const char *path);
/* Is the directory of path there? */
bool files_directory_is_there(const char *path);
/* Is a file of that path never collected, whatever is in it? */
bool files_ignores(const struct files *fs, const char *path);
/* id is in the table, or waits to be opened. (One that is excluded may have got the number of a log
 * that is gone.) */
bool files_knows(const struct files *fs, struct file_id id);
/* path was there, and was gone before it, or what is below it, could be opened. */
void files_vanished(struct files *fs, const char *path);
/*
 * A file called path was written to, and nobody found it: bytes that are lost, and one that
 * vanished unless it is counted as such already. Nothing happens when files of that name are not
 * born so, but are renamed or copied there.
 */
void files_lost_unseen(struct files *fs, const char *path, uint64_t bytes, bool counted);

#endif
