/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop. It waits in one ppoll for four descriptors (the event queue's timer, the sinks'
 * acknowledgements, signals, the end of a save) and a timeout. No epoll, no timer descriptors: with
 * so few and deadlines that change every turn, that would be more system calls for nothing.
 */
#include "collector.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "account/checkpoint.h"
#include "account/ledger_socket.h"
#include "account/state.h"
#include "base/clock.h"
#include "base/sys.h"
#include "collector_end.h"
#include "collector_impl.h"
#include "collector_state.h"
#include "config.h"
#include "event/event.h"
#include "event/event_queue.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "output/outlet.h"
#include "output/sink.h"
#include "watch/tree.h"
#include "watch/watch.h"

#define EVENTS_MAX      8192
#define SWEEP_NS        NS_PER_SEC
#define SETTLE_NS       (50 * NS_PER_MS)
#define FDS_KEPT        8 /* descriptors beside those of log files, opened later */
#define FDS_LEAST       4
#define PARTIAL_REST_NS (300 * NS_PER_MS)
#define CHAIN_WAIT_NS   (3 * NS_PER_SEC)
#define RETRY_NS        (5 * NS_PER_SEC)

static int on_flush(void *ctx, struct event *events, size_t n)
{
	struct collector *c = ctx;

	for (size_t i = 0; i < n; i++) {
		const struct event *e = &events[i];
		struct file *f;

		if (e->type == EVENT_CONTROL && e->action & CONTROL_OVERFLOW) {
			files_verify(c->files);
			tree_rescan(c->tree);
			continue;
		}
		if (e->type != EVENT_FILE || tree_event(c->tree, e))
			continue;
		f = files_by_wd(c->files, e->watch);
		if (f && e->action & FILE_UNWATCHED)
			files_set_wd(c->files, f, -1);
		if (f)
			collector_touched(c, f);
	}
	return 0;
}

/* Signals are blocked before the first thread starts, and read from a descriptor. */
static int open_signals(struct collector *c)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN); /* a broken lease, see file_writers */
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return c->signal_fd < 0 ? -errno : 0;
}

static void exclude_fd(struct collector *c, int fd)
{
	struct stat st;

	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
		files_exclude(c->files, (struct file_id){st.st_dev, st.st_ino});
}

/* hotdrain never feeds on its own log, nor on what it writes. */
static void exclude_own(struct collector *c)
{
	exclude_fd(c, STDOUT_FILENO);
	exclude_fd(c, STDERR_FILENO);
	for (size_t i = 0; i < outlet_sinks(c->outlet); i++) {
		dev_t dev;
		ino_t ino;

		if (sink_inode(outlet_sink(c->outlet, i), &dev, &ino))
			files_exclude(c->files, (struct file_id){dev, ino});
	}
	if (c->cfg->own_pod_uid)
		files_exclude_uid(c->files, c->cfg->own_pod_uid);
}

static void say_rung(const struct collector *c)
{
	static const enum rung rungs[] = {RUNG_FS, RUNG_VFS, RUNG_KPROBE, RUNG_SYSCALL};
	enum rung rung = write_count_rung(c->counts);

	for (size_t i = 0; i < ARRAY_SIZE(rungs); i++) {
		const char *why = write_count_refusal(c->counts, rungs[i]);

		if (why)
			log_info("bpf: rung %s refused: %s", rung_name(rungs[i]), why);
	}
	if (rung == RUNG_OFF && c->cfg->bpf != RUNG_OFF)
		log_warn(0, "bpf: no rung attaches, running on file sizes");
	else
		log_info("bpf: rung %s", rung_name(rung));
}

static int open_state(struct collector *c)
{
	struct checkpoint loaded;
	int r = collector_open_state(c, &loaded);

	if (r < 0 || !c->resuming)
		return r;
	r = collector_keep_accounts(c, &loaded);
	if (r == 0)
		r = collector_resume_new(c, &loaded);
	return r < 0 ? log_err(r, "state: %s", strerror(-r)) : 0;
}

/* How many may be used for log files: the rest of the limit, but for a few for directories, the
 * checkpoint and the like. */
static unsigned spare_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct rlimit limit;
	unsigned used = 32, spare;

	if (dir) {
		for (used = 0; readdir(dir);)
			used++;
		closedir(dir);
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT_MAX;
	spare = (unsigned)MIN(limit.rlim_cur, (rlim_t)UINT_MAX);
	used += FDS_KEPT;
	return spare > used + FDS_LEAST ? spare - used : FDS_LEAST;
}

static int open_rooms(struct collector *c)
{
	const struct config *cfg = c->cfg;
	struct event_queue_options events = {
		.capacity = EVENTS_MAX, .ctx = c, .on_flush = on_flush};
	struct outlet_options out = {.specs = cfg->sinks.items,
				     .n_specs = cfg->sinks.n,
				     .format = cfg->format,
				     .batches = cfg->batches,
				     .batch_bytes = cfg->batch_bytes,
				     .longest_line =
					     reader_longest_line((uint32_t)cfg->line_max_bytes)};
	struct files_hooks file_hooks = collector_file_hooks(c);
	struct tree_hooks tree_hooks = collector_tree_hooks(c);
	int r;

	if ((r = open_signals(c)) < 0 || (r = event_queue_new(&events, &c->queue)) < 0 ||
	    (r = watch_new(c->queue, &c->watch)) < 0 || (r = files_new(&file_hooks, &c->files)) < 0)
		return log_err(r, "start: %s", strerror(-r));
	r = tree_new(c->watch, cfg->roots.items, cfg->roots.n, cfg->link_roots.items,
		     cfg->link_roots.n, &tree_hooks, &c->tree);
	if (r < 0)
		return r;
	r = outlet_new(&out, &c->outlet);
	if (r < 0)
		return r;
	r = write_count_new(cfg->bpf, cfg->files_max,
			    strcmp(cfg->bpf_pin, "none") ? cfg->bpf_pin : NULL, &c->counts);
	if (r < 0)
		return r == -EBUSY
			       ? log_err(r, "bpf.pin %s: in use by another hotdrain", cfg->bpf_pin)
			       : log_err(r, "bpf: %s", strerror(-r));
	c->reader.counts = c->counts;
	exclude_own(c);
	r = open_state(c); /* last: nobody is told of it who must start again anyway */
	if (r < 0)
		return r;
	collector_open_ledger(c);
	files_open_max(c->files, spare_descriptors());
	return 0;
}

int collector_new(const struct config *cfg, struct collector **ret_collector)
{
	struct collector *c = calloc(1, sizeof(*c));
	int r;

	if (!c)
		return -ENOMEM;
	c->cfg = cfg;
	c->signal_fd = -1;
	list_init(&c->hot);
	list_init(&c->slow);
	list_init(&c->gone);
	list_init(&c->recent);
	c->joins = (struct join_budget){.max_bytes = cfg->join_max_bytes,
					.line_max = (uint32_t)cfg->line_max_bytes};
	c->reader = (struct reader){.format = cfg->decode,
				    .line_max = (uint32_t)cfg->line_max_bytes,
				    .budget = &c->joins};
	c->limits = (struct heat_limits){.rotate_bytes = cfg->rotate_size_bytes,
					 .rotate_files = cfg->rotate_files};
	r = open_rooms(c);
	if (r < 0) {
		collector_free(c);
		return r;
	}
	*ret_collector = c;
	return 0;
}

void collector_free(struct collector *c)
{
	if (!c)
		return;
	if (c->queue)
		event_queue_cancel(c->queue);
	if (c->outlet && outlet_stop(c->outlet, 1000))
		outlet_free(c->outlet);
	if (c->counts)
		write_count_keep(c->counts);
	files_free(c->files);
	tree_free(c->tree);
	watch_free(c->watch);
	event_queue_free(c->queue);
	write_count_free(c->counts);
	collector_close_ledger(c);
	collector_close_state(c, false);
	collector_resume_free(c);
	list_for_each (l, next, &c->gone)
		free(container_of(l, struct gone, in_gone));
	close_fd(&c->signal_fd);
	free(c->claims);
	free(c->scratch);
	free(c);
}

static void take_signals(struct collector *c)
{
	struct signalfd_siginfo si;

	while (read(c->signal_fd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGUSR1)
			collector_state(c);
		else
			c->stop = true;
	}
}

/* When the loop must go round although nothing happens. */
static int64_t next_deadline(const struct collector *c, bool more)
{
	int64_t at = MIN(c->sweep_ns, tree_next_ns(c->tree)),
		waiting = outlet_waiting_since(c->outlet);
	int64_t save;

	if (more && !c->blocked)
		return 0;
	save = collector_save_ns(c);
	at = MIN(at, save);
	save = files_postponed_ns(c->files);
	at = MIN(at, save);
	if (waiting)
		at = MIN(at, waiting + c->cfg->linger_ns);
	if (list_linked(&c->hot))
		at = MIN(at, c->look_ns);
	else if (list_linked(&c->slow))
		at = MIN(at, c->slow_ns);
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

	c->found_new = false;
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
	c->unsettled = false;
}

static void wait_for_work(struct collector *c, bool more)
{
	struct pollfd fds[] = {{event_queue_fd(c->queue), POLLIN, 0},
			       {outlet_fd(c->outlet), POLLIN, 0},
			       {c->signal_fd, POLLIN, 0},
			       {c->state ? state_fd(c->state) : -1, POLLIN, 0},
			       {c->ledger ? ledger_socket_fd(c->ledger) : -1, POLLIN, 0}};
	int64_t deadline = next_deadline(c, more), ns;
	struct timespec timeout = {0};
	bool acks = c->blocked;

	if (c->cfg->exit_when_idle_ns >= 0 && !outlet_idle(c->outlet))
		acks = true;
	if (deadline && !(acks && outlet_want_ack(c->outlet))) {
		ns = MAX(deadline - clock_now_ns(), INT64_C(0));
		timeout = (struct timespec){ns / NS_PER_SEC, ns % NS_PER_SEC};
	}
	if (ppoll(fds, ARRAY_SIZE(fds), &timeout, NULL) <= 0 && !c->unsettled)
		return;
	if (fds[2].revents)
		take_signals(c);
	if (fds[1].revents)
		outlet_clear(c->outlet);
	if (fds[3].revents)
		state_ended(c->state);
	if (fds[4].revents)
		collector_answer_ledger(c);
	if (fds[0].revents || c->unsettled)
		take_events(c);
}

static void slow_work(struct collector *c, int64_t now_ns)
{
	if (now_ns >= c->sweep_ns) {
		collector_sweep(c);
		files_end_chains(c->files, now_ns - CHAIN_WAIT_NS);
		c->sweep_ns = now_ns + SWEEP_NS;
	}
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

static bool collector_turn(struct collector *c, bool more)
{
	int64_t now, waiting;

	wait_for_work(c, more);
	now = clock_now_ns();
	collector_take_acks(c);
	slow_work(c, now);
	collector_look(c, now);
	more = collector_drain(c, now);
	waiting = outlet_waiting_since(c->outlet);
	if (waiting && clock_now_ns() - waiting >= c->cfg->linger_ns)
		outlet_hand_on(c->outlet);
	collector_save(c, now);
	collector_check_ledger(c, now);
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
	return outlet_failed(c->outlet);
}

int collector_run(struct collector *c)
{
	bool more = true;
	int r;

	say_rung(c);
	c->start_ns = c->active_ns = clock_now_ns();
	files_start(c->files, c->cfg->start == CONFIG_START_END && !c->restarted);
	c->scanning = true;
	tree_scan(c->tree);
	c->scanning = false;
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
