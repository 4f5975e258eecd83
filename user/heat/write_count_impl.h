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
#include "heat/write_told.h"

struct ring_buffer;
struct write_hooks;
struct write_pins;

#define WRITE_TOLD_MAX 128 /* records taken together */

enum slot_state { SLOT_FREE, SLOT_ENROLLED, SLOT_HELD, SLOT_RESTING };

struct slot_user {
	union {
		void *owner;      /* held */
		int64_t since_ns; /* enrolled, or resting */
	};
	enum slot_state state : 8;
	enum write_fs fs : 8;
	bool inherited; /* held, and was by an earlier process */
	bool before;    /* enrolled, before this process began */
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
	uint32_t told[WRITE_TOLD_MAX];        /* slots of its records so far */
	size_t n_told;
	uint32_t *resting; /* ring */
	uint32_t resting_head, resting_len;
};

void write_slot_enrolled(const struct write_slot *slot, struct write_enrolled *ret);
bool write_slot_held(const struct write_count *wc, int slot);
bool write_slot_reused(const struct write_count *wc, uint32_t slot);
void write_slot_rest(struct write_count *wc, uint32_t slot);
/* Those that have rested are free again. */
void write_slots_rested(struct write_count *wc);
/* The others were never used. */
uint32_t write_slots_used(struct write_count *wc);
/* A record of the ring buffer. ctx: the write_count. */
int write_count_record(void *ctx, void *data, size_t size);
/* What is needed once a rung is attached. 0 or -ENOMEM. */
int write_count_alloc(struct write_count *wc);

#endif
