/* SPDX-License-Identifier: Apache-2.0 */
#include "files/file.h"
#include "files/files_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "drain/gz.h"
#include "event/source.h"
#include "files/pod_path.h"

static struct source_name slice(const char *path, const char *name, size_t len)
{
	return (struct source_name){(uint16_t)(name - path), (uint16_t)len};
}

static int new_source(struct file *f, const char *path, const char *alias)
{
	struct pod_path p;
	bool known = pod_path_parse(path, &p);
	struct source *s;
	int r;

	if (!known && alias && pod_path_parse(alias, &p)) {
		known = true;
		path = alias;
	}
	r = source_new(path, &s);
	if (r < 0)
		return r;
	f->source = s;
	if (!known)
		return 0;
	s->k8s_namespace = slice(path, p.ns, p.ns_len);
	s->pod_name = slice(path, p.pod, p.pod_len);
	if (p.uid)
		s->pod_uid = slice(path, p.uid, p.uid_len);
	s->container_name = slice(path, p.container, p.container_len);
	s->restart_count = p.restart_count;
	return 0;
}

void file_free(struct file *f)
{
	gz_free(f->gz);
	free(f->replay);
	source_unref(f->source);
	close_fd(&f->fd);
	file_drop_path(f);
	free(f);
}

bool file_is_at(const struct file *f, const char *path)
{
	struct stat st;

	return sys.lstat(path, &st) == 0 && st.st_dev == f->id.dev && st.st_ino == f->id.ino;
}

int file_set_path(struct file *f, const char *path)
{
	char *copy = strcmp(path, f->chain->key) == 0 ? f->chain->key : strdup(path);

	if (!copy)
		return -ENOMEM;
	f->path = copy;
	return 0;
}

void file_drop_path(struct file *f)
{
	if (f->path && f->path != f->chain->key)
		free(f->path);
	f->path = NULL;
}

void file_skip_to_end(struct file *f)
{
	size_t n = MIN(f->size, (uint64_t)MARK_BYTES);
	char bytes[MARK_BYTES];

	f->offset = f->acked = f->size;
	f->hole = !f->size;
	if (n && sys.pread(f->fd, bytes, n, 0) == (ssize_t)n)
		f->head = mark_of(bytes, n);
	if (n && sys.pread(f->fd, bytes, n, (off_t)(f->size - n)) == (ssize_t)n) {
		f->mark = mark_of(bytes, n);
		f->sync_line = bytes[n - 1] != '\n';
	}
}

int file_new(int fd, const struct stat *st, const char *path, const char *alias,
	     struct file **ret_file)
{
	struct file *f = calloc(1, sizeof(*f));
	int r;

	if (!f) {
		close_fd(&fd);
		return -ENOMEM;
	}
	f->fd = fd;
	f->wd = f->slot = -1;
	f->hole = true; /* perhaps */
	f->id = (struct file_id){st->st_dev, st->st_ino};
	f->size = (uint64_t)st->st_size;
	r = sys.birth(fd, "", &f->identity.btime_ns) < 0 ? -errno : new_source(f, path, alias);
	if (r < 0) {
		file_free(f);
		return r;
	}
	*ret_file = f;
	return 0;
}

bool file_eligible(const struct file *f)
{
	return !f->maybe_copy && !(f->chain->unsettled && f == f->chain->live) &&
	       (!list_linked(&f->in_chain) || f->chain->queue.next == &f->in_chain);
}

bool file_attended(const struct file *f)
{
	return list_linked(&f->in_hot) || f->armed_at;
}

int file_stat(const struct file *f, struct stat *ret_st)
{
	struct stat st;

	if (f->fd >= 0)
		return sys.fstat(f->fd, ret_st) < 0 ? -errno : 0;
	if (!f->path)
		return -ESTALE;
	if (sys.lstat(f->path, &st) < 0)
		return errno == ENOENT ? -ESTALE : -errno;
	if (st.st_dev != f->id.dev || st.st_ino != f->id.ino)
		return -ESTALE;
	*ret_st = st;
	return 0;
}

int file_writers(const struct file *f)
{
	/* fcntl(2), F_SETLEASE: a read lease is refused with EAGAIN while anybody has the file open
	 * for writing. It is given back at once; an open for writing that falls in between waits
	 * for that. */
	if (fcntl(f->fd, F_SETLEASE, F_RDLCK) == 0) {
		fcntl(f->fd, F_SETLEASE, F_UNLCK);
		return 0;
	}
	return errno == EAGAIN ? 1 : -errno;
}
