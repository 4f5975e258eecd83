// SPDX-License-Identifier: Apache-2.0
/* Slots and keys: who gets one, when it is given out again, which files have none; the ladder. */
#include "write_world.h"

#include "heat/write_hooks.h"
#include "heat/write_key.h"
#include "heat/write_maps.h"
#include "heat/write_rung.h"

static void slots_are_reused_and_start_at_zero(void **state)
{
	struct place *place = *state;
	struct watched w = watched_new(place, 0);
	int again = -1, slot = w.slot, fd, pipes[2];
	struct write_total t;

	assert_int_equal(write_count_add(w.wc, w.fd, NULL, &again), -EEXIST);
	assert_int_equal(again, slot);
	assert_int_equal(write(w.fd, "12345", 5), 5);
	expect_counts(place, &w, 1, 5);
	write_count_del(w.wc, w.slot);
	assert_int_equal(write(w.fd, "12345", 5), 5);
	assert_int_equal(write_count_add(w.wc, w.fd, NULL, &w.slot), 0);
	assert_int_not_equal(w.slot, slot); /* it rests */
	write_count_read(w.wc, w.slot, &t);
	assert_int_equal(t.calls, 0);
	assert_int_equal(t.bytes, 0);
	assert_int_equal(t.shrinks, 0);
	assert_int_equal(t.last_ns, 0);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(write_count_add(w.wc, pipes[0], NULL, &again), -EINVAL);
	fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(write_count_add(w.wc, -1, NULL, &again), -EBADF);
	close(fd);
	close(pipes[0]);
	close(pipes[1]);
	watched_done(&w);
}

static void full_table_says_so(void **state)
{
	struct place *place = *state;
	struct write_count *wc;
	int fds[3], slots[3];

	place_count(place);
	assert_int_equal(write_count_new(place->rung, 2, NULL, &wc), 0);
	for (size_t i = 0; i < 3; i++) {
		fds[i] = file_new(place->dir, 0);
		assert_int_equal(write_count_add(wc, fds[i], NULL, &slots[i]), i < 2 ? 0 : -ENOSPC);
	}
	assert_int_equal(write_count_add(wc, fds[1], NULL, &slots[2]), -EEXIST);
	assert_int_equal(slots[2], slots[1]);
	write_count_del(wc, slots[0]);
	assert_int_equal(write_count_add(wc, fds[2], NULL, &slots[2]), -ENOSPC); /* resting */
	usleep(1100 * 1000);
	assert_int_equal(write(fds[0], "late", 4), 4);
	assert_int_equal(write_count_add(wc, fds[2], NULL, &slots[2]), 0);
	assert_int_not_equal(slots[2], slots[1]);
	write_count_free(wc);
	for (size_t i = 0; i < 3; i++)
		close(fds[i]);
}

static void split_overlay_has_no_counter(void **state)
{
	struct place *place = *state;
	struct write_count *wc = place_count(place);
	char upper[128], lower[128], options[700], path[300];
	int slot, fd;

	if (!mount_tmpfs(place->world, "upper", upper) ||
	    !mount_tmpfs(place->world, "lower", lower)) {
		print_message("# may not mount a tmpfs\n");
		skip();
	}
	snprintf(path, sizeof(path), "%s/u", upper);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/w", upper);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/both", place->world->scratch);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s/u,workdir=%s/w,xino=off", lower,
		 upper, upper);
	if (mount("none", path, "overlay", 0, options) < 0) {
		print_message("# no overlay: %s\n", strerror(errno));
		tmpfs_gone(upper);
		tmpfs_gone(lower);
		rmdir(path);
		skip();
	}
	fd = file_new(path, 0);
	assert_int_equal(write_count_add(wc, fd, NULL, &slot), -ENODATA);
	close(fd);
	tmpfs_gone(path);
	tmpfs_gone(upper);
	tmpfs_gone(lower);
}

static void many_files_are_counted_apart(void **state)
{
	struct place *place = *state;
	struct write_count *wc = place_count(place);
	struct rlimit limit;
	struct write_total t;
	int n, *fds, *slots;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	n = place->world->required ? 2000 : (int)MIN(limit.rlim_cur - 100, (rlim_t)60000);
	fds = calloc((size_t)n, sizeof(*fds));
	slots = calloc((size_t)n, sizeof(*slots));
	assert_non_null(fds);
	assert_non_null(slots);
	for (int i = 0; i < n; i++) {
		fds[i] = file_new(place->dir, 0);
		assert_int_equal(write_count_add(wc, fds[i], NULL, &slots[i]), 0);
	}
	for (int i = 0; i < n; i++)
		assert_int_equal(call_write(0, fds[i], 3 + (size_t)i % 1000), 3 + i % 1000);
	for (int i = 0; i < n; i++) {
		write_count_read(wc, slots[i], &t);
		if (!place->world->lossy) {
			assert_int_equal(t.calls, 1);
			assert_int_equal(t.bytes, 3 + i % 1000);
		}
		write_count_del(wc, slots[i]);
		close(fds[i]);
	}
	print_message("# %d files\n", n);
	free(fds);
	free(slots);
}

static void slot_signed_by_another_rung_is_left_alone(void **state)
{
	struct place *place = *state;
	_cleanup_fd_ int fd = memfd_create("slot", MFD_CLOEXEC);
	char why[WRITE_WHY_MAX] = "";
	struct write_hooks *hooks;
	struct write_slot *slot;
	struct write_maps maps;
	struct write_key key;
	struct stat st;
	uint32_t ours;

	assert_int_equal(write_hooks_new(&maps, &hooks), 0);
	assert_int_equal(write_maps_open(&maps, 2, NULL), 0);
	assert_int_equal(write_rung_attach(hooks, &maps, place->rung, why), 0);
	ours = write_rung_of(hooks, place->rung, false, WRITE_FS_TMPFS);
	assert_int_equal(fstat(fd, &st), 0);
	key = (struct write_key){.dev = write_key_dev(st.st_dev), .ino = st.st_ino};
	slot = &maps.slots[1];
	*slot = (struct write_slot){.dev = key.dev, .ino = key.ino};
	assert_int_equal(write_maps_watch(&maps, &key, 1), 0);
	for (uint32_t rung = WRITE_RUNG_NONE; rung <= WRITE_RUNG_SYSCALL; rung++) {
		slot->rung = rung;
		slot->calls = 0;
		assert_int_equal(call_write(0, fd, 100), 100);
		if (!place->world->lossy)
			assert_int_equal(slot->calls, rung == ours);
	}
	slot->rung = ours;
	slot->ino++; /* as when the key changed hands after the look-up */
	slot->calls = 0;
	assert_int_equal(call_write(0, fd, 100), 100);
	assert_int_equal(slot->calls, 0);
	write_hooks_free(hooks);
	write_maps_close(&maps);
}

static void off_counts_nothing(void **state)
{
	struct write_count *wc;
	enum rung rung;
	int slot;

	assert_int_equal(write_count_new(RUNG_OFF, 10, NULL, &wc), 0);
	assert_int_equal(write_count_rung(wc), RUNG_OFF);
	assert_int_equal(write_count_add(wc, 0, NULL, &slot), -EOPNOTSUPP);
	assert_null(write_count_refusal(wc, RUNG_VFS));
	assert_int_equal(write_count_misses(wc), 0);
	write_count_free(wc);
	for (enum rung r = RUNG_AUTO; r <= RUNG_OFF; r++) {
		assert_int_equal(rung_parse(rung_name(r), &rung), 0);
		assert_int_equal(rung, r);
	}
	assert_int_equal(rung_parse("fast", &rung), -EINVAL);
}

/* Each rung that auto passed over has a reason, none that it did not reach. */
static void auto_takes_the_best_that_counts(void **state)
{
	struct write_count *wc;

	assert_int_equal(write_count_new(RUNG_AUTO, 10, NULL, &wc), 0);
	for (enum rung r = RUNG_AUTO + 1; r < RUNG_OFF; r++) {
		if (r < write_count_rung(wc))
			assert_non_null(write_count_refusal(wc, r));
		else
			assert_null(write_count_refusal(wc, r));
	}
	print_message("# auto: %s\n", rung_name(write_count_rung(wc)));
	write_count_free(wc);
}

/* Those that read kernel memory by helper. */
static void confidential_kernel_refuses_and_says_why(void **state)
{
	for (enum rung r = RUNG_KPROBE; r <= RUNG_SYSCALL; r++) {
		struct write_count *wc;

		assert_int_equal(write_count_new(r, 10, NULL, &wc), 0);
		assert_int_equal(write_count_rung(wc), RUNG_OFF);
		assert_non_null(strstr(write_count_refusal(wc, r), "lockdown"));
		print_message("# %s: %s\n", rung_name(r), write_count_refusal(wc, r));
		write_count_free(wc);
	}
}

static const struct proof proofs[] = {
#define PROOF(f)                   \
	{                          \
#f, f, false, true \
	}
	PROOF(slot_signed_by_another_rung_is_left_alone),
	PROOF(slots_are_reused_and_start_at_zero),
	PROOF(full_table_says_so),
	PROOF(split_overlay_has_no_counter),
	PROOF(many_files_are_counted_apart),
};

int main(void)
{
	static struct world world;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	world_init(&world);
	world_add(&world, "off_counts_nothing", off_counts_nothing, (struct place){});
	world_add(&world, "auto_takes_the_best_that_counts", auto_takes_the_best_that_counts,
		  (struct place){});
	if (kernel_confidential())
		world_add(&world, "confidential_kernel_refuses_and_says_why",
			  confidential_kernel_refuses_and_says_why, (struct place){});
	return world_run(&world, "write_slots", proofs, ARRAY_SIZE(proofs));
}
