// SPDX-License-Identifier: Apache-2.0
/*
 * What each hook sees of each way to write, on every filesystem: the golden table below, and what
 * the truncations say of it (positions), side by side on one file. Printed as remarks: calls/bytes,
 * and +bytes by positions where a rung has them.
 *
 * A filesystem that gives a file no counter on a rung is allowed only where may_lack_counter says
 * so; "none" stands in the table then. Nothing may be seen in part: a row is exact or fails.
 *
 * auto counts the ramfs, which has no hook of its own, by vfs; from then on both sets of programs
 * run, and each file is still counted by one of them.
 *
 * Not in the table, because kernels differ: AIO with O_DIRECT. Where write_iter returns before the
 * bytes are written (xfs, btrfs on 6.1) no hook sees them, and only positions do.
 */
#include "write_ways.h"
#include "write_world.h"

#define TIMES 3
#define BLOCK 8192

struct row {
	const char *call;
	way_put *put;
	size_t len; /* of one call */
	/* How many calls of len bytes are counted for one that is made. */
	unsigned int fs, vfs, kprobe, syscall;
	unsigned int positions; /* 1: cuts + size grow by its bytes */
};

/* clang-format off */
static const struct row table[] = {
	/*                                                  fs vfs kprobe syscall positions */
	{"write",                     way_write,       200, 1,  1,  1,     1,      1},
	{"pwrite64",                  way_pwrite64,    200, 1,  1,  1,     1,      1},
	{"writev",                    way_writev,      200, 1,  1,  1,     1,      1},
	{"pwritev2",                  way_pwritev2,    200, 1,  1,  1,     1,      1},
	{"sendfile",                  way_sendfile,    200, 1,  0,  0,     0,      1},
	{"splice",                    way_splice,      200, 1,  0,  0,     0,      1},
	{"copy_file_range",           way_copy,        200, 1,  0,  0,     0,      1},
	{"copy_file_range, blocks",   way_copy_blocks, BLOCK, 1, 0, 0,     0,      1},
	{"ioctl FICLONERANGE",        way_clone,       BLOCK, 1, 0, 0,     0,      1},
	{"ioctl FIDEDUPERANGE",       way_dedupe,      BLOCK, 0, 0, 0,     0,      0},
	{"AIO",                       way_aio,         200, 1,  0,  0,     0,      1},
	{"io_uring",                  way_io_uring,    200, 1,  0,  0,     0,      1},
	{"store to mapped memory",    way_mmap,        200, 0,  0,  0,     0,      0},
	{"fallocate",                 way_fallocate,   200, 0,  0,  0,     0,      1},
};
/* clang-format on */

/* One rung's view of the file. */
struct column {
	struct write_count *wc;
	int slot; /* -1: no counter */
	uint64_t misses;
};

static unsigned int row_seen(const struct row *row, enum rung rung)
{
	switch (rung) {
	case RUNG_FS:
		return row->fs;
	case RUNG_VFS:
		return row->vfs;
	case RUNG_KPROBE:
		return row->kprobe;
	default:
		return row->syscall;
	}
}

static bool is_ramfs(const char *dir)
{
	struct statfs st;

	return statfs(dir, &st) == 0 && st.f_type == RAMFS_MAGIC;
}

/* tmpfs and ext4 share no blocks, and an overlay shares those of the filesystem below it. */
static bool row_is_for(const struct row *row, const char *dir)
{
	struct statfs st;

	if (row->put == way_fallocate)
		return !is_ramfs(dir);
	if (row->put != way_clone && row->put != way_dedupe)
		return true;
	return statfs(dir, &st) == 0 &&
	       (st.f_type == XFS_SUPER_MAGIC || st.f_type == BTRFS_SUPER_MAGIC);
}

/* Which rung counts for this slot: auto takes the next one for a filesystem without its hook. */
static enum rung column_rung(const struct column *c, const char *dir)
{
	enum rung rung = write_count_rung(c->wc);

	return rung == RUNG_FS && is_ramfs(dir) ? RUNG_VFS : rung;
}

/* false: this rung does not attach here, which a test of its own says. */
static bool column_begin(struct world *world, enum rung rung, int fd, struct column *c)
{
	int r;

	*c = (struct column){.wc = world->counts[rung], .slot = -1};
	if (!c->wc || write_count_rung(c->wc) == RUNG_OFF)
		return false;
	c->misses = write_count_misses(c->wc);
	r = write_count_add(c->wc, fd, NULL, &c->slot);
	if (r < 0)
		c->slot = -1;
	assert_true(r == 0 || r == -ENODATA);
	return true;
}

/* Appends "RUNG CALLS/BYTES" to line; false when that is not what the table says. */
static bool column_check(struct place *place, const struct row *row, enum rung rung,
			 struct column *c, char *line, size_t line_size)
{
	uint64_t calls, missed;
	size_t len = strlen(line);
	struct write_total t;

	if (c->slot < 0) {
		snprintf(line + len, line_size - len, "  %s none", rung_name(rung));
		return may_lack_counter(place->dir, write_count_rung(c->wc)) ||
		       (rung == RUNG_FS && is_ramfs(place->dir));
	}
	calls = (uint64_t)TIMES * row_seen(row, column_rung(c, place->dir));
	missed = place->world->lossy ? write_count_misses(c->wc) - c->misses : 0;
	write_count_read(c->wc, c->slot, &t);
	snprintf(line + len, line_size - len, "  %s %llu/%llu", rung_name(rung),
		 (unsigned long long)t.calls, (unsigned long long)t.bytes);
	if (missed && t.calls < calls && t.calls + missed >= calls)
		return t.bytes == t.calls * row->len;
	return t.calls == calls && t.bytes == calls * row->len;
}

/* cuts + size have grown by what was put; appended to line as "+BYTES". */
static bool positions_check(const struct row *row, struct column *c, int fd, off_t size_before,
			    char *line, size_t line_size)
{
	size_t len = strlen(line);
	struct write_total t;
	struct stat st;
	uint64_t grown;

	if (c->slot < 0 || !write_count_positions(c->wc, c->slot))
		return true;
	assert_int_equal(fstat(fd, &st), 0);
	write_count_read(c->wc, c->slot, &t);
	grown = t.cuts + (uint64_t)st.st_size - (uint64_t)size_before;
	snprintf(line + len, line_size - len, " +%llu", (unsigned long long)grown);
	return grown == (uint64_t)TIMES * row->positions * row->len;
}

/* TIMES calls at the end of the file; skips what this filesystem or kernel has not. */
static void row_put(const struct row *row, struct ways *ways, int fd)
{
	for (int i = 0; i < TIMES; i++) {
		off_t at = row->put == way_dedupe ? 0 : lseek(fd, 0, SEEK_END);
		ssize_t n = row->put(ways, fd, at, row->len);

		if (n < 0 && way_missing(errno)) {
			print_message("# %s: %s\n", row->call, strerror(errno));
			skip();
		}
		if (n < 0)
			print_message("# %s: %s\n", row->call, strerror(errno));
		assert_int_equal(n, row->len);
	}
}

static void call_is_seen_as_the_table_says(void **state)
{
	struct place *place = *state;
	const struct row *row = place->arg;
	static struct ways ways;
	static const char *ways_of;
	struct column columns[RUNG_OFF];
	bool there[RUNG_OFF] = {}, any = false, well = true;
	char line[300], path[400];
	off_t size;
	int fd;

	/* It keeps its name: below an overlay it is found by that. */
	snprintf(path, sizeof(path), "%s/proof", place->dir);
	unlink(path);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	if (ways_of != place->dir) {
		ways_done(&ways);
		assert_int_equal(ways_init(&ways, place->dir), 0);
		ways_of = place->dir;
	}
	if (row->put == way_dedupe)
		assert_int_equal(write(fd, ways.data, row->len), row->len);
	size = lseek(fd, 0, SEEK_END);
	for (enum rung r = RUNG_AUTO; r < RUNG_OFF; r++)
		any |= there[r] = column_begin(place->world, r, fd, &columns[r]);
	if (!any) {
		print_message("# no rung attaches\n");
		skip();
	}
	row_put(row, &ways, fd);
	snprintf(line, sizeof(line), "%-14s %-24s", place->dir, row->call);
	for (enum rung r = RUNG_AUTO; r < RUNG_OFF; r++)
		if (there[r]) {
			struct column *c = &columns[r];

			well &= column_check(place, row, r, c, line, sizeof(line));
			well &= positions_check(row, c, fd, size, line, sizeof(line));
		}
	unlink(path);
	print_message("# %s\n", line);
	for (enum rung r = RUNG_AUTO; r < RUNG_OFF; r++)
		if (there[r] && columns[r].slot >= 0)
			write_count_del(columns[r].wc, columns[r].slot);
	close(fd);
	assert_true(well);
}

/* The first of all, so that auto has its programs from then on. */
static void ramfs_add(struct world *world)
{
	char path[128];

	snprintf(path, sizeof(path), "%s/ram", world->scratch);
	if (world->dirs_n == DIRS_MAX || !world->own_mounts || mkdir(path, 0700) < 0 ||
	    mount("none", path, "ramfs", 0, NULL) < 0)
		return;
	for (size_t d = world->dirs_n; d > 0; d--)
		world->dirs[d] = world->dirs[d - 1];
	world->dirs[0] = strdup(path);
	world->dirs_n++;
}

int main(void)
{
	static struct world world;
	char name[200];

	cmocka_set_message_output(CM_OUTPUT_TAP);
	world_init(&world);
	world_dirs_add(&world, "WRITE_COUNT_OVERLAYS");
	ramfs_add(&world);
	write_count_new(RUNG_AUTO, 65536, NULL, &world.counts[RUNG_AUTO]);
	world_add_all_proofs(&world, NULL, 0);
	for (size_t d = 0; d < world.dirs_n; d++)
		for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
			if (!row_is_for(&table[i], world.dirs[d]))
				continue;
			snprintf(name, sizeof(name), "%s: %s is seen as the table says",
				 is_ramfs(world.dirs[d]) ? "ramfs" : world_dir_name(&world, d),
				 table[i].call);
			world_add(&world, name, call_is_seen_as_the_table_says,
				  (struct place){&world, RUNG_AUTO, world.dirs[d], &table[i]});
		}
	return world_finish(&world, "write_calls");
}
