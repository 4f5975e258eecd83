/* SPDX-License-Identifier: Apache-2.0 */
/* What write_count.c (slots) and write_count_open.c (rungs, pins) share; nobody else includes it.
 */
#ifndef HEAT_WRITE_COUNT_IMPL_H
#define HEAT_WRITE_COUNT_IMPL_H

#include <stdbool.h>
#include <stdint.h>

#include "heat/write_count.h"
#include "heat/write_key.h"
#include "heat/write_maps.h"

struct ring_buffer;
struct write_hooks;
struct write_pins;

enum slot_state { SLOT_FREE, SLOT_ENROLLED, SLOT_HELD, SLOT_RESTING };

struct slot_user {
	enum slot_state state;
	enum write_fs fs;
	bool inherited;   /* held, and was by an earlier process */
	bool before;      /* enrolled, before this process began */
	void *owner;      /* held */
	int64_t since_ns; /* enrolled, or resting */
};

struct write_count {
	enum rung rung;
	bool fallback; /* files that rung cannot count are counted by vfs */
	char *refusals[RUNG_OFF];
	/* All that follows is NULL and 0 on RUNG_OFF. */
	struct write_pins *pins;
	bool keeping;
	struct write_maps maps;
	struct write_hooks *hooks;
	struct write_keys *keys;
	struct slot_user *users;
	struct ring_buffer *records;
	const struct write_hooks_user *taker; /* during write_count_take */
	uint32_t *resting;                    /* ring */
	uint32_t resting_head, resting_len;
};

/* What is needed once a rung is attached. 0 or -ENOMEM. */
int write_count_alloc(struct write_count *wc);

#endif
