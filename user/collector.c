/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop. It waits in one ppoll for a few descriptors (the event queue's timer, the sinks'
 * acknowledgements, signals, the end of a save, the kernel half's records) and a timeout. No epoll,
 * no timer descriptors: with so few and deadlines that change every turn, that would be more system
 * calls for nothing.
 */
#include "collector.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "account/ledger_socket.h"
#include "account/state.h"
#include "base/clock.h"
#include "base/sys.h"
#include "collector_armed.h"
#include "collector_counts.h"
#include "collector_docker.h"
#include "collector_end.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "collector_pods.h"
#include "collector_reload.h"
#include "collector_report.h"
#include "collector_state.h"
#include "collector_status.h"
#include "config.h"
#include "event/event_queue.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "heat/write_told.h"
#include "output/outlet.h"
#include "watch/tree.h"
#include "watch/watch.h"

#define SWEEP_NS        NS_PER_SEC
#define SETTLE_NS       (50 * NS_PER_MS)
#define PARTIAL_REST_NS (300 * NS_PER_MS)
#define CHAIN_WAIT_NS   (10 * NS_PER_SEC) /* longer than until newcomers expire */
#define RETRY_NS        (5 * NS_PER_SEC)

static void take_signals(struct collector *c)
{
	struct signalfd_siginfo si;

	while (read(c->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGUSR1)
			collector_state(c);
		else if (si.ssi_signo == SIGHUP)
			collector_ask_reload(c);
		else
			c->stop = true;
	}
}

/* When the loop must go round although nothing happens. */
static int64_t next_deadline(const struct collector *c, bool more)
{
	int64_t at = MIN(c->sweep_ns, tree_next_ns(c->tree)),
		waiting = outlet_waiting_since(c->outlet);
	int64_t armed = collector_armed_ns(c), save;

	if (more && !c->blocked)
		return 0;
	save = collector_save_ns(c);
	at = MIN(at, save);
	save = files_postponed_ns(c->files);
	at = MIN(at, save);
	save = collector_reload_ns(c);
	at = MIN(at, save);
	if (waiting)
		at = MIN(at, waiting + c->cfg->linger_ns);
	if (list_linked(&c->hot) || c->lively)
		at = MIN(at, c->look_ns);
	if (list_linked(&c->slow))
		at = MIN(at, c->slow_ns);
	armed = MAX(armed, c->look_ns);
	at = MIN(at, armed);
	if (c->cfg->exit_when_idle_ns >= 0 && !list_linked(&c->hot) && outlet_idle(c->outlet))
		at = MIN(at, c->active_ns + c->cfg->exit_when_idle_ns);
	return at;
}

/*
 * A name is opened some time after its event: it may lead to a younger file by then, and the older
 * one turn up under its rotated name in an event still to come. So before anything is read from a
 * file just found (or of a file just truncated, whose copy may have been found), the events that
 * were under way are waited for, but not for long.
 */
static void take_events(struct collector *c)
{
	struct pollfd fd = {event_queue_fd(c->queue), POLLIN, 0};
	int64_t until_ns = clock_now_ns() + SETTLE_NS;

	event_queue_flush(c->queue);
	while ((c->found_new || c->unsettled) && clock_now_ns() < until_ns) {
		uint64_t mark = watch_mark(c->watch);

		c->found_new = c->unsettled = false;
		while (!watch_reached(c->watch, mark) && clock_now_ns() < until_ns) {
			poll(&fd, 1, 1);
			event_queue_flush(c->queue);
		}
		event_queue_flush(c->queue);
	}
	c->found_new = c->unsettled = false;
}

static void wait_for_work(struct collector *c, bool more)
{
	bool records = !list_linked(&c->hot) && !c->lively; /* else they are taken at the tick */
	struct pollfd fds[] = {{event_queue_fd(c->queue), POLLIN, 0},
			       {outlet_fd(c->outlet), POLLIN, 0},
			       {c->signal_fd, POLLIN, 0},
			       {c->state ? state_fd(c->state) : -1, POLLIN, 0},
			       {c->ledger ? ledger_socket_fd(c->ledger) : -1, POLLIN, 0},
			       {collector_reload_fd(c), POLLIN, 0},
			       {collector_status_fd(c), POLLIN, 0},
			       {collector_pods_fd(c), POLLIN, 0},
			       {records ? write_count_fd(c->counts) : -1, POLLIN, 0}};
	int64_t deadline = next_deadline(c, more), ns;
	struct timespec timeout = {0};
	bool acks = c->blocked;

	if (c->cfg->exit_when_idle_ns >= 0 && !outlet_idle(c->outlet))
		acks = true;
	if (deadline && !(acks && outlet_want_ack(c->outlet))) {
		ns = MAX(deadline - clock_now_ns(), INT64_C(0));
		timeout = (struct timespec){ns / NS_PER_SEC, ns % NS_PER_SEC};
	}
	if (ppoll(fds, ARRAY_SIZE(fds), &timeout, NULL) <= 0)
		for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
			fds[i].revents = 0;
	collector_take_counts(c);
	if (fds[2].revents)
		take_signals(c);
	if (fds[1].revents)
		outlet_clear(c->outlet);
	if (fds[3].revents)
		state_ended(c->state);
	if (fds[4].revents)
		collector_answer_ledger(c);
	if (fds[5].revents)
		collector_reload_event(c);
	if (fds[6].revents)
		collector_answer_status(c);
	if (fds[7].revents)
		collector_take_pods(c);
	if (fds[0].revents || c->unsettled || c->found_new)
		take_events(c);
}

static void slow_work(struct collector *c, int64_t now_ns)
{
	if (now_ns >= c->sweep_ns) {
		collector_sweep(c);
		collector_status_sweep(c, now_ns);
		collector_docker_sweep(c, now_ns);
		files_end_chains(c->files, now_ns - CHAIN_WAIT_NS);
		c->sweep_ns = now_ns + SWEEP_NS;
	}
	collector_docker_turn(c, now_ns);
	collector_expire_counts(c, now_ns);
	if (now_ns >= files_postponed_ns(c->files))
		files_take_postponed(c->files);
	if (now_ns >= c->retry_ns) {
		if (files_take_retry(c->files))
			tree_rescan(c->tree);
		c->retry_ns = now_ns + RETRY_NS;
	}
	if (now_ns >= tree_next_ns(c->tree))
		tree_turn(c->tree, now_ns);
	collector_resume_rest(c, now_ns);
}

static void note_growth(void *ctx, struct file *f)
{
	struct collector *c = ctx;

	if (f->maybe_copy)
		files_settle_copy(c->files, f, false);
	if (heat_look_size(f, clock_now_ns()))
		collector_touched(ctx, f);
}

static bool any_dirty(const struct collector *c, int64_t now_ns)
{
	list_for_each (l, next, &c->hot) {
		const struct file *f = container_of(l, struct file, in_hot);

		if (file_dirty(f) && !f->maybe_copy && !file_given_up(f, now_ns))
			return true;
	}
	return false;
}

/* Everything drained, and nothing new for exit_when_idle; at last each file's size is asked. */
static bool is_idle(struct collector *c, int64_t now_ns)
{
	if (c->cfg->exit_when_idle_ns < 0 || now_ns - c->active_ns < c->cfg->exit_when_idle_ns ||
	    any_dirty(c, now_ns) || !outlet_idle(c->outlet) || files_settling(c->files) ||
	    tree_settling(c->tree))
		return false;
	files_each(c->files, note_growth, c);
	return !any_dirty(c, now_ns);
}

/* There is time to deliver it here, a tick being long. With --linger 0 there is none: the median
 * p99 of six runs was 1.11 ms so, and 0.87 with the sink's thread. */
static void hand_on(struct collector *c, bool more)
{
	int64_t waiting = outlet_waiting_since(c->outlet);

	/* What comes next comes a tick later. */
	if (!waiting || ((more || c->cfg->linger_ns > c->cfg->tick_ns) &&
			 clock_now_ns() - waiting < c->cfg->linger_ns))
		return;
	if (more || !c->cfg->linger_ns) {
		outlet_hand_on(c->outlet);
	} else {
		outlet_hand_on_at_once(c->outlet);
		collector_take_acks(c);
	}
}

static bool collector_turn(struct collector *c, bool more)
{
	int64_t now;

	wait_for_work(c, more);
	now = clock_now_ns();
	collector_take_acks(c);
	slow_work(c, now);
	if (c->found_new) /* by a rescan */
		take_events(c);
	collector_look(c, now);
	more = collector_drain(c, now);
	hand_on(c, more);
	collector_save(c, now);
	collector_check_ledger(c, now);
	collector_reload_turn(c, now);
	c->failure = outlet_failed(c->outlet);
	c->idle = !c->failure && !more && is_idle(c, now);
	if (c->failure || c->idle)
		c->stop = true;
	return more;
}

/* Files without a name can be read by nobody later: they are drained to their end, and with them
 * what their last partial record needs of the successor. The rest is the next start's. */
static void drain_held(struct collector *c, int64_t deadline_ns)
{
	int64_t partials_ns = MIN(deadline_ns, clock_now_ns() + PARTIAL_REST_NS);
	bool more = true;

	c->ending = true;
	collector_wake_armed(c);
	do {
		int64_t now = clock_now_ns();

		event_queue_flush(c->queue);
		collector_take_acks(c);
		c->look_ns = 0;
		collector_look(c, now);
		more = collector_drain(c, now);
		if (c->blocked || !more) {
			struct pollfd fd = {outlet_fd(c->outlet), POLLIN, 0};

			outlet_hand_on(c->outlet);
			if (!outlet_want_ack(c->outlet))
				poll(&fd, 1, 2);
			outlet_clear(c->outlet);
		}
		/* A partial record's rest may never come: it is not waited for as long. */
	} while (!outlet_failed(c->outlet) && clock_now_ns() < deadline_ns &&
		 collector_holds(c, clock_now_ns() < partials_ns));
	collector_flush_held(c, deadline_ns);
}

/* Delivers what was read. From here on a second signal ends the process at once. */
static int finish(struct collector *c)
{
	int64_t timeout_ns = c->cfg->stop_timeout_ns;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	if (c->failure)
		return c->failure;
	if (c->state)
		drain_held(c, clock_now_ns() + timeout_ns);
	else
		collector_flush_tails(c, c->idle, clock_now_ns() + timeout_ns);
	outlet_hand_on(c->outlet);
	if (!outlet_stop(c->outlet, (int)(timeout_ns / NS_PER_MS)))
		return -ETIMEDOUT;
	collector_take_acks(c);
	collector_expire_counts(c, INT64_MAX);
	return outlet_failed(c->outlet);
}

int collector_run(struct collector *c)
{
	struct timespec wall;
	bool more = true;
	int r;

	collector_say_rung(c);
	c->start_ns = c->active_ns = clock_now_ns();
	files_start(c->files, c->cfg->start == CONFIG_START_END && !c->restarted);
	clock_gettime(CLOCK_REALTIME, &wall);
	c->scanning_ns = wall.tv_sec * NS_PER_SEC + wall.tv_nsec;
	tree_scan(c->tree);
	collector_dirs_known(c);
	c->scanning_ns = 0;
	/* Saved at once: after a crash --start end must not begin at another end. */
	if (c->state && !c->restarted)
		c->changed_ns = c->start_ns - NS_PER_SEC;
	collector_resume_rest(c, clock_now_ns());
	files_started(c->files);
	while (!c->stop)
		more = collector_turn(c, more);
	r = finish(c);
	collector_take_acks(c);
	collector_summary(c);
	if (r == -ETIMEDOUT)
		log_err(r, "a sink did not take everything in time");
	collector_close_state(c, true);
	return r;
}
