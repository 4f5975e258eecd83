// SPDX-License-Identifier: Apache-2.0
/*
 * Which rung counts, and what stays when the process ends.
 *
 * The maps come first, so that a refused rung costs its programs and nothing else. What is pinned
 * decides the rung: its slots are signed by it, and counting that goes on is worth more than a
 * better rung from now on.
 */
#include <assert.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "heat/write_count_impl.h"
#include "heat/write_hooks.h"
#include "heat/write_pins.h"
#include "heat/write_rung.h"

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

/* What is pinned goes on as it is, unless another rung is asked for. */
static int maps_open(struct write_count *wc, enum rung *wanted, uint32_t slots_n)
{
	int r = write_maps_open(&wc->maps, slots_n, wc->pins);

	bool whole = r < 0 || !wc->maps.adopted || write_hooks_pins_whole(wc->pins);

	if (r == 0 && wc->maps.adopted &&
	    (!whole || (*wanted != RUNG_AUTO && *wanted != (enum rung)wc->maps.meta->rung))) {
		log_warn(0, "bpf.pin %s: what is pinned there is %s, replaced",
			 write_pins_dir(wc->pins), whole ? "of another rung" : "incomplete");
		write_maps_close(&wc->maps);
		write_pins_clear(wc->pins);
		r = write_maps_open(&wc->maps, slots_n, wc->pins);
	}
	if (r == 0 && wc->maps.adopted)
		*wanted = (enum rung)wc->maps.meta->rung;
	return r;
}

static int count_attach(struct write_count *wc, enum rung wanted, uint32_t slots_n, const char *pin)
{
	int r = pins_open(wc, pin);

	wc->fallback = wanted == RUNG_AUTO;
	if (r < 0)
		return r;
	r = write_hooks_new(&wc->maps, &wc->hooks);
	if (r < 0)
		return r;
	r = maps_open(wc, &wanted, slots_n);
	if (r < 0) {
		maps_refused(wc, wanted, r);
		return r == -ENOMEM ? r : 0;
	}
	write_hooks_pin(wc->hooks, wc->pins);
	r = count_climb(wc, wanted);
	if (r < 0 || wc->rung == RUNG_OFF)
		return r;
	wc->maps.meta->rung = wc->rung;
	wc->maps.meta->run++;
	if (wc->maps.adopted)
		log_info("bpf.pin %s: adopted, it has counted all along", pin);
	return write_count_alloc(wc);
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

void write_count_stats(const struct write_count *wc, struct write_count_stats *ret_stats)
{
	*ret_stats = (struct write_count_stats){0};
	if (wc->rung == RUNG_OFF)
		return;
	ret_stats->misses = write_hooks_misses(wc->hooks);
	ret_stats->refused = __atomic_load_n(&wc->maps.meta->refused, __ATOMIC_RELAXED);
	ret_stats->no_records = write_count_no_records(wc);
}

uint64_t write_count_no_records(const struct write_count *wc)
{
	return wc->rung == RUNG_OFF ? 0
				    : __atomic_load_n(&wc->maps.meta->no_records, __ATOMIC_RELAXED);
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
