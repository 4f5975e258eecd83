/* SPDX-License-Identifier: Apache-2.0 */
/* A ledger whose logs are added up to containers, as text: what they look like is in ledger.h.
 * Between ledger.c and ledger_text.c only. */
#ifndef ACCOUNT_LEDGER_TEXT_H
#define ACCOUNT_LEDGER_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "account/ledger.h"
#include "files/pod_path.h"

struct ledger_container {
	const char *path;
	size_t path_len;    /* what of it names the container */
	bool named;         /* by its pod; else at is empty, or "(gone)" */
	struct pod_path at; /* slices of the path */
	struct ledger_entry e;
};

static inline bool ledger_lost_events(const struct ledger_entry *e)
{
	for (int i = 0; i < LOST_REASONS; i++)
		if (e->lost[i].bytes || e->lost[i].events)
			return true;
	return false;
}

/* Append to out. 0 or -ENOMEM. */
int ledger_text_json(const struct ledger *l, struct buf *out);
int ledger_text_table(const struct ledger *l, struct buf *out);

#endif
