/* SPDX-License-Identifier: Apache-2.0 */
#include "event/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int source_new(const char *path, struct source **ret_source)
{
	size_t len = strlen(path);
	struct source *s;

	if (len > UINT16_MAX)
		return -ENAMETOOLONG;
	s = calloc(1, sizeof(*s) + len + 1);
	if (!s)
		return -ENOMEM;
	memcpy(s->path, path, len);
	s->path_len = (uint16_t)len;
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
	if (s && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
		free(s);
}
