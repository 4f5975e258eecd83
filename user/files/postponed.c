/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that could not be opened, to be tried again: within 20 ms where only a descriptor was
 * missing, else after a pause that doubles up to five seconds, so that a file that may never be
 * read costs little. Each entry remembers which inode the name led to: when it leads to another one
 * by then, and nobody has found the first under another name, that one was lost unseen.
 *
 *   struct file_id | path NUL | alias NUL ("" for none)
 */
#include <errno.h>
#include <string.h>

#include "base/sys.h"
#include "files/files_impl.h"

#define SOON_NS (20 * NS_PER_MS)
#define LATE_NS (5 * NS_PER_SEC)

struct name {
	struct file_id id;
	const char *path, *alias;
};

/* The entry at *at, which is moved on. False: there is none. */
static bool next_name(const struct buf *b, size_t *at, struct name *ret)
{
	if (*at >= b->len)
		return false;
	memcpy(&ret->id, b->data + *at, sizeof(ret->id));
	ret->path = b->data + *at + sizeof(ret->id);
	ret->alias = ret->path + strlen(ret->path) + 1;
	*at += sizeof(ret->id) + strlen(ret->path) + strlen(ret->alias) + 2;
	return true;
}

/* Told of twice: by its first write and by its birth, or by each listing. */
static bool is_postponed(const struct buf *b, const char *path, const struct file_id *id)
{
	struct name n;

	for (size_t at = 0; next_name(b, &at, &n);)
		if (memcmp(&n.id, id, sizeof(*id)) == 0 && strcmp(n.path, path) == 0)
			return true;
	return false;
}

void files_postpone(struct files *fs, const char *path, const char *alias, const struct file_id *id,
		    bool soon)
{
	struct buf *b = &fs->postponed;
	size_t before = b->len;

	if (is_postponed(b, path, id))
		return;
	alias = alias ? alias : "";
	if (buf_add(b, id, sizeof(*id)) < 0 || buf_add(b, path, strlen(path) + 1) < 0 ||
	    buf_add(b, alias, strlen(alias) + 1) < 0) {
		b->len = before;
		fs->retry = true; /* without memory it is found by the next rescan */
		return;
	}
	if (soon || !fs->pause_ns)
		fs->pause_ns = SOON_NS;
	if (!before)
		fs->postponed_ns = clock_now_ns() + fs->pause_ns;
}

static void try_again(struct files *fs, const struct name *n)
{
	bool known = n->id.ino, there;
	struct file_id now = {0};
	struct stat st;

	there = sys.lstat(n->path, &st) == 0;
	if (there)
		now = (struct file_id){st.st_dev, st.st_ino};
	if (known && !files_of(fs, n->id) && (there || errno == ENOENT) &&
	    memcmp(&now, &n->id, sizeof(now)) != 0)
		files_born_unseen(fs, n->path);
	files_told(fs, n->path, *n->alias ? n->alias : NULL, TOLD_OF_MOVE);
}

int64_t files_postponed_ns(const struct files *fs)
{
	return fs->postponed.len ? fs->postponed_ns : INT64_MAX;
}

bool files_settling(const struct files *fs)
{
	return fs->postponed.len && fs->pause_ns < NS_PER_SEC;
}

bool files_waits_for(const struct files *fs, struct file_id id)
{
	struct name n;

	for (size_t at = 0; next_name(&fs->postponed, &at, &n);)
		if (memcmp(&n.id, &id, sizeof(id)) == 0)
			return true;
	return false;
}

void files_take_postponed(struct files *fs)
{
	_cleanup_(buf_done) struct buf names = fs->postponed;
	struct name n;

	fs->postponed = (struct buf){0};
	fs->pause_ns = MIN(fs->pause_ns * 2, LATE_NS);
	for (size_t at = 0; next_name(&names, &at, &n);)
		try_again(fs, &n);
	if (!fs->postponed.len)
		fs->pause_ns = 0;
}

void files_keep_postponed(struct files *fs, bool (*wanted)(void *ctx, const char *path), void *ctx)
{
	struct buf *b = &fs->postponed;
	size_t at = 0, kept = 0, from = 0;
	struct name n;

	for (; next_name(b, &at, &n); from = at) {
		if (!wanted(ctx, n.path))
			continue;
		memmove(b->data + kept, b->data + from, at - from);
		kept += at - from;
	}
	b->len = kept;
	if (!kept)
		fs->pause_ns = 0;
}
