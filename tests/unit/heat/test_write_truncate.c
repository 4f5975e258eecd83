// SPDX-License-Identifier: Apache-2.0
/*
 * What was written to a file is what truncations cut off and what is still there: exact after every
 * kind of truncation, those that fail included, and while many write and one truncates.
 *
 *   WRITE_STRESS_MS     how long each of the ten runs writes (200)
 */
#include "write_ways.h"
#include "write_world.h"

#include "heat/write_told.h"

#include <time.h>

static uint64_t file_size(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return (uint64_t)st.st_size;
}

/* Written in all, by positions. */
static uint64_t written(struct watched *w, uint64_t *ret_truncs)
{
	struct write_total t;

	assert_true(write_count_positions(w->wc, w->slot));
	write_count_read(w->wc, w->slot, &t);
	*ret_truncs = t.truncs;
	return t.cuts + file_size(w->fd);
}

static void expect_written(struct watched *w, uint64_t bytes, uint64_t truncs)
{
	uint64_t seen;

	assert_int_equal(written(w, &seen), bytes);
	assert_int_equal(seen, truncs);
}

static void put(int fd, size_t len)
{
	static char data[10000];

	assert_int_equal(write(fd, data, len), len);
}

static void each_truncation_is_cut_exactly(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, O_APPEND);
	char path[40];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", w.fd);
	expect_written(&w, 0, 0);
	put(w.fd, 5000);
	expect_written(&w, 5000, 0);
	assert_int_equal(ftruncate(w.fd, 1000), 0);
	expect_written(&w, 5000, 1);
	put(w.fd, 1);
	assert_int_equal(truncate(path, 7), 0);
	expect_written(&w, 5001, 2);
	put(w.fd, 9000);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	assert_true(fd >= 0);
	close(fd);
	expect_written(&w, 14001, 3);
	assert_int_equal(ftruncate(w.fd, 0), 0); /* of an empty file */
	expect_written(&w, 14001, 3);
	/* Longer: what is there grows without a byte written, and cuts go down with it. */
	put(w.fd, 10);
	assert_int_equal(ftruncate(w.fd, 100000), 0);
	expect_written(&w, 14011, 3);
	assert_int_equal(ftruncate(w.fd, 100000), 0);
	expect_written(&w, 14011, 3);
	put(w.fd, 10);
	assert_int_equal(ftruncate(w.fd, 20), 0);
	expect_written(&w, 14021, 4);
	/* Other changes of an inode go the same way through the kernel. */
	assert_int_equal(fchmod(w.fd, 0640), 0);
	assert_int_equal(fchown(w.fd, 1, 1), 0);
	assert_int_equal(futimens(w.fd, NULL), 0);
	put(w.fd, 10);
	expect_written(&w, 14031, 4);
	watched_done(&w);
}

/* The attribute that lets nobody change the file; false where there is none. */
static bool file_freeze(int fd, bool frozen)
{
	int flags;

	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0)
		return false;
	flags = frozen ? flags | FS_IMMUTABLE_FL : flags & ~FS_IMMUTABLE_FL;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0;
}

static void failed_truncations_cut_nothing(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, O_APPEND);
	struct rlimit old, limit;
	uint64_t truncs = 0;
	char path[40];
	int ro;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", w.fd);
	put(w.fd, 5000);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = (struct rlimit){.rlim_cur = 6000, .rlim_max = old.rlim_max};
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	assert_int_equal(ftruncate(w.fd, 7000), -1);
	assert_int_equal(errno, EFBIG);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	expect_written(&w, 5000, 0);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro >= 0);
	assert_int_equal(ftruncate(ro, 10), -1);
	close(ro);
	assert_int_equal(ftruncate(w.fd, -1), -1);
	expect_written(&w, 5000, 0);
	if (file_freeze(w.fd, true)) {
		truncs += ftruncate(w.fd, 4000) == 0; /* ext4 alone refuses this too */
		assert_int_equal(truncate(path, 10), -1);
		assert_int_equal(open(path, O_WRONLY | O_TRUNC | O_CLOEXEC), -1);
		assert_true(file_freeze(w.fd, false));
	} else {
		print_message("# %s: no immutable files\n", place->dir);
	}
	expect_written(&w, 5000, truncs);
	/* What failed left nothing behind that the next one could take for its own. */
	put(w.fd, 100);
	assert_int_equal(ftruncate(w.fd, 50), 0);
	put(w.fd, 1);
	expect_written(&w, 5101, truncs + 1);
	assert_int_equal(file_size(w.fd), 51);
	watched_done(&w);
}

/* A file that was there before it is watched, and one that is watched again. */
static void cuts_start_with_the_watch(void **state)
{
	struct place *place = *state;
	struct watched w = {.wc = place_count(place)};
	struct write_total t;

	w.fd = file_new(place->dir, O_APPEND);
	put(w.fd, 3000);
	assert_int_equal(ftruncate(w.fd, 2000), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(write_count_add(w.wc, w.fd, NULL, &w.slot), 0);
		expect_written(&w, 2000, 0);
		put(w.fd, 500);
		assert_int_equal(ftruncate(w.fd, 2000), 0);
		expect_written(&w, 2500, 1);
		write_count_read(w.wc, w.slot, &t);
		assert_int_equal(t.cuts, 500);
		write_count_del(w.wc, w.slot);
	}
	close(w.fd);
}

/* A file in a watched directory whose first writes were not counted yet: their tasks lost the
 * processor, or they were before the watch. */
static void a_truncation_enrols(void **state)
{
	struct place *place = *state;
	struct watched w[2] = {{.wc = place_count(place)}, {.wc = place_count(place)}};
	struct write_total t;
	char dir[64], path[80];
	struct write_id id;
	int dir_fd;

	snprintf(dir, sizeof(dir), "%.40s/enrol-XXXXXX", place->dir);
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
		snprintf(path, sizeof(path), "%s/%zu.log", dir, i);
		w[i].fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
		assert_true(w[i].fd >= 0);
		put(w[i].fd, 3000);
	}
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(write_count_add_dir(w[0].wc, dir_fd, &id), 0);
	assert_int_equal(ftruncate(w[0].fd, 1000), 0);
	put(w[0].fd, 500); /* before it is found */
	assert_int_equal(ftruncate(w[1].fd, 0), 0);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++)
		assert_int_equal(write_count_add(w[i].wc, w[i].fd, NULL, &w[i].slot), 0);
	put(w[1].fd, 700); /* after */
	expect_written(&w[0], 3500, 1);
	expect_written(&w[1], 3700, 1);
	for (size_t i = 0; i < ARRAY_SIZE(w); i++) {
		put(w[i].fd, 10);
		write_count_read(w[i].wc, w[i].slot, &t);
		assert_int_equal(t.calls, 2);
		assert_int_equal(t.bytes, i ? 710 : 510);
		assert_int_equal(ftruncate(w[i].fd, 0), 0);
		expect_written(&w[i], i ? 3710 : 3510, 2);
		write_count_del(w[i].wc, w[i].slot);
		close(w[i].fd);
		snprintf(path, sizeof(path), "%s/%zu.log", dir, i);
		unlink(path);
	}
	write_count_del_dir(w[0].wc, &id);
	close(dir_fd);
	rmdir(dir);
}

#define STRESS_WRITERS 16
#define STRESS_RUNS    10
#define STRESS_EVERY   5 /* ms between two truncations */

struct stress {
	char path[40];
	atomic_bool end;
	atomic_uint failed;
	uint64_t truncations;
};

struct stress_writer {
	pthread_t thread;
	struct stress *stress;
	unsigned int number;
	uint64_t bytes;
	struct ways ways;
};

/* sendfile, splice and copy_file_range refuse a file that is appended to. */
static way_put *const appending[] = {way_write, way_writev, way_pwritev2, way_aio, way_io_uring};

static void *stress_write(void *arg)
{
	struct stress_writer *me = arg;
	way_put *way = appending[me->number % ARRAY_SIZE(appending)];
	int fd = open(me->stress->path, O_WRONLY | O_APPEND | O_CLOEXEC);

	if (fd < 0)
		atomic_fetch_add(&me->stress->failed, 1);
	for (unsigned int i = 0; fd >= 0 && !atomic_load(&me->stress->end); i++) {
		ssize_t n = way(&me->ways, fd, 0, 2 + (i * 37 + me->number * 101) % 700);

		if (n < 0 && way == way_io_uring && way_missing(errno)) {
			way = way_write; /* not in this kernel */
			continue;
		}
		if (n <= 0) {
			atomic_fetch_add(&me->stress->failed, 1);
			break;
		}
		me->bytes += (uint64_t)n;
	}
	ways_done(&me->ways);
	close(fd);
	return NULL;
}

/* To nothing, to some smaller size, by opening, and now and then to a larger one. */
static void stress_truncate(struct stress *s, int fd, unsigned int i)
{
	uint64_t size = file_size(fd);
	int other;

	switch (i % 4) {
	case 0:
		assert_int_equal(ftruncate(fd, 0), 0);
		break;
	case 1:
		other = open(s->path, O_WRONLY | O_TRUNC | O_CLOEXEC);
		assert_true(other >= 0);
		close(other);
		break;
	case 2:
		assert_int_equal(ftruncate(fd, (off_t)(size + 10000)), 0);
		break;
	default:
		assert_int_equal(ftruncate(fd, (off_t)(size ? (size_t)rand() % size : 0)), 0);
	}
	s->truncations++;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* What the writers wrote, in sum, while the file was truncated. */
static uint64_t stress_run(struct stress *s, int fd, int64_t ms)
{
	static struct stress_writer writers[STRESS_WRITERS];
	int64_t until = now_ms() + ms;
	uint64_t bytes = 0;

	memset(writers, 0, sizeof(writers));
	for (unsigned int i = 0; i < STRESS_WRITERS; i++) {
		writers[i].stress = s;
		writers[i].number = i;
		assert_int_equal(
			pthread_create(&writers[i].thread, NULL, stress_write, &writers[i]), 0);
	}
	for (unsigned int i = 0; now_ms() < until; i++) {
		usleep(STRESS_EVERY * 1000);
		stress_truncate(s, fd, i);
	}
	atomic_store(&s->end, true);
	for (unsigned int i = 0; i < STRESS_WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		bytes += writers[i].bytes;
	}
	assert_int_equal(s->failed, 0);
	return bytes;
}

static void sixteen_writers_and_a_truncater_close_exactly(void **state)
{
	struct place *place = *state;
	const char *given = getenv("WRITE_STRESS_MS");
	int64_t ms = given ? atol(given) : 200;
	uint64_t all = 0, truncations = 0, missed = 0, uncounted = 0, shortened = 0;

	for (int run = 0; run < STRESS_RUNS; run++) {
		struct watched w = watched_new(place, O_APPEND);
		struct stress s = {};
		uint64_t bytes, truncs;
		struct write_total t;

		snprintf(s.path, sizeof(s.path), "/proc/self/fd/%d", w.fd);
		bytes = stress_run(&s, w.fd, ms);
		write_count_read(w.wc, w.slot, &t);
		missed += write_count_misses(w.wc) - w.misses;
		uncounted += bytes - t.bytes;
		if (written(&w, &truncs) != bytes || (!missed && t.bytes != bytes))
			print_message("# run %d: %llu bytes written, %llu by positions, %llu "
				      "counted, %llu misses\n",
				      run, (unsigned long long)bytes,
				      (unsigned long long)written(&w, &truncs),
				      (unsigned long long)t.bytes, (unsigned long long)missed);
		assert_int_equal(written(&w, &truncs), bytes);
		if (!missed)
			assert_int_equal(t.bytes, bytes);
		assert_true(truncs <= s.truncations);
		shortened += truncs;
		all += bytes;
		truncations += s.truncations;
		watched_done(&w);
	}
	assert_true(shortened > 0);
	print_message("# %s: %llu bytes, %llu truncations; %llu runs missed, %llu "
		      "bytes uncounted\n",
		      place->dir, (unsigned long long)all, (unsigned long long)truncations,
		      (unsigned long long)missed, (unsigned long long)uncounted);
}

static const struct proof proofs[] = {
#define PROOF(f)                  \
	{                         \
#f, f, true, true \
	}
	PROOF(each_truncation_is_cut_exactly),
	PROOF(failed_truncations_cut_nothing),
	PROOF(cuts_start_with_the_watch),
	PROOF(a_truncation_enrols),
	PROOF(sixteen_writers_and_a_truncater_close_exactly),
};

int main(void)
{
	static struct world world;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	world_init(&world);
	/* The others have no positions. The last proof takes its time, and what is cut off is
	 * counted by the same programs on both. */
	if (world.wanted[RUNG_FS])
		world_add_proofs(&world, RUNG_FS, proofs, ARRAY_SIZE(proofs));
	if (world.wanted[RUNG_VFS])
		world_add_proofs(&world, RUNG_VFS, proofs, ARRAY_SIZE(proofs) - 1);
	return world_finish(&world, "write_truncate");
}
