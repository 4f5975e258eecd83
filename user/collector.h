/* SPDX-License-Identifier: Apache-2.0 */
/* Owns the rooms and wires them: watch -> files -> heat -> drain -> output, and the
 * acknowledgements back. */
#ifndef COLLECTOR_H
#define COLLECTOR_H

struct collector;
struct config;

/* Takes its roots and sinks from cfg, which must outlive it and is brought up to date
 * when its file is read again. -errno after one line in the log;
 * -ENOENT, -EINVAL, -EACCES and the like are the user's (a root or a sink that cannot be had). */
int collector_new(struct config *cfg, struct collector **ret_collector);
/* Until SIGINT or SIGTERM, idleness (exit_when_idle) or a sink's failure. 0, or -errno of what
 * ended it. Everything that was read is delivered, or -ETIMEDOUT says that a sink did not take it
 * in time. */
int collector_run(struct collector *c);
/* Not after -ETIMEDOUT: a sink's thread may still be writing, the process should end. */
void collector_free(struct collector *c);

#endif
