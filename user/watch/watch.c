/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one-shot re-arm race: the kernel queues the event first and destroys the watch afterwards, so
 * adding a watch on seeing IN_MODIFY can return the dying one, with success, and the file is never
 * heard of again. IN_MASK_CREATE (Linux 4.18) refuses that with EEXIST; the caller tries again at
 * its next look.
 *
 * What the read loop cannot pass on for lack of memory becomes an overflow: everything is looked
 * at.
 */
#include "watch/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"
#include "event/event.h"
#include "event/event_queue.h"

#define DIR_MASK  (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR)
#define RAW_BYTES (64 * 1024)
#define FILE_MASK (IN_MODIFY | IN_CLOSE_WRITE | IN_ONESHOT | IN_MASK_CREATE)

struct watch {
	int fd, stop_fd;
	struct event_queue *queue;
	pthread_t thread;
	bool running;
	atomic_bool busy;                   /* what was read is not all on the queue yet */
	atomic_uint_fast64_t taken, pushed; /* bytes of events, only growing */
	int files[64];                      /* the watches given to files last; most are spent */
	unsigned n_files;
	atomic_uint_fast64_t events, overflows, refused;
};

static uint32_t action_of(uint32_t mask)
{
	return (mask & IN_MODIFY ? FILE_WRITTEN : 0) | (mask & IN_CLOSE_WRITE ? FILE_CLOSED : 0) |
	       (mask & IN_CREATE ? FILE_CREATED : 0) |
	       (mask & (IN_DELETE | IN_DELETE_SELF | IN_UNMOUNT) ? FILE_DELETED : 0) |
	       (mask & IN_MOVED_FROM ? FILE_MOVED_FROM : 0) |
	       (mask & IN_MOVED_TO ? FILE_MOVED_TO : 0) | (mask & IN_IGNORED ? FILE_UNWATCHED : 0);
}

static int push_overflow(struct watch *w)
{
	struct event e = {.type = EVENT_CONTROL, .action = CONTROL_OVERFLOW, .watch = -1};

	atomic_fetch_add(&w->overflows, 1);
	return event_queue_push(w->queue, &e);
}

static int push_raw(struct watch *w, const struct inotify_event *raw)
{
	struct event e = {.type = EVENT_FILE,
			  .action = action_of(raw->mask),
			  .is_dir = raw->mask & IN_ISDIR,
			  .watch = raw->wd,
			  .cookie = raw->cookie};

	atomic_fetch_add(&w->events, 1);
	if (raw->mask & IN_Q_OVERFLOW)
		return push_overflow(w);
	if (raw->len) {
		e.actor_name = strdup(raw->name);
		if (!e.actor_name)
			return push_overflow(w);
	}
	return event_queue_push(w->queue, &e);
}

static void *read_loop(void *arg)
{
	struct watch *w = arg;
	char raw[RAW_BYTES] __attribute__((aligned(__alignof__(struct inotify_event))));
	struct pollfd fds[] = {{w->fd, POLLIN, 0}, {w->stop_fd, POLLIN, 0}};

	for (;;) {
		ssize_t n;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		atomic_store(&w->busy, true);
		n = sys.read(w->fd, raw, sizeof(raw));
		if (n < 0 && errno != EAGAIN && errno != EINTR && push_overflow(w) < 0)
			break;
		if (n > 0)
			atomic_fetch_add(&w->taken, (uint64_t)n);
		for (ssize_t at = 0; at < n;) {
			const struct inotify_event *e = (const void *)(raw + at);

			if (push_raw(w, e) < 0)
				return NULL;
			at += (ssize_t)(sizeof(*e) + e->len);
		}
		atomic_store(&w->pushed, atomic_load(&w->taken));
		atomic_store(&w->busy, false);
	}
	return NULL;
}

int watch_new(struct event_queue *queue, struct watch **ret_watch)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->queue = queue;
	w->stop_fd = eventfd(0, EFD_CLOEXEC);
	w->fd = sys.inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (w->fd < 0)
		log_warn(0, "inotify: %s, looking at everything once a second instead",
			 errno == EMFILE ? "no instance left (fs.inotify.max_user_instances)"
					 : strerror(errno));
	else
		w->running = thread_start(&w->thread, read_loop, w) == 0;
	if (w->stop_fd < 0 || (w->fd >= 0 && !w->running)) {
		watch_free(w);
		return -ENOMEM;
	}
	*ret_watch = w;
	return 0;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	if (w->running) {
		eventfd_write(w->stop_fd, 1);
		pthread_join(w->thread, NULL);
	}
	close_fd(&w->fd);
	close_fd(&w->stop_fd);
	free(w);
}

static int add(struct watch *w, int fd, uint32_t mask)
{
	char path[32];
	int wd;

	if (w->fd < 0)
		return -ENOSPC;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	wd = sys.inotify_add_watch(w->fd, path, mask);
	if (wd >= 0)
		return wd;
	if (errno == ENOSPC)
		atomic_fetch_add(&w->refused, 1);
	return -errno;
}

/* A directory matters more than a file, whose size can be polled: at the limit one of those gives
 * its watch away, and is told so by its IN_IGNORED. */
int watch_add_dir(struct watch *w, int dir_fd)
{
	int wd = add(w, dir_fd, DIR_MASK);

	while (wd == -ENOSPC && w->n_files) {
		if (sys.inotify_rm_watch(w->fd, w->files[--w->n_files]) == 0)
			wd = add(w, dir_fd, DIR_MASK);
	}
	return wd;
}

int watch_add_file(struct watch *w, int fd)
{
	int wd = add(w, fd, FILE_MASK);

	if (wd >= 0) {
		if (w->n_files == ARRAY_SIZE(w->files))
			memmove(w->files, w->files + 1, --w->n_files * sizeof(w->files[0]));
		w->files[w->n_files++] = wd;
	}
	return wd;
}

void watch_del(struct watch *w, int wd)
{
	if (w->fd >= 0 && wd >= 0)
		sys.inotify_rm_watch(w->fd, wd);
}

static uint64_t unread_bytes(const struct watch *w)
{
	int unread = 0;

	return w->fd >= 0 && ioctl(w->fd, FIONREAD, &unread) == 0 ? (uint64_t)unread : 0;
}

/* A read under way may have taken as much as its buffer holds without having said so. */
uint64_t watch_mark(struct watch *w)
{
	uint64_t unread = unread_bytes(w);

	return unread + (atomic_load(&w->busy) ? RAW_BYTES : 0) + atomic_load(&w->taken);
}

bool watch_reached(struct watch *w, uint64_t mark)
{
	return atomic_load(&w->pushed) >= mark || (!unread_bytes(w) && !atomic_load(&w->busy));
}

void watch_stats(struct watch *w, struct watch_stats *ret_stats)
{
	*ret_stats = (struct watch_stats){.events = atomic_load(&w->events),
					  .overflows = atomic_load(&w->overflows),
					  .refused = atomic_load(&w->refused)};
}
