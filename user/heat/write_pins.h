/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory of a BPF filesystem in which maps, programs and links stay when this process ends, so
 * that counting goes on. Names in it: map-NAME-0, prog-SET-N, link-SET-N (dots are reserved there).
 */
#ifndef HEAT_WRITE_PINS_H
#define HEAT_WRITE_PINS_H

#include <limits.h>

struct write_pins;

/*
 * Makes the directory (not its parent) if it is not there, and locks it: one process. 0; -EBUSY:
 * another has it; -EMEDIUMTYPE: not on a BPF filesystem; another -errno.
 */
int write_pins_open(const char *dir, struct write_pins **ret_pins);
void write_pins_close(struct write_pins *pins); /* what is pinned stays; NULL is fine */
const char *write_pins_dir(const struct write_pins *pins);
void write_pins_path(const struct write_pins *pins, const char *kind, const char *name, int n,
		     char path[PATH_MAX]);
/* A descriptor of what is pinned as KIND-NAME-N; -ENOENT or another -errno. */
int write_pins_get(struct write_pins *pins, const char *kind, const char *name, int n);
int write_pins_put(struct write_pins *pins, int fd, const char *kind, const char *name, int n);
/* Takes everything away that has one of these names. How many, or -errno. */
int write_pins_clear(struct write_pins *pins);

#endif
