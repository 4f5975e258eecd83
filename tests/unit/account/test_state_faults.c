/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory on disks that are full, read-only, slow or failing, and across kills. */
#include "test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include "state_world.h"

static const int errors[] = {EIO, ENOSPC, EMFILE, ENOMEM, EACCES, EROFS};

static void bytes_are_on_the_disk_before_their_name(void **state)
{
	struct world w;

	world_make(&w);
	world_opened(&w);
	assert_true(world_save(&w, 1));
	world_fail(NULL, 0, 0);
	assert_true(world_save(&w, 2));
	/* Is the lock still the lock; then the save. */
	assert_string_equal(trace, "lstat fstat open write fsync close rename open fsync close ");
	world_close(&w, NULL);
	world_remove(&w);
}

/* One save in which the nth call fails: false when it has no nth call. */
static bool fault_at(struct world *w, int n, int err)
{
	bool saved, reached;
	long number;

	world_opened(w);
	assert_true(world_save(w, 1));
	world_fail(NULL, n, err);
	saved = world_save(w, 20);
	reached = atomic_load(&calls) >= n;
	world_fail(NULL, 0, 0);
	number = world_number(w);
	if (saved ? number != 20 : number != 1 && number != 20)
		fail_msg("call %d, %s: %s, and the checkpoint is %ld", n, strerror(err),
			 saved ? "saved" : "not saved", number);
	assert_int_equal(world_stats(w).failures, saved ? 0 : 1);
	assert_int_equal(world_stats(w).last_errno, saved ? 0 : err);
	assert_false(state_take_failed(w->s)); /* true is said once */
	assert_int_equal(access(world_path(w->state, "checkpoint.tmp"), F_OK), -1);
	assert_true(world_save(w, 3));
	assert_int_equal(world_number(w), 3);
	assert_int_equal(world_stats(w).last_errno, 0);
	world_close(w, NULL);
	return reached;
}

static void failing_save_leaves_a_whole_one(void **state)
{
	struct world w;
	const char *log;

	world_make(&w);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		int n = 1;

		log_begin(&w);
		while (fault_at(&w, n, errors[i]))
			n++;
		log = log_end(&w);
		assert_true(n > 10 && n < 100);
		assert_true(count_of(log, ", retrying\n") >= 6);
		assert_int_equal(count_of(log, ", retrying\n"), count_of(log, " works again\n"));
	}
	world_remove(&w);
}

/* A start in which the nth call fails: false when it has no nth call. */
static bool start_fault_at(struct world *w, int n, int err)
{
	struct buf b = text_make(5);
	bool reached;

	world_opened(w);
	assert_int_equal(world_close(w, &b), 0);
	buf_done(&b);
	world_fail(NULL, n, err);
	world_opened(w);
	reached = atomic_load(&calls) >= n;
	world_fail(NULL, 0, 0);
	assert_true(w->found && !w->bad);
	assert_int_equal(w->loaded.n, 5);
	assert_true(world_save(w, 6));
	world_close(w, NULL);
	return reached;
}

static void failing_call_of_the_start_loses_no_checkpoint(void **state)
{
	struct world w;

	world_make(&w);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		int n = 1;

		log_begin(&w);
		while (start_fault_at(&w, n, errors[i]))
			n++;
		log_end(&w);
		assert_true(n > 5 && n < 100);
	}
	world_remove(&w);
}

static void one_that_cannot_be_read_is_kept_aside(void **state)
{
	struct buf b = text_make(5);
	struct world w;
	const char *log;

	world_make(&w);
	world_opened(&w);
	assert_int_equal(world_close(&w, &b), 0);
	world_fail("read", -1, EIO);
	log_begin(&w);
	world_opened(&w);
	log = log_end(&w);
	assert_true(!w.found && w.bad);
	assert_says(log, "checkpoint: Input/output error, kept as checkpoint.bad-");
	assert_int_equal(world_number(&w), -1);
	world_close(&w, NULL);
	buf_done(&b);
	world_remove(&w);
}

static void one_for_which_memory_lacks_stays(void **state)
{
	struct buf b = text_make(5);
	struct world w;

	world_make(&w);
	world_opened(&w);
	assert_int_equal(world_close(&w, &b), 0);
	world_fail("read", -1, ENOMEM);
	log_begin(&w);
	assert_int_equal(world_open(&w), -ENOMEM);
	log_end(&w);
	assert_int_equal(world_number(&w), 5);
	buf_done(&b);
	world_remove(&w);
}

static void interrupted_calls_are_repeated(void **state)
{
	static const char *const names[] = {"open", "write", "fsync", "close", "read", "flock"};
	struct world w;

	world_make(&w);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		for (int n = 1; n < 4; n++) {
			struct buf b = text_make(30);

			world_fail(names[i], n, EINTR);
			world_opened(&w);
			assert_false(w.bad);
			world_fail(names[i], n, EINTR);
			assert_true(world_save(&w, 20));
			assert_int_equal(world_close(&w, &b), 0);
			assert_int_equal(world_number(&w), 30);
			buf_done(&b);
		}
	world_remove(&w);
}

static void failing_for_long_is_said_once(void **state)
{
	struct world w;
	const char *log;

	world_make(&w);
	log_begin(&w);
	world_opened(&w);
	world_fail("fsync", -1, EIO);
	for (int i = 0; i < 50; i++)
		assert_false(world_save(&w, 1));
	world_fail(NULL, 0, 0);
	assert_int_equal(world_stats(&w).failures, 50);
	assert_int_equal(world_stats(&w).last_errno, EIO);
	assert_int_equal(world_stats(&w).saves, 0);
	assert_true(world_save(&w, 2));
	assert_true(world_save(&w, 3));
	log = log_end(&w);
	assert_says(log, "state: saving: Input/output error, retrying\n");
	assert_says(log, "state: saving works again\n");
	assert_int_equal(count_of(log, "\n"), 2);
	world_close(&w, NULL);
	world_remove(&w);
}

static void what_only_close_tells_is_heard(void **state)
{
	struct world w;

	world_make(&w);
	world_opened(&w);
	assert_true(world_save(&w, 1));
	world_fail("close", 1, EDQUOT);
	log_begin(&w);
	assert_false(world_save(&w, 2));
	log_end(&w);
	assert_int_equal(world_number(&w), 1);
	assert_int_equal(world_stats(&w).last_errno, EDQUOT);
	world_close(&w, NULL);
	world_remove(&w);
}

static void last_save_says_that_it_failed(void **state)
{
	struct buf b = text_make(2);
	struct world w;
	const char *log;

	world_make(&w);
	world_opened(&w);
	assert_true(world_save(&w, 1));
	world_fail("rename", -1, ENOSPC);
	log_begin(&w);
	assert_int_equal(world_close(&w, &b), -ENOSPC);
	log = log_end(&w);
	assert_says(log, "error: state ");
	assert_says(log, "the last save: No space left on device");
	assert_int_equal(world_number(&w), 1);
	buf_done(&b);
	world_remove(&w);
}

static void bad_one_that_cannot_be_moved_is_not_overwritten(void **state)
{
	struct world w;
	const char *log;

	world_make(&w);
	assert_int_equal(mkdir(w.state, 0700), 0);
	test_write(world_path(w.state, "checkpoint"), "w", "bad");
	world_fail("rename", -1, EROFS);
	log_begin(&w);
	world_opened(&w);
	assert_true(w.bad);
	assert_false(world_save(&w, 1));
	assert_int_equal(world_number(&w), -2);
	world_fail(NULL, 0, 0);
	assert_true(world_save(&w, 2));
	log = log_end(&w);
	assert_says(log, "cannot be kept aside yet: Read-only file system, starting from the beg");
	assert_int_equal(world_number(&w), 2);
	assert_int_equal(world_count(w.state, "checkpoint.bad-"), 1);
	world_close(&w, NULL);
	world_remove(&w);
}

static void lock_is_taken_when_it_can_be(void **state)
{
	struct world w, other;
	const char *log;
	int fd;

	world_make(&w);
	world_fail("flock", -1, ENOLCK);
	log_begin(&w);
	world_opened(&w);
	world_fail(NULL, 0, 0);
	fd = open(world_path(w.state, "lock"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
	assert_false(world_save(&w, 1));
	assert_int_equal(world_stats(&w).last_errno, EBUSY);
	assert_int_equal(world_number(&w), -1);
	close(fd);
	assert_true(world_save(&w, 2));
	other = w;
	assert_int_equal(world_open(&other), -EBUSY);
	world_close(&w, NULL);
	log = log_end(&w);
	assert_says(log, "No locks available, not locked, going on without saving, retrying\n");
	world_remove(&w);
}

/* fsync waits for a byte. */
static int gate[2];
static atomic_int gate_waiting, gate_signals_blocked;

static int gated_fsync(int fd)
{
	sigset_t blocked;
	char c;

	pthread_sigmask(SIG_BLOCK, NULL, &blocked);
	atomic_store(&gate_signals_blocked,
		     sigismember(&blocked, SIGTERM) && sigismember(&blocked, SIGUSR1));
	atomic_store(&gate_waiting, 1);
	if (read(gate[0], &c, 1) != 1)
		return -1;
	return sys_real.fsync(fd);
}

static void *gate_open(void *arg)
{
	/* Time for state_close to wait; the test holds without it. */
	usleep(50000);
	if (write(gate[1], "0123456789", 10) != 10)
		return NULL;
	return arg;
}

static void slow_disk_blocks_nobody(void **state)
{
	struct buf b = text_make(1), last = text_make(2);
	struct pollfd p = {.events = POLLIN};
	pthread_t opener;
	void *opened;
	struct world w;

	world_make(&w);
	assert_int_equal(pipe(gate), 0);
	sys.fsync = gated_fsync;
	world_opened(&w);
	state_save(w.s, &b);
	for (int i = 0; i < WAIT_MS && !atomic_load(&gate_waiting); i++)
		usleep(1000);
	assert_int_equal(atomic_load(&gate_waiting), 1);
	assert_int_equal(atomic_load(&gate_signals_blocked), 1);
	p.fd = state_fd(w.s);
	assert_int_equal(poll(&p, 1, 20), 0);
	assert_false(state_due(w.s, INT64_MAX));
	assert_true(state_due_ns(w.s) == INT64_MAX);
	assert_false(state_take_failed(w.s));
	assert_int_equal(world_stats(&w).saves, 0);
	assert_int_equal(world_number(&w), -1);
	/* And the end waits for it, then saves what is newer. */
	assert_int_equal(pthread_create(&opener, NULL, gate_open, &w), 0);
	assert_int_equal(world_close(&w, &last), 0);
	pthread_join(opener, &opened);
	assert_ptr_equal(opened, &w);
	assert_int_equal(world_number(&w), 2);
	buf_done(&last);
	close(gate[0]);
	close(gate[1]);
	world_remove(&w);
}

static void save_until_killed(struct world *w)
{
	uint64_t n = 1;

	alarm(60);
	if (world_open(w) < 0)
		_exit(1);
	for (;;) {
		struct pollfd p = {.fd = state_fd(w->s), .events = POLLIN};
		struct buf b = text_make(n = n % 400 + 1);

		state_save(w->s, &b);
		poll(&p, 1, -1);
		state_ended(w->s);
	}
}

static void kill_leaves_a_whole_one(void **state)
{
	unsigned seed = 1;
	long last = -1, changed = 0;
	struct world w;

	world_make(&w);
	for (int round = 0; round < 100; round++) {
		long number;
		pid_t pid = fork();
		int status;

		assert_true(pid >= 0);
		if (!pid)
			save_until_killed(&w);
		usleep(500 + (useconds_t)rand_r(&seed) % 20000);
		assert_int_equal(kill(pid, SIGKILL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		number = world_number(&w);
		if (number == -2 || (number == -1 && last != -1))
			fail_msg("round %d: %ld after %ld", round, number, last);
		changed += number != last;
		last = number;
	}
	assert_true(changed > 10); /* else nothing was saved in between */
	assert_int_equal(world_count(w.state, "checkpoint.bad-"), 0);
	world_opened(&w);
	assert_true(w.found && !w.bad);
	world_close(&w, NULL);
	world_remove(&w);
}

/* A filesystem of its own at the state directory, in a mount namespace of its own. */
static void tiny_disk(struct world *w, const char *options)
{
	world_make(w);
	assert_int_equal(mkdir(w->state, 0700), 0);
	if (unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("none", w->state, "tmpfs", 0, options) == 0)
		return;
	print_message("# skipped: no filesystem can be mounted here: %s\n", strerror(errno));
	world_remove(w);
	skip();
}

static void tiny_disk_remove(struct world *w)
{
	assert_int_equal(umount(w->state), 0);
	world_remove(w);
}

static void full_disk_keeps_the_old_one(void **state)
{
	struct world w;
	const char *log;

	tiny_disk(&w, "size=64k");
	log_begin(&w);
	world_opened(&w);
	assert_true(world_save(&w, 100));
	assert_false(world_save(&w, 5000));
	assert_int_equal(world_stats(&w).last_errno, ENOSPC);
	assert_int_equal(world_number(&w), 100);
	assert_true(world_save(&w, 50));
	assert_int_equal(world_number(&w), 50);
	world_close(&w, NULL);
	world_opened(&w);
	assert_true(w.found);
	assert_int_equal(w.loaded.n, 50);
	world_close(&w, NULL);
	log = log_end(&w);
	assert_says(log, "state: saving: No space left on device, retrying\n");
	tiny_disk_remove(&w);
}

static void disk_full_from_the_start_is_no_reason_to_end(void **state)
{
	struct world w;
	static const char fill[65536];
	const char *log;
	int fd;

	tiny_disk(&w, "size=64k,nr_inodes=2");
	fd = open(world_path(w.state, "fill"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0 && write(fd, fill, sizeof(fill)) == sizeof(fill));
	close(fd);
	log_begin(&w);
	world_opened(&w); /* no inode is left for the lock */
	assert_true(!w.found && !w.bad);
	assert_int_equal(world_stats(&w).last_errno, ENOSPC);
	assert_false(world_save(&w, 1));
	assert_false(world_save(&w, 1));
	unlink(world_path(w.state, "fill"));
	assert_int_equal(mount(NULL, w.state, NULL, MS_REMOUNT, "size=64k,nr_inodes=9"), 0);
	assert_true(world_save(&w, 2));
	world_close(&w, NULL);
	log = log_end(&w);
	assert_says(log,
		    "No space left on device, not locked, going on without saving, retrying\n");
	assert_says(log, "saving works again\n");
	assert_int_equal(count_of(log, "\n"), 2);
	tiny_disk_remove(&w);
}

static void read_only_disk_is_read(void **state)
{
	struct buf last;
	struct world w;
	const char *log;

	tiny_disk(&w, "size=64k");
	last = text_make(5);
	world_opened(&w);
	assert_true(world_save(&w, 1));
	world_close(&w, NULL);
	assert_int_equal(mount(NULL, w.state, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
	log_begin(&w);
	world_opened(&w);
	assert_true(w.found && !w.bad);
	assert_int_equal(w.loaded.n, 1);
	assert_int_equal(world_stats(&w).last_errno, EROFS);
	assert_false(world_save(&w, 2));
	assert_int_equal(world_number(&w), 1);
	assert_int_equal(mount(NULL, w.state, NULL, MS_REMOUNT, NULL), 0);
	assert_true(world_save(&w, 3));
	assert_int_equal(world_number(&w), 3);
	assert_int_equal(mount(NULL, w.state, NULL, MS_REMOUNT | MS_RDONLY, NULL), -1);
	assert_int_equal(world_close(&w, &last), 0);
	log = log_end(&w);
	assert_says(log, "Read-only file system, not locked, going on without saving, retrying\n");
	assert_says(log, "saving works again\n");
	assert_int_equal(count_of(log, "\n"), 2);
	buf_done(&last);
	tiny_disk_remove(&w);
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(bytes_are_on_the_disk_before_their_name),
	cmocka_unit_test(failing_save_leaves_a_whole_one),
	cmocka_unit_test(failing_call_of_the_start_loses_no_checkpoint),
	cmocka_unit_test(one_that_cannot_be_read_is_kept_aside),
	cmocka_unit_test(one_for_which_memory_lacks_stays),
	cmocka_unit_test(interrupted_calls_are_repeated),
	cmocka_unit_test(failing_for_long_is_said_once),
	cmocka_unit_test(what_only_close_tells_is_heard),
	cmocka_unit_test(last_save_says_that_it_failed),
	cmocka_unit_test(bad_one_that_cannot_be_moved_is_not_overwritten),
	cmocka_unit_test(lock_is_taken_when_it_can_be),
	cmocka_unit_test(slow_disk_blocks_nobody),
	cmocka_unit_test(kill_leaves_a_whole_one),
	cmocka_unit_test(full_disk_keeps_the_old_one),
	cmocka_unit_test(disk_full_from_the_start_is_no_reason_to_end),
	cmocka_unit_test(read_only_disk_is_read),
};

RUN_TESTS(tests)
