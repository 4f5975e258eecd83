// SPDX-License-Identifier: Apache-2.0
/*
 * A record is a hint: one that is lost costs latency, as an enrolled slot is found when its file is
 * added, or when all slots are looked at.
 */
#include "heat/write_told.h"

#include <assert.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "base/clock.h"
#include "base/prefetch.h"
#include "base/sys.h"
#include "heat/write_count_impl.h"
#include "heat/write_rung.h"

/*
 * What is known of a file that is woken was last used a while ago, and left the cache. The records
 * of a tick are taken together, so that the misses of all their files go on side by side: 5 to 8 %
 * of the processor time of a thousand files at 10 MB/s.
 */
static void wake_told(struct write_count *wc)
{
	void *owners[WRITE_TOLD_MAX];
	size_t n = 0;

	for (size_t i = 0; i < wc->n_told; i++) {
		const struct slot_user *user = &wc->users[wc->told[i]];

		if (user->state == SLOT_HELD)
			owners[n++] = user->owner;
	}
	wc->n_told = 0;
	if (n)
		wc->taker->woken(wc->taker->ctx, owners, n);
}

static void told(struct write_count *wc, uint32_t slot)
{
	cache_prefetch(&wc->users[slot], sizeof(wc->users[slot]));
	cache_prefetch(&wc->maps.slots[slot], offsetof(struct write_slot, ino));
	wc->told[wc->n_told++] = slot;
	if (wc->n_told == WRITE_TOLD_MAX)
		wake_told(wc);
}

int write_count_record(void *ctx, void *data, size_t size)
{
	const struct write_record *r = data;
	struct write_count *wc = ctx;
	struct write_enrolled e;
	struct slot_user *user;

	if (size < sizeof(*r) || r->slot >= wc->maps.slots_n || !wc->taker)
		return 0;
	user = &wc->users[r->slot];
	if (r->type == WRITE_RECORD_WAKE) {
		told(wc, r->slot);
	} else if (r->type == WRITE_RECORD_ENROLLED && user->state == SLOT_FREE &&
		   write_maps_reach(&wc->maps, r->slot)) {
		*user = (struct slot_user){.state = SLOT_ENROLLED, .since_ns = clock_now_ns()};
		write_slot_enrolled(&wc->maps.slots[r->slot], &e);
		wc->taker->enrolled(wc->taker->ctx, &e);
	}
	return 0;
}

bool write_count_arm(struct write_count *wc, int slot, uint64_t collected, uint64_t threshold)
{
	struct write_slot *s;

	assert(write_slot_held(wc, slot));
	s = &wc->maps.slots[slot];
	if (s->rung == WRITE_RUNG_KPROBE) /* runs before the write */
		return false;
	__atomic_store_n(&s->collected, collected, __ATOMIC_RELAXED);
	__atomic_store_n(&s->threshold, threshold, __ATOMIC_RELAXED);
	__atomic_store_n(&s->woken, 0, __ATOMIC_SEQ_CST);
	return true;
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
	return r;
}

void write_count_dirs_known(struct write_count *wc)
{
	if (write_count_adopted(wc))
		write_maps_forget_dirs(&wc->maps);
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
	wake_told(wc);
	wc->taker = NULL;
}

void write_count_expire(struct write_count *wc, int64_t age_ns,
			const struct write_hooks_user *hooks)
{
	int64_t now = clock_now_ns();

	if (!wc->users)
		return;
	write_slots_rested(wc);
	for (uint32_t slot = 0; slot < write_slots_used(wc); slot++) {
		struct slot_user *user = &wc->users[slot];
		struct write_enrolled e;
		bool before, reused;

		/* Its record was lost. */
		if (user->state == SLOT_FREE && wc->maps.slots[slot].rung != WRITE_RUNG_NONE)
			*user = (struct slot_user){.state = SLOT_ENROLLED, .since_ns = now};
		if (user->state != SLOT_ENROLLED || now - user->since_ns < age_ns)
			continue;
		before = user->before;
		reused = write_slot_reused(wc, slot);
		/* Nothing is counted there any more when the figures are taken. */
		write_slot_rest(wc, slot);
		write_slot_enrolled(&wc->maps.slots[slot], &e);
		e.before = before;
		e.reused = reused;
		hooks->expired(hooks->ctx, &e);
	}
}
