// SPDX-License-Identifier: Apache-2.0
/* Calls, bytes and sizes, on every rung and filesystem, against what was really written. */
#include "write_world.h"

static void each_call_is_counted_exactly(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, 0);
	uint64_t calls = 0, bytes = 0;

	for (size_t call = 0; call < ARRAY_SIZE(calls_names); call++) {
		calls = bytes = 0;
		write_count_del(w.wc, w.slot);
		assert_int_equal(write_count_add(w.wc, w.fd, NULL, &w.slot), 0);
		w.misses = write_count_misses(w.wc);
		for (size_t len = 3; len < 3000; len = len * 3 + 1) {
			assert_int_equal(call_write(call, w.fd, len), len);
			calls++;
			bytes += len;
			expect_counts(place, &w, calls, bytes);
		}
	}
	watched_done(&w);
}

static void unwatched_is_not_counted(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, 0);
	int other = file_new(place->dir, 0), pipes[2], sockets[2];
	char sink[4096];

	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
	for (size_t call = 0; call < ARRAY_SIZE(calls_names); call++)
		assert_int_equal(call_write(call, other, 100), 100);
	for (size_t call = 0; call < 3; call += 2) {
		assert_int_equal(call_write(call, pipes[1], 100), 100);
		assert_int_equal(call_write(call, sockets[1], 100), 100);
	}
	assert_int_equal(read(pipes[0], sink, sizeof(sink)), 200);
	assert_int_equal(read(sockets[0], sink, sizeof(sink)), 200);
	expect_counts(place, &w, 0, 0);
	assert_int_equal(call_write(0, w.fd, 100), 100);
	expect_counts(place, &w, 1, 100);
	for (size_t i = 0; i < 2; i++) {
		close(pipes[i]);
		close(sockets[i]);
	}
	close(other);
	watched_done(&w);
}

/* A fresh tmpfs numbers its files from 2 up: makes files there until one has this number. */
static int file_numbered(const char *dir, ino_t ino)
{
	for (int i = 0; i < 20000; i++) {
		int fd = file_new(dir, 0);
		struct stat st;

		assert_int_equal(fstat(fd, &st), 0);
		if (st.st_ino == ino)
			return fd;
		close(fd);
		if (st.st_ino > ino)
			break;
	}
	return -1;
}

/* Also: a mount made after the mount table was read is known. */
static void same_number_on_another_filesystem_is_not_counted(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, 0);
	char path[128], path2[128];
	struct stat st;
	int twin = -1, slot;

	if (!mount_tmpfs(place->world, "twin", path) ||
	    !mount_tmpfs(place->world, "twin2", path2)) {
		print_message("# may not mount a tmpfs\n");
		watched_done(&w);
		skip();
	}
	assert_int_equal(fstat(w.fd, &st), 0);
	twin = file_numbered(path, st.st_ino);
	if (twin < 0) { /* too large a number: a pair of our own */
		watched_done(&w);
		w.fd = file_new(path2, 0);
		assert_int_equal(fstat(w.fd, &st), 0);
		assert_int_equal(write_count_add(w.wc, w.fd, NULL, &w.slot), 0);
		tmpfs_gone(path);
		assert_true(mount_tmpfs(place->world, "twin", path));
		twin = file_numbered(path, st.st_ino);
	}
	assert_true(twin >= 0);
	assert_int_equal(write(twin, "unseen", 6), 6);
	expect_counts(place, &w, 0, 0);
	assert_int_equal(write_count_add(w.wc, twin, NULL, &slot), 0);
	assert_int_equal(write(twin, "seen", 4), 4);
	assert_int_equal(write(w.fd, "me", 2), 2);
	expect_counts(place, &w, 1, 2);
	write_count_del(w.wc, slot);
	close(twin);
	watched_done(&w);
	tmpfs_gone(path);
	tmpfs_gone(path2);
}

static void size_follows_the_file(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, O_APPEND);
	struct write_total t;
	uint64_t size = 0;

	for (size_t len = 3; len < 4000; len = len * 2) {
		uint64_t before = size;

		assert_int_equal(call_write(len & 1 ? 2 : 0, w.fd, len), len);
		size += len;
		write_count_read(w.wc, w.slot, &t);
		assert_int_equal(t.size, place->rung == RUNG_KPROBE ? before : size);
		assert_true(t.last_ns > 0);
	}
	assert_int_equal(t.shrinks, 0);
	assert_int_equal(ftruncate(w.fd, 0), 0);
	assert_int_equal(write(w.fd, "again", 5), 5);
	write_count_read(w.wc, w.slot, &t);
	assert_int_equal(t.size, place->rung == RUNG_KPROBE ? 0 : 5);
	assert_int_equal(t.shrinks, 1);
	watched_done(&w);
}

#define WRITERS         4
#define ROUNDS          4000
#define ROUNDS_EMULATED 400

struct writer {
	pthread_t thread;
	const char *path;
	size_t rounds;
	uint64_t calls, bytes;
	atomic_bool *go;
	atomic_int *running;
};

static void *writer_main(void *arg)
{
	struct writer *me = arg;
	int fd = open(me->path, O_WRONLY | O_APPEND | O_CLOEXEC);

	while (!atomic_load(me->go))
		sched_yield();
	for (size_t i = 0; i < me->rounds; i++) {
		size_t len = 3 + i * 7 % 900;

		if (call_write(i % ARRAY_SIZE(calls_names), fd, len) != (ssize_t)len)
			break;
		me->calls++;
		me->bytes += len;
	}
	close(fd);
	atomic_fetch_sub(me->running, 1);
	return NULL;
}

/* And the size never runs backwards while they pass each other. */
static void concurrent_writers_are_counted_exactly(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, O_APPEND);
	struct writer writers[WRITERS] = {};
	uint64_t calls = 0, bytes = 0, size = 0, back = 0;
	atomic_bool go = false;
	atomic_int running = WRITERS;
	struct write_total t;
	struct stat st;
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", w.fd);
	for (size_t i = 0; i < WRITERS; i++) {
		writers[i].path = path;
		writers[i].go = &go;
		writers[i].running = &running;
		writers[i].rounds = place->world->required ? ROUNDS_EMULATED : ROUNDS;
		assert_int_equal(pthread_create(&writers[i].thread, NULL, writer_main, &writers[i]),
				 0);
	}
	atomic_store(&go, true);
	while (atomic_load(&running)) {
		write_count_read(w.wc, w.slot, &t);
		back += t.calls && t.size < size;
		size = t.size;
	}
	for (size_t i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		assert_int_equal(writers[i].calls, writers[i].rounds);
		calls += writers[i].calls;
		bytes += writers[i].bytes;
	}
	expect_counts(place, &w, calls, bytes);
	write_count_read(w.wc, w.slot, &t);
	assert_int_equal(back, 0);
	assert_int_equal(t.shrinks, 0);
	assert_int_equal(fstat(w.fd, &st), 0);
	assert_int_equal(st.st_size, bytes);
	if (place->rung != RUNG_KPROBE && !place->world->lossy)
		assert_int_equal(t.size, bytes);
	watched_done(&w);
}

static void failed_writes_count_no_bytes(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, 0);
	struct rlimit old, limit;
	char path[40];
	int ro;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", w.fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro >= 0);
	assert_int_equal(write(ro, "x", 1), -1);
	assert_int_equal(errno, EBADF);
	assert_int_equal(syscall(SYS_write, w.fd, (void *)8, 100L), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(write(w.fd, "", 0), 0);
	assert_int_equal(pwrite(w.fd, "x", 1, -5), -1);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){.rlim_cur = 10, .rlim_max = old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(write(w.fd, "123456", 6), 6);
	assert_int_equal(write(w.fd, "123456", 6), 4); /* as far as the limit goes */
	assert_int_equal(write(w.fd, "123456", 6), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	expect_counts(place, &w, 2, 10);
	close(ro);
	watched_done(&w);
}

static void full_filesystem_counts_what_was_written(void **state)
{
	struct place *place = *state;
	struct write_count *wc = place_count(place);
	struct watched w = {.wc = wc};
	static char data[24 * 1024];
	uint64_t calls = 0, bytes = 0;
	char path[128];

	if (!mount_tmpfs(place->world, "full", path)) {
		print_message("# may not mount a tmpfs\n");
		skip();
	}
	w.fd = file_new(path, 0);
	w.misses = write_count_misses(wc);
	assert_int_equal(write_count_add(wc, w.fd, NULL, &w.slot), 0);
	for (;;) {
		ssize_t n = write(w.fd, data, sizeof(data));

		if (n < 0)
			break;
		calls++;
		bytes += (uint64_t)n;
	}
	assert_int_equal(errno, ENOSPC);
	assert_true(calls > 1);
	expect_counts(place, &w, calls, bytes);
	watched_done(&w);
	tmpfs_gone(path);
}

#ifdef __x86_64__
static long int80(long nr, long bx, long cx, long dx, long si)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(nr), "b"(bx), "c"(cx), "d"(dx), "S"(si), "D"(bx)
			 : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

/* A native call whose number is a 32-bit writev, with the descriptor where that would have it. */
static long syscall_native_146(long fd)
{
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(146L), "b"(fd), "D"((long)SCHED_FIFO)
			 : "memory", "rcx", "r11");
	return ret;
}

/* Child: 0 when all went as expected. Memory below 4 GiB, as 32-bit pointers want it. */
static int compat_writes(int fd)
{
	struct {
		uint32_t base, len;
	} *vec = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		      -1, 0);
	long low = (long)vec;

	if (vec == MAP_FAILED)
		return 1;
	vec[0].base = vec[1].base = (uint32_t)low + 64;
	vec[0].len = 5;
	vec[1].len = 6;
	if (int80(4, fd, low + 64, 3, 0) != 3 || int80(146, fd, low, 2, 0) != 11 ||
	    int80(181, fd, low + 64, 4, 0) != 4 || int80(334, fd, low, 2, 0) != 11)
		return 2;
	if (int80(20, fd, 0, 0, 0) != getpid()) /* 20 is writev for a 64-bit task */
		return 3;
	return syscall_native_146(fd) == 99 ? 0 : 4;
}

static void thirty_two_bit_calls_are_not_misread(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, 0);
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		_exit(compat_writes(w.fd));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status)) {
		print_message("# this kernel has no 32-bit system calls\n");
		watched_done(&w);
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), 0);
	expect_counts(place, &w, 4, 29);
	watched_done(&w);
}
#endif

static const struct proof proofs[] = {
#define PROOF(f, everywhere, kprobe)      \
	{                                 \
#f, f, everywhere, kprobe \
	}
	PROOF(each_call_is_counted_exactly, true, true),
	PROOF(unwatched_is_not_counted, true, true),
	PROOF(same_number_on_another_filesystem_is_not_counted, true, true),
	PROOF(size_follows_the_file, true, true),
	PROOF(concurrent_writers_are_counted_exactly, true, true),
	PROOF(failed_writes_count_no_bytes, true, false),
	PROOF(full_filesystem_counts_what_was_written, false, false),
#ifdef __x86_64__
	PROOF(thirty_two_bit_calls_are_not_misread, false, true),
#endif
};

int main(void)
{
	static struct world world;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	world_init(&world);
	return world_run(&world, "write_count", proofs, ARRAY_SIZE(proofs));
}
