// SPDX-License-Identifier: Apache-2.0
/*
 * Which rung attaches with which capabilities, and what the refusal says is missing. A child drops
 * all others and prints what it finds; the table below is what the parent expects.
 */
#include "write_world.h"

#include <cap-ng.h>

struct caps {
	const char *name;
	int caps[3]; /* -1 after the last */
	bool attach; /* every rung attaches; else none does, and the refusal names this: */
	const char *missing;
};

static const struct caps sets[] = {
	{"no capability", {-1}, false, "CAP_BPF and CAP_PERFMON"},
	/* but for what is in a module, and kprobes under kernel.perf_event_paranoid=3 */
	{"CAP_BPF and CAP_PERFMON", {CAP_BPF, CAP_PERFMON, -1}, true, "CAP_SYS_ADMIN"},
	{"and CAP_SYS_ADMIN", {CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN}, true, NULL},
};

/* 0: exactly this was counted; else -errno of add; 1: something else was counted. */
static int dir_count(struct write_count *wc, const char *dir)
{
	struct write_total t;
	int r, slot, fd = file_new(dir, O_APPEND);

	r = write_count_add(wc, fd, NULL, &slot);
	if (r == 0) {
		if (write(fd, "12345", 5) != 5)
			r = 1;
		write_count_read(wc, slot, &t);
		if (t.calls != 1 || t.bytes < 5)
			r = 1;
		write_count_del(wc, slot);
	}
	close(fd);
	return r;
}

/* /sys/module/xfs is there with the built-in ones too, its reference count only with a module. */
static bool fs_is_module(const char *dir)
{
	char path[100];

	snprintf(path, sizeof(path), "/sys/module/%s/refcnt", strrchr(dir, '/') + 1);
	return access(path, F_OK) == 0;
}

/* Shows what was said on standard error, which is a file here; was this in it? */
static bool was_said(const char *text)
{
	char said[4096], *save = NULL;
	ssize_t n = pread(STDERR_FILENO, said, sizeof(said) - 1, 0);
	bool found;

	said[MAX(n, 0)] = '\0';
	found = strstr(said, text);
	for (char *line = strtok_r(said, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		print_message("# %s\n", line);
	return found;
}

/* Prints what each filesystem says; false when one should have counted, or said why it cannot. */
static bool rung_counts(const struct world *world, const struct caps *caps, struct write_count *wc)
{
	enum rung rung = write_count_rung(wc);
	bool well = true;
	char line[300] = "";
	bool modules = false;

	for (size_t d = 0; d < world->dirs_n; d++) {
		const char *dir = world->dirs[d];
		int r = dir_count(wc, dir);
		size_t len = strlen(line);

		snprintf(line + len, sizeof(line) - len, "  %s %s", strrchr(dir, '/') + 1,
			 r == 0  ? "counted"
			 : r > 0 ? "WRONG"
				 : strerror(-r));
		if (may_lack_counter(dir, rung))
			well &= r == -ENODATA;
		else if (r < 0)
			well &= modules = rung == RUNG_FS && caps->missing && fs_is_module(dir);
		else
			well &= r == 0;
	}
	if (modules)
		well &= was_said(caps->missing);
	print_message("# %s: %s:%s\n", caps->name, rung_name(rung), line);
	return well;
}

/* false when the rung attaches and should not, or the other way round, or does not say why. */
static bool rung_is_right(const struct world *world, const struct caps *caps, enum rung rung)
{
	struct write_count *wc;
	const char *why;
	bool well;

	if (write_count_new(rung, 100, NULL, &wc) < 0)
		return false;
	why = write_count_refusal(wc, rung);
	if (why)
		print_message("# %s: %s: %s\n", caps->name, rung_name(rung), why);
	if (write_count_rung(wc) == rung)
		well = caps->attach && rung_counts(world, caps, wc);
	else
		well = why && caps->missing && strstr(why, caps->missing) &&
		       (!caps->attach || rung == RUNG_KPROBE);
	write_count_free(wc);
	return well;
}

/* The child: how many rungs are not as the table says. */
static int child_run(const struct world *world, const struct caps *caps)
{
	_cleanup_fd_ int said = memfd_create("said", MFD_CLOEXEC);
	int wrong = 0;

	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < ARRAY_SIZE(caps->caps) && caps->caps[i] >= 0; i++)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE,
			     (unsigned int)caps->caps[i]);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0 || dup2(said, STDERR_FILENO) < 0)
		return 100;
	for (enum rung r = RUNG_AUTO + 1; r < RUNG_OFF; r++)
		if (world->wanted[r] && !rung_is_right(world, caps, r)) {
			print_message("# %s: %s is not as expected\n", caps->name, rung_name(r));
			wrong++;
		}
	return wrong;
}

static void capabilities_decide_and_the_refusal_names_them(void **state)
{
	struct place *place = *state;
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		print_message("# only root has capabilities to drop\n");
		skip();
	}
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		int wrong = child_run(place->world, place->arg);

		fflush(NULL);
		_exit(wrong);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	static struct world world;
	char name[200];

	cmocka_set_message_output(CM_OUTPUT_TAP);
	world_init(&world);
	/* Where nothing says what must attach it is what attaches with the capabilities there
	 * are. */
	for (enum rung r = RUNG_AUTO + 1; r < RUNG_OFF && !world.required; r++)
		world.wanted[r] = world_attaches(&world, r);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++) {
		snprintf(name, sizeof(name), "%s: what attaches, and what is said of the rest",
			 sets[i].name);
		world_add(&world, name, capabilities_decide_and_the_refusal_names_them,
			  (struct place){&world, RUNG_AUTO, NULL, &sets[i]});
	}
	return world_finish(&world, "write_caps");
}
