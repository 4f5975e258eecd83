/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every way in which a program can put bytes into a file: from write(2) to a store into mapped
 * memory. AIO and io_uring by raw system calls, so that no library stands between.
 *
 * A way puts len bytes at offset `at`, which is the file's size and its position, and returns how
 * many it moved, or -1 with errno; way_missing says which errors mean "not here".
 */
#ifndef TESTS_WRITE_WAYS_H
#define TESTS_WRITE_WAYS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define WAYS_SOURCE_LEN (64 * 1024)

/* One thread's. All zero will do for the ways that copy from no file. */
struct ways {
	int source; /* WAYS_SOURCE_LEN bytes in a file beside the one that is written */
	char data[WAYS_SOURCE_LEN]; /* the same bytes */
	aio_context_t aio;
	struct uring {
		int fd; /* 0: not set up, -1: there is none */
		char *ring;
		struct io_uring_sqe *sqes;
		struct io_uring_params p;
	} uring;
};

typedef ssize_t way_put(struct ways *w, int fd, off_t at, size_t len);

static inline bool way_missing(int error)
{
	return error == EOPNOTSUPP || error == ENOTTY || error == ENOSYS || error == EPERM ||
	       error == EXDEV;
}

static inline ssize_t way_write(struct ways *w, int fd, off_t at, size_t len)
{
	return write(fd, w->data, len);
}

static inline ssize_t way_pwrite64(struct ways *w, int fd, off_t at, size_t len)
{
	return pwrite(fd, w->data, len, at);
}

static inline ssize_t way_writev(struct ways *w, int fd, off_t at, size_t len)
{
	struct iovec iov[2] = {{w->data, 1}, {w->data, len - 1}};

	return writev(fd, iov, 2);
}

static inline ssize_t way_pwritev2(struct ways *w, int fd, off_t at, size_t len)
{
	struct iovec iov[2] = {{w->data, 1}, {w->data, len - 1}};

	return pwritev2(fd, iov, 2, -1, 0);
}

static inline ssize_t way_sendfile(struct ways *w, int fd, off_t at, size_t len)
{
	off_t from = 1;

	return sendfile(fd, w->source, &from, len);
}

static inline ssize_t way_splice(struct ways *w, int fd, off_t at, size_t len)
{
	int pipes[2];
	ssize_t n;

	if (pipe2(pipes, O_CLOEXEC) < 0)
		return -1;
	n = write(pipes[1], w->data, len);
	if (n > 0)
		n = splice(pipes[0], NULL, fd, &at, (size_t)n, 0);
	close(pipes[0]);
	close(pipes[1]);
	return n;
}

/* From an offset that is no block's, which no filesystem can share. */
static inline ssize_t way_copy(struct ways *w, int fd, off_t at, size_t len)
{
	off_t from = 1;

	return copy_file_range(w->source, &from, fd, &at, len, 0);
}

/* Whole blocks to whole blocks: shared where the filesystem can, else copied. */
static inline ssize_t way_copy_blocks(struct ways *w, int fd, off_t at, size_t len)
{
	off_t from = 0;

	return copy_file_range(w->source, &from, fd, &at, len, 0);
}

static inline ssize_t way_clone(struct ways *w, int fd, off_t at, size_t len)
{
	struct file_clone_range range = {
		.src_fd = w->source, .src_length = len, .dest_offset = (uint64_t)at};

	return ioctl(fd, FICLONERANGE, &range) < 0 ? -1 : (ssize_t)len;
}

/* The same bytes twice become one: nothing is put that was not there. */
static inline ssize_t way_dedupe(struct ways *w, int fd, off_t at, size_t len)
{
	struct {
		struct file_dedupe_range range;
		struct file_dedupe_range_info info;
	} same = {
		.range = {.src_length = len, .dest_count = 1},
		.info = {.dest_fd = fd},
	};

	if (ioctl(w->source, FIDEDUPERANGE, &same) < 0)
		return -1;
	if (same.info.status < 0) {
		errno = -same.info.status;
		return -1;
	}
	return same.info.status == FILE_DEDUPE_RANGE_SAME ? (ssize_t)same.info.bytes_deduped : 0;
}

static inline ssize_t way_aio(struct ways *w, int fd, off_t at, size_t len)
{
	struct iocb iocb = {
		.aio_lio_opcode = IOCB_CMD_PWRITE,
		.aio_fildes = (uint32_t)fd,
		.aio_buf = (uint64_t)(uintptr_t)w->data,
		.aio_nbytes = len,
		.aio_offset = at,
	};
	struct iocb *iocbs[] = {&iocb};
	struct io_event event = {};

	if (!w->aio && syscall(SYS_io_setup, 4, &w->aio) < 0)
		return -1;
	if (syscall(SYS_io_submit, w->aio, 1L, iocbs) != 1)
		return -1;
	while (syscall(SYS_io_getevents, w->aio, 1L, 1L, &event, NULL) < 0)
		if (errno != EINTR)
			return -1;
	if (event.res < 0)
		errno = (int)-event.res;
	return event.res < 0 ? -1 : (ssize_t)event.res;
}

static inline int uring_open(struct uring *u)
{
	size_t len;
	void *ring, *sqes;

	u->fd = (int)syscall(SYS_io_uring_setup, 4, &u->p);
	if (u->fd < 0)
		return -1;
	if (!(u->p.features & IORING_FEAT_SINGLE_MMAP)) {
		errno = ENOSYS;
		return -1;
	}
	len = u->p.cq_off.cqes + u->p.cq_entries * sizeof(struct io_uring_cqe);
	ring = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, u->p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
		    MAP_SHARED, u->fd, IORING_OFF_SQES);
	if (ring == MAP_FAILED || sqes == MAP_FAILED)
		return -1;
	u->ring = ring;
	u->sqes = sqes;
	return 0;
}

static inline uint32_t *uring_at(struct uring *u, uint32_t offset)
{
	return (uint32_t *)(void *)(u->ring + offset);
}

static inline ssize_t way_io_uring(struct ways *w, int fd, off_t at, size_t len)
{
	struct uring *u = &w->uring;
	struct io_uring_cqe *cqe;
	uint32_t head, tail;
	int res;

	if (!u->ring && uring_open(u) < 0)
		return -1;
	u->sqes[0] = (struct io_uring_sqe){
		.opcode = IORING_OP_WRITE,
		.fd = fd,
		.addr = (uint64_t)(uintptr_t)w->data,
		.len = (uint32_t)len,
		.off = (uint64_t)at,
	};
	tail = *uring_at(u, u->p.sq_off.tail);
	*uring_at(u, u->p.sq_off.array + (tail & (u->p.sq_entries - 1)) * sizeof(uint32_t)) = 0;
	__atomic_store_n(uring_at(u, u->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, u->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0L) != 1)
		return -1;
	head = *uring_at(u, u->p.cq_off.head);
	while (__atomic_load_n(uring_at(u, u->p.cq_off.tail), __ATOMIC_ACQUIRE) == head)
		if (syscall(SYS_io_uring_enter, u->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0L) <
			    0 &&
		    errno != EINTR)
			return -1;
	cqe = (struct io_uring_cqe *)(void *)(u->ring + u->p.cq_off.cqes) +
	      (head & (u->p.cq_entries - 1));
	res = cqe->res;
	__atomic_store_n(uring_at(u, u->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	if (res < 0)
		errno = -res;
	return res < 0 ? -1 : res;
}

static inline ssize_t way_mmap(struct ways *w, int fd, off_t at, size_t len)
{
	size_t size = (size_t)at + len;
	char *map;

	if (ftruncate(fd, (off_t)size) < 0)
		return -1;
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		return -1;
	memcpy(map + at, w->data, len);
	msync(map, size, MS_SYNC);
	munmap(map, size);
	return (ssize_t)len;
}

static inline ssize_t way_fallocate(struct ways *w, int fd, off_t at, size_t len)
{
	return fallocate(fd, 0, at, (off_t)len) < 0 ? -1 : (ssize_t)len;
}

/* dir: where the files lie that will be written. 0 or -errno. */
static inline int ways_init(struct ways *w, const char *dir)
{
	char path[400];

	memset(w, 0, sizeof(*w));
	memset(w->data, 'w', sizeof(w->data));
	snprintf(path, sizeof(path), "%s/source.XXXXXX", dir);
	w->source = mkostemp(path, O_CLOEXEC);
	if (w->source < 0)
		return -errno;
	unlink(path);
	if (write(w->source, w->data, sizeof(w->data)) != sizeof(w->data) || fsync(w->source) < 0)
		return -errno;
	return 0;
}

static inline void ways_done(struct ways *w)
{
	if (w->aio)
		syscall(SYS_io_destroy, w->aio);
	if (w->uring.ring) {
		munmap(w->uring.ring, w->uring.p.cq_off.cqes +
					      w->uring.p.cq_entries * sizeof(struct io_uring_cqe));
		munmap(w->uring.sqes, w->uring.p.sq_entries * sizeof(struct io_uring_sqe));
	}
	if (w->uring.fd > 0)
		close(w->uring.fd);
	if (w->source > 0)
		close(w->source);
}

#endif
