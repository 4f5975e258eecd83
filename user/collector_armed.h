/* SPDX-License-Identifier: Apache-2.0 */
/* Hot files that were read to their end: the kernel tells of the next write (heat/write_told.h). */
#ifndef COLLECTOR_ARMED_H
#define COLLECTOR_ARMED_H

#include <stdbool.h>
#include <stdint.h>

struct collector;
struct file;

/* The next write to f is told of. False: it may not be, or there has been one since the counter was
 * last looked at. */
bool collector_arm(struct collector *c, struct file *f);
/* f is hot and was read to its end: it is not looked at any more before it is told of, if that is
 * possible. */
void collector_rest(struct collector *c, struct file *f);
/* It is, at the next tick. */
void collector_wake(struct collector *c, struct file *f);
void collector_wake_armed(struct collector *c); /* all */
/* f is neither hot nor slow nor armed. */
void collector_detach(struct collector *c, struct file *f);
/* Once a second, sooner where the kernel says that a record was lost: those are woken that have
 * more to read after all, and some at a tick of those that were quiet long enough to be watched
 * instead. When next. */
void collector_look_armed(struct collector *c, int64_t now_ns);
int64_t collector_armed_ns(const struct collector *c);

#endif
