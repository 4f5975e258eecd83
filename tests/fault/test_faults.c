/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fault loop: a scenario with five files, rotations and a restart is run with the 1st, the 2nd,
 * ... the Nth call of an entry of the system-call table failing, until a run is over before there
 * was an Nth. Afterwards every line has been delivered exactly once and in order, or its loss is
 * named; and nothing has crashed or hung. What happens is in scenario.h, what fails in faulty.h,
 * what is allowed in run.h and judge.h.
 *
 *   test_faults                     some Ns of each kind of failure, about a minute
 *   TORTURE=1 test_faults           every N, and each failure also as a burst of three
 *   test_faults ENTRY ERROR [N]     only these (ERROR as EIO or EIOx3); with N its files are kept
 *
 * FAULT_SEED=S chooses the Ns of the short form. FAULT_BPF=off or auto: with that rung; else
 * TORTURE does all with both, and the short form some kinds with BPF.
 *
 * Rejected: failing calls by chance (a run that failed cannot be had again), and a list of the
 * interesting calls (the ones nobody thought of are the interesting ones).
 */
#include <sys/mman.h>

#include "run.h"

#define WORKERS  2
#define PER_KIND 4 /* Ns, about, in the short form */
#define SHOWN    2 /* failures of a kind that are shown whole */
#define N_MAX    20000

const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
	return "abort_on_error=1:allocator_may_return_null=1";
}

const char *__ubsan_default_options(void)
{
	return "abort_on_error=1:print_stacktrace=1";
}

/* One kind of failure, over all its Ns. */
struct kind_runs {
	const struct fault_kind *kind;
	const char *bpf;
	unsigned burst, runs, hit, failed, losses, repeats;
	bool over; /* there was no Nth call any more */
};

struct worker {
	pid_t pid; /* 0: idle */
	unsigned n;
	char dir[PATH_MAX / 4];
	struct result *result; /* shared with it */
};

static struct {
	struct worker workers[WORKERS];
	char dir[64];
	const char *bpf; /* NULL: both */
	bool keep;
	unsigned test, failed, next_dir;
} runner;

static void show_failure(struct kind_runs *k, const struct worker *w)
{
	const struct result *res = w->result;

	if (k->failed++ >= SHOWN) {
		printf("# N = %u fails, too: %s\n", w->n, res->faulty.what);
		return;
	}
	printf("# N = %u: %s\n%s", w->n,
	       atomic_load(&res->faulty.hits) ? res->faulty.what : "nothing failed",
	       res->report.text);
	if (k->kind)
		printf("# run it alone: FAULT_BPF=%s test_faults %s %s%s %u\n", k->bpf,
		       entry_names[k->kind->entry], k->kind->name, k->burst > 1 ? "x3" : "", w->n);
	if (runner.keep)
		printf("# its files: %s\n", w->dir);
}

/* A run is over. */
static void worker_reap(struct kind_runs *k, struct worker *w, int status)
{
	struct result *res = w->result;

	w->pid = 0;
	k->runs++;
	if (status != 0) {
		say(&res->report, "# the writer itself ended badly: status 0x%x\n", status);
		res->failed = true;
	}
	if (res->failed)
		show_failure(k, w);
	k->losses += res->verdict.losses;
	k->repeats += res->verdict.repeats;
	if (atomic_load(&res->faulty.hits))
		k->hit++;
	else
		k->over = true;
	if (!runner.keep)
		dir_remove(w->dir);
}

/* Waits for one run, or for all. */
static void workers_wait(struct kind_runs *k, bool all)
{
	bool busy;

	do {
		int status;
		pid_t pid = wait(&status);

		busy = false;
		for (int i = 0; i < WORKERS; i++) {
			if (pid > 0 && runner.workers[i].pid == pid)
				worker_reap(k, &runner.workers[i], status);
			busy = busy || runner.workers[i].pid;
		}
	} while (all && busy);
}

static void run_start(struct kind_runs *k, unsigned n)
{
	struct worker *w = &runner.workers[0];

	while (w->pid && w < &runner.workers[WORKERS - 1])
		w++;
	snprintf(w->dir, sizeof(w->dir), "%s/%u", runner.dir, runner.next_dir++);
	assert(!w->pid && mkdir(w->dir, 0700) == 0);
	memset(w->result, 0, sizeof(*w->result));
	w->n = n;
	fflush(stdout);
	w->pid = fork();
	assert(w->pid >= 0);
	if (w->pid)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	alarm(6 * LIMIT_S);
	plan.kind = k->kind;
	plan.at = n;
	plan.burst = k->burst;
	run_scenario(w->dir, k->bpf, w->result, runner.keep);
	_exit(0);
}

static void run_one(struct kind_runs *k, unsigned n)
{
	bool free_worker = false;

	for (int i = 0; i < WORKERS; i++)
		free_worker = free_worker || !runner.workers[i].pid;
	if (!free_worker)
		workers_wait(k, false);
	run_start(k, n);
}

static void kind_verdict(const struct kind_runs *k)
{
	bool bad = k->failed || !k->runs;

	runner.failed += bad;
	printf("%sok %u - %s %s%s, bpf %s # ", bad ? "not " : "", ++runner.test,
	       entry_names[k->kind->entry], k->kind->name, k->burst > 1 ? "x3" : "", k->bpf);
	if (k->hit || bad)
		printf("%u runs, %u with a failing call, %u named a loss, %u repeated lines\n",
		       k->runs, k->hit, k->losses, k->repeats);
	else if (k->kind->entry == ENTRY_MALLOC && !malloc_can_fail)
		printf("SKIP the sanitizer's malloc cannot be made to fail\n");
	else
		printf("SKIP there is no such call in this run\n");
	fflush(stdout);
}

/* From first on, each stride'th N up to last, or until there is no such call any more. */
static void kind_run(struct kind_runs k, unsigned first, unsigned stride, unsigned last)
{
	for (unsigned n = first; n <= last && !k.over; n += stride)
		run_one(&k, n);
	workers_wait(&k, true);
	kind_verdict(&k);
}

/* Nothing fails: everything must be there, and how many calls there are is learned. */
static bool run_whole(const char *bpf, unsigned counts[ENTRY_COUNT])
{
	struct kind_runs k = {.burst = 1, .bpf = bpf};
	struct result *res = runner.workers[0].result;

	run_start(&k, 0);
	workers_wait(&k, true);
	for (int e = 0; e < ENTRY_COUNT; e++)
		counts[e] = atomic_load(&res->faulty.calls[e]);
	printf("%sok %u - nothing fails, bpf %s #", k.failed ? "not " : "", ++runner.test, bpf);
	for (int e = 0; e < ENTRY_COUNT; e++)
		printf(" %s %u", entry_names[e], counts[e]);
	printf("\n");
	runner.failed += k.failed;
	return !k.failed;
}

/* Every N, once and as a burst. */
static void run_all(const char *bpf)
{
	for (size_t i = 0; i < 2 * ARRAY_SIZE(fault_kinds); i++)
		kind_run((struct kind_runs){.kind = &fault_kinds[i / 2],
					    .bpf = bpf,
					    .burst = i % 2 ? BURST : 1},
			 1, 1, N_MAX);
}

/* As many Ns of each kind as there is time for, the rare calls all. */
static void run_some(const unsigned counts[ENTRY_COUNT], unsigned seed)
{
	for (size_t i = 0; i < ARRAY_SIZE(fault_kinds); i++) {
		/* malloc is no system call: in the full form, and by name. */
		if (fault_kinds[i].entry == ENTRY_MALLOC)
			continue;
		unsigned calls = counts[fault_kinds[i].entry], stride = calls / PER_KIND + 1;
		struct kind_runs k = {.kind = &fault_kinds[i],
				      .bpf = (seed + i) % 4 == 1 ? "auto" : "off",
				      .burst = (seed + i) % 4 == 0 ? BURST : 1};

		if (runner.bpf)
			k.bpf = runner.bpf;
		kind_run(k, 1 + (seed + (unsigned)i * 7) % stride, stride, MAX(calls, 1U));
	}
}

static int run_named(const char *entry, const char *error, const char *n)
{
	size_t len = strcspn(error, "x");
	unsigned at;

	for (size_t i = 0; i < ARRAY_SIZE(fault_kinds); i++) {
		const struct fault_kind *kind = &fault_kinds[i];

		if (strcmp(entry, entry_names[kind->entry]) != 0 || strlen(kind->name) != len ||
		    strncmp(error, kind->name, len) != 0)
			continue;
		runner.keep = n;
		at = n ? (unsigned)strtoul(n, NULL, 10) : 1;
		kind_run((struct kind_runs){.kind = kind,
					    .bpf = runner.bpf ? runner.bpf : "off",
					    .burst = error[len] ? BURST : 1},
			 at, 1, n ? at : N_MAX);
		return 0;
	}
	fprintf(stderr, "no such kind of failure: %s %s\n", entry, error);
	return 2;
}

static void runner_init(void)
{
	struct result *shared = mmap(NULL, WORKERS * sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert(shared != MAP_FAILED);
	for (int i = 0; i < WORKERS; i++)
		runner.workers[i].result = &shared[i];
	snprintf(runner.dir, sizeof(runner.dir), "/tmp/hotdrain-faults-XXXXXX");
	assert(mkdtemp(runner.dir));
	runner.bpf = getenv("FAULT_BPF");
	unsetenv("HOTDRAIN_POD_UID");
}

static void run_everything(const char *seed_text)
{
	static const char *const rungs[] = {"off", "auto"};
	unsigned seed = seed_text ? (unsigned)strtoul(seed_text, NULL, 10) : 1;
	unsigned counts[ENTRY_COUNT];

	for (size_t i = 0; i < ARRAY_SIZE(rungs); i++) {
		if ((runner.bpf && strcmp(runner.bpf, rungs[i]) != 0) ||
		    !run_whole(rungs[i], counts))
			continue;
		if (getenv("TORTURE"))
			run_all(rungs[i]);
	}
	if (getenv("TORTURE") || runner.failed)
		return;
	printf("# FAULT_SEED=%u\n", seed);
	run_some(counts, seed);
}

int main(int argc, char **argv)
{
	int r = 0;

	runner_init();
	if (argc > 2)
		r = run_named(argv[1], argv[2], argc > 3 ? argv[3] : NULL);
	else
		run_everything(getenv("FAULT_SEED"));
	if (!runner.keep)
		dir_remove(runner.dir);
	return r ? r : runner.failed > 0;
}
