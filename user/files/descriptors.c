/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which files are held open when there are more of them than descriptors. A closed one keeps its
 * watch and its counter (both are the inode's), so it is still known when it is written; it is
 * opened again, by its name, when it is to be read, and must then be the same inode with the same
 * time of birth.
 *
 *   open --least urgent, and could be found again--> closed --to be read--> open
 *                                                      | name lost, or leads elsewhere
 *                                                      v
 *                                               what it held unread is lost, and counted
 *
 * Least urgent: idle before polled, drained before unread, then the later deadline, then whoever
 * was used longest ago. Only a few from the old end of the list are compared: the order need not be
 * exact, and the cost of closing one must not grow with the number of files.
 *
 * Never closed: what has no name, what a sink or a partial record still refers to (its place in the
 * checkpoint is not settled), a compressed file while it is being inflated.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#include "base/clock.h"
#include "base/sys.h"
#include "files/files_impl.h"

#define COMPARED     64
#define SUCCESSOR_NS NS_PER_SEC /* how long unread bytes that may turn up keep others waiting */

static bool can_close(const struct file *f)
{
	return f->path && !f->unlinked && !f->maybe_copy && !f->inflight && !f->gz &&
	       f->acked == f->offset;
}

/* The larger, the less it is missed. */
static int64_t patience(const struct files *fs, const struct file *f)
{
	if (!file_attended(f))
		return INT64_MAX;
	if (!file_dirty(f))
		return f->displaced ? INT64_MAX - 2 : INT64_MAX - 1;
	return fs->hooks.deadline ? fs->hooks.deadline(fs->hooks.ctx, f) : 0;
}

bool files_make_room(struct files *fs)
{
	while (fs->n_open >= fs->open_max) {
		struct file *best = NULL;
		int64_t most = -1;
		unsigned compared = 0;

		list_for_each (l, next, &fs->open) {
			struct file *f = container_of(l, struct file, in_open);
			int64_t p = can_close(f) ? patience(fs, f) : -1;

			if (p > most) {
				most = p;
				best = f;
			}
			if (most == INT64_MAX || (best && ++compared == COMPARED))
				break;
		}
		if (!best)
			return false;
		if (fs->hooks.closing)
			fs->hooks.closing(fs->hooks.ctx, best);
		files_close(fs, best);
	}
	return true;
}

void files_opened(struct files *fs, struct file *f)
{
	list_add_tail(&fs->open, &f->in_open);
	fs->n_open++;
}

void files_close(struct files *fs, struct file *f)
{
	if (f->fd < 0)
		return;
	close_fd(&f->fd);
	list_del(&f->in_open);
	fs->n_open--;
}

void files_open_max(struct files *fs, unsigned max)
{
	fs->open_max = max;
}

int files_open(struct files *fs, struct file *f)
{
	_cleanup_fd_ int fd = -1;
	int64_t btime = 0;
	struct stat st;

	if (f->fd >= 0) {
		/* With room for as many again nothing is closed soon, and the order can wait. */
		if (fs->n_open > fs->open_max / 2) {
			list_del(&f->in_open);
			list_add_tail(&fs->open, &f->in_open);
		}
		return 0;
	}
	if (!f->path)
		return -ESTALE;
	if (!files_make_room(fs))
		return -EMFILE;
	fd = sys.open_plain(f->path, O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT && errno != ELOOP)
		return -errno;
	if (fd >= 0 && (sys.fstat(fd, &st) < 0 || sys.birth(fd, "", &btime) < 0))
		return -errno;
	if (fd < 0 || st.st_dev != f->id.dev || st.st_ino != f->id.ino ||
	    btime != f->identity.btime_ns) {
		files_lose_name(fs, f);
		return -ESTALE;
	}
	f->fd = take_fd(fd);
	files_opened(fs, f);
	return 0;
}

void files_seek(struct files *fs, struct file *f, int64_t now_ns)
{
	if (!f->sought) {
		f->sought = fs->retry = true; /* a rescan is asked for */
		f->displaced_ns = now_ns;
	}
	if (now_ns - f->displaced_ns > FILES_NAMELESS_NS)
		files_lose(fs, f);
	else if (!file_dirty(f) || now_ns - f->displaced_ns > SUCCESSOR_NS)
		files_linger(fs, f);
}

void files_lose(struct files *fs, struct file *f)
{
	if (file_dirty(f) || f->torn) {
		uint64_t unread = f->size > f->offset ? f->size - f->offset : 0;

		tally_lose(&f->chain->tally, LOST_ROTATED_AWAY, unread);
		f->consumed += unread;
		f->offset += unread;
		chain_break_joins(f->chain, true);
	}
	files_release(fs, f);
}
