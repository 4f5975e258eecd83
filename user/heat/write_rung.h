/* SPDX-License-Identifier: Apache-2.0 */
/* A rung of the ladder: which sets of programs it needs, and whether they count. */
#ifndef HEAT_WRITE_RUNG_H
#define HEAT_WRITE_RUNG_H

#include <stdbool.h>

#include "heat/write_count.h"
#include "heat/write_hooks.h"
#include "heat/write_key.h"

struct write_maps;

/*
 * Attaches what every file of this rung needs. 0, or -errno and in why one clause that says what
 * was refused. Attached programs have counted one test write by each call to a memory file before
 * this returns 0: a program can attach and yet see nothing (a function inlined into some of its
 * callers).
 */
int write_rung_attach(struct write_hooks *hooks, struct write_maps *maps, enum rung rung,
		      char why[WRITE_WHY_MAX]);
/*
 * Which programs count files of this filesystem: enum write_rung, WRITE_RUNG_NONE when none do. On
 * RUNG_FS the filesystem's set is attached when it is first asked for; fallback: where there is
 * none, vfs.
 */
uint32_t write_rung_of(struct write_hooks *hooks, enum rung rung, bool fallback, enum write_fs fs);
/* Are truncations of files counted there seen? */
bool write_rung_positions(const struct write_hooks *hooks, enum write_fs fs);

#endif
