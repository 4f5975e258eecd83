/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain data: where a record comes from, as every later room names it. One per file, made when the
 * file is found and shared by the batches that carry its records; immutable once shared, so that a
 * sink thread reads it without a lock. Counted by refs (atomic); the last source_unref frees it.
 *
 * Kubernetes names come from NAMESPACE_POD_UID/CONTAINER/N.log below a root. A file that lies
 * elsewhere has only its path: every k8s pointer is NULL and restart_count is -1.
 */
#ifndef EVENT_SOURCE_H
#define EVENT_SOURCE_H

#include <stdatomic.h>
#include <stddef.h>

struct source {
	atomic_uint refs;
	int restart_count;
	char *path; /* never NULL; bytes as the kernel has them, not necessarily UTF-8 */
	char *k8s_namespace;
	char *pod_name;
	char *pod_uid;
	char *container_name;
	/* What NDJSON writes behind each record's message, built once by encode_source():
	 * ,"k8s.namespace.name":"…",…,"log.file.path":"…"  (no closing brace, no newline). */
	char *ndjson_tail;
	size_t ndjson_tail_len;
};

/* Takes copies of the strings; the k8s ones may be NULL. 0 or -ENOMEM. */
int source_new(const char *path, struct source **ret_source);
struct source *source_ref(struct source *s);
void source_unref(struct source *s);

#endif
