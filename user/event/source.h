/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain data: where a record comes from, as every later room names it. One per file, made when the
 * file is found and shared by the batches that carry its records; immutable once shared, so that a
 * sink thread reads it without a lock. Counted by refs (atomic); the last source_unref frees it.
 *
 * Kubernetes names come from NAMESPACE_POD_UID/CONTAINER/N.log below a root, and are slices of the
 * path. A file that lies elsewhere has only its path: every name is empty and restart_count is -1.
 */
#ifndef EVENT_SOURCE_H
#define EVENT_SOURCE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct source_name {
	uint16_t at, len; /* in the path, which is shorter than PATH_MAX */
};

struct source {
	atomic_uint refs;
	int restart_count;
	struct source_name k8s_namespace, pod_name, pod_uid, container_name;
	uint16_t path_len;
	char path[]; /* bytes as the kernel has them, not necessarily UTF-8 */
};

/* Takes a copy of the path. 0, -ENOMEM or -ENAMETOOLONG. */
int source_new(const char *path, struct source **ret_source);
struct source *source_ref(struct source *s);
void source_unref(struct source *s);

#endif
