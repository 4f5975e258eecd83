/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mirror with a real inotify. Nothing is handled before settle() is called: what a step does to
 * the tree is over by then, so that each race is made by doing things in one step. Whatever is told
 * is applied to a model that accepts no change that does not fit, and the model must be the tree.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "event/event.h"
#include "event/event_queue.h"
#include "watch/mirror.h"
#include "watch/watch.h"

#define PATHS_MAX 4000

struct world {
	char *dir;
	struct event_queue *queue;
	struct watch *watch;
	struct mirror *mirror;
	struct model {
		char path[PATHS_MAX][120]; /* directories with a slash behind */
		unsigned n;
	} model;
	char told[16384]; /* "created a written a renamed a b" */
	const char *top;  /* the root, below dir */
	bool losing;
	unsigned lose_from; /* events of a flush beyond so many; 0: none */
};

static int find(const struct model *m, const char *path)
{
	for (unsigned i = 0; i < m->n; i++)
		if (strcmp(m->path[i], path) == 0)
			return (int)i;
	return -1;
}

static bool has_below(const struct model *m, const char *dir)
{
	for (unsigned i = 0; i < m->n; i++)
		if (strncmp(m->path[i], dir, strlen(dir)) == 0 && m->path[i][strlen(dir)])
			return true;
	return false;
}

static void add(struct model *m, const char *path)
{
	char dir[120], other[121];
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	dir[strlen(dir) - 1] = '\0'; /* its own slash, or something else */
	slash = strrchr(dir, '/');
	if (slash) {
		slash[1] = '\0';
		if (find(m, dir) < 0)
			fail_msg("%s: its directory is not there", path);
	}
	snprintf(other, sizeof(other), "%s/", path);
	if (path[strlen(path) - 1] == '/')
		other[strlen(path) - 1] = '\0';
	if (find(m, path) >= 0 || find(m, other) >= 0)
		fail_msg("%s: is there already", path);
	assert_true(m->n < PATHS_MAX);
	snprintf(m->path[m->n++], sizeof(m->path[0]), "%s", path);
}

static void del(struct model *m, const char *path)
{
	int i = find(m, path);

	if (i < 0)
		fail_msg("%s: is not there", path);
	if (path[strlen(path) - 1] == '/' && has_below(m, path))
		fail_msg("%s: is not empty", path);
	memmove(m->path[i], m->path[--m->n], sizeof(m->path[0]));
}

static void move(struct model *m, const char *from, const char *to)
{
	size_t len = strlen(from);
	char path[256];

	if (find(m, from) < 0)
		fail_msg("%s: is not there to be renamed", from);
	add(m, to);
	m->n--;
	for (unsigned i = 0; i < m->n; i++) {
		if (strncmp(m->path[i], from, len) != 0 ||
		    (m->path[i][len] && from[len - 1] != '/'))
			continue;
		snprintf(path, sizeof(path), "%s%s", to, m->path[i] + len);
		snprintf(m->path[i], sizeof(m->path[0]), "%.119s", path);
	}
}

static const char *local(const struct world *w, const char *path, bool is_dir, char out[120])
{
	size_t len = strlen(w->dir);

	assert_memory_equal(path, w->dir, len);
	if (snprintf(out, 120, "%s%s", path[len] ? path + len + 1 : ".", is_dir ? "/" : "") >= 120)
		fail_msg("%s: too long", path);
	return out;
}

static void told(void *ctx, const struct mirror_change *c)
{
	struct world *w = ctx;
	char path[120], from[120] = "";
	const char *name = c->action == FILE_CREATED   ? "created"
			   : c->action == FILE_WRITTEN ? "written"
			   : c->action == FILE_DELETED ? "deleted"
						       : "renamed";
	size_t at = strlen(w->told);

	local(w, c->path, c->is_dir, path);
	if (c->from)
		local(w, c->from, c->is_dir, from);
	if (c->action == FILE_CREATED && strcmp(path, "./"))
		add(&w->model, path);
	else if (c->action == FILE_DELETED && strcmp(path, "./"))
		del(&w->model, path);
	else if (c->action == FILE_RENAMED)
		move(&w->model, from, path);
	else if (c->action == FILE_WRITTEN && find(&w->model, path) < 0)
		fail_msg("%s: written, but not there", path);
	if (at < sizeof(w->told))
		snprintf(w->told + at, sizeof(w->told) - at, "%s%s %s%s%s", at ? " " : "", name,
			 from, *from ? " " : "", path);
}

static int on_flush(void *ctx, struct event *events, size_t n)
{
	struct world *w = ctx;

	for (size_t i = 0; i < n && !w->losing && !(w->lose_from && i >= w->lose_from); i++) {
		assert_int_equal(events[i].type, EVENT_FILE);
		mirror_event(w->mirror, &events[i]);
		mirror_check(w->mirror);
	}
	return 0;
}

static void flush(struct world *w)
{
	uint64_t mark = watch_mark(w->watch);

	while (!watch_reached(w->watch, mark))
		usleep(100);
	mirror_before_flush(w->mirror);
	event_queue_flush(w->queue);
	mirror_turn(w->mirror, clock_now_ns());
	mirror_check(w->mirror);
}

static void compare_dir(struct world *w, const char *dir, struct model *seen)
{
	char path[600];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", w->dir, dir);
	d = opendir(path);
	assert_non_null(d);
	while ((e = readdir(d))) {
		bool is_dir = e->d_type == DT_DIR;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(path, sizeof(path), "%s%s%s", dir, e->d_name, is_dir ? "/" : "");
		if (find(&w->model, path) < 0)
			fail_msg("%s: never told of (told: %s)", path, w->told);
		assert_true(seen->n < PATHS_MAX);
		snprintf(seen->path[seen->n++], sizeof(seen->path[0]), "%.119s", path);
		if (is_dir)
			compare_dir(w, path, seen);
	}
	closedir(d);
}

/* Until nothing is left to be told; then the model is the tree. */
static void settle(struct world *w)
{
	struct model *seen = calloc(1, sizeof(*seen));
	int64_t until = clock_now_ns() + 10 * NS_PER_SEC;

	do {
		flush(w);
		usleep(2000);
	} while (!mirror_is_settled(w->mirror) && clock_now_ns() < until);
	assert_true(mirror_is_settled(w->mirror));
	compare_dir(w, w->top, seen);
	for (unsigned i = 0; i < w->model.n; i++)
		if (strcmp(w->model.path[i], w->top) && find(seen, w->model.path[i]) < 0)
			fail_msg("%s: is not there (told: %s)", w->model.path[i], w->told);
	free(seen);
}

static void run(struct world *w, const char *command)
{
	char line[4096];

	snprintf(line, sizeof(line), "cd '%s' && { %s; }", w->dir, command);
	assert_int_equal(system(line), 0);
}

static void start_at(struct world *w, const char *root, size_t paths_max)
{
	struct event_queue_options q = {.capacity = 100000, .ctx = w, .on_flush = on_flush};
	char path[160], *roots[1] = {path};
	struct mirror_options o = {.roots = roots,
				   .n_roots = 1,
				   .writes = true,
				   .paths_max = paths_max,
				   .ctx = w,
				   .told = told};

	snprintf(path, sizeof(path), "%s%s", w->dir, root);
	assert_int_equal(event_queue_new(&q, &w->queue), 0);
	assert_int_equal(watch_new(w->queue, &w->watch), 0);
	assert_int_equal(mirror_new(w->watch, &o, &w->mirror), 0);
	mirror_scan(w->mirror);
	mirror_check(w->mirror);
}

/* before: what is there when it begins. */
static void start(struct world *w, const char *before)
{
	run(w, before);
	start_at(w, "", PATHS_MAX);
	settle(w);
	w->told[0] = '\0';
}

/* What is done by command is told as this. */
static void step(struct world *w, const char *command, const char *wanted)
{
	w->told[0] = '\0';
	run(w, command);
	settle(w);
	if (wanted)
		assert_string_equal(w->told, wanted);
}

static struct sys whole;

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));

	log_set_level(LOG_ERR);
	whole = sys;
	w->dir = test_dir_make();
	w->top = "";
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	sys = whole;
	if (w->queue)
		event_queue_cancel(w->queue);
	mirror_free(w->mirror);
	watch_free(w->watch);
	event_queue_free(w->queue);
	test_dir_remove(w->dir);
	free(w);
	return 0;
}

static void what_was_there_is_known(void **state)
{
	struct world *w = *state;

	run(w, "mkdir -p a/b; echo x >a/f; ln -s /etc l; mkfifo p");
	start_at(w, "", PATHS_MAX);
	settle(w);
	assert_null(strstr(w->told, "written"));
	step(w, "rm a/f", "deleted a/f");
	step(w, "rm -r a l p", NULL);
	assert_int_equal(w->model.n, 0);
}

static void each_change_is_told_once(void **state)
{
	static const struct {
		const char *command, *told;
	} steps[] = {
		{":>f", "created f"},
		{"echo x >>f", "written f"},
		{"mv f g", "renamed f g"},
		{"echo x >>g", "written g"},
		{"rm g", "deleted g"},
		{"mkdir d", "created d/"},
		{":>d/f", "created d/f"},
		{"mv d e", "renamed d/ e/"},
		{":>e/g", "created e/g"},
		{"mv e/f f", "renamed e/f f"},
		{"mv e/g f", "deleted f renamed e/g f"},
		{"rmdir e", "deleted e/"},
		{"ln -s nowhere l", "created l"},
		{"mv l m", "renamed l m"},
		{"ln f h", "created h"},
		{"rm f", "deleted f"},
		{":>i", "created i"},
		{"chmod 600 i", ""},
		{":>>i", ""},
	};
	struct world *w = *state;

	start(w, "true");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		step(w, steps[i].command, steps[i].told);
}

static void a_file_made_with_content_is_written(void **state)
{
	struct world *w = *state;

	start(w, "true");
	step(w, "echo x >f", "created f written f");
	step(w, "mkdir d; echo x >d/f", "created d/ created d/f written d/f");
}

static void a_file_written_and_removed_is_told_of_in_this_order(void **state)
{
	struct world *w = *state;

	start(w, ":>f");
	step(w, "echo x >>f; rm f", "written f deleted f");
}

/* Its watch is spent by a close that wrote nothing, and what is written next is not heard. */
static void a_write_after_a_mere_close_is_not_missed(void **state)
{
	struct world *w = *state;

	start(w, ":>f");
	step(w, ":>>f", "");
	step(w, ":>>f; echo x >>f", "written f");
	step(w, ":>>f; :>f", "written f");
	step(w, "touch f; chmod 600 f; :>>f", NULL);
}

static void chains_of_renames_are_followed(void **state)
{
	struct world *w = *state;

	start(w, ":>a");
	step(w, "mv a b; mv b c; mv c d", "renamed a b renamed b c renamed c d");
	step(w, "mv d a; :>d; mv d e", "renamed d a created d renamed d e");
	step(w, "mv a x; mv e a; mv x e", "renamed a x renamed e a renamed x e");
}

static void moved_out_and_in_is_deleted_and_created(void **state)
{
	char outside[] = "/tmp/hotdrain-test-out-XXXXXX", command[256];
	struct world *w = *state;

	assert_non_null(mkdtemp(outside));
	start(w, "mkdir -p d/e; :>d/e/f; :>f");
	snprintf(command, sizeof(command), "mv d %s/d", outside);
	step(w, command, "deleted d/e/f deleted d/e/ deleted d/");
	snprintf(command, sizeof(command), ":>%s/d/g; mv %s/d .; :>d/h", outside, outside);
	step(w, command, NULL);
	assert_int_equal(find(&w->model, "d/g") >= 0, 1);
	snprintf(command, sizeof(command), ":>%s/f; mv %s/f f", outside, outside);
	step(w, command, "deleted f created f");
	snprintf(command, sizeof(command), "mv f %s/f; mv %s/f f; echo x >>f", outside, outside);
	step(w, command, NULL);
	assert_int_equal(rmdir(outside), 0);
}

/* Everything is over before the directory could be watched. */
static void a_directory_is_filled_before_it_is_watched(void **state)
{
	struct world *w = *state;

	start(w, ":>f; mkdir old; :>old/o");
	step(w, "mkdir -p a/b/c; :>a/b/c/f",
	     "created a/ created a/b/ created a/b/c/ created a/b/c/f");
	step(w, "mkdir d; mv f d", "created d/ renamed f d/f");
	step(w, "mkdir e; mv old e; :>e/old/p", "created e/ renamed old/ e/old/ created e/old/p");
	step(w, "mkdir g; :>g/x; rm -r g", "created g/ deleted g/");
	step(w, "mkdir h; :>h/x; mv h i; :>i/y", NULL);
	step(w, "mkdir j; mv j k; mkdir j; :>j/x; :>k/y", NULL);
	step(w, "mkdir l; :>l/x; mv l/x l/y; :>l/x; mv l/x l/z; :>l/x", NULL);
	step(w, "rm -r a d e i j k l; mkdir a; :>a/f; rm -r a; mkdir a; :>a/g", NULL);
}

static void what_a_look_found_is_not_told_twice(void **state)
{
	struct world *w = *state;

	start(w, "true");
	step(w, "mkdir d", "created d/");
	/* The look at e runs while events of d, which has its watch, are still queued. */
	step(w, "mkdir e; mkdir d/s; :>d/s/f; mv d/s e/s; mkdir d/s", NULL);
	step(w, "mkdir m; mkdir n; mv m n; mv n/m .; mkdir n/m", NULL);
	step(w, "mkdir -p x/y/z; mv x/y .; mv x y; mkdir x; mv y/x x/w", NULL);
	step(w, "mkdir t; :>t/a; rm t/a; :>t/a", NULL);
}

static bool exchange(const struct world *w, const char *one, const char *other)
{
	char a[160], b[160];

	snprintf(a, sizeof(a), "%s/%s", w->dir, one);
	snprintf(b, sizeof(b), "%s/%s", w->dir, other);
	return renameat2(-1, a, -1, b, RENAME_EXCHANGE) == 0;
}

static void names_are_exchanged(void **state)
{
	struct world *w = *state;

	start(w, "mkdir d e; :>d/in_d; :>e/in_e; :>f; :>g");
	if (!exchange(w, "d", "e"))
		skip();
	settle(w);
	assert_string_equal(w->told, "deleted e/in_e deleted e/ renamed d/ e/ created d/ "
				     "created d/in_e");
	assert_true(exchange(w, "f", "e"));
	settle(w);
	assert_true(find(&w->model, "f/in_d") >= 0);
	step(w, ":>f/new; :>d/new; echo x >e", NULL);
}

/* Where a path leads is not what the events meant: its directory has another name by now. */
static void a_directory_moves_while_its_events_wait(void **state)
{
	struct world *w = *state;

	start(w, "mkdir a d; :>d/a; :>d/b");
	step(w, ":>a/x; mv a c; mkdir a; mkdir a/x", NULL);
	step(w, "echo x >>c/x", "written c/x");
	if (!exchange(w, "d/a", "d/b"))
		skip();
	step(w, "mv d e", NULL);
	step(w, "rm e/a e/b", "deleted e/a deleted e/b");
}

static void links_are_not_followed(void **state)
{
	struct world *w = *state;

	start(w, "mkdir d; :>d/f");
	step(w, "ln -s d l; ln -s /proc p; ln -s d/f m", "created l created p created m");
	step(w, ":>d/g", "created d/g");
	step(w, "rm d/f d/g; rmdir d; ln -s /etc d", NULL);
}

static void the_root_goes_and_comes(void **state)
{
	struct world *w = *state;
	int64_t until = clock_now_ns() + 10 * NS_PER_SEC;

	run(w, "mkdir root; :>root/f");
	w->top = "root/";
	start_at(w, "/root", PATHS_MAX);
	assert_string_equal(w->told, "created root/ created root/f");
	run(w, "rm -r root");
	while (w->model.n && clock_now_ns() < until)
		flush(w);
	assert_int_equal(w->model.n, 0);
	w->told[0] = '\0';
	run(w, "mkdir root; :>root/g");
	while (!w->model.n && clock_now_ns() < until)
		flush(w);
	settle(w);
	assert_string_equal(w->told, "created root/ created root/g");
	run(w, "mv root away; mkdir root; :>root/h; rm -r away");
	while (find(&w->model, "root/h") < 0 && clock_now_ns() < until)
		flush(w);
	settle(w);
}

static void paths_are_limited(void **state)
{
	struct world *w = *state;
	struct mirror_stats stats;

	run(w, "mkdir d; cd d; seq 50 | xargs touch");
	start_at(w, "", 20);
	flush(w);
	mirror_stats(w->mirror, &stats);
	assert_int_equal(stats.paths, 20);
	run(w, "rm -r d; touch a b c");
	flush(w);
	flush(w);
	mirror_stats(w->mirror, &stats);
	assert_int_equal(stats.paths, 4);
}

static int no_watch(int fd, const char *path, uint32_t mask)
{
	errno = ENOSPC;
	return -1;
}

/* Without a watch to be had, looking each second. */
static void it_works_without_watches(void **state)
{
	struct world *w = *state;
	int64_t until = clock_now_ns() + 20 * NS_PER_SEC;

	sys.inotify_add_watch = no_watch;
	start(w, "mkdir d; :>d/f");
	run(w, "mkdir e; mv d/f e/g; rmdir d; :>f");
	while (w->model.n != 3 && clock_now_ns() < until) {
		flush(w);
		usleep(10000);
	}
	settle(w);
	assert_non_null(strstr(w->told, "renamed d/f e/g"));
	run(w, "echo x >>e/g");
	while (!strstr(w->told, "written e/g") && clock_now_ns() < until) {
		flush(w);
		usleep(10000);
	}
	assert_non_null(strstr(w->told, "written e/g"));
}

/* One of its names has the watch; the other is looked at from time to time. */
static void a_file_with_two_names_is_written_under_both(void **state)
{
	struct world *w = *state;
	int64_t until = clock_now_ns() + 20 * NS_PER_SEC;

	start(w, ":>f; ln f g");
	run(w, "echo x >>f");
	while (!(strstr(w->told, "written f") && strstr(w->told, "written g")) &&
	       clock_now_ns() < until) {
		flush(w);
		usleep(10000);
	}
	settle(w);
	assert_non_null(strstr(w->told, "written f"));
	assert_non_null(strstr(w->told, "written g"));
}

/* What was queued is lost, in the kernel or here. */
static void lose(struct world *w)
{
	w->losing = true;
	flush(w);
	w->losing = false;
	mirror_rescan(w->mirror);
}

static void after_an_overflow_all_is_told(void **state)
{
	struct world *w = *state;

	start(w, "mkdir -p a/b; :>a/b/f; :>g; :>h; mkdir c; :>c/f");
	run(w, "mv a/b b; rm h; mv g c/g; mkdir h; :>h/x; rm -r c/f; mkdir c/f; echo x >b/f");
	lose(w);
	settle(w);
	assert_non_null(strstr(w->told, "renamed a/b/ b/"));
	assert_non_null(strstr(w->told, "renamed g c/g"));
	assert_non_null(strstr(w->told, "written b/f"));
	step(w, ":>b/g; :>c/f/g; echo x >>b/f", NULL);
	assert_non_null(strstr(w->told, "written b/f"));
	run(w, "rm -r a c; mv h a; mkdir c; :>c/f; ln c/f c/g");
	lose(w);
	settle(w);
	step(w, "rm -r a b c", NULL);
	assert_int_equal(w->model.n, 0);
}

/* Half of a rename is in, when the rest is lost. */
static void a_rename_is_lost_half(void **state)
{
	struct world *w = *state;

	start(w, "mkdir a b c; :>a/f");
	run(w, "mv a/f b/f; mv a b/a");
	w->lose_from = 1;
	flush(w);
	w->lose_from = 0;
	mirror_rescan(w->mirror);
	settle(w);
	assert_string_equal(w->told, "renamed a/f b/f renamed a/ b/a/");
}

/* One of few names, at one of few depths: so that what happens meets what has just happened. */
static void random_path(struct world *w, char out[200], bool may_be_outside)
{
	int depth = 1 + rand() % 3;
	bool outside = may_be_outside && rand() % 8 == 0;

	snprintf(out, 200, "%s/%s", w->dir, outside ? "out" : "root");
	for (int i = 0; i < depth; i++)
		snprintf(out + strlen(out), 200 - strlen(out), "/%c", 'a' + rand() % 4);
}

static void random_change(struct world *w)
{
	char a[200], b[200], command[256];
	int what = rand() % 100, fd;

	random_path(w, a, true);
	random_path(w, b, true);
	if (what < 25) {
		mkdir(a, 0755);
	} else if (what < 45) {
		fd = open(a, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0644);
		if (fd >= 0 && rand() % 2)
			assert_int_equal(write(fd, "x", 1), 1);
		if (fd >= 0)
			close(fd);
	} else if (what < 70) {
		rename(a, b);
	} else if (what < 74) {
		renameat2(-1, a, -1, b, RENAME_EXCHANGE);
	} else if (what < 77) {
		(void)!link(a, b);
	} else if (what < 80) {
		(void)!symlink(b, a);
	} else if (what < 92) {
		unlink(a);
	} else if (what < 97) {
		rmdir(a);
	} else {
		snprintf(command, sizeof(command), "rm -rf '%s' 2>/dev/null", a);
		(void)!system(command); /* a name may lead round */
	}
}

static void random_changes(struct world *w, unsigned seed)
{
	srand(seed);
	for (int i = 0; i < 15; i++) {
		int n = 1 + rand() % 30;
		bool lost = rand() % 8 == 0;

		while (n--) {
			random_change(w);
			if (rand() % 10)
				continue;
			w->lose_from = lost ? 1 + (unsigned)rand() % 10 : 0;
			flush(w);
		}
		w->lose_from = 0;
		if (lost)
			lose(w);
		settle(w);
		w->told[0] = '\0';
	}
}

static void random_changes_are_followed(void **state)
{
	const char *more = getenv("SEEDS"), *first = getenv("SEED");
	unsigned seeds = more ? (unsigned)strtoul(more, NULL, 10) : 20;
	unsigned from = first ? (unsigned)strtoul(first, NULL, 10) : 1;
	struct world *w = *state;

	run(w, "mkdir root out");
	w->top = "root/";
	start_at(w, "/root", PATHS_MAX);
	for (unsigned seed = from; seed < from + seeds; seed++) {
		print_message("# seed %u\n", seed);
		random_changes(w, seed);
		run(w, "rm -rf root/* out/*");
		settle(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(what_was_there_is_known),
		T(each_change_is_told_once),
		T(a_file_made_with_content_is_written),
		T(a_file_written_and_removed_is_told_of_in_this_order),
		T(a_write_after_a_mere_close_is_not_missed),
		T(chains_of_renames_are_followed),
		T(moved_out_and_in_is_deleted_and_created),
		T(a_directory_is_filled_before_it_is_watched),
		T(what_a_look_found_is_not_told_twice),
		T(names_are_exchanged),
		T(a_directory_moves_while_its_events_wait),
		T(links_are_not_followed),
		T(the_root_goes_and_comes),
		T(paths_are_limited),
		T(it_works_without_watches),
		T(a_file_with_two_names_is_written_under_both),
		T(after_an_overflow_all_is_told),
		T(a_rename_is_lost_half),
		T(random_changes_are_followed),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
