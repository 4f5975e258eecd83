/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the configuration again, between two turns of the event loop.
 *
 *   SIGHUP, CONTROL_RELOAD ───────────────────┐
 *   the file changed ──> quiet for a moment ──┴──> due ──> read, checked as at the start
 *                                                            │ everything that can fail is tried
 *                                                            v
 *                              refused, one line   or   roots, sinks, limits, all at once
 *
 * What is asked for again meanwhile is one reload, and reloads keep a distance, so that a storm of
 * signals costs little. A file that was just written is given the time to be written whole: a half
 * of it can be valid.
 *
 * Rejected: stopping and starting all rooms (every file would be reopened, and what was read and
 * not delivered be read again).
 */
#include "collector_reload.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/slice.h"
#include "base/sys.h"
#include "collector_impl.h"
#include "collector_leave.h"
#include "config.h"
#include "config_watch.h"
#include "output/outlet.h"
#include "watch/tree.h"

#define PAUSE_NS    (100 * NS_PER_MS) /* between two reloads */
#define SETTLE_NS   (100 * NS_PER_MS) /* the file's last change, and reading it */
#define NEAR_NS     (50 * NS_PER_MS)  /* between two looks when there are events */
#define LOOK_NS     (5 * NS_PER_SEC)  /* when there are none */
#define CHANGING_NS (5 * NS_PER_MS)   /* between two looks whether removed sinks are done */
#define SLICE_NS    (NS_PER_MS / 4)   /* more than a turn with few lines takes */

struct reload {
	struct config_watch *watch; /* NULL: there is no file */
	int64_t due_ns, last_ns;    /* INT64_MAX: not asked for; the last one */
	int64_t look_ns, looked_ns; /* at the file */
	bool asked;                 /* not only by the file's change */
};

int collector_open_reload(struct collector *c)
{
	struct reload *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	c->reload = r;
	if (collector_leave_new(c) < 0)
		return -ENOMEM;
	r->due_ns = r->look_ns = INT64_MAX;
	r->last_ns = -PAUSE_NS;
	if (!c->cfg->config_path)
		return 0;
	r->look_ns = 0;
	return config_watch_new(c->cfg->config_path, &r->watch);
}

void collector_close_reload(struct collector *c)
{
	struct reload *r = take_ptr(c->reload);

	if (!r)
		return;
	config_watch_free(r->watch);
	free(r);
	collector_leave_free(c);
}

void collector_ask_reload(struct collector *c)
{
	struct reload *r = c->reload;

	r->asked = true;
	r->due_ns = MIN(r->due_ns, r->last_ns + PAUSE_NS);
}

int collector_reload_fd(const struct collector *c)
{
	return c->reload->watch ? config_watch_fd(c->reload->watch) : -1;
}

int64_t collector_reload_ns(const struct collector *c)
{
	int64_t at = MIN(c->reload->due_ns, c->reload->look_ns), leave = collector_leave_ns(c);

	at = MIN(at, leave);
	return outlet_changing(c->outlet) ? clock_now_ns() + CHANGING_NS : at;
}

void collector_reload_event(struct collector *c)
{
	struct reload *r = c->reload;

	config_watch_clear(r->watch);
	r->look_ns = MIN(r->look_ns, r->looked_ns + NEAR_NS);
}

void collector_take_limits(struct collector *c)
{
	const struct config *cfg = c->cfg;

	c->joins.max_bytes = cfg->join_max_bytes;
	c->joins.line_max = c->reader.line_max = (uint32_t)cfg->line_max_bytes;
	c->limits = (struct heat_limits){.rotate_bytes = cfg->rotate_size_bytes,
					 .rotate_files = cfg->rotate_files};
	log_set_level(cfg->log_level);
	if (!cfg->linger_ns)
		slice_ask(SLICE_NS);
}

static void refuse(struct collector *c, const char *why)
{
	c->reload_failures++;
	log_err(0, "reload refused, the configuration in force stays: %s", why);
}

/* What could be had of the new configuration; freed by plan_done if it is not taken. */
struct plan {
	struct outlet_change *sinks;
	struct roots *roots; /* NULL: they stay */
};

static void plan_done(struct plan *p)
{
	outlet_change_free(p->sinks);
	tree_prepare_free(p->roots);
}

/* Tries everything that can fail, without effect; -errno and why. */
static int plan(struct collector *c, const struct config *next, struct plan *p, char *why)
{
	int r = 0;

	_Static_assert(OUTLET_WHY_MAX <= CONFIG_WHY_MAX && TREE_WHY_MAX <= CONFIG_WHY_MAX,
		       "each fits");
	if (!config_list_same(&next->roots, &c->cfg->roots) ||
	    !config_list_same(&next->link_roots, &c->cfg->link_roots))
		r = tree_prepare(next->roots.items, next->roots.n, next->link_roots.items,
				 next->link_roots.n, &p->roots, why);
	return r < 0 ? r
		     : outlet_prepare(c->outlet, next->sinks.items, next->sinks.n, &p->sinks, why);
}

/* Nothing fails from here on. */
static void take(struct collector *c, struct config *next, struct plan *p)
{
	config_exchange(c->cfg, next);
	collector_take_limits(c);
	outlet_change(c->outlet, take_ptr(p->sinks), c->cfg->stop_timeout_ns);
	collector_exclude_own(c);
	if (p->roots) {
		tree_change(c->tree, take_ptr(p->roots));
		c->unsettled = true; /* events of what was found are waited for */
	}
	outlet_resize(c->outlet, c->cfg->batch_bytes, reader_longest_line(c->reader.line_max));
}

static void reload(struct collector *c)
{
	_cleanup_(config_done) struct config next = {};
	_cleanup_(buf_done) struct buf now = {}, later = {};
	_cleanup_(plan_done) struct plan p = {};
	char why[CONFIG_WHY_MAX];
	int n_now, n_later;

	if (!c->cfg->config_path) {
		log_warn(0, "reload: no file was named by --config, nothing is changed");
		return;
	}
	if (config_again(c->cfg, &next, why) < 0) {
		refuse(c, why);
		return;
	}
	n_now = config_differences(c->cfg, &next, true, &now);
	n_later = config_differences(c->cfg, &next, false, &later);
	if (n_now < 0 || n_later < 0) {
		refuse(c, strerror(ENOMEM));
		return;
	}
	if (n_now && plan(c, &next, &p, why) < 0) {
		refuse(c, why);
		return;
	}
	if (n_now)
		take(c, &next, &p);
	c->reloads++;
	if (n_now || !n_later)
		log_info("reload: changed: %s", n_now ? now.data : "nothing");
	if (n_later)
		log_warn(0, "reload: takes effect at the next start: %s", later.data);
}

void collector_reload_turn(struct collector *c, int64_t now_ns)
{
	struct reload *r = c->reload;

	collector_leave_turn(c, now_ns);
	if (now_ns >= r->look_ns) {
		r->looked_ns = now_ns;
		r->look_ns = now_ns + LOOK_NS;
		if (config_watch_changed(r->watch)) {
			r->look_ns = now_ns + SETTLE_NS;
			r->due_ns = r->asked ? r->due_ns : r->look_ns;
		}
	}
	if (now_ns < r->due_ns || outlet_changing(c->outlet))
		return;
	r->asked = false;
	r->due_ns = INT64_MAX;
	if (r->watch)
		config_watch_changed(r->watch); /* what changes from here on is another reload's */
	reload(c);
	r->last_ns = clock_now_ns();
}
