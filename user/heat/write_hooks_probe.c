// SPDX-License-Identifier: Apache-2.0
/*
 * Trying a set for real costs 20 ms and 11 MiB (libbpf reads all of the kernel's BTF), and up to
 * 60 ms in the verifier, for a refusal that has nothing to do with the program. Two such refusals
 * are told before:
 *
 *   a kernel or its policy that lets no fentry and fexit in   the smallest such program is loaded;
 *       its target is not a function, so a kernel that would let it in answers EINVAL
 *   a kernel without kprobes                                  libbpf attaches through the PMU of
 *       that name, else through tracefs: neither file is there
 *
 * Only these answers are believed. With any other one the real programs are tried, as only they
 * prove anything.
 */
#include "heat/write_hooks_probe.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <unistd.h>

#include "base/sys.h"

#define NO_FUNCTION 1 /* BTF's first type is an integer */

int write_hooks_probe_trampoline(void)
{
	static const struct bpf_insn nothing[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_FEXIT,
		    .attach_btf_id = NO_FUNCTION);
	int fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, "probe", "GPL", nothing, ARRAY_SIZE(nothing),
			       &opts);

	if (fd >= 0)
		close(fd);
	return fd == -EPERM ? fd : 0;
}

bool write_hooks_probe_kprobe(void)
{
	static const char *const paths[] = {
		"/sys/bus/event_source/devices/kprobe/type",
		"/sys/kernel/debug/tracing/kprobe_events",
		"/sys/kernel/tracing/kprobe_events",
	};

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (access(paths[i], F_OK) == 0 || errno != ENOENT)
			return true;
	return false;
}
