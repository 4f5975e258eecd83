// SPDX-License-Identifier: Apache-2.0
/*
 * Hands out slots of the counter array to open files.
 *
 *   free ---add---> used ---del---> resting ---1 s---> free
 *
 * A slot rests because a program that looked its number up just before the deletion may still be
 * about to add to it. Free and resting slots are one queue, oldest first: when its head still
 * rests, all do. Counters are never reset; add notes where they stand, read subtracts.
 *
 * The slot is labelled with its file before the key leads to it, so there is no moment in which a
 * write is counted but not seen: write_count_add, then fstat, then the counts are complete.
 *
 * Rejected: resetting a slot's counters for a new file (a late add would land in the new count), an
 * LRU map (the kernel would evict a file that is still watched), looking up each file's counter
 * through the bpf system call (one call per file and tick).
 */
#include "heat/write_count.h"

#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "heat/write_bpf.h"
#include "heat/write_key.h"

#define SLOT_REST_NS NS_PER_SEC

struct slot_user {
	bool used;
	struct write_key key;
	struct write_total base; /* where calls, bytes and shrinks stood at write_count_add */
	int64_t rest_until_ns;
};

struct write_count {
	enum rung rung;
	char *refusals[RUNG_OFF];
	struct write_bpf *bpf; /* all that follows is NULL and 0 on RUNG_OFF */
	struct write_slot *slots;
	struct write_keys *keys;
	struct slot_user *users;
	uint32_t *queue; /* ring of free slots */
	uint32_t slots_n, queue_head, queue_len;
};

static const char *const rung_names[] = {"auto", "vfs", "kprobe", "syscall", "off"};

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

static int count_alloc(struct write_count *wc)
{
	int r = write_keys_new(&wc->keys);

	if (r < 0)
		return r;
	wc->users = calloc(wc->slots_n, sizeof(*wc->users));
	wc->queue = calloc(wc->slots_n, sizeof(*wc->queue));
	if (!wc->users || !wc->queue)
		return -ENOMEM;
	for (uint32_t i = 0; i < wc->slots_n; i++)
		wc->queue[i] = i;
	wc->queue_len = wc->slots_n;
	return 0;
}

/* Goes down the ladder until something counts. */
static int count_attach(struct write_count *wc, enum rung wanted)
{
	for (enum rung rung = RUNG_VFS; rung < RUNG_OFF && !wc->bpf; rung++) {
		char why[WRITE_WHY_MAX];
		int r;

		if (wanted != RUNG_AUTO && wanted != rung)
			continue;
		r = write_bpf_new(rung, wc->slots_n, why, &wc->bpf);
		if (r == -ENOMEM)
			return r;
		if (r < 0)
			wc->refusals[rung] = strdup(why);
		else
			wc->rung = rung;
	}
	malloc_trim(0); /* the kernel's BTF was read once for each rung: 10 MiB */
	if (!wc->bpf)
		return 0;
	wc->slots = write_bpf_slots(wc->bpf);
	return count_alloc(wc);
}

int write_count_new(enum rung wanted, uint32_t max_files, struct write_count **ret_wc)
{
	struct write_count *wc = calloc(1, sizeof(*wc));
	int r = 0;

	if (!wc)
		return -ENOMEM;
	wc->rung = RUNG_OFF;
	wc->slots_n = max_files ? MIN(max_files, (uint32_t)WRITE_COUNT_SLOTS_MAX) : 1;
	if (wanted != RUNG_OFF)
		r = count_attach(wc, wanted);
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
	write_bpf_free(wc->bpf);
	write_keys_free(wc->keys);
	for (size_t i = 0; i < ARRAY_SIZE(wc->refusals); i++)
		free(wc->refusals[i]);
	free(wc->users);
	free(wc->queue);
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

static void slot_load(const struct write_slot *slot, struct write_total *ret_total)
{
	/* calls first: the program adds to it last. */
	ret_total->calls = __atomic_load_n(&slot->calls, __ATOMIC_ACQUIRE);
	ret_total->bytes = __atomic_load_n(&slot->bytes, __ATOMIC_RELAXED);
	ret_total->size = __atomic_load_n(&slot->size, __ATOMIC_RELAXED);
	ret_total->last_ns = (int64_t)__atomic_load_n(&slot->last_ns, __ATOMIC_RELAXED);
	ret_total->shrinks = __atomic_load_n(&slot->shrinks, __ATOMIC_RELAXED);
}

/* While no key leads to the slot. The size known now makes a truncation before the first counted
 * write show as a shrink. */
static void slot_label(struct write_count *wc, uint32_t i, const struct write_key *key,
		       uint64_t size)
{
	struct write_slot *slot = &wc->slots[i];

	slot->dev = key->dev;
	slot->ino = key->ino;
	slot->size = size;
	slot->last_ns = 0;
	slot->epoch++;
	__atomic_store_n(&slot->rung, write_bpf_slot_rung(wc->bpf), __ATOMIC_RELEASE);
	slot_load(slot, &wc->users[i].base);
}

int write_count_add(struct write_count *wc, int fd, int *ret_slot)
{
	struct write_key key;
	uint32_t slot, found;
	uint64_t size;
	int r;

	if (!wc->bpf)
		return -EOPNOTSUPP;
	r = write_key_of(wc->keys, fd, &key, &size);
	if (r < 0)
		return r;
	slot = wc->queue[wc->queue_head];
	if (!wc->queue_len || wc->users[slot].rest_until_ns > clock_now_ns()) {
		r = write_bpf_find(wc->bpf, &key, &found);
		if (r == 0)
			*ret_slot = (int)found;
		return r == 0 ? -EEXIST : -ENOSPC;
	}
	slot_label(wc, slot, &key, size);
	r = write_bpf_watch(wc->bpf, &key, slot);
	if (r < 0) {
		__atomic_store_n(&wc->slots[slot].rung, WRITE_RUNG_NONE, __ATOMIC_RELAXED);
		if (r == -EEXIST && write_bpf_find(wc->bpf, &key, &found) == 0)
			*ret_slot = (int)found;
		return r;
	}
	wc->queue_head = (wc->queue_head + 1) % wc->slots_n;
	wc->queue_len--;
	wc->users[slot].key = key;
	wc->users[slot].used = true;
	*ret_slot = (int)slot;
	return 0;
}

static bool slot_used(const struct write_count *wc, int slot)
{
	return slot >= 0 && (uint32_t)slot < wc->slots_n && wc->users && wc->users[slot].used;
}

void write_count_del(struct write_count *wc, int slot)
{
	struct slot_user *user;

	assert(slot_used(wc, slot));
	user = &wc->users[slot];
	write_bpf_unwatch(wc->bpf, &user->key);
	__atomic_store_n(&wc->slots[slot].rung, WRITE_RUNG_NONE, __ATOMIC_RELAXED);
	user->used = false;
	user->rest_until_ns = clock_now_ns() + SLOT_REST_NS;
	wc->queue[(wc->queue_head + wc->queue_len++) % wc->slots_n] = (uint32_t)slot;
}

void write_count_read(const struct write_count *wc, int slot, struct write_total *ret_total)
{
	const struct write_total *base;

	assert(slot_used(wc, slot));
	base = &wc->users[slot].base;
	slot_load(&wc->slots[slot], ret_total);
	ret_total->calls -= base->calls;
	ret_total->bytes -= base->bytes;
	ret_total->shrinks -= base->shrinks;
}

uint64_t write_count_misses(const struct write_count *wc)
{
	return wc->bpf ? write_bpf_misses(wc->bpf) : 0;
}
