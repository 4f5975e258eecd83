/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which generations nobody saw is counted by their births: each has one event under the live name.
 *
 *   birth that leads to a file that had its own  --> one more was born than is known: unborn
 *   a file found first under its rotated name    --> takes an unborn back, or waits for its birth
 *   a file found by its first write (early)      --> its event names it; if it has lost the name by
 *                                                    then, the same as found under its rotated name
 *
 * A file that was written to and never found says so with its bytes, seconds later (files_
 * lost_unseen); by then its birth has been counted, unless the event of it was lost.
 */
#include <string.h>

#include "base/clock.h"
#include "files/chain.h"
#include "files/files_impl.h"
#include "files/pod_path.h"

#define LATE_NS NS_PER_SEC /* between a rotated file that was found and the event of its birth */

static void tell(struct files *fs, const char *path, int by)
{
	if (fs->hooks.vanished)
		fs->hooks.vanished(fs->hooks.ctx, path, by);
}

/* What was begun before a generation that nobody saw does not go on behind it. It was before the
 * live file if that has not been read yet, as events under way are taken before a file is. */
static void gap(struct chain *c, bool there)
{
	if (c->live && !c->live->offset)
		c->live->after_gap = there;
	else
		c->gap = there;
}

/* Nobody knows what was in it, only that it was there. */
void files_vanished(struct files *fs, const char *path)
{
	struct chain *c = files_chain_of(fs, path);

	fs->stats.vanished++;
	tell(fs, path, 1);
	if (!c)
		return;
	tally_lose(&c->tally, LOST_VANISHED, 0);
	gap(c, true);
}

void files_born_unseen(struct files *fs, const char *path)
{
	struct chain *c = files_chain_of(fs, path);

	if (!c) {
		files_vanished(fs, path);
		return;
	}
	if (clock_now_ns() - c->found_late_ns > LATE_NS)
		c->found_late = 0;
	if (c->found_late) {
		c->found_late--;
		return;
	}
	files_vanished(fs, c->key);
	c->unborn++;
}

static void await_birth(struct chain *c)
{
	c->found_late++;
	c->found_late_ns = clock_now_ns();
}

void files_found_late(struct files *fs, struct chain *c)
{
	if (!c->unborn) {
		await_birth(c);
		return;
	}
	c->unborn--;
	c->tally.lost[LOST_VANISHED].events--;
	fs->stats.vanished--;
	tell(fs, c->key, -1);
	if (!c->unborn)
		gap(c, false);
}

void files_early_leaves(struct file *f)
{
	if (f->early && !f->announced)
		await_birth(f->chain);
	f->early = false;
}

void files_lost_unseen(struct files *fs, const char *path, uint64_t bytes, bool counted)
{
	struct chain *c = files_chain_of(fs, path), *made = NULL;

	if (c && strcmp(c->key, path) != 0)
		return;
	if (!c && chain_get(&fs->chains, path, NULL, &made) < 0)
		return;
	if (!counted)
		files_vanished(fs, path);
	else if (made)
		tally_lose(&made->tally, LOST_VANISHED, 0); /* counted without a log */
	else if (c && c->unborn)
		c->unborn--; /* no rotated file will turn out to be it */
	c = made ? made : c;
	if (!c)
		return;
	c->tally.lost[LOST_VANISHED].bytes += bytes;
	c->tally.written_bytes += bytes;
	if (made) {
		made->members++;
		files_leave_chain(fs, made);
	}
}
