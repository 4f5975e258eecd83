/* SPDX-License-Identifier: Apache-2.0 */
#include "event/labels.h"

#include <stdlib.h>
#include <string.h>

struct labels *labels_new(const char *json, size_t len)
{
	struct labels *l = malloc(sizeof(*l) + len);

	if (!l)
		return NULL;
	atomic_init(&l->refs, 1);
	l->len = len;
	memcpy(l->json, json, len);
	return l;
}

struct labels *labels_ref(struct labels *l)
{
	if (l)
		atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
	return l;
}

void labels_unref(struct labels *l)
{
	if (l && atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) == 1)
		free(l);
}
