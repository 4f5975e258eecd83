/* SPDX-License-Identifier: Apache-2.0 */
/* Kubernetes' view of the containers whose logs are followed: labels from a list of pods. */
#ifndef COLLECTOR_PODS_H
#define COLLECTOR_PODS_H

#include "meta/pod_feed.h"

struct chain;
struct collector;

/* With kubernetes.pods_url; else nothing. 0 or -errno, logged. */
int collector_open_pods(struct collector *c);
void collector_close_pods(struct collector *c);
/* To be polled, -1: nothing; collector_take_pods when it is readable. */
int collector_pods_fd(const struct collector *c);
void collector_take_pods(struct collector *c);
/* A file of this log was found: gives it what is known of its pod, or asks. */
void collector_pods_found(struct collector *c, struct chain *chain);
/* False: there is nothing to tell. */
bool collector_pods_stats(const struct collector *c, struct pod_feed_stats *ret_stats);

#endif
