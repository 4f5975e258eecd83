// SPDX-License-Identifier: Apache-2.0
/*
 * Hands out slots of the counter array to open files.
 *
 *   free ---add------------------------> held ---del---> resting ---1 s---> free
 *     \--first write, by a program--> enrolled --add--> held
 *                                          \--expire--> resting
 *
 * A slot rests because a program that looked its number up just before the deletion may still be
 * about to add to it. Resting slots are one queue, oldest first.
 *
 * The slot is labelled with its file before the key leads to it, so there is no moment in which a
 * write is counted but not seen: write_count_add, then fstat, then the counts are complete.
 *
 * Rejected: resetting a slot's counters for a new file at once (a late add would land in the new
 * count), looking up each file's counter through the bpf system call (one call per file and tick).
 */
#include <assert.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "heat/write_count_impl.h"
#include "heat/write_rung.h"

#define SLOT_REST_NS NS_PER_SEC
#define CUT_TRIES    1000

void write_slot_enrolled(const struct write_slot *slot, struct write_enrolled *ret)
{
	*ret = (struct write_enrolled){
		.file = {.dev = slot->dev, .ino = slot->ino},
		.dir = {.dev = slot->dir_dev, .ino = slot->dir_ino},
		.gen = slot->gen,
		.name = strnlen(slot->name, sizeof(slot->name)) < sizeof(slot->name) - 1
				? slot->name
				: "",
		.written = __atomic_load_n(&slot->cuts, __ATOMIC_RELAXED) +
			   __atomic_load_n(&slot->size, __ATOMIC_RELAXED),
		.acked = slot->acked,
	};
}

static void slot_wait(struct write_count *wc, uint32_t slot)
{
	wc->users[slot] = (struct slot_user){.state = SLOT_RESTING, .since_ns = clock_now_ns()};
	wc->resting[(wc->resting_head + wc->resting_len++) % wc->maps.slots_n] = slot;
}

static struct write_key slot_key(const struct write_slot *slot)
{
	return (struct write_key){.dev = slot->dev, .ino = slot->ino};
}

/* Its key leads elsewhere: its inode number was given to another file. */
bool write_slot_reused(const struct write_count *wc, uint32_t slot)
{
	struct write_key key = slot_key(&wc->maps.slots[slot]);
	uint32_t found;

	return write_maps_find(&wc->maps, &key, &found) == 0 && found != slot;
}

void write_slot_rest(struct write_count *wc, uint32_t slot)
{
	struct write_key key = slot_key(&wc->maps.slots[slot]);
	uint32_t found;

	/* The key may lead elsewhere: its inode number was given to another file. */
	if (write_maps_find(&wc->maps, &key, &found) == 0 && found == slot)
		write_maps_unwatch(&wc->maps, &key);
	__atomic_store_n(&wc->maps.slots[slot].rung, WRITE_RUNG_NONE, __ATOMIC_RELAXED);
	__atomic_or_fetch(&wc->maps.slots[slot].flags, WRITE_SLOT_RESTING, __ATOMIC_RELAXED);
	slot_wait(wc, slot);
}

/* The others were never used, or there is no memory to look at them. */
uint32_t write_slots_used(struct write_count *wc)
{
	uint32_t fresh = __atomic_load_n(&wc->maps.meta->fresh, __ATOMIC_RELAXED);

	fresh = MIN(fresh, wc->maps.slots_n);
	return !fresh || write_maps_reach(&wc->maps, fresh - 1) ? fresh : wc->maps.slots_mapped;
}

int write_count_alloc(struct write_count *wc)
{
	int r = write_keys_new(&wc->keys);

	if (r < 0)
		return r;
	wc->users = calloc(wc->maps.slots_n, sizeof(*wc->users));
	wc->resting = calloc(wc->maps.slots_n, sizeof(*wc->resting));
	wc->records =
		ring_buffer__new(wc->maps.fds[WRITE_MAP_RECORDS], write_count_record, wc, NULL);
	if (!wc->users || !wc->resting || !wc->records)
		return -ENOMEM;
	/* That of the proof, and what an earlier process had. */
	for (uint32_t slot = 0; slot < write_slots_used(wc); slot++)
		if (wc->maps.slots[slot].flags & WRITE_SLOT_RESTING)
			slot_wait(wc, slot);
		else if (wc->maps.slots[slot].rung != WRITE_RUNG_NONE)
			wc->users[slot] = (struct slot_user){
				.state = SLOT_ENROLLED, .before = true, .since_ns = clock_now_ns()};
	return 0;
}

/* Those that have rested are free again. */
void write_slots_rested(struct write_count *wc)
{
	int64_t now = clock_now_ns();

	while (wc->resting_len) {
		uint32_t slot = wc->resting[wc->resting_head];

		if (wc->users[slot].since_ns + SLOT_REST_NS > now)
			return;
		wc->resting_head = (wc->resting_head + 1) % wc->maps.slots_n;
		wc->resting_len--;
		wc->users[slot] = (struct slot_user){0};
		write_maps_give(&wc->maps, slot);
	}
}

static void slot_hold(struct write_count *wc, uint32_t slot, enum write_fs fs, bool inherited,
		      void *owner)
{
	__atomic_and_fetch(&wc->maps.slots[slot].flags, ~(uint32_t)WRITE_SLOT_ENROLLED,
			   __ATOMIC_RELAXED);
	wc->users[slot] = (struct slot_user){
		.state = SLOT_HELD, .fs = fs, .inherited = inherited, .owner = owner};
}

/* Was the slot taken for this file, or for one that is gone and had its inode number? On
 * filesystems that cannot tell (tmpfs) numbers are not used again. */
static bool is_same_file(const struct write_slot *s, int fd)
{
	int gen;

	return !(s->flags & WRITE_SLOT_GEN) || ioctl(fd, FS_IOC_GETVERSION, &gen) < 0 ||
	       (uint32_t)gen == s->gen;
}

/* Before its first write already: the number can be given to another file when this process is gone
 * and the counter is not. */
static void note_generation(struct write_slot *s, int fd)
{
	int gen;

	if (ioctl(fd, FS_IOC_GETVERSION, &gen) < 0)
		return;
	s->gen = (uint32_t)gen;
	s->flags = WRITE_SLOT_GEN;
}

/* Its file is gone, and nobody has been told yet what was written to it. */
static void slot_orphan(struct write_count *wc, uint32_t slot)
{
	struct write_key key = slot_key(&wc->maps.slots[slot]);

	write_maps_unwatch(&wc->maps, &key);
	if (wc->users[slot].state == SLOT_FREE)
		wc->users[slot] =
			(struct slot_user){.state = SLOT_ENROLLED, .since_ns = clock_now_ns()};
}

/* The slot to which the file's key leads already. 0: now held; -EEXIST: was held; -ENOENT. */
static int slot_find(struct write_count *wc, const struct write_place *place, int fd, void *owner,
		     uint32_t *ret_slot)
{
	uint32_t slot;
	int r = write_maps_find(&wc->maps, &place->key, &slot);

	if (r < 0)
		return r;
	if (!write_maps_reach(&wc->maps, slot))
		return -ENOMEM;
	if (wc->users[slot].state == SLOT_HELD) {
		*ret_slot = slot;
		return -EEXIST;
	}
	if (wc->users[slot].state == SLOT_RESTING)
		return -ENOENT;
	if (!is_same_file(&wc->maps.slots[slot], fd)) {
		slot_orphan(wc, slot);
		return -ENOENT;
	}
	slot_hold(wc, slot, place->fs, !(wc->maps.slots[slot].flags & WRITE_SLOT_ENROLLED), owner);
	*ret_slot = slot;
	return 0;
}

static int slot_new(struct write_count *wc, const struct write_place *place, int fd,
		    uint32_t slot_rung, void *owner, uint32_t *ret_slot)
{
	struct write_slot *s;
	uint32_t slot;
	int r;

	if (!write_maps_take(&wc->maps, &slot))
		return -ENOSPC;
	s = &wc->maps.slots[slot];
	s->dev = place->key.dev;
	s->ino = place->key.ino;
	/* The size known now makes a truncation before the first counted write show as a shrink. */
	s->size = place->size;
	if (place->fs != WRITE_FS_TMPFS) /* which has none */
		note_generation(s, fd);
	__atomic_store_n(&s->rung, slot_rung, __ATOMIC_RELEASE);
	r = write_maps_watch(&wc->maps, &place->key, slot);
	if (r < 0) {
		__atomic_store_n(&s->rung, WRITE_RUNG_NONE, __ATOMIC_RELAXED);
		write_maps_give(&wc->maps, slot); /* nobody was led here */
		return r;
	}
	slot_hold(wc, slot, place->fs, false, owner);
	*ret_slot = slot;
	return 0;
}

int write_count_add(struct write_count *wc, int fd, void *owner, int *ret_slot)
{
	struct write_place place;
	uint32_t slot = 0, slot_rung;
	int r;

	if (wc->rung == RUNG_OFF)
		return -EOPNOTSUPP;
	write_slots_rested(wc);
	r = write_key_of(wc->keys, fd, wc->rung == RUNG_FS, &place);
	if (r == -ENODATA && wc->rung == RUNG_FS && wc->fallback)
		r = write_key_of(wc->keys, fd, false, &place); /* vfs counts the overlay's own */
	if (r < 0)
		return r;
	slot_rung = write_rung_of(wc->hooks, wc->rung, wc->fallback, place.fs);
	if (slot_rung == WRITE_RUNG_NONE)
		return -ENODATA;
	r = slot_find(wc, &place, fd, owner, &slot);
	if (r == -ENOENT)
		r = slot_new(wc, &place, fd, slot_rung, owner, &slot);
	if (r == -EEXIST) /* it enrolled itself meanwhile */
		r = slot_find(wc, &place, fd, owner, &slot);
	if (r == 0 || r == -EEXIST)
		*ret_slot = (int)slot;
	return r;
}

bool write_slot_held(const struct write_count *wc, int slot)
{
	return slot >= 0 && (uint32_t)slot < wc->maps.slots_n && wc->users &&
	       wc->users[slot].state == SLOT_HELD;
}

void write_count_keep(struct write_count *wc)
{
	wc->keeping = wc->pins;
}

void write_count_del(struct write_count *wc, int slot)
{
	assert(write_slot_held(wc, slot));
	if (wc->keeping)
		wc->users[slot] = (struct slot_user){0};
	else
		write_slot_rest(wc, (uint32_t)slot);
}

bool write_count_inherited(const struct write_count *wc, int slot)
{
	assert(write_slot_held(wc, slot));
	return wc->users[slot].inherited;
}

bool write_count_left_at(const struct write_count *wc, int slot, uint64_t position)
{
	return write_count_inherited(wc, slot) && wc->maps.slots[slot].acked == position;
}

/* Not by its key: that may lead to a file which was given its inode number. */
bool write_count_left(struct write_count *wc, uint64_t st_dev, uint64_t ino,
		      struct write_left *ret_left)
{
	uint32_t dev = write_key_dev(st_dev);
	struct write_enrolled e;

	if (!write_count_adopted(wc))
		return false;
	for (uint32_t slot = 0; slot < write_slots_used(wc); slot++) {
		const struct write_slot *s = &wc->maps.slots[slot];

		if (wc->users[slot].state != SLOT_ENROLLED || !wc->users[slot].before ||
		    s->flags & WRITE_SLOT_ENROLLED || s->dev != dev || s->ino != ino)
			continue;
		write_slot_rest(wc, slot);
		write_slot_enrolled(&wc->maps.slots[slot], &e);
		*ret_left = (struct write_left){.written = e.written,
						.acked = e.acked,
						.positions = !write_count_no_positions(wc)};
		return true;
	}
	return false;
}

void write_count_read(const struct write_count *wc, int slot, struct write_total *ret_total)
{
	const struct write_slot *s;

	assert(write_slot_held(wc, slot));
	s = &wc->maps.slots[slot];
	/* calls first: the program adds to it last. */
	ret_total->calls = __atomic_load_n(&s->calls, __ATOMIC_ACQUIRE);
	ret_total->bytes = __atomic_load_n(&s->bytes, __ATOMIC_RELAXED);
	ret_total->size = __atomic_load_n(&s->size, __ATOMIC_RELAXED);
	ret_total->last_ns = (int64_t)__atomic_load_n(&s->last_ns, __ATOMIC_RELAXED);
	ret_total->shrinks = __atomic_load_n(&s->shrinks, __ATOMIC_RELAXED);
	ret_total->truncs = __atomic_load_n(&s->truncs, __ATOMIC_ACQUIRE);
	ret_total->cuts = __atomic_load_n(&s->cuts, __ATOMIC_RELAXED);
}

bool write_count_positions(const struct write_count *wc, int slot)
{
	assert(write_slot_held(wc, slot));
	return write_rung_positions(wc->hooks, wc->users[slot].fs);
}

/* What was taken is put back, unless a truncation has gone lower meanwhile. */
static void low_back(struct write_slot *s, uint64_t least)
{
	uint64_t low = __atomic_load_n(&s->low, __ATOMIC_SEQ_CST);

	while (least != UINT64_MAX && (!low || low > least + 1) &&
	       !__atomic_compare_exchange_n(&s->low, &low, least + 1, false, __ATOMIC_SEQ_CST,
					    __ATOMIC_SEQ_CST))
		;
}

/* Truncations of a file exclude each other, and parked is set from the beginning of one to its end:
 * when it was not before and after, and truncs is the same, none was under way. */
bool write_count_cut(const struct write_count *wc, int slot, struct write_cut *ret_cut)
{
	struct write_slot *s;
	uint64_t truncs, low, least = UINT64_MAX;

	assert(write_slot_held(wc, slot));
	s = &wc->maps.slots[slot];
	for (int i = 0; i < CUT_TRIES; i++) {
		truncs = __atomic_load_n(&s->truncs, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&s->parked, __ATOMIC_SEQ_CST))
			continue;
		low = __atomic_exchange_n(&s->low, 0, __ATOMIC_SEQ_CST);
		if (low)
			least = MIN(least, low - 1);
		ret_cut->cuts = __atomic_load_n(&s->cuts, __ATOMIC_SEQ_CST);
		if (__atomic_load_n(&s->parked, __ATOMIC_SEQ_CST) ||
		    __atomic_load_n(&s->truncs, __ATOMIC_SEQ_CST) != truncs)
			continue;
		ret_cut->truncs = truncs;
		ret_cut->low = least;
		return true;
	}
	low_back(s, least);
	return false;
}

void write_count_acked(struct write_count *wc, int slot, uint64_t acked)
{
	assert(write_slot_held(wc, slot));
	__atomic_store_n(&wc->maps.slots[slot].acked, acked, __ATOMIC_RELAXED);
}
