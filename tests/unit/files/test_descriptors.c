/* SPDX-License-Identifier: Apache-2.0 */
/* More files than descriptors: who is closed, who stays, and what becomes of a closed one. */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sys.h"
#include "drain/gz.h"
#include "event/source.h"
#include "files/descriptors.h"
#include "files/files.h"
#include "output/batch.h"

#define LATER(seconds) (INT64_C(1000000000000) + (seconds)*NS_PER_SEC)

struct world {
	char *dir;
	struct files *files;
	struct list hot; /* what the collector polls */
	struct file *last, *closed;
	unsigned looked, released;
	bool closed_while_open;
	struct sys sys;
};

static struct {
	const char *path; /* the calls about this path fail so */
	int open_errno;
	int64_t birth_ns;
} fault;

static int open_faulty(const char *path, int flags)
{
	static int (*real)(const char *path, int flags);

	if (!path) {
		real = sys.open_plain;
		return 0;
	}
	if (fault.open_errno && (!fault.path || strcmp(path, fault.path) == 0)) {
		errno = fault.open_errno;
		return -1;
	}
	return real(path, flags);
}

static int birth_changed(int fd, const char *path, int64_t *ret_ns)
{
	*ret_ns = fault.birth_ns;
	return 0;
}

static void opened(void *ctx, struct file *f)
{
	((struct world *)ctx)->last = f;
}

static void look(void *ctx, struct file *f)
{
	((struct world *)ctx)->looked++;
}

static void released(void *ctx, struct file *f)
{
	struct world *w = ctx;

	w->released++;
	list_del(&f->in_hot);
}

static void ended(void *ctx, struct chain *c)
{
}

static void closing(void *ctx, struct file *f)
{
	struct world *w = ctx;

	w->closed = f;
	w->closed_while_open = fcntl(f->fd, F_GETFD) >= 0;
}

/* The tests say it through rate_mark. */
static int64_t deadline(void *ctx, const struct file *f)
{
	return (int64_t)f->rate_mark;
}

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct files_hooks hooks = {.ctx = w,
				    .opened = opened,
				    .look = look,
				    .released = released,
				    .ended = ended,
				    .closing = closing,
				    .deadline = deadline};

	log_set_level(LOG_ERR);
	memset(&fault, 0, sizeof(fault));
	w->dir = test_dir_make();
	w->sys = sys;
	open_faulty(NULL, 0);
	sys.open_plain = open_faulty;
	list_init(&w->hot);
	assert_int_equal(files_new(&hooks, &w->files), 0);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	files_free(w->files);
	sys = w->sys;
	test_dir_remove(w->dir);
	free(w);
	return 0;
}

static const char *at(struct world *w, const char *name)
{
	static char paths[4][256];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", w->dir, name);
	return path;
}

/* A file of two bytes; NULL: it was not opened. */
static struct file *add(struct world *w, const char *name)
{
	test_write(at(w, name), "w", "x\n");
	w->last = NULL;
	files_found(w->files, at(w, name), NULL);
	return w->last;
}

/* Everything in it was read, and acknowledged. */
static struct file *drained(struct file *f)
{
	f->offset = f->acked = f->size;
	return f;
}

static struct file *polled(struct world *w, struct file *f)
{
	list_add_tail(&w->hot, &f->in_hot);
	return f;
}

static struct file *due(struct world *w, struct file *f, uint64_t deadline_ns)
{
	f->rate_mark = (uint64_t)deadline_ns;
	return polled(w, f);
}

static struct files_stats stats(const struct world *w)
{
	struct files_stats s;

	files_stats(w->files, &s);
	return s;
}

/* Opens another: who makes room? NULL: nobody. */
static struct file *closed_for_another(struct world *w)
{
	static unsigned n;
	char name[32];

	snprintf(name, sizeof(name), "another%u.log", n++);
	w->closed = NULL;
	add(w, name);
	return w->closed;
}

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void no_more_than_allowed_are_open(void **state)
{
	struct world *w = *state;
	unsigned before = descriptors();
	char name[32];

	files_open_max(w->files, 4);
	for (unsigned i = 1; i <= 20; i++) {
		snprintf(name, sizeof(name), "%u.log", i);
		assert_non_null(add(w, name));
		assert_int_equal(stats(w).open, i);
		assert_int_equal(stats(w).closed, i > 4 ? i - 4 : 0);
		assert_int_equal(descriptors() - before, MIN(i, 4u));
	}
	for (unsigned i = 1; i <= 20; i++) {
		snprintf(name, sizeof(name), "%u.log", i);
		assert_int_equal(files_open(w->files, files_at(w->files, at(w, name))), 0);
		assert_int_equal(stats(w).closed, 16);
		assert_int_equal(descriptors() - before, 4);
	}
	assert_int_equal(stats(w).found, 20);
}

static void allowed_less_the_next_open_closes_several(void **state)
{
	struct world *w = *state;

	add(w, "1.log");
	add(w, "2.log");
	add(w, "3.log");
	files_open_max(w->files, 1);
	add(w, "4.log");
	assert_int_equal(stats(w).closed, 3);
}

static void who_closes_is_told_while_it_is_open(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log");

	files_open_max(w->files, 1);
	add(w, "2.log");
	assert_ptr_equal(w->closed, f);
	assert_true(w->closed_while_open);
	assert_int_equal(f->fd, -1);
}

static void idle_is_closed_before_polled_before_unread(void **state)
{
	struct world *w = *state;
	struct file *unread, *rotated, *hot, *idle;

	unread = due(w, add(w, "1.log"), (uint64_t)LATER(1000));
	rotated = drained(polled(w, add(w, "2.log")));
	rotated->displaced = true;
	hot = drained(polled(w, add(w, "3.log")));
	idle = drained(add(w, "4.log"));
	files_open_max(w->files, 4);
	assert_ptr_equal(closed_for_another(w), idle);
	polled(w, w->last)->inflight = 1; /* it stays */
	assert_ptr_equal(closed_for_another(w), hot);
	polled(w, w->last)->inflight = 1;
	assert_ptr_equal(closed_for_another(w), rotated);
	polled(w, w->last)->inflight = 1;
	assert_ptr_equal(closed_for_another(w), unread);
}

static void the_later_deadline_is_closed_first(void **state)
{
	struct world *w = *state;
	struct file *soon = due(w, add(w, "1.log"), 100), *late = due(w, add(w, "2.log"), 90000),
		    *mid = due(w, add(w, "3.log"), 5000);

	files_open_max(w->files, 3);
	assert_ptr_equal(closed_for_another(w), late);
	polled(w, w->last)->inflight = 1;
	assert_ptr_equal(closed_for_another(w), mid);
	polled(w, w->last)->inflight = 1;
	assert_ptr_equal(closed_for_another(w), soon);
}

static void among_equals_the_one_used_longest_ago_is_closed(void **state)
{
	struct world *w = *state;
	struct file *a = add(w, "1.log"), *b = add(w, "2.log"), *c = add(w, "3.log");

	files_open_max(w->files, 3);
	assert_int_equal(files_open(w->files, a), 0);
	assert_ptr_equal(closed_for_another(w), b);
	assert_ptr_equal(closed_for_another(w), c);
	assert_ptr_equal(closed_for_another(w), a);
}

static void what_could_not_be_found_again_stays_open(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log");
	char *path = f->path;

	files_open_max(w->files, 1);
	f->unlinked = true;
	assert_null(closed_for_another(w));
	f->unlinked = false;
	f->path = NULL;
	assert_null(closed_for_another(w));
	f->path = path;
	f->maybe_copy = true;
	assert_null(closed_for_another(w));
	f->maybe_copy = false;
	f->inflight = 1;
	assert_null(closed_for_another(w));
	f->inflight = 0;
	f->offset = 2; /* read, and not acknowledged */
	assert_null(closed_for_another(w));
	f->acked = 2;
	assert_int_equal(gz_new(f->fd, &f->gz), 0);
	assert_null(closed_for_another(w));
	assert_true(f->fd >= 0);
	gz_free(take_ptr(f->gz));
	assert_ptr_equal(closed_for_another(w), f); /* nothing else held it */
}

static void one_that_must_stay_does_not_keep_others_open(void **state)
{
	struct world *w = *state;
	struct file *stays = add(w, "1.log"), *f = drained(polled(w, add(w, "2.log")));

	stays->inflight = 1;
	files_open_max(w->files, 2);
	assert_ptr_equal(closed_for_another(w), f);
	stays->inflight = 0;
}

static void reopened_it_is_the_same_file(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log"), *other;
	char text[2];

	f->offset = f->acked = 1;
	files_open_max(w->files, 1);
	other = add(w, "2.log");
	assert_int_equal(f->fd, -1);
	test_write(at(w, "1.log"), "a", "more\n"); /* its content may change */
	assert_int_equal(files_open(w->files, f), 0);
	assert_int_equal(other->fd, -1);
	assert_int_equal(pread(f->fd, text, 2, 0), 2);
	assert_memory_equal(text, "x\n", 2);
	assert_int_equal(f->offset, 1);
	assert_string_equal(f->path, at(w, "1.log"));
	assert_int_equal(w->looked, 0);
}

static void reopened_by_the_name_it_has_now(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log");

	files_open_max(w->files, 1);
	add(w, "2.log");
	assert_int_equal(rename(at(w, "1.log"), at(w, "1.log.1")), 0);
	files_found(w->files, at(w, "1.log.1"), NULL);
	assert_ptr_equal(files_at(w->files, at(w, "1.log.1")), f);
	assert_true(f->displaced);
	assert_int_equal(files_open(w->files, f), 0);
}

/* Its name leads elsewhere: the name is lost, and the file with it unless it shows up. */
static void check_stale(struct world *w, struct file *f)
{
	unsigned fds = descriptors(), looked = w->looked;

	assert_int_equal(files_open(w->files, f), -ESTALE);
	assert_null(f->path);
	assert_true(f->displaced);
	assert_int_equal(f->fd, -1);
	assert_int_equal(w->looked, looked + 1);
	assert_true(descriptors() <= fds);
	assert_int_equal(files_open(w->files, f), -ESTALE); /* as before, without a name */
	assert_int_equal(w->looked, looked + 1);
}

static void another_inode_at_its_name_is_not_it(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log");

	files_open_max(w->files, 1);
	add(w, "2.log");
	test_write(at(w, "new"), "w", "y\n");
	assert_int_equal(rename(at(w, "new"), at(w, "1.log")), 0);
	check_stale(w, f);
	assert_ptr_not_equal(f->chain->live, f);
}

static void another_birth_of_its_inode_is_not_it(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log");

	files_open_max(w->files, 1);
	add(w, "2.log");
	fault.birth_ns = f->identity.btime_ns + 4000000;
	sys.birth = birth_changed;
	check_stale(w, f);
}

static void nothing_or_a_link_at_its_name_is_not_it(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log"), *g = add(w, "2.log");

	files_open_max(w->files, 1);
	add(w, "3.log");
	unlink(at(w, "1.log"));
	check_stale(w, f);
	assert_int_equal(rename(at(w, "2.log"), at(w, "elsewhere")), 0);
	assert_int_equal(symlink("elsewhere", at(w, "2.log")), 0);
	check_stale(w, g); /* not even to itself: what is a link is not opened */
}

static void an_open_that_fails_otherwise_keeps_the_name(void **state)
{
	static const int reasons[] = {EACCES, EMFILE, EIO, EINTR};
	struct world *w = *state;
	struct file *f = add(w, "1.log");

	files_open_max(w->files, 1);
	add(w, "2.log");
	for (size_t i = 0; i < ARRAY_SIZE(reasons); i++) {
		fault.open_errno = reasons[i];
		assert_int_equal(files_open(w->files, f), -reasons[i]);
		assert_string_equal(f->path, at(w, "1.log"));
		assert_false(f->displaced);
	}
	fault.open_errno = 0;
	assert_int_equal(files_open(w->files, f), 0);
}

static void a_closed_one_is_not_opened_when_nobody_makes_room(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log"), *g;

	files_open_max(w->files, 1);
	g = add(w, "2.log");
	g->inflight = 1;
	assert_int_equal(files_open(w->files, f), -EMFILE);
	assert_int_equal(files_open(w->files, g), 0); /* is open */
	g->inflight = 0;
	assert_int_equal(files_open(w->files, f), 0);
	assert_int_equal(g->fd, -1);
}

/* ext4 does so with the next file that is made. */
static void an_inode_handed_on_is_another_file(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log"), *new;
	const struct chain *c = f->chain;

	f->offset = f->acked = 1; /* a byte was not read */
	files_open_max(w->files, 1);
	add(w, "2.log");
	fault.birth_ns = f->identity.btime_ns + 4000000;
	sys.birth = birth_changed;
	c->live->chain->members++; /* for the account, after the file is gone */
	w->last = NULL;
	files_found(w->files, at(w, "1.log"), NULL);
	new = w->last;
	assert_non_null(new);
	assert_int_equal(w->released, 1);
	assert_int_equal(new->offset, 0);
	assert_int_equal(new->identity.btime_ns, fault.birth_ns);
	assert_ptr_equal(new->chain, c);
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].bytes, 1);
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].events, 1);
	new->chain->members--;
}

static void without_room_a_name_waits(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log"), *g;

	files_open_max(w->files, 1);
	f->inflight = 1;
	assert_true(files_postponed_ns(w->files) == INT64_MAX);
	assert_null(add(w, "2.log"));
	assert_null(add(w, "3.log"));
	assert_true(files_postponed_ns(w->files) < INT64_MAX);
	assert_int_equal(stats(w).vanished, 0);
	assert_int_equal(stats(w).unreadable, 0);
	files_take_postponed(w->files);
	assert_true(files_postponed_ns(w->files) < INT64_MAX); /* still no room: they still wait */
	assert_int_equal(stats(w).open, 1);
	f->inflight = 0;
	files_take_postponed(w->files);
	assert_true(files_postponed_ns(w->files) == INT64_MAX);
	assert_int_equal(stats(w).open, 3);
	assert_int_equal(stats(w).closed, 2);
	g = files_at(w->files, at(w, "2.log"));
	assert_non_null(g);
	assert_int_equal(files_open(w->files, g), 0);
	assert_non_null(files_at(w->files, at(w, "3.log")));
}

static bool holds_wanted(void *ctx, const char *path)
{
	return strstr(path, ctx);
}

static void names_that_are_not_wanted_wait_no_longer(void **state)
{
	static char odd[] = "odd", none[] = "none";
	struct world *w = *state;
	char name[32];

	fault.open_errno = EMFILE;
	for (unsigned i = 0; i < 9; i++) {
		snprintf(name, sizeof(name), "%s%u.log", i % 3 == 1 ? "odd" : "even", i);
		assert_null(add(w, name));
	}
	files_keep_postponed(w->files, holds_wanted, odd);
	fault.open_errno = 0;
	files_take_postponed(w->files);
	assert_int_equal(stats(w).open, 3);
	assert_non_null(files_at(w->files, at(w, "odd7.log")));
	fault.open_errno = EMFILE;
	assert_null(add(w, "even.log"));
	files_keep_postponed(w->files, holds_wanted, none);
	assert_true(files_postponed_ns(w->files) == INT64_MAX);
}

static void the_system_s_limit_makes_a_name_wait_too(void **state)
{
	static const int reasons[] = {EMFILE, ENFILE};
	struct world *w = *state;
	char name[32];

	for (unsigned i = 0; i < 2; i++) {
		fault.open_errno = reasons[i];
		snprintf(name, sizeof(name), "%u.log", i);
		assert_null(add(w, name));
		assert_true(files_postponed_ns(w->files) < INT64_MAX);
		fault.open_errno = 0;
		files_take_postponed(w->files);
		assert_true(files_postponed_ns(w->files) == INT64_MAX);
		assert_non_null(files_at(w->files, at(w, name)));
	}
}

static void a_name_that_waits_keeps_its_pod(void **state)
{
	struct world *w = *state;

	fault.open_errno = EMFILE;
	test_write(at(w, "id-json.log"), "w", "x\n");
	files_found(w->files, at(w, "id-json.log"), "/var/log/pods/ns_pod_uid/container/3.log");
	add(w, "without.log");
	fault.open_errno = 0;
	files_take_postponed(w->files);
	assert_string_equal(w->last->source->path, at(w, "without.log"));
	assert_int_equal(w->last->source->pod_name.len, 0);
	w->last = files_at(w->files, at(w, "id-json.log"));
	assert_non_null(w->last);
	assert_int_equal(w->last->source->pod_name.len, 3);
	assert_memory_equal(w->last->source->path + w->last->source->pod_name.at, "pod", 3);
	assert_int_equal(w->last->source->restart_count, 3);
}

static void a_name_that_is_gone_while_it_waits_is_counted(void **state)
{
	struct world *w = *state;

	fault.open_errno = EMFILE;
	add(w, "1.log");
	unlink(at(w, "1.log"));
	fault.open_errno = 0;
	files_take_postponed(w->files);
	assert_true(files_postponed_ns(w->files) == INT64_MAX);
	assert_int_equal(stats(w).vanished, 1);
	assert_int_equal(stats(w).open, 0);
}

/* A closed file of which unread bytes are left, and that lost its name; its chain is kept. */
static struct file *nameless(struct world *w, uint64_t unread)
{
	struct file *f = add(w, "1.log"), *next;

	f->chain->members++;
	f->size = 100;
	f->offset = f->acked = 100 - unread;
	files_open_max(w->files, 1);
	next = add(w, "2.log");
	files_open_max(w->files, 10);
	assert_int_equal(rename(at(w, "1.log"), at(w, "elsewhere")), 0);
	files_gone(w->files, at(w, "1.log"));
	assert_null(f->path);
	assert_true(list_linked(&f->in_chain));
	files_take_retry(w->files);
	assert_true(next->fd >= 0);
	return f;
}

static void unread_bytes_that_may_turn_up_are_waited_for(void **state)
{
	struct world *w = *state;
	struct file *f = nameless(w, 60);
	struct chain *c = f->chain;

	files_seek(w->files, f, LATER(0));
	assert_true(files_take_retry(w->files)); /* a rescan is asked for */
	files_seek(w->files, f, LATER(1));
	assert_false(files_take_retry(w->files)); /* once */
	assert_true(list_linked(&f->in_chain));   /* its successor waits */
	files_seek(w->files, f, LATER(2));
	assert_false(list_linked(&f->in_chain)); /* no longer */
	assert_true(f->lingering);
	files_seek(w->files, f, LATER(7));
	assert_int_equal(w->released, 0);
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].events, 0);
	files_seek(w->files, f, LATER(30));
	assert_int_equal(w->released, 1);
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].bytes, 60);
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].events, 1);
	c->members--;
	add(w, "1.log");
	assert_ptr_equal(w->last->chain, c);
}

static void drained_it_keeps_nobody_waiting_and_loses_nothing(void **state)
{
	struct world *w = *state;
	struct file *f = nameless(w, 0);
	struct chain *c = f->chain;

	files_seek(w->files, f, LATER(0));
	assert_false(list_linked(&f->in_chain));
	assert_int_equal(w->released, 0); /* found as a stranger it would be read twice */
	files_seek(w->files, f, LATER(30));
	assert_int_equal(w->released, 1);
	assert_false(tally_lost(&c->tally));
	c->members--;
	add(w, "1.log");
	assert_ptr_equal(w->last->chain, c);
}

/* What is only known to have been written to has no size. */
static void of_unknown_size_it_is_an_event(void **state)
{
	struct world *w = *state;
	struct file *f = nameless(w, 0);
	struct chain *c = f->chain;

	f->probe = true;
	files_seek(w->files, f, LATER(0));
	files_seek(w->files, f, LATER(30));
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].bytes, 0);
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].events, 1);
	c->members--;
	add(w, "1.log");
	assert_ptr_equal(w->last->chain, c);
}

static void found_under_another_name_it_is_read_on(void **state)
{
	struct world *w = *state;
	struct file *f = nameless(w, 60);

	f->chain->members--;
	files_seek(w->files, f, LATER(0));
	files_seek(w->files, f, LATER(2));
	assert_int_equal(rename(at(w, "elsewhere"), at(w, "1.log.1")), 0);
	files_found(w->files, at(w, "1.log.1"), NULL);
	assert_string_equal(f->path, at(w, "1.log.1"));
	assert_int_equal(f->offset, 40);
	assert_false(f->sought);
	assert_true(file_eligible(f));
	assert_int_equal(files_open(w->files, f), 0);
	assert_false(tally_lost(&f->chain->tally));
}

static void its_name_taken_back_it_is_live(void **state)
{
	struct world *w = *state;
	struct file *f = nameless(w, 60);

	f->chain->members--;
	files_seek(w->files, f, LATER(0));
	files_seek(w->files, f, LATER(2));
	assert_int_equal(rename(at(w, "elsewhere"), at(w, "1.log")), 0);
	files_found(w->files, at(w, "1.log"), NULL);
	assert_ptr_equal(f->chain->live, f);
	assert_false(f->displaced || f->lingering);
	assert_true(list_linked(&f->in_chain));
}

static void released_it_gives_its_descriptor_back(void **state)
{
	struct world *w = *state;
	struct file *f = add(w, "1.log");

	files_open_max(w->files, 1);
	f->inflight = 1; /* freed later, closed now */
	files_release(w->files, f);
	assert_non_null(add(w, "2.log"));
	assert_int_equal(stats(w).closed, 0);
	files_put(w->files, f);
}

static void compressed_generations_are_among_them(void **state)
{
	struct world *w = *state;
	unsigned before = descriptors();
	char name[32];

	files_open_max(w->files, 2);
	for (unsigned i = 1; i <= 5; i++) {
		struct file *f;

		snprintf(name, sizeof(name), "1.log.2026112%u-000000.gz", i);
		test_write(at(w, name), "w", "");
		assert_int_equal(files_add_gz(w->files, at(w, name),
					      open(at(w, name), O_RDONLY | O_CLOEXEC), &f),
				 0);
		assert_true(f->compressed);
		assert_int_equal(stats(w).open, i);
		assert_in_range(descriptors() - before, 1, 2);
	}
}

static void what_is_lost_breaks_what_was_begun(void **state)
{
	struct world *w = *state;
	struct file *f = nameless(w, 60);
	struct chain *c = f->chain;

	assert_int_equal(chain_make_joins(c), 0);
	files_seek(w->files, f, LATER(0));
	files_seek(w->files, f, LATER(30));
	assert_true(c->joins[STREAM_STDOUT].broken); /* by what was in between */
	c->members--;
	add(w, "1.log");
	assert_ptr_equal(w->last->chain, c);
}

static void a_torn_tail_that_is_gone_is_counted(void **state)
{
	struct world *w = *state;
	struct file *f = nameless(w, 7);
	struct chain *c = f->chain;

	f->torn = 7; /* the rest of its line would have been awaited */
	files_seek(w->files, f, LATER(0));
	files_seek(w->files, f, LATER(30));
	assert_int_equal(w->released, 1);
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].bytes, 7);
	assert_int_equal(c->tally.lost[LOST_ROTATED_AWAY].events, 1);
	c->members--;
	add(w, "1.log");
	assert_ptr_equal(w->last->chain, c);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
static const struct CMUnitTest tests[] = {
	T(compressed_generations_are_among_them),
	T(what_is_lost_breaks_what_was_begun),
	T(a_torn_tail_that_is_gone_is_counted),
	T(no_more_than_allowed_are_open),
	T(allowed_less_the_next_open_closes_several),
	T(who_closes_is_told_while_it_is_open),
	T(idle_is_closed_before_polled_before_unread),
	T(the_later_deadline_is_closed_first),
	T(among_equals_the_one_used_longest_ago_is_closed),
	T(what_could_not_be_found_again_stays_open),
	T(one_that_must_stay_does_not_keep_others_open),
	T(reopened_it_is_the_same_file),
	T(reopened_by_the_name_it_has_now),
	T(another_inode_at_its_name_is_not_it),
	T(another_birth_of_its_inode_is_not_it),
	T(nothing_or_a_link_at_its_name_is_not_it),
	T(an_open_that_fails_otherwise_keeps_the_name),
	T(a_closed_one_is_not_opened_when_nobody_makes_room),
	T(an_inode_handed_on_is_another_file),
	T(without_room_a_name_waits),
	T(names_that_are_not_wanted_wait_no_longer),
	T(the_system_s_limit_makes_a_name_wait_too),
	T(a_name_that_waits_keeps_its_pod),
	T(a_name_that_is_gone_while_it_waits_is_counted),
	T(unread_bytes_that_may_turn_up_are_waited_for),
	T(drained_it_keeps_nobody_waiting_and_loses_nothing),
	T(of_unknown_size_it_is_an_event),
	T(found_under_another_name_it_is_read_on),
	T(its_name_taken_back_it_is_live),
	T(released_it_gives_its_descriptor_back),
};
RUN_TESTS(tests)
