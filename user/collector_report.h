/* SPDX-License-Identifier: Apache-2.0 */
/* What the user is told in words: the rung, the summary at the end, the state on SIGUSR1. */
#ifndef COLLECTOR_REPORT_H
#define COLLECTOR_REPORT_H

struct collector;
struct tally;

void collector_say_rung(const struct collector *c);
void collector_summary(struct collector *c);
void collector_state(struct collector *c);
void collector_tally(struct collector *c, struct tally *ret_tally);

#endif
