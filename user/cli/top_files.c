/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two tables: files by inode, which are what is counted, and places by path, which are what a file
 * is called and how often the one there was replaced.
 *
 *   found ---> at a place ---name gone---> homeless ---2 s, or unlinked---> released
 *                   ^                         |
 *                   '------found again--------'      (renamed, within the tree)
 *
 * Where a program counts, looking at a file is a few loads; its size is asked for when it was
 * written to or cut off, and else every LOOKS_PER_STAT looks, for truncations that no program sees.
 * Where none does, each look asks for the size, and what it grew by was written.
 *
 * Of a file that is new since top began all bytes count, also those written before there was a
 * counter: its size then, and what is counted from then on.
 *
 * Rejected: opening the files (needs the right to read them, and would be seen by a program that
 * watches for that), keeping what has no name any more until its writer has closed it (its space
 * would not be given back).
 */
#include "cli/top_files.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "cli/top_frame.h"
#include "files/identity.h"
#include "files/pod_path.h"
#include "heat/write_count.h"

#define LOOKS_PER_STAT 10
#define HOMELESS_NS    (2 * NS_PER_SEC)
#define EMPTY_NS       (60 * NS_PER_SEC) /* how long a place remembers its rotations */
#define STEADY_TRIES   5

struct place {
	struct table_node by_path;
	struct own_file *file; /* NULL: nothing there now */
	bool had;              /* some file was there before */
	unsigned rotations;
	int64_t left_ns;
	char path[];
};

struct own_file {
	struct table_node by_id;
	struct list in_homeless;
	struct file_id id;
	int fd, slot; /* fd -1: for want of descriptors, by its name; slot -1: no counter */
	struct place *place;
	char *alias; /* the name it is known by to others, or NULL */
	int64_t homeless_ns, idle_since_ns;
	bool is_new;   /* since top began: all of it was written since */
	bool is_based; /* base is final */
	bool looked;   /* at least once */
	uint64_t base; /* bytes that it had and no program counted */
	uint64_t seen_bytes, seen_writes, seen_truncs; /* at the last look */
	uint64_t size, written, shown;                 /* shown: of written, by the last look */
};

static struct file_id id_of(const struct stat *st)
{
	return (struct file_id){st->st_dev, st->st_ino};
}

static int file_stat(const struct own_file *f, struct stat *st)
{
	if (f->fd >= 0)
		return sys.fstat(f->fd, st);
	if (!f->place || sys.lstat(f->place->path, st) < 0)
		return -1;
	return st->st_dev == f->id.dev && st->st_ino == f->id.ino ? 0 : -1;
}

static struct place *place_of(const struct top_files *fs, const char *path)
{
	struct table_node *n = table_get(&fs->places, path, strlen(path));

	return n ? container_of(n, struct place, by_path) : NULL;
}

static struct place *place_new(struct top_files *fs, const char *path)
{
	size_t len = strlen(path);
	struct place *p = calloc(1, sizeof(*p) + len + 1);

	if (!p)
		return NULL;
	memcpy(p->path, path, len);
	if (table_add(&fs->places, &p->by_path, p->path, len) == 0)
		return p;
	free(p);
	return NULL;
}

static void place_leave(struct top_files *fs, struct own_file *f)
{
	if (!f->place)
		return;
	f->place->file = NULL;
	f->place->left_ns = f->homeless_ns = clock_now_ns();
	f->place = NULL;
	list_add_tail(&fs->homeless, &f->in_homeless);
}

static void place_enter(struct top_files *fs, struct place *p, struct own_file *f)
{
	if (p->file)
		place_leave(fs, p->file);
	place_leave(fs, f);
	list_del(&f->in_homeless);
	p->rotations += p->had;
	p->had = true;
	p->file = f;
	f->place = p;
}

/* What was written since the last look. */
struct growth {
	uint64_t bytes, writes;
	uint64_t counted; /* of the bytes, by a program */
	bool gone;
};

/* Where no program counts. Cut off, all that it has since was written. */
static void look_size(struct own_file *f, struct growth *g)
{
	struct stat st;
	uint64_t size;

	if (file_stat(f, &st) < 0)
		return;
	size = (uint64_t)st.st_size;
	if (size != f->size)
		f->idle_since_ns = clock_now_ns();
	f->written += size - (size < f->size ? 0 : f->size);
	f->size = size;
	g->gone = st.st_nlink == 0;
}

/* Counts and a size between which no write was counted, as far as that can be had. */
static bool read_steadily(const struct top_files *fs, const struct own_file *f,
			  struct write_total *ret_total, struct stat *ret_st)
{
	struct write_total after;

	for (int i = 0; i < STEADY_TRIES; i++) {
		write_count_read(fs->wc, f->slot, ret_total);
		if (file_stat(f, ret_st) < 0)
			return false;
		write_count_read(fs->wc, f->slot, &after);
		if (after.calls == ret_total->calls)
			break;
	}
	return true;
}

/*
 * A write under way can be in the size, in part, and not yet in the counts; so what they differ by
 * is what was there before, for sure, only when the file has been quiet between two looks. Until
 * then it is reckoned anew at each.
 */
static void look_base(struct top_files *fs, struct own_file *f, bool quiet)
{
	struct write_total t;
	struct stat st;
	uint64_t all;

	if (!f->is_new || f->is_based || !read_steadily(fs, f, &t, &st))
		return;
	all = (uint64_t)st.st_size + t.cuts;
	f->base = all - MIN(all, t.bytes);
	f->is_based = quiet && t.calls == f->seen_writes;
}

static void look_counts(struct top_files *fs, struct own_file *f, bool ask, struct growth *g)
{
	struct write_total t;
	struct stat st;

	write_count_read(fs->wc, f->slot, &t);
	look_base(fs, f, f->looked && t.calls == f->seen_writes);
	f->looked = true;
	g->counted = t.bytes - f->seen_bytes;
	g->writes = t.calls - f->seen_writes;
	if ((ask || g->writes || t.truncs != f->seen_truncs) && file_stat(f, &st) == 0) {
		f->size = (uint64_t)st.st_size;
		g->gone = st.st_nlink == 0;
	}
	f->seen_bytes = t.bytes;
	f->seen_writes = t.calls;
	f->seen_truncs = t.truncs;
	f->idle_since_ns = MAX(f->idle_since_ns, t.last_ns);
	f->written = MAX(f->written, f->base + t.bytes);
}

static void file_look(struct top_files *fs, struct own_file *f, bool ask, struct growth *ret)
{
	uint64_t before = f->written;
	struct growth g = {0};

	if (f->slot >= 0)
		look_counts(fs, f, ask, &g);
	else
		look_size(f, &g);
	g.bytes = f->written - before;
	fs->sums.bytes += g.bytes;
	fs->sums.writes += g.writes;
	*ret = g;
}

static void file_release(struct top_files *fs, struct own_file *f)
{
	struct growth g;

	file_look(fs, f, true, &g);
	if (f->place) {
		f->place->file = NULL;
		f->place->left_ns = clock_now_ns();
	}
	if (f->slot >= 0)
		write_count_del(fs->wc, f->slot);
	fs->uncounted -= f->slot < 0;
	list_del(&f->in_homeless);
	table_del(&fs->by_id, &f->by_id);
	close_fd(&f->fd);
	free(f->alias);
	free(f);
}

/* Its first look shows what it has. */
static void file_begin(const struct top_files *fs, struct own_file *f, const struct stat *st)
{
	struct timespec wall;
	int64_t age;

	f->is_new = fs->scanned;
	f->size = f->is_new ? 0 : (uint64_t)st->st_size;
	clock_gettime(CLOCK_REALTIME, &wall);
	age = (wall.tv_sec - st->st_mtim.tv_sec) * NS_PER_SEC + wall.tv_nsec - st->st_mtim.tv_nsec;
	f->idle_since_ns = clock_now_ns() - MAX(age, INT64_C(0));
}

static struct own_file *file_new(struct top_files *fs, int fd, struct stat *st, struct place *p)
{
	struct own_file *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->id = id_of(st);
	f->slot = -1;
	if (table_add(&fs->by_id, &f->by_id, &f->id, sizeof(f->id)) < 0) {
		free(f);
		return NULL;
	}
	list_init(&f->in_homeless);
	f->fd = fd;
	place_enter(fs, p, f);
	if (fd < 0 || write_count_add(fs->wc, fd, f, &f->slot) < 0)
		f->slot = -1;
	fs->uncounted += f->slot < 0;
	file_begin(fs, f, st);
	return f;
}

/* A descriptor, or -1 where there is none left: then *st is by name. False: no such file. */
static bool refer_to(const char *path, int *ret_fd, struct stat *st)
{
	_cleanup_fd_ int fd = sys.open_plain(path, O_PATH | O_CLOEXEC);

	if (fd < 0 && errno != EMFILE && errno != ENFILE)
		return false;
	if (fd < 0 ? sys.lstat(path, st) < 0 : sys.fstat(fd, st) < 0)
		return false;
	if (!S_ISREG(st->st_mode))
		return false;
	*ret_fd = take_fd(fd);
	return true;
}

static bool is_ignored(const char *path)
{
	return pod_path_ignored(strrchr(path, '/') + 1) || pod_path_engine_own(path);
}

void top_files_found(struct top_files *fs, const char *path, const char *alias)
{
	struct place *p = place_of(fs, path);
	struct table_node *n;
	struct own_file *f;
	struct file_id id;
	struct stat st;
	int fd;

	if (is_ignored(path) || !refer_to(path, &fd, &st))
		return;
	id = id_of(&st);
	n = table_get(&fs->by_id, &id, sizeof(id));
	f = n ? container_of(n, struct own_file, by_id) : NULL;
	p = p ? p : place_new(fs, path);
	if (f && p && f->place != p)
		place_enter(fs, p, f);
	if (f || !p)
		close_fd(&fd);
	else
		f = file_new(fs, fd, &st, p);
	if (f && alias && !f->alias)
		f->alias = strdup(alias);
}

void top_files_gone(struct top_files *fs, const char *path)
{
	struct place *p = place_of(fs, path);
	struct own_file *f = p ? p->file : NULL;
	struct stat st;

	if (!f)
		return;
	place_leave(fs, f);
	if (file_stat(f, &st) < 0 || st.st_nlink == 0)
		file_release(fs, f);
}

void top_files_unseen(struct top_files *fs, struct file_id id, const char *name, uint64_t bytes)
{
	if (pod_path_ignored(name) || table_get(&fs->by_id, &id, sizeof(id)))
		return;
	fs->sums.unseen_files++;
	fs->sums.unseen_bytes += bytes;
	fs->sums.bytes += bytes;
}

static void places_sweep(struct top_files *fs, int64_t now_ns)
{
	struct table_node *next = table_walk(&fs->places, NULL);

	while (next) {
		struct place *p = container_of(next, struct place, by_path);
		const char *name = strrchr(p->path, '/') + 1;
		struct own_file *f = p->file;
		struct stat st;

		next = table_walk(&fs->places, next);
		if (f && fs->verify &&
		    (sys.lstat(p->path, &st) < 0 || st.st_dev != f->id.dev ||
		     st.st_ino != f->id.ino))
			place_leave(fs, f);
		if (p->file ||
		    (now_ns - p->left_ns < EMPTY_NS && pod_path_live_len(name) == strlen(name)))
			continue;
		table_del(&fs->places, &p->by_path);
		free(p);
	}
	fs->verify = false;
}

static void homeless_sweep(struct top_files *fs, int64_t now_ns)
{
	list_for_each (l, next, &fs->homeless) {
		struct own_file *f = container_of(l, struct own_file, in_homeless);
		struct stat st;

		if (now_ns - f->homeless_ns >= HOMELESS_NS || file_stat(f, &st) < 0 ||
		    st.st_nlink == 0)
			file_release(fs, f);
	}
}

static void put_names(struct top_frame *frame, struct top_row *r, const struct own_file *f)
{
	const char *path = f->place->path;
	struct pod_path p;

	r->name[TOP_PATH] = top_frame_text(frame, path, strlen(path));
	if (!pod_path_parse(path, &p) && !(f->alias && pod_path_parse(f->alias, &p)))
		return;
	r->name[TOP_NAMESPACE] = top_frame_text(frame, p.ns, p.ns_len);
	r->name[TOP_POD] = top_frame_text(frame, p.pod, p.pod_len);
	r->name[TOP_UID] = top_frame_text(frame, p.uid, p.uid_len);
	r->name[TOP_CONTAINER] = top_frame_text(frame, p.container, p.container_len);
}

static int row_put(const struct own_file *f, const struct growth *g, double interval_s,
		   int64_t now_ns, struct top_frame *frame)
{
	struct top_row *r = top_frame_row(frame);
	double *v;

	if (!r)
		return -ENOMEM;
	put_names(frame, r, f);
	v = r->value;
	r->hot = g->bytes || g->writes;
	v[TOP_RATE] = (double)g->bytes / interval_s;
	if (f->slot >= 0) {
		v[TOP_WRITE_RATE] = (double)g->writes / interval_s;
		v[TOP_WRITES] = (double)f->seen_writes;
	}
	if (g->writes)
		v[TOP_MEAN] = (double)g->counted / (double)g->writes;
	v[TOP_SIZE] = (double)f->size;
	v[TOP_IDLE] = (double)MAX(now_ns - f->idle_since_ns, INT64_C(0)) / NS_PER_SEC;
	v[TOP_WRITTEN] = (double)f->written;
	v[TOP_ROTATIONS] = f->place->rotations;
	return 0;
}

int top_files_look(struct top_files *fs, double interval_s, int64_t now_ns, struct top_frame *frame)
{
	struct table_node *next;
	unsigned n = 0;
	int r = 0;

	homeless_sweep(fs, now_ns);
	fs->n_active = 0;
	fs->round++;
	for (next = table_walk(&fs->by_id, NULL); next;) {
		struct own_file *f = container_of(next, struct own_file, by_id);
		struct growth g;

		next = table_walk(&fs->by_id, next);
		file_look(fs, f, n++ % LOOKS_PER_STAT == fs->round % LOOKS_PER_STAT, &g);
		fs->n_active += g.bytes || g.writes;
		if (g.gone)
			file_release(fs, f);
		else if (f->place && row_put(f, &g, interval_s, now_ns, frame) < 0)
			r = -ENOMEM;
	}
	places_sweep(fs, now_ns);
	return r;
}

void top_files_init(struct top_files *fs, struct write_count *wc)
{
	*fs = (struct top_files){.wc = wc};
	list_init(&fs->homeless);
}

void top_files_done(struct top_files *fs)
{
	struct table_node *n;

	while ((n = table_walk(&fs->by_id, NULL)))
		file_release(fs, container_of(n, struct own_file, by_id));
	while ((n = table_walk(&fs->places, NULL))) {
		table_del(&fs->places, n);
		free(container_of(n, struct place, by_path));
	}
	table_done(&fs->by_id);
	table_done(&fs->places);
}
