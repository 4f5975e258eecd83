/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a name that came or went means. A rename is a name lost and a name found with an inode that
 * is known: no pairing of events is needed, and a half that got lost in an overflow costs nothing,
 * because files_verify drops stale names and the rescan finds the new ones. births.c: files that
 * came and went unseen.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "files/chain.h"
#include "files/files_impl.h"
#include "files/pod_path.h"

struct file *files_at(const struct files *fs, const char *path)
{
	struct table_node *n = table_get(&fs->by_path, path, strlen(path));

	return n ? container_of(n, struct file, by_path) : NULL;
}

struct chain *files_chain(const struct files *fs, const char *key, size_t len)
{
	struct table_node *n = table_get(&fs->chains, key, len);

	return n ? container_of(n, struct chain, by_key) : NULL;
}

/* The log that path is, or looks like, a generation of. */
struct chain *files_chain_of(const struct files *fs, const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	size_t len = (size_t)(name - path) + pod_path_live_len(name);
	struct chain *c = files_chain(fs, path, strlen(path));

	return c ? c : files_chain(fs, path, len);
}

struct file *files_of(const struct files *fs, struct file_id id)
{
	struct table_node *n = table_get(&fs->by_id, &id, sizeof(id));

	return n ? container_of(n, struct file, by_id) : NULL;
}

static struct file_id id_of(const struct stat *st)
{
	return (struct file_id){st->st_dev, st->st_ino};
}

static void set_displaced(struct file *f)
{
	if (f->displaced)
		return;
	f->displaced = true;
	f->displaced_ns = clock_now_ns();
	f->rotation = f->chain->rotations;
}

void files_lose_name(struct files *fs, struct file *f)
{
	bool rotated = f->displaced;
	struct stat st;

	table_del(&fs->by_path, &f->by_path);
	file_drop_path(f);
	files_early_leaves(f);
	set_displaced(f);
	if (f->fd >= 0 && sys.fstat(f->fd, &st) == 0) {
		f->unlinked = st.st_nlink == 0;
		f->size = MAX(f->size, (uint64_t)st.st_size);
		if (f->chain->live == f)
			f->chain->rotate_bytes = (uint64_t)st.st_size;
		if (f->unlinked && rotated)
			f->chain->newer_kept = f->chain->rotations - f->rotation;
	}
	if (f->chain->live == f)
		f->chain->live = NULL;
	fs->hooks.look(fs->hooks.ctx, f);
}

/* A closed file's inode can have been given to another since. */
static bool is_still(const struct file *f, const char *path)
{
	int64_t btime;

	return f->fd >= 0 ||
	       (sys.birth(AT_FDCWD, path, &btime) == 0 && btime == f->identity.btime_ns);
}

static int set_name(struct files *fs, struct file *f, const char *path)
{
	struct file *other = files_at(fs, path);
	int r;

	if (other)
		files_lose_name(fs, other);
	r = file_set_path(f, path);
	if (r < 0)
		return r;
	return table_add(&fs->by_path, &f->by_path, f->path, strlen(f->path));
}

static void take_place(struct files *fs, struct file *f)
{
	if (strcmp(f->path, f->chain->key) == 0)
		chain_set_live(f->chain, f);
	else
		set_displaced(f);
}

/* A known inode has shown up under a name that is not the one we know it by. */
static void rename_known(struct files *fs, struct file *f, const char *path)
{
	if (f->path) {
		if (file_is_at(f, f->path))
			return; /* a second hard link */
		files_early_leaves(f);
		table_del(&fs->by_path, &f->by_path);
		file_drop_path(f);
		if (f->chain->live == f)
			f->chain->live = NULL;
	}
	if (set_name(fs, f, path) < 0)
		return;
	take_place(fs, f);
	f->unlinked = f->sought = false;
	fs->hooks.look(fs->hooks.ctx, f);
}

/* Into the tables, as a member of the chain that key is a name of. Frees f on failure. */
static int enter(struct files *fs, struct file *f, const char *path, const char *key)
{
	int r = chain_get(&fs->chains, key, f->source, &f->chain);

	if (r < 0) {
		file_free(f);
		return r;
	}
	f->chain->members++;
	r = set_name(fs, f, path);
	if (r == 0)
		r = table_add(&fs->by_id, &f->by_id, &f->id, sizeof(f->id));
	if (r < 0) {
		table_del(&fs->by_path, &f->by_path);
		files_leave_chain(fs, f->chain);
		file_free(f);
		return r;
	}
	files_opened(fs, f);
	fs->stats.found++;
	return 0;
}

/* Takes fd. */
static int add_new(struct files *fs, const char *path, const char *alias, int fd,
		   const struct stat *st)
{
	struct chain *known = files_chain_of(fs, path);
	struct file *f;
	int r;

	if (!alias && known) /* the link led to the live file, and the pod's name is its name */
		alias = known->alias;
	r = file_new(fd, st, path, alias, &f);
	if (r < 0)
		return r;
	if (fs->starting) /* written before our time */
		f->rate_mark = (uint64_t)st->st_size;
	if (fs->starting && fs->skip_existing)
		file_skip_to_end(f);
	r = enter(fs, f, path, path);
	if (r < 0)
		return r;
	if (alias && !f->chain->alias)
		f->chain->alias = strdup(alias);
	if (strcmp(path, f->chain->key) == 0 && f->chain->had_live && !fs->starting) {
		f->chain->rotations++;
		fs->stats.rotations++;
	}
	f->maybe_copy = !fs->starting && f->chain->live && strcmp(path, f->chain->key) != 0;
	f->chain->copies += f->maybe_copy;
	if (!f->maybe_copy)
		chain_insert(f->chain, f, st);
	if (!f->maybe_copy && !fs->starting && strcmp(path, f->chain->key) != 0)
		files_found_late(fs, f->chain);
	take_place(fs, f);
	fs->hooks.opened(fs->hooks.ctx, f);
	return 0;
}

int files_add_gz(struct files *fs, const char *path, int fd, struct file **ret_file)
{
	char stem[PATH_MAX];
	struct file *f;
	struct stat st;
	int r = sys.fstat(fd, &st) < 0 ? -errno : 0;

	if (r < 0)
		close_fd(&fd);
	else
		r = file_new(fd, &st, path, NULL, &f);
	if (r < 0)
		return r;
	f->compressed = true;
	f->probe = true;
	snprintf(stem, sizeof(stem), "%.*s", (int)(strlen(path) - strlen(".gz")), path);
	r = enter(fs, f, path, stem);
	if (r < 0)
		return r;
	if (fs->n_open > fs->open_max)
		files_make_room(fs);
	chain_insert(f->chain, f, &st);
	set_displaced(f);
	fs->hooks.opened(fs->hooks.ctx, f);
	*ret_file = f;
	return 0;
}

bool files_directory_is_there(const char *path)
{
	char dir[PATH_MAX];
	struct stat st;

	snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(path, '/') - path), path);
	return sys.lstat(dir, &st) == 0;
}

/* There was a file of that name, and it is gone. A rotated one was told of when it was born, under
 * another name; one that came back to its name is known; the whole directory may have moved. */
static void gone_already(struct files *fs, const char *path, enum told told)
{
	struct chain *c = files_chain_of(fs, path);

	if (told == TOLD_OF_MOVE || told == TOLD_OF_WRITE ||
	    (told == TOLD_BY_LIST && !files_directory_is_there(path)))
		return;
	if (!c || strcmp(c->key, path) == 0)
		files_born_unseen(fs, path);
}

static void open_failed(struct files *fs, const char *path, const char *alias,
			const struct file_id *id, enum told told, int err)
{
	if (err == ENOENT) {
		gone_already(fs, path, told);
		return;
	}
	if (err == ELOOP) /* became a symbolic link meanwhile */
		return;
	files_postpone(fs, path, alias, id, err == EMFILE || err == ENFILE);
	if (err == EMFILE || err == ENFILE)
		return;
	fs->stats.unreadable++;
	if (log_allow(&fs->limit, 10 * NS_PER_SEC))
		log_warn(0, "%s: %s, retrying", path, strerror(err));
}

static int open_log(struct files *fs, const char *path)
{
	int fd;

	if (!files_make_room(fs)) {
		errno = EMFILE;
		return -1;
	}
	do
		fd = sys.open_plain(path, O_RDONLY | O_NOATIME | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	while (fd < 0 && errno == EINTR);
	return fd;
}

/* id: what the name led to just now. */
static void open_new(struct files *fs, const char *path, const char *alias,
		     const struct file_id *id, enum told told)
{
	_cleanup_fd_ int fd = open_log(fs, path);
	struct file *f;
	struct stat st;
	int r;

	if (fd < 0 || sys.fstat(fd, &st) < 0) {
		open_failed(fs, path, alias, id, told, errno);
		return;
	}
	if (!S_ISREG(st.st_mode))
		return;
	f = files_of(fs, id_of(&st)); /* the name changed hands since lstat */
	if (f) {
		if (!f->path || strcmp(f->path, path) != 0)
			rename_known(fs, f, path);
		return;
	}
	r = add_new(fs, path, alias, take_fd(fd), &st);
	if (r < 0)
		open_failed(fs, path, alias, id, told, -r);
}

bool files_take_retry(struct files *fs)
{
	bool retry = fs->retry;

	fs->retry = false;
	return retry;
}

static bool is_excluded(const struct files *fs, const char *path)
{
	return (fs->excluded_uid && strstr(path, fs->excluded_uid)) || pod_path_engine_own(path);
}

/* A sink that is gone has given its file's inode free, perhaps. */
static bool is_excluded_id(const struct files *fs, struct file_id id, const char *path)
{
	struct table_node *n = table_get(&fs->excluded, &id, sizeof(id));
	const struct excluded *e = n ? container_of(n, struct excluded, by_id) : NULL;
	int64_t btime;

	return e && (!e->btime_ns || sys.birth(AT_FDCWD, path, &btime) < 0 || !btime ||
		     btime == e->btime_ns);
}

bool files_ignores(const struct files *fs, const char *path)
{
	return is_excluded(fs, path) || pod_path_ignored(strrchr(path, '/') + 1);
}

bool files_knows(const struct files *fs, struct file_id id)
{
	return files_of(fs, id) || files_waits_for(fs, id);
}

void files_told(struct files *fs, const char *path, const char *alias, enum told told)
{
	const char *slash = strrchr(path, '/');
	struct file_id id = {0};
	struct file *at, *f;
	struct stat st;

	if (is_excluded(fs, path))
		return;
	if (pod_path_ignored(slash ? slash + 1 : path)) {
		if (fs->hooks.compressed)
			fs->hooks.compressed(fs->hooks.ctx, path);
		return;
	}
	at = files_at(fs, path);
	if (sys.lstat(path, &st) < 0) {
		if (errno == ENOENT && !at)
			gone_already(fs, path, told);
		else if (errno != ENOENT && errno != ENOTDIR)
			open_failed(fs, path, alias, &id, told, errno);
		return;
	}
	id = id_of(&st);
	if (!S_ISREG(st.st_mode)) {
		if (at)
			files_lose_name(fs, at);
		return;
	}
	if (is_excluded_id(fs, id, path))
		return;
	f = files_of(fs, id);
	if (f && !is_still(f, path)) {
		files_lose(fs, f);
		at = f = NULL;
	}
	if (!f)
		open_new(fs, path, alias, &id, told);
	else if (f != at)
		rename_known(fs, f, path);
}

void files_found(struct files *fs, const char *path, const char *alias)
{
	files_told(fs, path, alias, TOLD_BY_LIST);
}

/* What is gone by now has its birth's event, or is told of by files_lost_unseen. */
void files_written(struct files *fs, const char *path)
{
	uint64_t found = fs->stats.found;
	struct file *f;

	files_told(fs, path, NULL, TOLD_OF_WRITE);
	f = files_at(fs, path);
	if (f && fs->stats.found != found)
		f->early = f == f->chain->live;
}

void files_born(struct files *fs, const char *path, const char *from)
{
	struct file *before = files_at(fs, path), *f;
	bool moved = from && !pod_path_ignored(strrchr(from, '/') + 1);
	struct chain *c = moved ? files_chain_of(fs, from) : NULL;
	uint64_t found = fs->stats.found;

	files_told(fs, path, NULL, moved ? TOLD_OF_MOVE : TOLD_OF_BIRTH);
	f = files_at(fs, path);
	/* Born as another log, whose event it still owes. */
	if (f && fs->stats.found != found && c && c != f->chain && strcmp(c->key, from) == 0)
		files_found_late(fs, c);
	if (!f || f != f->chain->live || moved)
		return;
	if (f == before && f->announced)
		files_born_unseen(fs, path);
	f->announced = true;
}

void files_gone(struct files *fs, const char *path)
{
	struct file *f = files_at(fs, path);

	if (f && !file_is_at(f, path))
		files_lose_name(fs, f);
}

void files_gone_below(struct files *fs, const char *dir)
{
	size_t len = strlen(dir);
	struct table_node *n = NULL, *next;

	for (n = table_walk(&fs->by_path, NULL); n; n = next) {
		struct file *f = container_of(n, struct file, by_path);

		next = table_walk(&fs->by_path, n);
		if (strncmp(f->path, dir, len) == 0 && f->path[len] == '/')
			files_lose_name(fs, f);
	}
}

void files_verify(struct files *fs)
{
	struct table_node *n, *next;

	for (n = table_walk(&fs->by_id, NULL); n; n = next) {
		struct file *f = container_of(n, struct file, by_id);
		struct file_id id = {0};
		struct stat st;

		next = table_walk(&fs->by_id, n);
		if (f->path && sys.lstat(f->path, &st) == 0)
			id = id_of(&st);
		if (f->path && memcmp(&id, &f->id, sizeof(id)) != 0)
			files_lose_name(fs, f);
		else
			fs->hooks.look(fs->hooks.ctx, f);
	}
}
