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
#include "heat/write_count.h"

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
#include "heat/write_hooks.h"
#include "heat/write_key.h"
#include "heat/write_maps.h"
#include "heat/write_pins.h"
#include "heat/write_rung.h"

#define SLOT_REST_NS NS_PER_SEC
#define CUT_TRIES    1000

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
	struct write_maps maps;
	struct write_hooks *hooks;
	struct write_keys *keys;
	struct slot_user *users;
	struct ring_buffer *records;
	const struct write_hooks_user *taker; /* during write_count_take */
	uint32_t *resting;                    /* ring */
	uint32_t resting_head, resting_len;
};

static const char *const rung_names[] = {"auto", "fs", "vfs", "kprobe", "syscall", "off"};

const char *rung_name(enum rung rung)
{
	assert((unsigned int)rung < ARRAY_SIZE(rung_names));
	return rung_names[rung];
}

int rung_parse(const char *name, enum rung *ret_rung)
{
	for (size_t i = 0; i < ARRAY_SIZE(rung_names); i++)
		if (strcmp(name, rung_names[i]) == 0) {
			*ret_rung = (enum rung)i;
			return 0;
		}
	return -EINVAL;
}

static void enrolled_of(const struct write_slot *slot, struct write_enrolled *ret)
{
	*ret = (struct write_enrolled){
		.dir = {.dev = slot->dir_dev, .ino = slot->dir_ino},
		.name = slot->name,
		.written = __atomic_load_n(&slot->cuts, __ATOMIC_RELAXED) +
			   __atomic_load_n(&slot->size, __ATOMIC_RELAXED),
		.acked = slot->acked,
	};
}

static int take_record(void *ctx, void *data, size_t size)
{
	const struct write_record *r = data;
	struct write_count *wc = ctx;
	struct write_enrolled e;
	struct slot_user *user;

	if (size < sizeof(*r) || r->slot >= wc->maps.slots_n || !wc->taker)
		return 0;
	user = &wc->users[r->slot];
	if (r->type == WRITE_RECORD_WAKE && user->state == SLOT_HELD) {
		wc->taker->woken(wc->taker->ctx, user->owner);
	} else if (r->type == WRITE_RECORD_ENROLLED && user->state == SLOT_FREE) {
		user->state = SLOT_ENROLLED;
		user->since_ns = clock_now_ns();
		enrolled_of(&wc->maps.slots[r->slot], &e);
		wc->taker->enrolled(wc->taker->ctx, &e);
	}
	return 0;
}

static int count_alloc(struct write_count *wc)
{
	int r = write_keys_new(&wc->keys);

	if (r < 0)
		return r;
	wc->users = calloc(wc->maps.slots_n, sizeof(*wc->users));
	wc->resting = calloc(wc->maps.slots_n, sizeof(*wc->resting));
	wc->records = ring_buffer__new(wc->maps.fds[WRITE_MAP_RECORDS], take_record, wc, NULL);
	return wc->users && wc->resting && wc->records ? 0 : -ENOMEM;
}

/* Goes down the ladder until something counts. */
static int count_climb(struct write_count *wc, enum rung wanted)
{
	for (enum rung rung = RUNG_FS; rung < RUNG_OFF && wc->rung == RUNG_OFF; rung++) {
		char why[WRITE_WHY_MAX] = "";
		int r;

		if (wanted != RUNG_AUTO && wanted != rung)
			continue;
		r = write_rung_attach(wc->hooks, &wc->maps, rung, why);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			wc->refusals[rung] = strdup(why);
		else
			wc->rung = rung;
	}
	return 0;
}

static int pins_open(struct write_count *wc, const char *pin)
{
	int r = pin ? write_pins_open(pin, &wc->pins) : 0;

	if (r == -EMEDIUMTYPE)
		log_warn(0, "bpf.pin %s: not on a BPF filesystem (mount -t bpf), nothing is kept",
			 pin);
	else if (r < 0 && r != -EBUSY)
		log_warn(r, "bpf.pin %s: %s, nothing is kept", pin, strerror(-r));
	return r == -EBUSY ? r : 0;
}

static void maps_refused(struct write_count *wc, enum rung wanted, int r)
{
	char *why;

	for (enum rung rung = RUNG_FS; rung < RUNG_OFF; rung++)
		if ((wanted == RUNG_AUTO || wanted == rung) &&
		    asprintf(&why, "making maps: %s", write_hooks_words(r)) >= 0)
			wc->refusals[rung] = why;
}

static int count_attach(struct write_count *wc, enum rung wanted, uint32_t slots_n, const char *pin)
{
	int r = pins_open(wc, pin);

	if (r < 0)
		return r;
	r = write_hooks_new(&wc->maps, &wc->hooks);
	if (r < 0)
		return r;
	r = write_maps_open(&wc->maps, slots_n, wc->pins);
	if (r < 0) {
		maps_refused(wc, wanted, r);
		return r == -ENOMEM ? r : 0;
	}
	write_hooks_pin(wc->hooks, wc->pins);
	r = count_climb(wc, wanted);
	if (r < 0 || wc->rung == RUNG_OFF)
		return r;
	wc->fallback = wanted == RUNG_AUTO;
	return count_alloc(wc);
}

int write_count_new(enum rung wanted, uint32_t max_files, const char *pin,
		    struct write_count **ret_wc)
{
	struct write_count *wc = calloc(1, sizeof(*wc));
	uint32_t slots_n = max_files ? MIN(max_files, (uint32_t)WRITE_COUNT_SLOTS_MAX) : 1;
	int r = 0;

	if (!wc)
		return -ENOMEM;
	wc->rung = RUNG_OFF;
	if (wanted != RUNG_OFF)
		r = count_attach(wc, wanted, slots_n + 1, pin); /* one is spent on the proof */
	if (r < 0) {
		write_count_free(wc);
		return r;
	}
	*ret_wc = wc;
	return 0;
}

void write_count_free(struct write_count *wc)
{
	if (!wc)
		return;
	ring_buffer__free(wc->records);
	write_hooks_free(wc->hooks);
	if (wc->maps.slots_n)
		write_maps_close(&wc->maps);
	write_pins_close(wc->pins);
	write_keys_free(wc->keys);
	for (size_t i = 0; i < ARRAY_SIZE(wc->refusals); i++)
		free(wc->refusals[i]);
	free(wc->users);
	free(wc->resting);
	free(wc);
}

enum rung write_count_rung(const struct write_count *wc)
{
	return wc->rung;
}

const char *write_count_refusal(const struct write_count *wc, enum rung rung)
{
	return (size_t)rung < ARRAY_SIZE(wc->refusals) ? wc->refusals[rung] : NULL;
}

bool write_count_adopted(const struct write_count *wc)
{
	return wc->rung != RUNG_OFF && wc->maps.adopted;
}

/* Those that have rested are free again. */
static void rest_is_over(struct write_count *wc)
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

static struct write_key slot_key(const struct write_slot *slot)
{
	return (struct write_key){.dev = slot->dev, .ino = slot->ino};
}

static void slot_rest(struct write_count *wc, uint32_t slot)
{
	struct write_key key = slot_key(&wc->maps.slots[slot]);
	uint32_t found;

	/* The key may lead elsewhere: its inode number was given to another file. */
	if (write_maps_find(&wc->maps, &key, &found) == 0 && found == slot)
		write_maps_unwatch(&wc->maps, &key);
	__atomic_store_n(&wc->maps.slots[slot].rung, WRITE_RUNG_NONE, __ATOMIC_RELAXED);
	wc->users[slot] = (struct slot_user){.state = SLOT_RESTING, .since_ns = clock_now_ns()};
	wc->resting[(wc->resting_head + wc->resting_len++) % wc->maps.slots_n] = slot;
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

/* The slot to which the file's key leads already. 0: now held; -EEXIST: was held; -ENOENT. */
static int slot_find(struct write_count *wc, const struct write_place *place, int fd, void *owner,
		     uint32_t *ret_slot)
{
	uint32_t slot;
	int r = write_maps_find(&wc->maps, &place->key, &slot);

	if (r < 0)
		return r;
	if (wc->users[slot].state == SLOT_HELD) {
		*ret_slot = slot;
		return -EEXIST;
	}
	if (wc->users[slot].state == SLOT_RESTING)
		return -ENOENT;
	if (!is_same_file(&wc->maps.slots[slot], fd)) {
		slot_rest(wc, slot);
		return -ENOENT;
	}
	slot_hold(wc, slot, place->fs, !(wc->maps.slots[slot].flags & WRITE_SLOT_ENROLLED), owner);
	*ret_slot = slot;
	return 0;
}

static int slot_new(struct write_count *wc, const struct write_place *place, uint32_t slot_rung,
		    void *owner, uint32_t *ret_slot)
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
	rest_is_over(wc);
	r = write_key_of(wc->keys, fd, wc->rung == RUNG_FS, &place);
	if (r < 0)
		return r;
	slot_rung = write_rung_of(wc->hooks, wc->rung, wc->fallback, place.fs);
	if (slot_rung == WRITE_RUNG_NONE)
		return -ENODATA;
	r = slot_find(wc, &place, fd, owner, &slot);
	if (r == -ENOENT)
		r = slot_new(wc, &place, slot_rung, owner, &slot);
	if (r == -EEXIST) /* it enrolled itself meanwhile */
		r = slot_find(wc, &place, fd, owner, &slot);
	if (r == 0 || r == -EEXIST)
		*ret_slot = (int)slot;
	return r;
}

static bool slot_held(const struct write_count *wc, int slot)
{
	return slot >= 0 && (uint32_t)slot < wc->maps.slots_n && wc->users &&
	       wc->users[slot].state == SLOT_HELD;
}

void write_count_del(struct write_count *wc, int slot)
{
	assert(slot_held(wc, slot));
	slot_rest(wc, (uint32_t)slot);
}

bool write_count_inherited(const struct write_count *wc, int slot)
{
	assert(slot_held(wc, slot));
	return wc->users[slot].inherited;
}

bool write_count_left(struct write_count *wc, uint64_t st_dev, uint64_t ino, uint64_t *ret_written)
{
	struct write_key key = {.dev = write_key_dev(st_dev), .ino = ino};
	struct write_enrolled e;
	uint32_t slot;

	if (!write_count_adopted(wc) || write_maps_find(&wc->maps, &key, &slot) < 0 ||
	    wc->users[slot].state == SLOT_HELD || wc->users[slot].state == SLOT_RESTING)
		return false;
	slot_rest(wc, slot);
	enrolled_of(&wc->maps.slots[slot], &e);
	*ret_written = e.written;
	return true;
}

void write_count_read(const struct write_count *wc, int slot, struct write_total *ret_total)
{
	const struct write_slot *s;

	assert(slot_held(wc, slot));
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
	assert(slot_held(wc, slot));
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

	assert(slot_held(wc, slot));
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

bool write_count_arm(struct write_count *wc, int slot, uint64_t collected, uint64_t threshold)
{
	struct write_slot *s;

	assert(slot_held(wc, slot));
	s = &wc->maps.slots[slot];
	if (s->rung == WRITE_RUNG_KPROBE) /* runs before the write */
		return false;
	__atomic_store_n(&s->collected, collected, __ATOMIC_RELAXED);
	__atomic_store_n(&s->threshold, threshold, __ATOMIC_RELAXED);
	__atomic_store_n(&s->woken, 0, __ATOMIC_SEQ_CST);
	return true;
}

void write_count_acked(struct write_count *wc, int slot, uint64_t acked)
{
	assert(slot_held(wc, slot));
	__atomic_store_n(&wc->maps.slots[slot].acked, acked, __ATOMIC_RELAXED);
}

int write_count_add_dir(struct write_count *wc, int dir, struct write_id *ret_id)
{
	struct write_place place;
	int r;

	if (wc->rung == RUNG_OFF)
		return -EOPNOTSUPP;
	r = write_key_of(wc->keys, dir, false, &place);
	if (r < 0)
		return r;
	/* The parent that a program sees of a file on an overlay differs between kernels. */
	if (place.fs == WRITE_FS_OVERLAY ||
	    write_rung_of(wc->hooks, wc->rung, wc->fallback, place.fs) == WRITE_RUNG_NONE)
		return -ENODATA;
	r = write_maps_watch_dir(&wc->maps, &place.key);
	if (r == 0)
		*ret_id = (struct write_id){.dev = place.key.dev, .ino = place.key.ino};
	return r == -E2BIG ? -ENOSPC : r;
}

void write_count_del_dir(struct write_count *wc, const struct write_id *id)
{
	struct write_key key = {.dev = id->dev, .ino = id->ino};

	if (wc->rung != RUNG_OFF)
		write_maps_unwatch_dir(&wc->maps, &key);
}

int write_count_fd(const struct write_count *wc)
{
	return wc->records ? ring_buffer__epoll_fd(wc->records) : -1;
}

void write_count_take(struct write_count *wc, const struct write_hooks_user *hooks)
{
	if (!wc->records)
		return;
	wc->taker = hooks;
	ring_buffer__consume(wc->records);
	wc->taker = NULL;
}

void write_count_expire(struct write_count *wc, int64_t age_ns,
			const struct write_hooks_user *hooks)
{
	int64_t now = clock_now_ns();
	uint32_t used;

	if (!wc->users)
		return;
	rest_is_over(wc);
	used = MIN(__atomic_load_n(&wc->maps.meta->fresh, __ATOMIC_RELAXED), wc->maps.slots_n);
	for (uint32_t slot = 0; slot < used; slot++) {
		struct slot_user *user = &wc->users[slot];
		struct write_enrolled e;
		bool before;

		/* Its record was lost, or an earlier process had it. */
		if (user->state == SLOT_FREE && wc->maps.slots[slot].rung != WRITE_RUNG_NONE)
			*user = (struct slot_user){.state = SLOT_ENROLLED,
						   .before = wc->maps.adopted,
						   .since_ns = now};
		if (user->state != SLOT_ENROLLED || now - user->since_ns < age_ns)
			continue;
		before = user->before;
		/* Nothing is counted there any more when the figures are taken. */
		slot_rest(wc, slot);
		enrolled_of(&wc->maps.slots[slot], &e);
		e.before = before;
		hooks->expired(hooks->ctx, &e);
	}
}

void write_count_stats(const struct write_count *wc, struct write_count_stats *ret_stats)
{
	*ret_stats = (struct write_count_stats){0};
	if (wc->rung == RUNG_OFF)
		return;
	ret_stats->misses = write_hooks_misses(wc->hooks);
	ret_stats->refused = __atomic_load_n(&wc->maps.meta->refused, __ATOMIC_RELAXED);
	ret_stats->no_records = __atomic_load_n(&wc->maps.meta->no_records, __ATOMIC_RELAXED);
}

uint64_t write_count_misses(const struct write_count *wc)
{
	return wc->rung == RUNG_OFF ? 0 : write_hooks_misses(wc->hooks);
}

const char *write_count_no_positions(const struct write_count *wc)
{
	const char *why;

	if (wc->rung == RUNG_OFF)
		return "no program counts";
	if (wc->rung == RUNG_KPROBE || wc->rung == RUNG_SYSCALL)
		return "this rung does not see truncations";
	why = write_hooks_why(wc->hooks, HOOKS_POSITIONS);
	return why ? why : NULL;
}
