/* SPDX-License-Identifier: Apache-2.0 */
/* The generations of one container's log, in the order they are to be read (files/file.h). */
#ifndef FILES_CHAIN_H
#define FILES_CHAIN_H

struct chain;
struct file;
struct stat;
struct table;

/* The chain that the file called path belongs to, made if it is new. The caller counts itself in
 * members and gives that back with chain_put, which frees the chain with its last member. */
int chain_get(struct table *chains, const char *path, struct chain **ret_chain);
void chain_put(struct table *chains, struct chain *c);
/* Queues a new file: a rotated one by its modification time, a live one last. */
void chain_insert(struct chain *c, struct file *f, const struct stat *st);
/* f has the live name now: last in the queue, even if it had been rotated. */
void chain_set_live(struct chain *c, struct file *f);

#endif
