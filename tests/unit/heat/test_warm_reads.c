// SPDX-License-Identifier: Apache-2.0
/*
 * The walk from a descriptor to a page: the page is found wherever the kernel has it, and nothing
 * happens where it has none. Kernels before 6.2 refuse the program, and then there is nothing to
 * test. WRITE_COUNT_DIRS: as in write_world.h.
 */
#include "test.h"

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/sys.h"
#include "heat/warm_reads.h"

#define ENOUGH  32 /* files, for the program to run */
#define IN_VAIN 100

static struct warm_reads *warm;
static char *scratch;
static uint64_t page;

static bool must_work(const char *release)
{
	unsigned int major = 0, minor = 0;

	sscanf(release, "%u.%u", &major, &minor);
	return (major > 6 || (major == 6 && minor >= 2)) &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_BPF) &&
	       capng_have_capability(CAPNG_EFFECTIVE, CAP_PERFMON);
}

static struct warm_reads *warm_new(void)
{
	struct warm_reads *w;
	struct utsname u;
	int r = warm_reads_new(&w);

	if (r == 0)
		return w;
	assert_null(w);
	uname(&u);
	if (must_work(u.release))
		fail_msg("Linux %s refuses it: %s", u.release, strerror(-r));
	print_message("# Linux %s refuses it: %s\n", u.release, strerror(-r));
	return NULL;
}

static int warm_open(void **state)
{
	page = (uint64_t)sysconf(_SC_PAGESIZE);
	scratch = test_dir_make();
	warm = warm_new();
	return 0;
}

static int warm_close(void **state)
{
	test_dir_remove(scratch);
	warm_reads_free(warm);
	return 0;
}

static bool is_overlay(const char *dir)
{
	struct statfs s;

	assert_int_equal(statfs(dir, &s), 0);
	return s.f_type == OVERLAYFS_SUPER_MAGIC;
}

/* Calls this with each directory; the pages of an overlay's files are elsewhere. */
static void each_dir(void (*each)(const char *dir))
{
	const char *given = getenv("WRITE_COUNT_DIRS");
	char *dirs, *save = NULL;

	if (given)
		dirs = strdup(given);
	else
		assert_true(asprintf(&dirs, "/dev/shm %s", scratch) > 0);
	for (char *dir = strtok_r(dirs, " ", &save); dir; dir = strtok_r(NULL, " ", &save)) {
		print_message("# %s\n", dir);
		if (!is_overlay(dir))
			each(dir);
	}
	free(dirs);
}

/* A file whose only page is the one at offset. */
static int file_new(const char *dir, uint64_t offset)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/warm-XXXXXX", dir);
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(pwrite(fd, "x", 1, (off_t)offset), 1);
	return fd;
}

/* In dir, with their only page at this offset and looked for there: all are found, and not the page
 * beside it. (Where there is no node, as for offset 0, the page is found whatever is asked for.) */
static void finds_pages_at(const char *dir, uint64_t offset)
{
	unsigned int before = warm_reads_run(warm);
	int fds[ENOUGH];

	for (int i = 0; i < ENOUGH; i++) {
		fds[i] = file_new(dir, offset);
		warm_reads_add(warm, fds[i], offset);
	}
	assert_int_equal(warm_reads_run(warm), before + ENOUGH);
	for (int i = 0; i < ENOUGH && offset; i++)
		warm_reads_add(warm, fds[i], offset ^ page);
	assert_int_equal(warm_reads_run(warm), before + ENOUGH);
	for (int i = 0; i < ENOUGH; i++)
		close(fds[i]);
}

static void heights(const char *dir)
{
	finds_pages_at(dir, 0);
	finds_pages_at(dir, 63 * page);
	finds_pages_at(dir, 64 * page);
	finds_pages_at(dir, 4095 * page);
	finds_pages_at(dir, 5000 * page);
	finds_pages_at(dir, 300000 * page);
}

/* One page, one node, two, three and four of them above one another. */
static void pages_are_found_in_trees_of_each_height(void **state)
{
	if (!warm)
		skip();
	each_dir(heights);
}

static void large(const char *dir)
{
	size_t pages = 600, bytes = pages * page;
	unsigned int before = warm_reads_run(warm);
	int fd = file_new(dir, 0);
	char *data = calloc(1, bytes);

	assert_non_null(data);
	assert_int_equal(pwrite(fd, data, bytes, 0), bytes);
	for (size_t i = 0; i < pages; i++)
		warm_reads_add(warm, fd, i * page);
	assert_int_equal(warm_reads_run(warm), before + pages);
	free(data);
	close(fd);
}

/* What is written at once can be in one folio, which the tree has once for many pages. */
static void pages_of_large_folios_are_found(void **state)
{
	if (!warm)
		skip();
	each_dir(large);
}

static void what_has_no_pages_is_passed_over(void **state)
{
	int dir = open(scratch, O_RDONLY | O_DIRECTORY), null = open("/dev/null", O_RDONLY);
	int empty = file_new(scratch, 0), pipes[2];
	unsigned int before;

	if (!warm)
		skip();
	assert_int_equal(ftruncate(empty, 0), 0);
	assert_int_equal(pipe(pipes), 0);
	before = warm_reads_run(warm);
	for (int i = 0; i < ENOUGH; i++) {
		warm_reads_add(warm, dir, 0);
		warm_reads_add(warm, null, UINT64_MAX);
		warm_reads_add(warm, pipes[0], 0);
		warm_reads_add(warm, empty, 0);
		warm_reads_add(warm, pipes[1] + 1000, 5); /* not open, and beyond the table */
		warm_reads_add(warm, 1 << 30, 0);
		warm_reads_add(warm, -1, 0);
	}
	assert_int_equal(warm_reads_run(warm), before);
	close(pipes[0]);
	close(pipes[1]);
	close(empty);
	close(null);
	close(dir);
}

/* No call for a few; several for more than one call takes. */
static void runs_when_there_are_enough(void **state)
{
	int fd = file_new(scratch, 0);
	unsigned int before;

	if (!warm)
		skip();
	before = warm_reads_run(warm);
	warm_reads_add(warm, fd, 0);
	assert_int_equal(warm_reads_run(warm), before);
	for (int i = 0; i < 3 * 128 + ENOUGH; i++)
		warm_reads_add(warm, fd, 0);
	assert_int_equal(warm_reads_run(warm), before + 3 * 128 + ENOUGH);
	close(fd);
}

/* All it is asked for is on an overlay, say. */
static void what_finds_nothing_is_given_up(void **state)
{
	struct warm_reads *w = warm_new();
	int fd = file_new(scratch, 0), null = open("/dev/null", O_RDONLY);
	unsigned int before;

	if (!w)
		skip();
	for (int run = 0; run < 2 * IN_VAIN - 1; run++) {
		for (int i = 0; i < ENOUGH; i++)
			warm_reads_add(w, run == IN_VAIN - 1 ? fd : null, 0);
		warm_reads_run(w);
	}
	before = warm_reads_run(w);
	assert_true(before > 0 || is_overlay(scratch)); /* one find, and it has gone on */
	for (int i = 0; i < 2 * ENOUGH; i++) {
		warm_reads_add(w, i < ENOUGH ? null : fd, 0);
		if (i % ENOUGH == ENOUGH - 1)
			warm_reads_run(w);
	}
	assert_int_equal(warm_reads_run(w), before);
	warm_reads_free(w);
	close(null);
	close(fd);
}

static void without_it_nothing_happens(void **state)
{
	warm_reads_add(NULL, 0, 0);
	assert_int_equal(warm_reads_run(NULL), 0);
	assert_null(warm_reads_free(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_are_found_in_trees_of_each_height),
		cmocka_unit_test(pages_of_large_folios_are_found),
		cmocka_unit_test(what_has_no_pages_is_passed_over),
		cmocka_unit_test(runs_when_there_are_enough),
		cmocka_unit_test(what_finds_nothing_is_given_up),
		cmocka_unit_test(without_it_nothing_happens),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("warm_reads", tests, warm_open, warm_close);
}
