// SPDX-License-Identifier: Apache-2.0
/*
 * Which file a write is counted for, where one number or one path stands for several: subvolumes
 * and snapshots of btrfs, bind mounts, overlays. A file is counted for itself or add says that it
 * has no counter; never for another, and never silently not at all.
 */
#include "write_world.h"

#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>

/* A file by its path. */
static int path_open(const char *dir, const char *name, int flags)
{
	char path[400];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, flags | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	return fd;
}

/* Watched, or no counter. */
static bool watch(struct place *place, int fd, struct watched *ret_w)
{
	struct watched w = {.wc = place_count(place), .fd = fd};
	int r;

	w.misses = write_count_misses(w.wc);
	r = write_count_add(w.wc, fd, NULL, &w.slot);
	assert_true(r == 0 || r == -ENODATA);
	if (r == 0)
		*ret_w = w;
	else
		print_message("# %s on %s: no counter\n", rung_name(place->rung), place->dir);
	return r == 0;
}

static void subvolume(int dir, unsigned long request, const char *name)
{
	struct btrfs_ioctl_vol_args args = {};

	snprintf(args.name, sizeof(args.name), "%s", name);
	if (ioctl(dir, request, &args) < 0 && request != BTRFS_IOC_SNAP_DESTROY) {
		print_message("# subvolume %s: %s\n", name, strerror(errno));
		fail();
	}
}

static void snapshot(int dir, const char *of, const char *name)
{
	_cleanup_fd_ int source = openat(dir, of, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct btrfs_ioctl_vol_args_v2 args = {.fd = source};

	assert_true(source >= 0);
	snprintf(args.name, sizeof(args.name), "%s", name);
	assert_int_equal(ioctl(dir, BTRFS_IOC_SNAP_CREATE_V2, &args), 0);
}

#define TWINS 3

/* The same inode number in two subvolumes, and the same inode, byte for byte, in a snapshot. */
static void twins_make(const char *dir, int fds[TWINS])
{
	static const char *const names[TWINS] = {"one/log", "two/log", "three/log"};
	_cleanup_fd_ int parent = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st, first;

	subvolume(parent, BTRFS_IOC_SNAP_DESTROY, "one");
	subvolume(parent, BTRFS_IOC_SNAP_DESTROY, "two");
	subvolume(parent, BTRFS_IOC_SNAP_DESTROY, "three");
	subvolume(parent, BTRFS_IOC_SUBVOL_CREATE, "one");
	subvolume(parent, BTRFS_IOC_SUBVOL_CREATE, "two");
	close(path_open(dir, names[0], O_RDWR | O_CREAT));
	close(path_open(dir, names[1], O_RDWR | O_CREAT));
	snapshot(parent, "one", "three");
	for (size_t i = 0; i < TWINS; i++) {
		fds[i] = path_open(dir, names[i], O_RDWR | O_APPEND);
		assert_int_equal(fstat(fds[i], i ? &st : &first), 0);
		if (i > 0)
			assert_int_equal(st.st_ino, first.st_ino);
	}
}

static void subvolumes_never_share_a_counter(void **state)
{
	struct place *place = *state;
	struct watched watched[TWINS];
	bool counted[TWINS];
	int fds[TWINS];

	place_count(place);
	twins_make(place->dir, fds);
	/* One after the other: those not watched yet are seen by nobody. */
	for (size_t n = 0; n < TWINS; n++) {
		counted[n] = watch(place, fds[n], &watched[n]);
		for (size_t i = 0; i < TWINS; i++)
			for (size_t k = 0; k <= i; k++)
				assert_int_equal(write(fds[i], "12345", 5), 5);
		for (size_t i = 0; i <= n; i++)
			if (counted[i])
				expect_counts(place, &watched[i], (n - i + 1) * (i + 1),
					      (n - i + 1) * (i + 1) * 5);
	}
	for (size_t i = 0; i < TWINS; i++) {
		struct write_total t;

		assert_int_equal(ftruncate(fds[i], 1), 0);
		for (size_t k = 0; k < TWINS; k++)
			if (counted[k] && write_count_positions(watched[k].wc, watched[k].slot)) {
				write_count_read(watched[k].wc, watched[k].slot, &t);
				assert_int_equal(t.truncs, k <= i);
			}
	}
	for (size_t i = 0; i < TWINS; i++)
		if (counted[i])
			watched_done(&watched[i]);
		else
			close(fds[i]);
}

static void mount_may(struct place *place, const char *path, const char *source, const char *type,
		      unsigned long flags, const char *options)
{
	if (!place->world->own_mounts) {
		print_message("# may not mount\n");
		skip();
	}
	assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
	if (mount(source, path, type, flags, options) < 0) {
		print_message("# mount of %s on %s: %s\n", source, path, strerror(errno));
		skip();
	}
}

static void bind_mount_is_the_same_file(void **state)
{
	struct place *place = *state;
	char bound[128], name[] = "bound-log";
	int fd, other, slot = -1;
	struct watched w;

	place_count(place);
	snprintf(bound, sizeof(bound), "%s/bound", place->world->scratch);
	mount_may(place, bound, place->dir, NULL, MS_BIND, NULL);
	fd = path_open(place->dir, name, O_RDWR | O_APPEND | O_CREAT | O_TRUNC);
	other = path_open(bound, name, O_RDWR | O_APPEND);
	if (watch(place, fd, &w)) {
		assert_int_equal(write_count_add(w.wc, other, NULL, &slot), -EEXIST);
		assert_int_equal(slot, w.slot);
		assert_int_equal(write(other, "12345", 5), 5);
		expect_counts(place, &w, 1, 5);
		assert_int_equal(write(fd, "12345", 5), 5);
		expect_counts(place, &w, 2, 10);
		if (write_count_positions(w.wc, w.slot)) {
			struct write_total t;

			assert_int_equal(ftruncate(other, 3), 0);
			write_count_read(w.wc, w.slot, &t);
			assert_int_equal(t.cuts, 7);
			assert_int_equal(t.truncs, 1);
		}
		write_count_del(w.wc, w.slot);
		/* and the other way round */
		w.fd = other;
		assert_int_equal(write_count_add(w.wc, other, NULL, &w.slot), 0);
		w.misses = write_count_misses(w.wc);
		assert_int_equal(write(fd, "12345", 5), 5);
		expect_counts(place, &w, 1, 5);
		write_count_del(w.wc, w.slot);
	}
	close(fd);
	close(other);
	tmpfs_gone(bound);
	snprintf(bound, sizeof(bound), "%s/%s", place->dir, name);
	unlink(bound);
}

/* An overlay with its upper layer in place->dir and its lower one there or on a tmpfs. */
struct overlay {
	char lower[300], upper[300], merged[128], tmp[128];
};

static void overlay_mount(struct place *place, bool split, struct overlay *ret_o)
{
	struct overlay o = {};
	char options[1000], work[300];

	place_count(place);
	if (split && !mount_tmpfs(place->world, "lower", o.tmp)) {
		print_message("# may not mount a tmpfs\n");
		skip();
	}
	snprintf(o.lower, sizeof(o.lower), "%s/below", split ? o.tmp : place->dir);
	snprintf(o.upper, sizeof(o.upper), "%s/above", place->dir);
	snprintf(work, sizeof(work), "%s/work", place->dir);
	assert_true(mkdir(o.lower, 0700) == 0 || errno == EEXIST);
	assert_true(mkdir(o.upper, 0700) == 0 || errno == EEXIST);
	assert_true(mkdir(work, 0700) == 0 || errno == EEXIST);
	snprintf(options, sizeof(options), "lowerdir=%s,upperdir=%s,workdir=%s", o.lower, o.upper,
		 work);
	snprintf(o.merged, sizeof(o.merged), "%s/merged", place->world->scratch);
	mount_may(place, o.merged, "none", "overlay", 0, options);
	*ret_o = o;
}

static void overlay_umount(struct place *place, struct overlay *o)
{
	static const char *const left[] = {"below/log", "below",     "above/log",
					   "above",     "work/work", "work"};
	char path[300];

	tmpfs_gone(o->merged);
	for (size_t i = 0; i < ARRAY_SIZE(left); i++) {
		snprintf(path, sizeof(path), "%s/%s", place->dir, left[i]);
		if (unlink(path) < 0)
			rmdir(path);
	}
	if (*o->tmp)
		tmpfs_gone(o->tmp);
}

static void overlay_file_is_counted_or_has_no_counter(struct place *place, bool split)
{
	struct overlay o;
	struct watched w;
	int fd;

	overlay_mount(place, split, &o);
	fd = path_open(o.merged, "log", O_RDWR | O_APPEND | O_CREAT);
	if (watch(place, fd, &w)) {
		for (size_t call = 0; call < ARRAY_SIZE(calls_names); call++)
			assert_int_equal(call_write(call, fd, 100), 100);
		expect_counts(place, &w, ARRAY_SIZE(calls_names), ARRAY_SIZE(calls_names) * 100);
		write_count_del(w.wc, w.slot);
	}
	close(fd);
	overlay_umount(place, &o);
}

static void overlay_file_is_counted_or_not_at_all(void **state)
{
	overlay_file_is_counted_or_has_no_counter(*state, false);
	overlay_file_is_counted_or_has_no_counter(*state, true);
}

/* The copy is another inode, on another filesystem where the overlay is split. */
static void copied_up(struct place *place, bool split)
{
	struct overlay o;
	struct watched w;
	int fd, writer;

	overlay_mount(place, split, &o);
	fd = path_open(o.lower, "log", O_WRONLY | O_CREAT | O_TRUNC);
	assert_int_equal(write(fd, "lower", 5), 5);
	close(fd);
	fd = path_open(o.merged, "log", O_RDONLY);
	if (watch(place, fd, &w)) {
		writer = path_open(o.merged, "log", O_WRONLY | O_APPEND);
		assert_int_equal(write(writer, "12345", 5), 5);
		assert_int_equal(write(writer, "12345", 5), 5);
		expect_counts(place, &w, 2, 10);
		close(writer);
		write_count_del(w.wc, w.slot);
	}
	close(fd);
	overlay_umount(place, &o);
}

static void file_copied_up_later_is_counted_or_has_no_counter(void **state)
{
	copied_up(*state, false);
	copied_up(*state, true);
}

/* As after a rotation: the path leads to another file by the time the old one is watched. */
static void renamed_file_on_an_overlay_is_not_its_successor(void **state)
{
	struct place *place = *state;
	char from[300], to[300];
	struct overlay o;
	struct watched w;
	int old, new;

	overlay_mount(place, false, &o);
	old = path_open(o.merged, "log", O_RDWR | O_APPEND | O_CREAT);
	snprintf(from, sizeof(from), "%s/log", o.merged);
	snprintf(to, sizeof(to), "%s/log.1", o.merged);
	assert_int_equal(rename(from, to), 0);
	new = path_open(o.merged, "log", O_RDWR | O_APPEND | O_CREAT);
	for (int gone = 0; gone < 2; gone++) {
		if (watch(place, old, &w)) {
			assert_int_equal(write(new, "123", 3), 3);
			expect_counts(place, &w, 0, 0);
			assert_int_equal(write(old, "12345", 5), 5);
			expect_counts(place, &w, 1, 5);
			write_count_del(w.wc, w.slot);
		}
		unlink(to);
	}
	close(old);
	close(new);
	overlay_umount(place, &o);
}

/* The real file is watched, the writer sees the overlay: a write and a truncation pass both. */
static void real_file_below_an_overlay_is_counted_once(void **state)
{
	struct place *place = *state;
	struct overlay o;
	struct watched w;
	struct write_total t;
	int fd, writer;

	overlay_mount(place, false, &o);
	writer = path_open(o.merged, "log", O_RDWR | O_APPEND | O_CREAT);
	fd = path_open(o.upper, "log", O_RDONLY);
	assert_true(watch(place, fd, &w));
	for (size_t call = 0; call < ARRAY_SIZE(calls_names); call++)
		assert_int_equal(call_write(call, writer, 100), 100);
	expect_counts(place, &w, ARRAY_SIZE(calls_names), ARRAY_SIZE(calls_names) * 100);
	assert_int_equal(ftruncate(writer, 50), 0);
	write_count_read(w.wc, w.slot, &t);
	assert_int_equal(t.cuts, ARRAY_SIZE(calls_names) * 100 - 50);
	assert_int_equal(t.truncs, 1);
	write_count_del(w.wc, w.slot);
	close(fd);
	close(writer);
	overlay_umount(place, &o);
}

static bool on_btrfs(enum rung rung, const char *dir)
{
	struct statfs fs;

	return statfs(dir, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC;
}

/* The others see the overlay's file. */
static bool sees_real_files(enum rung rung, const char *dir)
{
	return rung == RUNG_FS;
}

static const struct {
	const char *name;
	CMUnitTestFunction run;
	bool (*applies)(enum rung rung, const char *dir); /* NULL: everywhere */
} proofs[] = {
#define PROOF(f, applies)      \
	{                      \
#f, f, applies \
	}
	PROOF(subvolumes_never_share_a_counter, on_btrfs),
	PROOF(bind_mount_is_the_same_file, NULL),
	PROOF(overlay_file_is_counted_or_not_at_all, NULL),
	PROOF(file_copied_up_later_is_counted_or_has_no_counter, NULL),
	PROOF(renamed_file_on_an_overlay_is_not_its_successor, NULL),
	PROOF(real_file_below_an_overlay_is_counted_once, sees_real_files),
};

static void add_proofs(struct world *world, enum rung rung)
{
	char name[200];

	world_add_proofs(world, rung, NULL, 0);
	if (write_count_rung(world->counts[rung]) != rung)
		return;
	for (size_t d = 0; d < world->dirs_n; d++)
		for (size_t i = 0; i < ARRAY_SIZE(proofs); i++) {
			if (proofs[i].applies && !proofs[i].applies(rung, world->dirs[d]))
				continue;
			snprintf(name, sizeof(name), "%s %s %s", rung_name(rung),
				 world_dir_name(world, d), proofs[i].name);
			world_add(world, name, proofs[i].run,
				  (struct place){world, rung, world->dirs[d], NULL});
		}
}

int main(void)
{
	static struct world world;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	world_init(&world);
	for (enum rung rung = RUNG_AUTO + 1; rung < RUNG_OFF; rung++)
		if (world.wanted[rung])
			add_proofs(&world, rung);
	return world_finish(&world, "write_identity");
}
