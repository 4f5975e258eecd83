/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain data: what is known of a container beside its log's path, as the JSON that every record of
 * it gets. Immutable, so that a sink thread reads it without a lock; counted by refs (atomic), the
 * last labels_unref frees it. When more becomes known, new batches refer to a new one.
 */
#ifndef EVENT_LABELS_H
#define EVENT_LABELS_H

#include <stdatomic.h>
#include <stddef.h>

struct labels {
	atomic_uint refs;
	size_t len;
	char json[]; /* members, each with a comma in front:
			,"container.id":"…","k8s.pod.labels":{…} */
};

/* A copy of the text. NULL: no memory. */
struct labels *labels_new(const char *json, size_t len);
struct labels *labels_ref(struct labels *l); /* NULL gives NULL */
void labels_unref(struct labels *l);         /* may be NULL */

#endif
