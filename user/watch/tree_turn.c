/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tree does again after a while, as no event will tell of it: roots that are missing,
 * directories without a watch, links that led nowhere, what could not be opened.
 */
#include "base/clock.h"
#include "base/sys.h"
#include "base/table.h"
#include "watch/tree_impl.h"

#define ROOT_RETRY_NS (NS_PER_SEC / 2)
#define RELIST_NS     NS_PER_SEC
#define PART_NS       (2 * NS_PER_MS) /* of that at once, of the processor's time */
#define RELIST_SHARE  2               /* of which it may take */
#define PAUSE_MAX_NS  (5 * NS_PER_SEC)

/* Lists again those directories that want it (want NULL: all); collects the paths first, as listing
 * changes the table. */
static void relist(struct tree *t, bool (*want)(const struct node *n))
{
	struct buf todo = {0};

	for (struct table_node *i = NULL; (i = table_walk(&t->nodes.by_path, i));) {
		struct node *n = container_of(i, struct node, by_path);

		if (!want || want(n))
			tree_push(t, &todo, n->path);
	}
	tree_work(t, &todo);
}

static bool want_dangling(const struct node *n)
{
	return n->dangling;
}

/* Those without a watch, some at a time: among thousands nothing else waits for all of them. */
static void relist_unwatched(struct tree *t, int64_t now_ns)
{
	int64_t begin_ns = clock_thread_ns();
	struct buf todo = {0};

	if (!t->relist_left) {
		t->relist_left = t->nodes.by_path.n_buckets;
		t->relist_round_ns = now_ns;
	}
	t->relisting = true;
	for (; t->relist_left && clock_thread_ns() < begin_ns + PART_NS; t->relist_left--) {
		for (struct table_node *i = table_bucket(&t->nodes.by_path, &t->relist_at); i;
		     i = i->next) {
			struct node *n = container_of(i, struct node, by_path);

			if (n->wd < 0)
				tree_push(t, &todo, n->path);
		}
		tree_work(t, &todo);
	}
	t->relisting = false;
	t->relist_ns = now_ns + RELIST_SHARE * (clock_thread_ns() - begin_ns);
	if (!t->relist_left)
		t->relist_ns = MAX(t->relist_ns, t->relist_round_ns + RELIST_NS);
}

bool tree_settling(const struct tree *t)
{
	return t->short_of_memory || (t->failed.len && t->pause_ns < NS_PER_SEC);
}

static void retry_failed(struct tree *t, int64_t now_ns)
{
	struct buf todo = t->failed;

	t->failed = (struct buf){0};
	tree_work(t, &todo);
	t->pause_ns = t->failed.len ? MIN(t->pause_ns * 2, PAUSE_MAX_NS) : 0;
	t->retry_ns = now_ns + t->pause_ns;
}

void tree_rescan(struct tree *t)
{
	t->stats.rescans++;
	tree_check_roots(t);
	relist(t, NULL);
}

int64_t tree_next_ns(const struct tree *t)
{
	int64_t at = MIN(t->root_ns, t->relist_ns);

	if (t->short_of_memory)
		return 0;
	return t->failed.len ? MIN(at, t->retry_ns) : at;
}

int64_t tree_turn(struct tree *t, int64_t now_ns)
{
	if (now_ns >= t->root_ns) {
		tree_check_roots(t);
		t->root_ns = now_ns + ROOT_RETRY_NS;
	}
	if (now_ns >= t->relist_ns) {
		t->relist_ns = now_ns + RELIST_NS;
		if (t->nodes.unwatched)
			relist_unwatched(t, now_ns);
	}
	if (t->dangling_ns && now_ns >= t->dangling_ns) {
		t->dangling_ns = 0;
		relist(t, want_dangling);
	}
	if (t->failed.len && now_ns >= t->retry_ns)
		retry_failed(t, now_ns);
	if (t->short_of_memory) {
		t->short_of_memory = false;
		if (t->stale)
			tree_walk(t);
		else
			tree_rescan(t);
	}
	return tree_next_ns(t);
}
