/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pod of a PodList (kubernetes core/v1), reduced to what records get. Immutable but for the
 * nodes of whoever keeps it. Source of the names: OpenTelemetry's resource attributes k8s.* and
 * container.*.
 */
#ifndef META_POD_H
#define META_POD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/table.h"

#define POD_NAME_MAX       1024  /* a longer name, id or image is taken for none */
#define POD_VALUE_MAX      4096  /* a longer label or annotation is left out */
#define POD_JSON_MAX       16384 /* what makes them more together, likewise */
#define POD_CONTAINERS_MAX 1000

struct buf;
struct json_t;

/* Which labels or annotations are wanted: by name; "*" is all; "none" is no name. */
struct pod_names {
	const char *const *items;
	size_t n;
};

struct pod_choice {
	struct pod_names labels, annotations;
};

struct pod {
	struct table_node by_uid, by_hash, by_name; /* the keeper's */
	/* In text, terminated; an empty string when there is none. uid: metadata.uid; hash: the
	 * directory's UID of a static pod; name: NAMESPACE/NAME. */
	const char *uid, *hash, *name;
	uint32_t left_out; /* labels and annotations beyond the limits */
	uint32_t size;     /* of this struct with all that is behind it */
	uint32_t n_containers;
	uint32_t json_len;
	const char *json; /* in text: members that all of its containers get */
	const struct pod_container *containers;
	char text[];
};

/*
 * object: one of a PodList's items. 0; -EBADMSG when it is no pod with a name and a UID; -ENOMEM.
 * free() does for it.
 */
int pod_new(const struct json_t *object, const struct pod_choice *choice, struct pod **ret_pod);

/*
 * Appends the labels of a container's records as event/labels.h has them. restart: of the log
 * (N of N.log), -1: not known. 1: all there is to know of a running container; 0: its id is not
 * known, perhaps not yet; -ENOMEM, and out is as it was.
 */
int pod_labels(const struct pod *p, const char *container, size_t len, int restart,
	       struct buf *out);

#endif
