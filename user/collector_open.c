/* SPDX-License-Identifier: Apache-2.0 */
/* Opens the rooms in the order in which they need each other, and closes them again. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "account/checkpoint.h"
#include "base/clock.h"
#include "base/sys.h"
#include "collector.h"
#include "collector_changes.h"
#include "collector_counts.h"
#include "collector_docker.h"
#include "collector_files.h"
#include "collector_impl.h"
#include "collector_pods.h"
#include "collector_reload.h"
#include "collector_state.h"
#include "collector_status.h"
#include "config.h"
#include "event/event.h"
#include "event/event_queue.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "output/outlet.h"
#include "output/sink.h"
#include "watch/tree.h"
#include "watch/watch.h"

#define EVENTS_MAX 8192
#define FDS_KEPT   8  /* descriptors beside those of log files, opened later */
#define FDS_PODS   6  /* the like of a request for pods */
#define FDS_HTTP   16 /* HTTP_CLIENTS */
#define FDS_LEAST  4

static int on_flush(void *ctx, struct event *events, size_t n)
{
	struct collector *c = ctx;

	collector_take_counts(c); /* what an event tells of may have enrolled before */
	for (size_t i = 0; i < n; i++) {
		const struct event *e = &events[i];
		struct file *f;

		if (e->type == EVENT_CONTROL && e->action & CONTROL_OVERFLOW) {
			files_verify(c->files);
			tree_rescan(c->tree);
			continue;
		}
		if (e->type == EVENT_CONTROL && e->action & CONTROL_RELOAD)
			collector_ask_reload(c);
		if (e->type == EVENT_CONTAINER)
			collector_docker_event(c, e);
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
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGIO, SIG_IGN); /* a broken lease, see file_writers */
	c->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return c->signal_fd < 0 ? -errno : 0;
}

static void exclude_fd(struct collector *c, int fd)
{
	int64_t btime = 0;
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return;
	sys.birth(fd, "", &btime);
	files_exclude(c->files, (struct file_id){st.st_dev, st.st_ino}, btime);
}

void collector_exclude_own(struct collector *c)
{
	exclude_fd(c, STDOUT_FILENO);
	exclude_fd(c, STDERR_FILENO);
	for (size_t i = 0; i < outlet_sinks(c->outlet); i++) {
		int64_t btime;
		dev_t dev;
		ino_t ino;

		if (sink_inode(outlet_sink(c->outlet, i), &dev, &ino, &btime))
			files_exclude(c->files, (struct file_id){dev, ino}, btime);
	}
	if (c->cfg->own_pod_uid)
		files_exclude_uid(c->files, c->cfg->own_pod_uid);
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
static unsigned spare_descriptors(const struct collector *c)
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
	used += FDS_KEPT + (c->pods ? FDS_PODS : 0) +
		(strcmp(c->cfg->metrics, "none") ? FDS_HTTP : 0);
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

	if ((r = open_signals(c)) < 0 || (r = collector_open_reload(c)) < 0 ||
	    (r = event_queue_new(&events, &c->queue)) < 0 ||
	    (r = watch_new(c->queue, &c->watch)) < 0 || (r = files_new(&file_hooks, &c->files)) < 0)
		return log_err(r, "start: %s", strerror(-r));
	r = collector_open_docker(c); /* early: the list is under way while the rest is opened */
	if (r < 0)
		return r;
	r = tree_new(c->watch, cfg->roots.items, cfg->roots.n, cfg->link_roots.items,
		     cfg->link_roots.n, &tree_hooks, &c->tree);
	if (r < 0)
		return r;
	collector_take_limits(c);
	r = outlet_new(&out, &c->outlet); /* its threads run as this one does */
	if (r < 0)
		return r;
	r = collector_open_counts(c);
	if (r < 0)
		return r;
	c->reader.counts = c->counts;
	r = collector_open_status(c);
	if (r < 0)
		return r;
	collector_exclude_own(c);
	r = open_state(c); /* last: nobody is told of it who must start again anyway */
	if (r < 0)
		return r;
	collector_open_ledger(c);
	r = collector_open_pods(c);
	if (r < 0)
		return r;
	files_open_max(c->files, spare_descriptors(c));
	return 0;
}

int collector_new(struct config *cfg, struct collector **ret_collector)
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
	c->reader = (struct reader){.format = cfg->decode, .budget = &c->joins};
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
	collector_close_pods(c);
	if (c->counts)
		write_count_keep(c->counts);
	files_free(c->files);
	tree_free(c->tree);
	watch_free(c->watch);
	collector_close_docker(c);
	event_queue_free(c->queue);
	collector_close_counts(c);
	collector_close_ledger(c);
	collector_close_state(c, false);
	collector_close_status(c);
	collector_changes_free(c);
	collector_resume_free(c);
	collector_close_reload(c);
	list_for_each (l, next, &c->gone)
		free(container_of(l, struct gone, in_gone));
	close_fd(&c->signal_fd);
	free(c->claims);
	free(c->armed);
	free(c->scratch);
	free(c);
}
