/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of the scenario, in a process of its own that is the writer. The program runs in a child
 * of it, started anew for each phase:
 *
 *   phase 1  the writer works, then SIGTERM       faults
 *   -------  the logs are rotated                 (stopped)
 *   phase 2  ends when idle                       faults
 *   phase 3  ends when idle                       whole: what is left is delivered now at the
 * latest
 *
 * A phase that a fault keeps from starting (one line, a status that is not 0) is begun again
 * without one.
 *
 * Repeated lines are allowed only where a checkpoint could not be saved or loaded: the first
 * failing call was about the state directory (open, write, fsync, rename, ... of what is in it), or
 * memory was short and the log says that the state was not saved or read.
 */
#ifndef RUN_H
#define RUN_H

#include <ftw.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "collector.h"
#include "config.h"
#include "faulty.h"
#include "judge.h"

#define LIMIT_S     (20 * TIME_FACTOR) /* a phase takes longer only if it hangs */
#define PATIENCE_MS (1500 * TIME_FACTOR)
#ifdef __SANITIZE_ADDRESS__
#define TIME_FACTOR 3
#else
#define TIME_FACTOR 1
#endif

/* Shared with the parent: a run's result. */
struct result {
	struct faulty faulty;
	struct report report;
	struct verdict verdict;
	bool failed;
};

struct run {
	struct result *result;
	const char *bpf;
	int phase;
	pid_t pid;  /* the program's */
	bool ended; /* it is over, status is its */
	bool whole; /* this phase is to be without faults */
	int status;
	int64_t patience_ms; /* that is left, for waits */
	struct scenario scenario;
	char dir[PATH_MAX / 4], root[PATH_MAX / 2], state[PATH_MAX / 2], out[PATH_MAX / 2];
};

static void sleep_ms(int64_t ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * NS_PER_MS};

	nanosleep(&t, NULL);
}

static void log_path(const struct run *r, int phase, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/stderr.%d", r->dir, phase);
}

/* What run_main of main.c does. */
static int program(const struct run *r)
{
	char sink[PATH_MAX];
	const char *args[] = {"run",
			      "--root",
			      r->root,
			      "--sink",
			      sink,
			      "--state",
			      r->state,
			      "--format",
			      "raw",
			      "--bpf",
			      r->bpf,
			      "--batch-bytes",
			      "4Ki",
			      "--batches",
			      "4",
			      "--linger",
			      "1ms",
			      "--tick",
			      "5ms",
			      "--hot-quiet",
			      "20ms",
			      "--rotate-quiet",
			      "100ms",
			      "--exit-when-idle",
			      r->phase == 1 ? "never" : "100ms"};
	_cleanup_(config_done) struct config cfg = {0};
	atomic_bool *armed = &r->result->faulty.armed;
	struct collector *c;
	int err;

	snprintf(sink, sizeof(sink), "file:%s", r->out);
	err = config_parse(ARRAY_SIZE(args), (char **)args, &cfg);
	if (err)
		return 3;
	log_set_level(cfg.log_level);
	atomic_store(armed, !r->whole);
	err = collector_new(&cfg, &c);
	if (err < 0)
		return 2;
	err = collector_run(c);
	if (err == -ETIMEDOUT)
		_exit(1);
	collector_free(c);
	atomic_store(armed, false);
	return err < 0;
}

static void program_start(struct run *r)
{
	pid_t parent = getpid();
	char path[PATH_MAX];
	int fd;

	r->ended = false;
	atomic_store(&r->result->faulty.armed, false); /* as the one before may have left it */
	r->pid = fork();
	assert(r->pid >= 0);
	if (r->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(3);
	alarm(0);
	log_path(r, r->phase, path);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		_exit(3);
	scenario_done(&r->scenario); /* it is no writer */
	plan.state_dir = r->state;
	plan.sink_path = r->out;
	plan.shared = &r->result->faulty;
	plan.shared->phase = r->phase;
	faulty_install();
	exit(program(r));
}

static bool program_over(struct run *r)
{
	if (!r->ended && waitpid(r->pid, &r->status, WNOHANG) == r->pid)
		r->ended = true;
	return r->ended;
}

/* Until what is written has been delivered, as long as there is patience. */
static void wait_lines(void *ctx)
{
	struct run *r = ctx;
	unsigned want = scenario_lines(&r->scenario), got;

	while (!program_over(r) && r->patience_ms > 0) {
		char *out = slurp(r->out);

		got = 0;
		for (const char *p = out; (p = strchr(p, '\n')); p++)
			got++;
		free(out);
		if (got >= want)
			return;
		sleep_ms(3);
		r->patience_ms -= 3;
	}
}

static void wait_end(struct run *r)
{
	int64_t until = clock_now_ns() + LIMIT_S * NS_PER_SEC;

	while (!program_over(r)) {
		if (clock_now_ns() > until) {
			say(&r->result->report, "# phase %d: not over after %d s\n", r->phase,
			    LIMIT_S);
			r->result->failed = true;
			kill(r->pid, SIGABRT);
			waitpid(r->pid, &r->status, 0);
			r->ended = true;
			return;
		}
		sleep_ms(2);
	}
}

static unsigned count_text(const char *in, const char *what)
{
	unsigned n = 0;

	for (; (in = strstr(in, what)); in++)
		n++;
	return n;
}

/* Has a fault kept it from starting, as it may? */
static bool start_refused(const struct run *r)
{
	char path[PATH_MAX];
	unsigned errors;
	char *text;

	if (r->whole || !WIFEXITED(r->status) || WEXITSTATUS(r->status) != 2 ||
	    !atomic_load(&r->result->faulty.hits) || r->result->faulty.hit_phase != r->phase)
		return false;
	log_path(r, r->phase, path);
	text = slurp(path);
	errors = count_text(text, "hotdrain: error: ");
	free(text);
	return errors == 1 || (errors == 0 && plan.kind->entry == ENTRY_MALLOC);
}

static void check_end(struct run *r)
{
	struct report *report = &r->result->report;

	if (WIFEXITED(r->status) && WEXITSTATUS(r->status) == 0)
		return;
	if (WIFSIGNALED(r->status))
		say(report, "# phase %d: ended by %s\n", r->phase,
		    sigabbrev_np(WTERMSIG(r->status)));
	else
		say(report, "# phase %d: ended with status %d\n", r->phase, WEXITSTATUS(r->status));
	r->result->failed = true;
}

/* work: what the writer does meanwhile, then it is told to stop; NULL: it ends by itself. */
static void run_phase(struct run *r, int phase, void (*work)(struct run *r))
{
	r->phase = phase;
	program_start(r);
	if (work)
		wait_lines(r);
	else
		wait_end(r);
	if (program_over(r) && start_refused(r)) {
		r->whole = true;
		program_start(r);
		wait_lines(r);
	}
	if (work) {
		work(r);
		if (!program_over(r)) {
			kill(r->pid, SIGTERM);
		} else {
			say(&r->result->report, "# phase %d: over before it was told to\n", phase);
			r->result->failed = true;
		}
	}
	wait_end(r);
	check_end(r);
}

static void work_live(struct run *r)
{
	scenario_live(&r->scenario, wait_lines, r);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void dir_remove(const char *dir)
{
	nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Does the log name a save or a load that failed? */
static bool state_failed(const char *said)
{
	return strstr(said, "warning: state") || strstr(said, "error: state");
}

static void run_judge(struct run *r, char *said)
{
	const struct faulty *f = &r->result->faulty;
	bool no_state = f->hits &&
			(f->in_state || (plan.kind->entry == ENTRY_MALLOC && state_failed(said)));
	struct allowed allowed = {.repeats = no_state};
	char *out = slurp(r->out);

	/* Phase 3 has resumed, phase 2 has not: it had no checkpoint. */
	if (no_state && count_text(said, "hotdrain: resumed ") < 2)
		allowed.missing = 'c';
	if (!judge(&r->scenario, out, said, &allowed, &r->result->report, &r->result->verdict))
		r->result->failed = true;
	free(out);
}

/* The last lines of what the program has said, as comments, without those of logs that are well. */
static void say_tail(struct report *report, const char *said)
{
	size_t len = strlen(said);
	const char *at = said + (len > 4000 ? len - 4000 : 0);

	for (const char *eol; *at; at = *eol ? eol + 1 : eol) {
		const char *well = strstr(at, "lost 0 bytes; ");

		eol = strchrnul(at, '\n');
		if (!well || well > eol)
			say(report, "# | %.*s\n", (int)MIN(eol - at, (ptrdiff_t)300), at);
	}
}

static void collect_said(const struct run *r, char said[], size_t size)
{
	char path[PATH_MAX];

	said[0] = '\0';
	for (int phase = 1; phase <= 3; phase++) {
		size_t at = strlen(said);
		char *text;

		log_path(r, phase, path);
		text = slurp(path);
		snprintf(said + at, size - at, "%s", text);
		free(text);
	}
}

/* The process of one run. Everything it makes is below dir. */
static void run_scenario(const char *dir, const char *bpf, struct result *result, bool keep)
{
	struct run r = {.result = result, .bpf = bpf, .patience_ms = PATIENCE_MS};
	static char said[256 * 1024];

	if (!plan.kind)
		r.patience_ms *= 10; /* nothing that could keep a line back */
	snprintf(r.dir, sizeof(r.dir), "%s", dir);
	snprintf(r.root, sizeof(r.root), "%s/pods", dir);
	snprintf(r.state, sizeof(r.state), "%s/state", dir);
	snprintf(r.out, sizeof(r.out), "%s/out", dir);
	scenario_init(&r.scenario, r.root);
	scenario_before(&r.scenario);
	run_phase(&r, 1, work_live);
	sleep_ms(20); /* times of birth have a granularity of 4 ms */
	scenario_stopped(&r.scenario);
	run_phase(&r, 2, NULL);
	r.whole = true;
	run_phase(&r, 3, NULL);
	collect_said(&r, said, sizeof(said));
	run_judge(&r, said);
	if (result->failed)
		say_tail(&result->report, said);
	scenario_done(&r.scenario);
	if (!keep)
		dir_remove(dir);
}

#endif
