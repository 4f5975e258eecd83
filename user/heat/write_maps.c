// SPDX-License-Identifier: Apache-2.0
/*
 * The maps belong to no program: they are made first, and each set of programs (write_hooks.c) is
 * loaded with these in place of its own. So several sets count into the same slots, and a set may
 * be attached at any time.
 *
 * Slots that were never used are handed out by a number that only grows, those given back by a
 * queue in the kernel, which programs take from as well.
 *
 * Locked memory (RLIMIT_MEMLOCK) counts for maps on kernels before 5.11; libbpf raises the limit
 * there by itself.
 *
 * Rejected: a free list in this process (the programs enrol files by themselves, also while no
 * process is there), an LRU map (the kernel would evict a file that is still watched).
 */
#include "heat/write_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/log.h"
#include "base/sys.h"
#include "heat/write_pins.h"
#include "write_count.skel.h"

const char *const write_map_names[WRITE_MAPS] = {"watch",  "slots", "dirs",   "filter",
						 "unused", "meta",  "records"};

#define FILTER_LEN (WRITE_FILTER_N * sizeof(struct write_filter))
/* Slots are mapped so many at a time: a whole number of pages of any size up to 64 KiB. */
#define PIECE     1024u
#define PIECE_LEN (PIECE * sizeof(struct write_slot))

_Static_assert(PIECE_LEN % 65536 == 0, "a piece is a whole number of pages");

static size_t mapped_len(size_t len)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (len + page - 1) / page * page;
}

static int map_shared(int fd, size_t len, void *ret)
{
	void *p = mmap(NULL, mapped_len(len), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		return -errno;
	memcpy(ret, &p, sizeof(p));
	return 0;
}

static int maps_share(struct write_maps *maps)
{
	return map_shared(maps->fds[WRITE_MAP_META], sizeof(*maps->meta), &maps->meta);
}

static size_t slots_len(const struct write_maps *maps)
{
	return mapped_len(maps->slots_n * sizeof(*maps->slots));
}

int write_maps_share_slots(struct write_maps *maps)
{
	void *slots;
	int r;

	if (maps->slots)
		return 0;
	r = map_shared(maps->fds[WRITE_MAP_FILTER], FILTER_LEN, &maps->filter);
	if (r < 0)
		return r;
	/* Addresses only: what is used of them is put there by write_maps_reach. */
	slots = mmap(NULL, slots_len(maps), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	if (slots == MAP_FAILED)
		return -errno;
	maps->slots = slots;
	return 0;
}

bool write_maps_reach(struct write_maps *maps, uint32_t slot)
{
	while (maps->slots_mapped <= slot) {
		size_t at = maps->slots_mapped * sizeof(*maps->slots);
		size_t len = MIN(PIECE_LEN, slots_len(maps) - at);

		if (mmap((char *)maps->slots + at, len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED, maps->fds[WRITE_MAP_SLOTS],
			 (off_t)at) == MAP_FAILED)
			return false;
		maps->slots_mapped = MIN(maps->slots_mapped + PIECE, maps->slots_n);
	}
	return true;
}

/* One as the programs declare it. A descriptor or -errno. */
static int map_make(const struct bpf_map *declared, uint32_t entries)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = bpf_map__map_flags(declared));
	uint32_t n = bpf_map__max_entries(declared);

	return bpf_map_create(bpf_map__type(declared), bpf_map__name(declared),
			      bpf_map__key_size(declared), bpf_map__value_size(declared),
			      n > 1 ? n : entries, &opts);
}

/* The skeleton only says what they are. It is not loaded: libbpf would read all of the kernel's BTF
 * for the programs that are in it. */
static int maps_make(struct write_maps *maps)
{
	struct write_count_bpf *skel = write_count_bpf__open();
	int r = skel ? 0 : -errno;

	for (int i = 0; i < WRITE_MAPS && r == 0; i++) {
		uint32_t entries = i == WRITE_MAP_META ? 1 : maps->slots_n;

		maps->fds[i] = map_make(bpf_object__find_map_by_name(skel->obj, write_map_names[i]),
					entries);
		r = MIN(maps->fds[i], 0);
	}
	write_count_bpf__destroy(skel);
	return r;
}

static bool is_ours(int fd, uint32_t slots_n)
{
	struct bpf_map_info info = {};
	uint32_t len = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &len) == 0 &&
	       info.value_size == sizeof(struct write_slot) && info.max_entries == slots_n;
}

/* 0, -ENOENT: nothing is pinned, -EINVAL: something that cannot be used. */
static int maps_adopt(struct write_maps *maps, struct write_pins *pins)
{
	int r;

	for (int i = 0; i < WRITE_MAPS; i++) {
		maps->fds[i] = write_pins_get(pins, "map", write_map_names[i], 0);
		if (maps->fds[i] < 0)
			return i ? -EINVAL : maps->fds[i];
	}
	if (!is_ours(maps->fds[WRITE_MAP_SLOTS], maps->slots_n))
		return -EINVAL;
	r = maps_share(maps);
	if (r < 0)
		return r;
	if (maps->meta->layout != WRITE_COUNT_LAYOUT || maps->meta->slots_n != maps->slots_n)
		return -EINVAL;
	maps->adopted = maps->any_unused = true;
	return 0;
}

static int maps_pin(struct write_maps *maps, struct write_pins *pins)
{
	int r = 0;

	for (int i = 0; i < WRITE_MAPS && r == 0; i++)
		r = write_pins_put(pins, maps->fds[i], "map", write_map_names[i], 0);
	return r;
}

static void maps_none(struct write_maps *maps, uint32_t slots_n)
{
	*maps = (struct write_maps){.slots_n = slots_n};
	for (int i = 0; i < WRITE_MAPS; i++)
		maps->fds[i] = -1;
}

int write_maps_open(struct write_maps *maps, uint32_t slots_n, struct write_pins *pins)
{
	int r = -ENOENT;

	maps_none(maps, slots_n);
	if (pins)
		r = maps_adopt(maps, pins);
	if (r == 0)
		return 0;
	write_maps_close(maps);
	maps_none(maps, slots_n);
	if (pins && write_pins_clear(pins) > 0)
		log_warn(0, "bpf.pin %s: what is pinned there has another layout or size, replaced",
			 write_pins_dir(pins));
	r = maps_make(maps);
	if (r == 0)
		r = maps_share(maps);
	if (r == 0) {
		maps->meta->slots_n = slots_n;
		maps->meta->layout = WRITE_COUNT_LAYOUT;
		if (pins)
			r = maps_pin(maps, pins);
	}
	if (r < 0)
		write_maps_close(maps);
	return r;
}

void write_maps_close(struct write_maps *maps)
{
	if (maps->slots)
		munmap(maps->slots, slots_len(maps));
	if (maps->meta)
		munmap(maps->meta, mapped_len(sizeof(*maps->meta)));
	if (maps->filter)
		munmap(maps->filter, mapped_len(FILTER_LEN));
	maps->slots = NULL;
	maps->slots_mapped = 0;
	maps->meta = NULL;
	maps->filter = NULL;
	for (int i = 0; i < WRITE_MAPS; i++)
		close_fd(&maps->fds[i]);
}

static void filter_add(struct write_maps *maps, const struct write_key *key, int n)
{
	uint32_t h = write_key_hash(key);

	__atomic_add_fetch(&maps->filter[h / 2].n[h % 2], (uint32_t)n, __ATOMIC_SEQ_CST);
}

static int map_insert(struct write_maps *maps, enum write_map map, const struct write_key *key,
		      uint32_t value)
{
	int r;

	filter_add(maps, key, 1);
	if (bpf_map_update_elem(maps->fds[map], key, &value, BPF_NOEXIST) == 0)
		return 0;
	r = errno == E2BIG ? -ENOSPC : -errno;
	filter_add(maps, key, -1);
	return r;
}

static void map_delete(struct write_maps *maps, enum write_map map, const struct write_key *key)
{
	if (bpf_map_delete_elem(maps->fds[map], key) == 0)
		filter_add(maps, key, -1);
}

int write_maps_watch(struct write_maps *maps, const struct write_key *key, uint32_t slot)
{
	return map_insert(maps, WRITE_MAP_WATCH, key, slot);
}

int write_maps_find(const struct write_maps *maps, const struct write_key *key, uint32_t *ret_slot)
{
	uint32_t slot, h = write_key_hash(key);

	/* Raised before a key is there: one that comes meanwhile is found by its insertion. */
	if (!__atomic_load_n(&maps->filter[h / 2].n[h % 2], __ATOMIC_SEQ_CST))
		return -ENOENT;
	if (bpf_map_lookup_elem(maps->fds[WRITE_MAP_WATCH], key, &slot) < 0)
		return -errno;
	if (slot >= maps->slots_n)
		return -ENOENT;
	*ret_slot = slot;
	return 0;
}

void write_maps_unwatch(struct write_maps *maps, const struct write_key *key)
{
	map_delete(maps, WRITE_MAP_WATCH, key);
}

int write_maps_watch_dir(struct write_maps *maps, const struct write_key *key)
{
	uint32_t run = maps->meta->run;
	int r = map_insert(maps, WRITE_MAP_DIRS, key, run);

	if (r == -EEXIST)
		r = bpf_map_update_elem(maps->fds[WRITE_MAP_DIRS], key, &run, BPF_EXIST) < 0
			    ? -errno
			    : 0;
	return r;
}

void write_maps_forget_dirs(struct write_maps *maps)
{
	struct write_key key, next;
	const struct write_key *at = NULL; /* the first */
	uint32_t run;

	while (bpf_map_get_next_key(maps->fds[WRITE_MAP_DIRS], at, &next) == 0) {
		if (at && bpf_map_lookup_elem(maps->fds[WRITE_MAP_DIRS], at, &run) == 0 &&
		    run != maps->meta->run)
			write_maps_unwatch_dir(maps, at);
		key = next;
		at = &key;
	}
	if (at && bpf_map_lookup_elem(maps->fds[WRITE_MAP_DIRS], at, &run) == 0 &&
	    run != maps->meta->run)
		write_maps_unwatch_dir(maps, at);
}

void write_maps_unwatch_dir(struct write_maps *maps, const struct write_key *key)
{
	map_delete(maps, WRITE_MAP_DIRS, key);
}

static void slot_unused(struct write_maps *maps, uint32_t slot)
{
	maps->any_unused = true;
	bpf_map_update_elem(maps->fds[WRITE_MAP_UNUSED], NULL, &slot, BPF_ANY);
}

/* Not asked for when it was empty and nothing was put there since; what programs put there (they
 * took one in vain) waits for the next that is. */
static bool unused_take(struct write_maps *maps, uint32_t *ret_slot)
{
	if (!maps->any_unused &&
	    __atomic_load_n(&maps->meta->fresh, __ATOMIC_RELAXED) < maps->slots_n)
		return false;
	maps->any_unused =
		bpf_map_lookup_and_delete_elem(maps->fds[WRITE_MAP_UNUSED], NULL, ret_slot) == 0;
	return maps->any_unused && *ret_slot < maps->slots_n;
}

bool write_maps_take(struct write_maps *maps, uint32_t *ret_slot)
{
	struct write_meta *meta = maps->meta;
	uint32_t slot;

	if (!unused_take(maps, &slot)) {
		if (__atomic_load_n(&meta->fresh, __ATOMIC_RELAXED) >= maps->slots_n)
			return false;
		slot = __atomic_fetch_add(&meta->fresh, 1, __ATOMIC_RELAXED);
		if (slot >= maps->slots_n)
			return false;
	}
	if (!write_maps_reach(maps, slot)) {
		slot_unused(maps, slot);
		return false;
	}
	*ret_slot = slot;
	return true;
}

void write_maps_give(struct write_maps *maps, uint32_t slot)
{
	memset(&maps->slots[slot], 0, sizeof(*maps->slots));
	slot_unused(maps, slot);
}
