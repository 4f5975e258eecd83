/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sinks come and go while lines flow.
 *
 *   outlet_change ──> the batch being filled goes to the old set
 *        │            nobody removed: done
 *        v
 *   changing: the pool is dry, removed sinks deliver what they have
 *        │  all of it, and they end        │ patience is over, or one failed
 *        v                                 v
 *   the new set                     what it has goes to the sinks that are new, then the new set
 *
 * So the batches of one set are home, or on their way in the right order, before one of the next
 * set is filled: acknowledgements never overtake each other, and with them no offset does. It takes
 * as long as the queue before a sink, OUTLET_QUEUE_NS, during which the files are the buffer.
 *
 * What a sink hands back it may have written in part: the new one then gets it whole, as after a
 * crash. Rejected: two sets at a time (offsets would need a list of batches per file).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "output/batch.h"
#include "output/outlet_impl.h"

struct outlet_change {
	struct outlet_sink **sinks; /* the old ones that stay in front */
	size_t n, n_old;
};

static bool is_among(struct outlet_sink *const *all, size_t n, const struct outlet_sink *os)
{
	for (size_t i = 0; i < n; i++)
		if (all[i] == os)
			return true;
	return false;
}

/* One of that name that is not taken yet: a name may be there twice. */
static struct outlet_sink *find(const struct outlet *o, const struct outlet_change *ch,
				const char *spec)
{
	for (size_t i = 0; i < o->n_sinks; i++)
		if (strcmp(sink_name(o->sinks[i]->sink), spec) == 0 &&
		    !is_among(ch->sinks, ch->n, o->sinks[i]))
			return o->sinks[i];
	return NULL;
}

int outlet_prepare(struct outlet *o, char *const *specs, size_t n,
		   struct outlet_change **ret_change, char *why)
{
	struct outlet_change *ch = calloc(1, sizeof(*ch));
	_cleanup_free_ bool *old = calloc(n, sizeof(*old));
	int r = 0;

	if (ch)
		ch->sinks = calloc(n, sizeof(struct outlet_sink *));
	if (!ch || !ch->sinks || !old) {
		outlet_change_free(ch);
		snprintf(why, OUTLET_WHY_MAX, "sinks: %s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (size_t i = 0; i < n; i++) {
		struct outlet_sink *os = find(o, ch, specs[i]);

		old[i] = os;
		if (os)
			ch->sinks[ch->n++] = os;
	}
	ch->n_old = ch->n;
	for (size_t i = 0; i < n && r == 0; i++) {
		if (old[i])
			continue;
		r = outlet_sink_new(o, specs[i], &ch->sinks[ch->n], why);
		ch->n += r == 0;
	}
	if (r < 0)
		outlet_change_free(ch);
	else
		*ret_change = ch;
	return r;
}

void outlet_change_free(struct outlet_change *ch)
{
	if (!ch)
		return;
	for (size_t i = ch->n_old; i < ch->n; i++)
		outlet_sink_free(ch->sinks[i]);
	free(ch->sinks);
	free(ch);
}

void outlet_change(struct outlet *o, struct outlet_change *ch, int64_t patience_ns)
{
	outlet_hand_on(o);
	for (size_t i = 0; i < o->n_sinks; i++) {
		struct outlet_sink *os = o->sinks[i];

		if (is_among(ch->sinks, ch->n_old, os))
			continue;
		atomic_store(&os->leaving, true);
		sink_end(os->sink);
		os->next = o->leaving;
		o->leaving = os;
		o->changing = true;
	}
	free(o->sinks);
	o->sinks = take_ptr(ch->sinks);
	o->n_sinks = ch->n;
	o->n_old = ch->n_old;
	o->patience_ns = clock_now_ns() + patience_ns;
	free(ch);
}

bool outlet_changing(const struct outlet *o)
{
	return o->changing;
}

static bool has_answered(const struct outlet_sink *os)
{
	return atomic_load(&os->answered) == os->given;
}

/* What it holds cannot be waited for any longer. */
static void give_up(struct outlet_sink *os)
{
	unsigned n = sink_abandon(os->sink, os->back, &os->n_back);

	atomic_fetch_add(&os->answered, n);
	log_warn(0, "sink %s: removed, and did not take the last %u batches in time: they go to %s",
		 sink_name(os->sink), n,
		 os->o->n_sinks > os->o->n_old ? "the new sinks" : "the others alone");
}

/* The batch handed on first of all that came back, taken off each list that it is on; *ret_n: of
 * how many. */
static struct batch *take_first(struct outlet *o, unsigned *ret_n)
{
	struct batch *first = NULL;

	*ret_n = 0;
	for (struct outlet_sink *os = o->leaving; os; os = os->next)
		if (os->n_back && (!first || os->back[0]->handed_ns < first->handed_ns))
			first = os->back[0];
	for (struct outlet_sink *os = o->leaving; os && first; os = os->next) {
		if (!os->n_back || os->back[0] != first)
			continue;
		memmove(os->back, os->back + 1, --os->n_back * sizeof(struct batch *));
		++*ret_n;
	}
	return first;
}

static void pass_on(struct outlet *o)
{
	struct batch *b;
	unsigned n;

	while ((b = take_first(o, &n))) {
		atomic_fetch_add(&b->holders, (unsigned)(o->n_sinks - o->n_old));
		for (size_t i = o->n_old; i < o->n_sinks; i++) {
			o->sinks[i]->given++;
			sink_put(o->sinks[i]->sink, b);
		}
		while (n--)
			outlet_let_go(o, b);
	}
}

static void free_ended(struct outlet *o)
{
	struct outlet_sink **at = &o->leaving, *os;

	while ((os = *at)) {
		if (!sink_ended(os->sink)) {
			at = &os->next;
			continue;
		}
		*at = os->next;
		outlet_sink_free(os);
	}
}

void outlet_reap(struct outlet *o)
{
	bool patient = clock_now_ns() < o->patience_ns, all = true;

	for (struct outlet_sink *os = o->leaving; os && o->changing; os = os->next) {
		if (!has_answered(os) && !patient)
			give_up(os);
		all = all && has_answered(os);
	}
	if (o->changing && all) {
		pass_on(o);
		o->changing = false;
	}
	if (!o->changing)
		free_ended(o);
}
