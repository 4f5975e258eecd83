/* SPDX-License-Identifier: Apache-2.0 */
#include "event/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int source_new(const char *path, struct source **ret_source)
{
	struct source *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->path = strdup(path);
	if (!s->path) {
		free(s);
		return -ENOMEM;
	}
	atomic_init(&s->refs, 1);
	s->restart_count = -1;
	*ret_source = s;
	return 0;
}

struct source *source_ref(struct source *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void source_unref(struct source *s)
{
	/* Release, then acquire in the last one: what other threads did with it is over by then. */
	if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(s->path);
	free(s->k8s_namespace);
	free(s->pod_name);
	free(s->pod_uid);
	free(s->container_name);
	free(s->ndjson_tail);
	free(s);
}
