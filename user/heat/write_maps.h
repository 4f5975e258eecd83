/* SPDX-License-Identifier: Apache-2.0 */
/* The maps that the BPF programs and this process share (bpf/write_count.h), and slots of them. */
#ifndef HEAT_WRITE_MAPS_H
#define HEAT_WRITE_MAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "../bpf/write_count.h"

enum write_map {
	WRITE_MAP_WATCH,
	WRITE_MAP_SLOTS,
	WRITE_MAP_DIRS,
	WRITE_MAP_FILTER,
	WRITE_MAP_UNUSED,
	WRITE_MAP_META,
	WRITE_MAP_RECORDS,
	WRITE_MAPS
};

struct write_pins;

struct write_maps {
	int fds[WRITE_MAPS];
	struct write_slot
		*slots; /* shared with the kernel, the first slots_mapped; NULL at first */
	struct write_meta *meta;
	struct write_filter *filter;
	uint32_t slots_n, slots_mapped;
	bool any_unused; /* slots were given back since they were last found to be all in use */
	bool adopted;    /* they were pinned, and have been counting all along */
};

extern const char *const write_map_names[WRITE_MAPS];

/*
 * Makes the maps, for slots_n files and as many directories, and pins them; or adopts those that
 * are pinned (pins may be NULL). Pinned ones of another layout or size are taken away first, with
 * a message. 0 or -errno.
 */
int write_maps_open(struct write_maps *maps, uint32_t slots_n, struct write_pins *pins);
void write_maps_close(struct write_maps *maps);
/* Before anything below, and after programs were loaded, for which libbpf needs much memory for a
 * moment. 0 or -errno. */
int write_maps_share_slots(struct write_maps *maps);
/* This slot, which a program may have taken, can be looked at; it counts as this process' memory
 * from then on. False: no memory. */
bool write_maps_reach(struct write_maps *maps, uint32_t slot);

/* 0; -EEXIST; -ENOSPC; another -errno of the update. */
int write_maps_watch(struct write_maps *maps, const struct write_key *key, uint32_t slot);
/* 0 and the slot this key leads to, or -ENOENT. */
int write_maps_find(const struct write_maps *maps, const struct write_key *key, uint32_t *ret_slot);
void write_maps_unwatch(struct write_maps *maps, const struct write_key *key);
int write_maps_watch_dir(struct write_maps *maps, const struct write_key *key);
/* Those that were not watched in this run. */
void write_maps_forget_dirs(struct write_maps *maps);
void write_maps_unwatch_dir(struct write_maps *maps, const struct write_key *key);

/* A slot that serves nobody, all zero; false: there is none. */
bool write_maps_take(struct write_maps *maps, uint32_t *ret_slot);
/* Zeroes a slot that nothing can add to any more and hands it back. */
void write_maps_give(struct write_maps *maps, uint32_t slot);

#endif
