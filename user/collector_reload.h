/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration is read again while the collector runs. */
#ifndef COLLECTOR_RELOAD_H
#define COLLECTOR_RELOAD_H

#include <stdint.h>

struct collector;

/* Copies of what the configuration says are brought up to date. */
void collector_take_limits(struct collector *c);
/* Begins to watch the configuration file, if there is one. 0 or -ENOMEM. */
int collector_open_reload(struct collector *c);
void collector_close_reload(struct collector *c);
/* Somebody asked for it (SIGHUP, CONTROL_RELOAD): it is done in collector_reload_turn, once for all
 * that ask meanwhile. */
void collector_ask_reload(struct collector *c);
/* Readable when something happened beside the configuration file; -1: never. */
int collector_reload_fd(const struct collector *c);
void collector_reload_event(struct collector *c); /* it was */
/* When collector_reload_turn is to be called at the latest. */
int64_t collector_reload_ns(const struct collector *c);
void collector_reload_turn(struct collector *c, int64_t now_ns);

#endif
