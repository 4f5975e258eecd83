/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stdout, a file, or nowhere. A batch is encoded in chunks that stay in the processor's cache until
 * write() takes them, and a chunk is written to its last byte before the next is encoded, so the
 * place to go on from after an error is one number.
 *
 * file: opens with O_NONBLOCK, which means nothing to a regular file and keeps a FIFO nobody reads
 * from hanging the start (ENXIO instead). stdout's flags are shared with other processes and are
 * left alone: both kinds of pipe must work.
 *
 * A pipe is also written to from the event loop (at once): through a description of its own, which
 * does not block, and with room for a batch in the pipe. A file in memory (tmpfs) always is:
 * records that another processor encodes must come through the caches, and so must their room on
 * its way back, an eighth of all the time it takes. Any other file would block the loop for as long
 * as its disk does. Rejected: RWF_NOWAIT (for pipes as of Linux 6.4 only, for ext4 not at all),
 * writev from the arena for raw (two vectors per line cost more than the copy), O_DIRECT, fsync per
 * batch (an acknowledgement means that the kernel has the bytes, as for every peer).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/buf.h"
#include "base/sys.h"
#include "output/batch.h"
#include "output/encode.h"
#include "output/sink_ops.h"

#define CHUNK_BYTES 262144u
/* A buffer that a long record has made larger than this is given back after the write. */
#define BUFFER_KEEP_BYTES (8 * CHUNK_BYTES)
#define WAIT_MS           100
/* Of lines that wait in it; a slow reader should not be far behind. */
#define PIPE_BYTES 262144

struct sink_stream {
	int fd;      /* -1: null */
	int fd_once; /* the same without blocking, -1: there is no such way */
	bool owned, terminal;
	bool waits; /* it may, for a reader or a disk */
	bool torn;  /* a newline is due first */
	enum encode_format format;
	const struct batch *batch;
	struct encode_cursor cursor;
	bool encoded; /* the rest of the batch is in out */
	struct buf out;
	size_t written; /* of out */
};

static int stream_open_fd(const char *spec, int *ret_fd)
{
	int fd, flags;

	if (strcmp(spec, "null") == 0) {
		*ret_fd = -1;
		return 0;
	}
	if (strcmp(spec, "stdout") == 0) {
		flags = fcntl(STDOUT_FILENO, F_GETFL);
		if (flags < 0)
			return -errno;
		if ((flags & O_ACCMODE) == O_RDONLY)
			return -EBADF;
		*ret_fd = STDOUT_FILENO;
		return 0;
	}
	if (strncmp(spec, "file:", 5) != 0 || !spec[5])
		return -EINVAL;
	fd = sys.open(spec + 5, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
		      0644);
	if (fd < 0)
		/* EINVAL is a bad spec's; what open means by it is a name this filesystem refuses.
		 */
		return errno == EINVAL ? -ENOENT : -errno;
	*ret_fd = fd;
	return 0;
}

/* What an earlier process could not write to its end, as the disk was full, is no line: what comes
 * next would be made part of it, and be lost with it. */
static bool ends_within_line(const char *path, int fd)
{
	_cleanup_fd_ int in = -1;
	struct stat st;
	char last;

	if (sys.fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || !st.st_size)
		return false;
	in = sys.open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY, 0);
	return in >= 0 && pread(in, &last, 1, st.st_size - 1) == 1 && last != '\n';
}

static bool is_memory(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* Where there is no such way in, all is left to the sink's thread. */
static void open_at_once(struct sink_stream *s)
{
	struct stat st;

	s->fd_once = -1;
	s->waits = s->fd >= 0;
	if (s->fd < 0 || sys.fstat(s->fd, &st) < 0)
		return;
	if (S_ISREG(st.st_mode) && is_memory(s->fd)) {
		s->fd_once = s->fd;
		s->waits = false;
	}
	if (!S_ISFIFO(st.st_mode))
		return;
	s->fd_once = s->owned ? s->fd
			      : sys.open("/proc/self/fd/1",
					 O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0);
	if (s->fd_once >= 0 && fcntl(s->fd, F_GETPIPE_SZ) < PIPE_BYTES)
		fcntl(s->fd, F_SETPIPE_SZ, PIPE_BYTES);
}

static int stream_open(const char *spec, enum encode_format format, void **ret_self)
{
	struct sink_stream *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	r = stream_open_fd(spec, &s->fd);
	if (r < 0) {
		free(s);
		return r;
	}
	s->owned = s->fd >= 0 && s->fd != STDOUT_FILENO;
	s->terminal = s->fd >= 0 && isatty(s->fd);
	s->torn = s->owned && ends_within_line(spec + 5, s->fd);
	open_at_once(s);
	s->format = format;
	*ret_self = s;
	return 0;
}

static void stream_close(void *self)
{
	struct sink_stream *s = self;

	if (s->fd_once >= 0 && s->fd_once != s->fd)
		sys.close(s->fd_once);
	if (s->owned)
		sys.close(s->fd);
	buf_done(&s->out);
	free(s);
}

static void stream_begin(void *self, const struct batch *b)
{
	struct sink_stream *s = self;

	s->batch = b;
	s->cursor = (struct encode_cursor){0};
	s->encoded = false;
	s->out.len = 0;
	s->written = 0;
}

static int stream_encode(struct sink_stream *s, struct sink_stats *stats)
{
	struct encode_cursor before = s->cursor;
	int r;

	s->written = 0;
	s->out.len = 0;
	if (s->out.cap > BUFFER_KEEP_BYTES)
		buf_done(&s->out);
	if (s->torn && buf_add(&s->out, "\n", 1) < 0)
		return -ENOMEM;
	s->torn = false;
	r = encode_batch(s->format, s->batch, &s->cursor, CHUNK_BYTES, &s->out);
	stats->records += s->cursor.record - before.record;
	stats->invalid_records += s->cursor.invalid_records - before.invalid_records;
	/* Out of memory: what was encoded is written first, and with it the room is free again. */
	if (r < 0 && !s->out.len)
		return r;
	s->encoded = r == 0;
	return 0;
}

/* 0 also when nothing was accepted yet. */
static int stream_write(struct sink_stream *s, bool at_once, struct sink_stats *stats)
{
	size_t left = s->out.len - s->written;
	int fd = at_once ? s->fd_once : s->fd;
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	ssize_t n = s->fd < 0 ? (ssize_t)left : sys.write(fd, s->out.data + s->written, left);

	if (n < 0 && errno == EINTR)
		return 0;
	if (n < 0 && errno == EAGAIN && !at_once) {
		poll(&pfd, 1, WAIT_MS);
		return 0;
	}
	if (n < 0) /* a terminal that was hung up does not come back, as a disk may */
		return errno == EIO && s->terminal ? -EPIPE : -errno;
	if (n == 0)
		return -EIO;
	s->written += (size_t)n;
	stats->bytes += (size_t)n;
	return 0;
}

static int stream_step(void *self, bool at_once, struct sink_stats *stats)
{
	struct sink_stream *s = self;
	int r = 0;

	if (at_once && s->fd >= 0 && s->fd_once < 0)
		return -EAGAIN;
	if (s->written == s->out.len && !s->encoded)
		r = stream_encode(s, stats);
	if (r >= 0 && s->written < s->out.len)
		r = stream_write(s, at_once, stats);
	if (r < 0)
		return r;
	return s->written < s->out.len || !s->encoded;
}

static bool stream_waits(const void *self)
{
	return ((const struct sink_stream *)self)->waits;
}

static bool stream_inode(const void *self, dev_t *ret_dev, ino_t *ret_ino, int64_t *ret_btime_ns)
{
	const struct sink_stream *s = self;
	int64_t btime;
	struct stat st;

	if (s->fd < 0 || sys.fstat(s->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	*ret_dev = st.st_dev;
	*ret_ino = st.st_ino;
	*ret_btime_ns = sys.birth(s->fd, "", &btime) == 0 ? btime : 0;
	return true;
}

const struct sink_ops sink_stream_ops = {
	.open = stream_open,
	.close = stream_close,
	.begin = stream_begin,
	.step = stream_step,
	.waits = stream_waits,
	.inode = stream_inode,
};
