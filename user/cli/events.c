/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   inotify ──> read loop ──┐                    ┌─> mirror ──> file events ──┬──> output
 *                           ├─> [event queue] ───┤                └─> pods ───┤
 *   Docker's socket ────────┘                    └──> container events ───────┘
 *
 * One thread does everything behind the queue. Whoever reads the output holds all of it up: while
 * it does not read, the queue fills, then the kernel's, and when that overflows the mirror finds
 * out what is different by then. So nothing is lost but what came and went meanwhile.
 *
 * Without a flag that asks for files no file is watched, only directories.
 */
#include "cli/events.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "cli/events_options.h"
#include "cli/events_output.h"
#include "cli/events_pods.h"
#include "event/event.h"
#include "event/event_queue.h"
#include "watch/docker.h"
#include "watch/docker_event.h"
#include "watch/mirror.h"
#include "watch/watch.h"

#define EXIT_USER 2
#define QUEUE_MIN 1024

struct events {
	struct events_options opt;
	struct events_output out;
	struct event_queue *queue;
	struct watch *watch;
	struct mirror *mirror; /* NULL: only a daemon's containers */
	struct pods *pods;
	struct docker *docker;    /* NULL: none was named */
	int64_t last_ns, next_ns; /* when something happened; when to look at the latest */
	struct log_limit overflow_limit;
};

static unsigned class_of(const struct event *e)
{
	if (e->type == EVENT_FILE)
		return EVENTS_FILE;
	if (e->type == EVENT_CONTROL)
		return EVENTS_CONTROL;
	return (event_is_container_start(e) ? EVENTS_START : 0u) |
	       (event_is_container_stop(e) ? EVENTS_STOP : 0u) |
	       (event_is_container_pause(e) ? EVENTS_PAUSE : 0u);
}

static void print(struct events *v, const struct event *e, const char *from)
{
	if (class_of(e) & v->opt.classes)
		events_output_add(&v->out, e, from);
}

static void container_told(void *ctx, const struct event *e)
{
	struct events *v = ctx;
	const struct event_attribute *last = &e->attributes[e->n_attributes - 1];

	if (v->opt.list || strcmp(last->key, DOCKER_LISTED) != 0)
		print(v, e, NULL);
}

static void file_told(void *ctx, const struct mirror_change *c)
{
	struct events *v = ctx;
	struct event_attribute attributes[] = {
		{(char *)"file.type", (char *)c->type},
		{(char *)DOCKER_LISTED, (char *)"true"},
	};
	bool typed = v->opt.json || strcmp(c->type, "file") != 0;
	struct event e = {.type = EVENT_FILE,
			  .action = c->action,
			  .is_dir = c->is_dir,
			  .watch = -1,
			  .actor_name = (char *)c->path,
			  .attributes = attributes + !typed,
			  .n_attributes = 0u + typed + c->was_there};
	char ino[24];

	snprintf(ino, sizeof(ino), "%llu", (unsigned long long)c->ino);
	e.actor_id = c->ino ? ino : NULL;
	if (!c->was_there || v->opt.list)
		print(v, &e, c->from);
	pods_change(v->pods, v->mirror, c);
}

static void overflow(struct events *v)
{
	struct event e = {.type = EVENT_CONTROL,
			  .action = CONTROL_OVERFLOW,
			  .watch = -1,
			  .actor_name = (char *)"inotify"};

	if (log_allow(&v->overflow_limit, NS_PER_SEC))
		log_warn(0, "the kernel dropped events, looking at everything");
	print(v, &e, NULL);
	if (v->mirror)
		mirror_rescan(v->mirror);
}

static int on_flush(void *ctx, struct event *events, size_t n)
{
	struct events *v = ctx;

	v->last_ns = clock_now_ns();
	for (size_t i = 0; i < n && !v->out.over; i++) {
		if (events[i].type == EVENT_CONTROL)
			overflow(v);
		else if (events[i].type == EVENT_CONTAINER)
			print(v, &events[i], NULL);
		else if (v->mirror)
			mirror_event(v->mirror, &events[i]);
	}
	return 0;
}

static void flush(struct events *v)
{
	if (v->mirror)
		mirror_before_flush(v->mirror);
	event_queue_flush(v->queue);
}

static void turn(struct events *v, int64_t now_ns)
{
	v->next_ns = now_ns + NS_PER_SEC;
	if (v->mirror) {
		v->next_ns = mirror_turn(v->mirror, now_ns);
		v->next_ns = MIN(v->next_ns, mirror_flush_ns(v->mirror));
	}
	events_output_flush(&v->out);
}

/* Nothing happened for so long, and nothing did that is not known yet. */
static bool is_idle(struct events *v, int64_t now_ns)
{
	if (v->opt.idle_ns < 0 || now_ns - v->last_ns < v->opt.idle_ns)
		return false;
	flush(v);
	turn(v, clock_now_ns());
	return now_ns - v->last_ns >= v->opt.idle_ns &&
	       (!v->mirror || mirror_is_settled(v->mirror));
}

static int wait_ms(const struct events *v, int64_t now_ns)
{
	int64_t until = v->next_ns, idle = v->last_ns + v->opt.idle_ns;

	if (v->opt.idle_ns >= 0 && idle < now_ns) /* but not settled */
		idle = now_ns + 10 * NS_PER_MS;
	if (v->opt.idle_ns >= 0)
		until = MIN(until, idle);
	return until > now_ns ? (int)((until - now_ns) / NS_PER_MS) + 1 : 0;
}

/* Told to stop: what has happened before that, unless the read loop takes very long. */
static void flush_last(struct events *v)
{
	uint64_t mark = v->watch ? watch_mark(v->watch) : 0;
	int64_t until = clock_now_ns() + NS_PER_SEC;

	while (v->watch && !watch_reached(v->watch, mark) && clock_now_ns() < until) {
		flush(v);
		usleep(1000);
	}
	flush(v);
	turn(v, clock_now_ns());
}

static int loop(struct events *v)
{
	struct pollfd fds[] = {{v->out.stop_fd, POLLIN, 0},
			       {event_queue_fd(v->queue), POLLIN, 0},
			       {v->out.fd, 0, 0}}; /* says when its reader is gone */
	int64_t now = clock_now_ns();

	for (v->last_ns = now; !v->out.over && !is_idle(v, now); now = clock_now_ns()) {
		if (poll(fds, 3, wait_ms(v, now)) < 0 && errno != EINTR)
			return log_err(-errno, "poll: %s", strerror(errno));
		if (fds[0].revents || fds[2].revents & (POLLERR | POLLHUP | POLLNVAL))
			break;
		now = clock_now_ns();
		if (fds[1].revents || (v->mirror && now >= mirror_flush_ns(v->mirror)))
			flush(v);
		turn(v, now);
	}
	if (v->out.error < 0)
		return log_err(v->out.error, "standard output: %s", strerror(-v->out.error));
	if (fds[0].revents)
		flush_last(v);
	return 0;
}

/* A signal ends the program in its loop, between two lines if the reader lets it. */
static int open_stop(int *ret_fd)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	*ret_fd = signalfd(-1, &set, SFD_CLOEXEC);
	return *ret_fd < 0 ? -errno : 0;
}

static int open_mirror(struct events *v)
{
	struct mirror_options o = {.roots = v->opt.roots,
				   .n_roots = v->opt.n_roots,
				   .writes = v->opt.classes & EVENTS_FILE,
				   .interval_ns = v->opt.interval_ns,
				   .paths_max = v->opt.paths_max,
				   .ctx = v,
				   .told = file_told};
	int r;

	if (v->opt.docker && !v->opt.roots_given && access(v->opt.roots[0], F_OK) < 0)
		return 0;
	r = pods_new(container_told, v, &v->pods);
	if (r < 0)
		return r;
	r = watch_new(v->queue, &v->watch);
	if (r < 0)
		return log_err(r, "inotify: %s", strerror(-r));
	return mirror_new(v->watch, &o, &v->mirror);
}

static int open_docker(struct events *v)
{
	struct docker_options o = {.url = v->opt.docker, .queue = v->queue, .list = v->opt.list};

	return o.url ? docker_new(&o, &v->docker) : 0;
}

static int events_init(struct events *v)
{
	struct event_queue_options q = {.capacity = MAX(v->opt.batch, (uint64_t)QUEUE_MIN),
					.high_water = v->opt.batch,
					.interval_ns = v->opt.interval_ns,
					.ctx = v,
					.on_flush = on_flush};
	int r = open_stop(&v->out.stop_fd);

	if (r == 0)
		r = event_queue_new(&q, &v->queue);
	if (r < 0)
		return log_err(r, "cannot start: %s", strerror(-r));
	r = open_mirror(v);
	return r < 0 ? r : open_docker(v);
}

static void events_done(struct events *v)
{
	if (v->queue)
		event_queue_cancel(v->queue);
	docker_free(v->docker);
	mirror_free(v->mirror);
	watch_free(v->watch);
	event_queue_free(v->queue);
	pods_free(v->pods);
	events_output_done(&v->out);
	close_fd(&v->out.stop_fd);
	events_options_done(&v->opt);
}

int events_main(int argc, char **argv)
{
	_cleanup_(events_done) struct events v = {.out = {.fd = STDOUT_FILENO, .stop_fd = -1}};
	int r = events_options_parse(argc, argv, &v.opt);

	if (r != 0)
		return r < 0 ? EXIT_USER : 0;
	v.out.json = v.opt.json;
	v.out.left = v.opt.most;
	r = events_init(&v);
	if (r < 0)
		return r == -ENOMEM ? 1 : EXIT_USER;
	if (v.mirror)
		mirror_scan(v.mirror);
	events_output_flush(&v.out);
	return loop(&v) < 0;
}
