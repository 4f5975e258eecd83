/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the pod directories say of containers, from the changes of the mirror:
 *
 *   …/NAMESPACE_POD_UID/CONTAINER    appears: create; goes: stop (if it was started), destroy
 *   …/NAMESPACE_POD_UID/CONTAINER/N.log appears: start; N greater than before: stop, start
 *
 * A container is called NAMESPACE/POD/CONTAINER; namespace, pod, uid, container and restart count
 * are attributes, by their OpenTelemetry names. That a container has ended is not in the directory:
 * the stop is told when its successor starts or its directory goes.
 */
#ifndef CLI_EVENTS_PODS_H
#define CLI_EVENTS_PODS_H

struct event;
struct mirror;
struct mirror_change;
struct pods;

/* tell: the event is gone when it returns. */
int pods_new(void (*tell)(void *ctx, const struct event *e), void *ctx, struct pods **ret_pods);
void pods_free(struct pods *p);
/* After the change is in the mirror, which a renamed directory is looked up in. */
void pods_change(struct pods *p, struct mirror *m, const struct mirror_change *c);

#endif
