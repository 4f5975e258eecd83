/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much was written to a file, by the kernel's positions where they are counted (written = cuts
 * + size), and how far that agrees with what was read and lost of it.
 *
 *   consumed + besides == cuts + offset      at every offset, truncations that were noticed
 * included
 *
 * consumed: read or lost; besides: holes, which nobody wrote.
 */
#ifndef DRAIN_ACCOUNT_H
#define DRAIN_ACCOUNT_H

#include <stdbool.h>
#include <stdint.h>

struct file;
struct write_count;

#define ACCOUNT_UNKNOWN UINT64_MAX /* a position */

/*
 * f was just opened, or where its reading begins was just changed: all before its offset is not its
 * account's business. position: what cuts + offset was when an earlier process was at this offset;
 * it counts only where that process' counter goes on. counts may be NULL everywhere here.
 */
void account_begin(struct file *f, const struct write_count *counts, uint64_t position);
/* Likewise at f's beginning, when its content shows that it was cut while no process was there:
 * what was unread of it will be counted as cut off. False: nothing counted that. */
bool account_resume_cut(struct file *f, const struct write_count *counts, uint64_t position);
/* f is given up: what was written to it and neither read nor lost is lost. */
void account_end(struct file *f, const struct write_count *counts);
/* f is not followed any more: what was written to it and neither read nor lost is nobody's. */
void account_leave(struct file *f, const struct write_count *counts);
/* What is still to be read of it: of a file that leaves, no more than it had by then. */
uint64_t account_unread(const struct file *f);
/* What cuts + offset is where every sink has acknowledged f. */
uint64_t account_position(const struct file *f, uint64_t acked);
/* Brings tally.written_bytes and uncounted_bytes of f's chain up to date. False: a truncation was
 * not noticed yet, and what is known of f does not agree now. */
bool account_update(struct file *f, const struct write_count *counts);

#endif
