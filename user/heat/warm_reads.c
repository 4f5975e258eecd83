// SPDX-License-Identifier: Apache-2.0
#include "heat/warm_reads.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/types.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../bpf/warm_reads.h"
#include "heat/bpf_log.h"
#include "warm_reads.skel.h"

#define WORTH_IT 24 /* files; the call costs as much as is won for eight, which may not be cold */

#define IN_VAIN 100 /* runs, before it is given up */

struct warm_reads {
	int program; /* a descriptor, -1: given up */
	int page_shift;
	unsigned int in_vain;
	struct warm_reads_bpf__bss *shared;
};

/* The skeleton is not kept: with it, libbpf would keep what it read of the kernel's BTF. */
static int take(struct warm_reads *w, const struct warm_reads_bpf *skel)
{
	void *shared = mmap(NULL, sizeof(*w->shared), PROT_READ | PROT_WRITE, MAP_SHARED,
			    bpf_map__fd(skel->maps.bss), 0);

	if (shared == MAP_FAILED)
		return -errno;
	w->shared = shared;
	w->program = fcntl(bpf_program__fd(skel->progs.warm_reads), F_DUPFD_CLOEXEC, 3);
	return w->program < 0 ? -errno : 0;
}

int warm_reads_new(struct warm_reads **ret_warm)
{
	struct warm_reads *w = calloc(1, sizeof(*w));
	struct warm_reads_bpf *skel;
	int r;

	if (!w)
		return -ENOMEM;
	w->program = -1;
	w->page_shift = __builtin_ctzl((unsigned long)sysconf(_SC_PAGESIZE));
	bpf_log_quietly();
	skel = warm_reads_bpf__open_and_load();
	r = skel ? take(w, skel) : -errno;
	warm_reads_bpf__destroy(skel);
	malloc_trim(0); /* the kernel's BTF was read */
	*ret_warm = r < 0 ? warm_reads_free(w) : w;
	return r;
}

static void give_up(struct warm_reads *w)
{
	if (w->program >= 0)
		close(w->program);
	w->program = -1;
}

struct warm_reads *warm_reads_free(struct warm_reads *w)
{
	if (!w)
		return NULL;
	give_up(w);
	if (w->shared)
		munmap(w->shared, sizeof(*w->shared));
	free(w);
	return NULL;
}

void warm_reads_add(struct warm_reads *w, int fd, uint64_t offset)
{
	if (!w || fd < 0)
		return;
	w->shared->reads[w->shared->reads_n++] =
		(struct warm_read){.fd = (uint32_t)fd, .page = (uint32_t)(offset >> w->page_shift)};
	if (w->shared->reads_n == WARM_READS_MAX)
		warm_reads_run(w);
}

/* In vain where all is on an overlay. */
unsigned int warm_reads_run(struct warm_reads *w)
{
	unsigned int before;

	if (!w)
		return 0;
	before = w->shared->found_n;
	if (w->program >= 0 && w->shared->reads_n >= WORTH_IT) {
		int r = bpf_prog_test_run_opts(w->program, NULL);

		w->in_vain = w->shared->found_n == before ? w->in_vain + 1 : 0;
		if (r < 0 || w->in_vain == IN_VAIN)
			give_up(w);
	}
	w->shared->reads_n = 0;
	return w->shared->found_n;
}
