// SPDX-License-Identifier: Apache-2.0
/*
 * Each set is a BPF object of its own that has only the set's programs loaded, with the shared maps
 * in place of its own; so a filesystem's set can come when its first file does, as often as there
 * are filesystems. The object is given up once its links hold the programs: 10 MiB of the kernel's
 * BTF went with it.
 *
 * A refused set leaves nothing behind, and is not tried again: what refuses (a capability, a
 * kernel without the mechanism) does not change while we run. A module that is loaded later does:
 * its filesystem has no file to watch before. Nor is a set tried that needs what is known to be
 * refused in general (write_hooks_probe.h, or by an attachment to a function of the kernel itself):
 * each try costs 20 ms.
 *
 * Rejected: libbpf's probes (libbpf_probe_bpf_prog_type and the like), which load but never attach,
 * as a proof that something works.
 */
#include "heat/write_hooks.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "heat/bpf_log.h"
#include "heat/write_hooks_probe.h"
#include "heat/write_maps.h"
#include "heat/write_pins.h"
#include "write_count.skel.h"

#define KERNEL_ENOTSUPP 524 /* include/linux/errno.h; has no name in user space */

#define PROGRAMS_MAX 4
#define TARGETS_MAX  2

struct hook {
	const char *program;              /* in bpf/write_count.bpf.c */
	const char *targets[TARGETS_MAX]; /* functions, the first that is there; none: its own */
};

static const struct {
	const char *name, *what;
	struct hook hooks[PROGRAMS_MAX];
} sets[HOOK_SETS] = {
	[HOOKS_TMPFS] = {"tmpfs",
			 "fexit on tmpfs' write_iter",
			 {{"fexit_write_iter",
			   {"shmem_file_write_iter", "generic_file_write_iter"}}}},
	[HOOKS_EXT4] = {"ext4",
			"fexit on ext4_file_write_iter",
			{{"fexit_write_iter", {"ext4_file_write_iter"}}}},
	[HOOKS_XFS] = {"xfs",
		       "fexit on xfs_file_write_iter and xfs_file_remap_range",
		       {{"fexit_write_iter", {"xfs_file_write_iter"}},
			{"fexit_remap", {"xfs_file_remap_range"}}}},
	[HOOKS_BTRFS] = {"btrfs",
			 "fexit on btrfs_file_write_iter, btrfs_remap_file_range and notify_change",
			 {{"fexit_write_iter_btrfs", {"btrfs_file_write_iter"}},
			  {"fexit_remap_btrfs", {"btrfs_remap_file_range"}},
			  {"fentry_notify_change_btrfs", {}},
			  {"fexit_notify_change_btrfs", {}}}},
	[HOOKS_POSITIONS] = {"positions",
			     "fentry and fexit on notify_change",
			     {{"fentry_notify_change", {}}, {"fexit_notify_change", {}}}},
	[HOOKS_VFS] = {"vfs",
		       "fexit on vfs_write and vfs_writev",
		       {{"fexit_vfs_write", {}}, {"fexit_vfs_writev", {}}}},
	[HOOKS_KPROBE] = {"kprobe",
			  "kprobe on vfs_write and vfs_writev",
			  {{"kprobe_vfs_write", {}}, {"kprobe_vfs_writev", {}}}},
	[HOOKS_SYSCALL] = {"syscall", "tracepoint sys_exit", {{"tp_sys_exit", {}}}},
};

struct attached {
	int r; /* 1: never tried, 0: attached, else why not */
	struct bpf_link *links[PROGRAMS_MAX];
	int programs[PROGRAMS_MAX]; /* descriptors; 0: none */
	char *why;
};

struct write_hooks {
	const struct write_maps *maps;
	struct write_pins *pins;
	int trampoline; /* 1: not asked yet, 0: may work, else why fentry and fexit are refused */
	struct attached sets[HOOK_SETS];
};

static bool may(unsigned int capability)
{
	return capng_get_caps_process() < 0 || capng_have_capability(CAPNG_EFFECTIVE, capability);
}

static bool may_bpf(void)
{
	return may(CAP_SYS_ADMIN) || (may(CAP_BPF) && may(CAP_PERFMON));
}

/* Reading kernel memory by helper is then refused. */
static bool kernel_confidential(void)
{
	_cleanup_fd_ int fd = open("/sys/kernel/security/lockdown", O_RDONLY | O_CLOEXEC);
	char text[100];
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, "[confidentiality]");
}

const char *write_hooks_words(int r)
{
	switch (-r) {
	case KERNEL_ENOTSUPP:
		return "not supported by this kernel";
	case ESRCH:
		return may(CAP_SYS_ADMIN)
			       ? "not in the kernel's BTF"
			       : "not in the kernel's BTF (that of modules needs CAP_SYS_ADMIN)";
	case ENOENT:
		return "this kernel lacks the function or the mechanism";
	case EPERM:
		if (!may_bpf())
			return "Operation not permitted (needs CAP_BPF and CAP_PERFMON)";
		return may(CAP_SYS_ADMIN)
			       ? "Operation not permitted, though the capabilities are there"
			       : "Operation not permitted (a module's function needs "
				 "CAP_SYS_ADMIN)";
	case EACCES:
		if (!may(CAP_SYS_ADMIN))
			return "Permission denied (needs CAP_SYS_ADMIN, or a "
			       "kernel.perf_event_paranoid of 2 or less)";
		/* fallthrough */
	case EINVAL:
	case E2BIG:
		return kernel_confidential() ? "refused under lockdown=confidentiality"
					     : "rejected by this kernel (-v shows why)";
	default:
		return strerror(-r);
	}
}

int write_hooks_new(const struct write_maps *maps, struct write_hooks **ret_hooks)
{
	struct write_hooks *hooks = calloc(1, sizeof(*hooks));

	if (!hooks)
		return -ENOMEM;
	bpf_log_quietly();
	hooks->maps = maps;
	hooks->trampoline = 1;
	for (int i = 0; i < HOOK_SETS; i++)
		hooks->sets[i].r = 1;
	*ret_hooks = hooks;
	return 0;
}

void write_hooks_pin(struct write_hooks *hooks, struct write_pins *pins)
{
	hooks->pins = pins;
}

static void attached_done(struct attached *a)
{
	for (int i = 0; i < PROGRAMS_MAX; i++) {
		bpf_link__destroy(a->links[i]);
		a->links[i] = NULL;
		if (a->programs[i] > 0)
			close(a->programs[i]);
		a->programs[i] = 0;
	}
}

void write_hooks_free(struct write_hooks *hooks)
{
	if (!hooks)
		return;
	for (int i = 0; i < HOOK_SETS; i++) {
		attached_done(&hooks->sets[i]);
		free(hooks->sets[i].why);
	}
	free(hooks);
}

static int maps_in_place(struct write_count_bpf *skel, const struct write_maps *maps)
{
	int r = 0;

	for (int i = 0; i < WRITE_MAPS && r == 0; i++)
		r = bpf_map__reuse_fd(bpf_object__find_map_by_name(skel->obj, write_map_names[i]),
				      maps->fds[i]);
	return r;
}

/* Kernels name some functions differently: the first that is there. */
static int set_target(struct bpf_program *program, const struct hook *hook)
{
	int r = hook->targets[0] ? -ESRCH : 0;

	for (int i = 0; i < TARGETS_MAX && hook->targets[i] && r < 0; i++)
		r = bpf_program__set_attach_target(program, 0, hook->targets[i]);
	return r;
}

static int set_load(struct write_hooks *hooks, enum hook_set set, struct write_count_bpf *skel)
{
	const struct hook *hook = sets[set].hooks;
	int r = maps_in_place(skel, hooks->maps);

	skel->rodata->may_probe = !kernel_confidential();
	for (int i = 0; i < PROGRAMS_MAX && hook[i].program && r == 0; i++) {
		struct bpf_program *p =
			bpf_object__find_program_by_name(skel->obj, hook[i].program);

		if (!p)
			return -ENOENT;
		bpf_program__set_autoload(p, true);
		r = set_target(p, &hook[i]);
	}
	return r < 0 ? r : write_count_bpf__load(skel);
}

static int set_attach(struct write_hooks *hooks, enum hook_set set, struct write_count_bpf *skel,
		      const char **ret_section)
{
	const struct hook *hook = sets[set].hooks;
	struct attached *a = &hooks->sets[set];

	for (int i = 0; i < PROGRAMS_MAX && hook[i].program; i++) {
		struct bpf_program *p =
			bpf_object__find_program_by_name(skel->obj, hook[i].program);

		*ret_section = bpf_program__section_name(p);
		a->links[i] = bpf_program__attach(p);
		if (!a->links[i])
			return -errno;
		a->programs[i] = fcntl(bpf_program__fd(p), F_DUPFD_CLOEXEC, 3);
		if (a->programs[i] < 0)
			return -errno;
	}
	return 0;
}

bool write_hooks_pins_whole(struct write_pins *pins)
{
	static const char *const kinds[] = {"prog", "link"};
	char path[PATH_MAX];

	for (int set = 0; set < HOOK_SETS; set++) {
		int wanted = 0, there = 0;

		for (int i = 0; i < PROGRAMS_MAX && sets[set].hooks[i].program; i++)
			for (size_t k = 0; k < ARRAY_SIZE(kinds); k++, wanted++) {
				write_pins_path(pins, kinds[k], sets[set].name, i, path);
				there += access(path, F_OK) == 0;
			}
		if (there && there != wanted)
			return false;
	}
	return true;
}

/* The links that an earlier process left. */
static int set_adopt(struct write_hooks *hooks, enum hook_set set)
{
	struct attached *a = &hooks->sets[set];
	char path[PATH_MAX];

	for (int i = 0; i < PROGRAMS_MAX && sets[set].hooks[i].program; i++) {
		a->programs[i] = write_pins_get(hooks->pins, "prog", sets[set].name, i);
		if (a->programs[i] < 0)
			return a->programs[i];
		write_pins_path(hooks->pins, "link", sets[set].name, i, path);
		a->links[i] = bpf_link__open(path);
		if (!a->links[i])
			return -errno;
	}
	return 0;
}

static int set_pin(struct write_hooks *hooks, enum hook_set set)
{
	struct attached *a = &hooks->sets[set];
	int r = 0;

	for (int i = 0; i < PROGRAMS_MAX && a->links[i] && r == 0; i++) {
		char path[PATH_MAX];

		r = write_pins_put(hooks->pins, a->programs[i], "prog", sets[set].name, i);
		write_pins_path(hooks->pins, "link", sets[set].name, i, path);
		if (r == 0)
			r = bpf_link__pin(a->links[i], path);
	}
	return r;
}

static int refused(struct attached *a, int r, const char *doing, const char *what)
{
	attached_done(a);
	a->r = r;
	if (asprintf(&a->why, "%s %s: %s", doing, what, write_hooks_words(r)) < 0)
		a->why = NULL;
	return r;
}

static bool needs_trampoline(enum hook_set set)
{
	return set != HOOKS_KPROBE && set != HOOKS_SYSCALL;
}

/* What is known to be refused whatever the programs do. 0, or -errno and *ret_doing. */
static int refused_in_general(struct write_hooks *hooks, enum hook_set set, const char **ret_doing)
{
	*ret_doing = "loading";
	if (set == HOOKS_KPROBE) {
		*ret_doing = "attaching";
		return write_hooks_probe_kprobe() ? 0 : -ENOENT;
	}
	if (!needs_trampoline(set))
		return 0;
	if (hooks->trampoline == 1)
		hooks->trampoline = write_hooks_probe_trampoline();
	else if (hooks->trampoline < 0)
		*ret_doing = "not tried, as other programs of its kind were refused:";
	return hooks->trampoline;
}

/* Loads and attaches, or says in *a why not. */
static void set_try(struct write_hooks *hooks, enum hook_set set, struct write_count_bpf *skel)
{
	struct attached *a = &hooks->sets[set];
	const char *section = NULL;
	int r = set_load(hooks, set, skel);

	if (r < 0) {
		refused(a, r, "loading", sets[set].what);
		return;
	}
	r = set_attach(hooks, set, skel, &section);
	if (r < 0) {
		/* To attach to a module's function is another matter. */
		if (r == -EPERM && set == HOOKS_TMPFS)
			hooks->trampoline = r;
		refused(a, r, "attaching", strchr(section, '/') ? section : sets[set].what);
		return;
	}
	a->r = 0;
	if (hooks->pins && (r = set_pin(hooks, set)) < 0)
		refused(a, r, "pinning", sets[set].what);
}

int write_hooks_attach(struct write_hooks *hooks, enum hook_set set)
{
	struct attached *a = &hooks->sets[set];
	struct write_count_bpf *skel;
	const char *doing;
	int r;

	if (a->r <= 0)
		return a->r;
	if (hooks->pins && hooks->maps->adopted && set_adopt(hooks, set) == 0) {
		a->r = 0;
		return 0;
	}
	attached_done(a);
	r = refused_in_general(hooks, set, &doing);
	if (r < 0)
		return refused(a, r, doing, sets[set].what);
	skel = write_count_bpf__open();
	if (!skel)
		return -errno;
	set_try(hooks, set, skel);
	write_count_bpf__destroy(skel);
	malloc_trim(0); /* the kernel's BTF was read */
	return a->r;
}

void write_hooks_detach(struct write_hooks *hooks, enum hook_set set)
{
	attached_done(&hooks->sets[set]);
	hooks->sets[set].r = 1;
}

bool write_hooks_attached(const struct write_hooks *hooks, enum hook_set set)
{
	return hooks->sets[set].r == 0;
}

const char *write_hooks_why(const struct write_hooks *hooks, enum hook_set set)
{
	return hooks->sets[set].why;
}

const char *write_hooks_what(enum hook_set set)
{
	return sets[set].what;
}

uint64_t write_hooks_misses(const struct write_hooks *hooks)
{
	uint64_t misses = 0;

	for (int s = 0; s < HOOK_SETS; s++)
		for (int i = 0; i < PROGRAMS_MAX && hooks->sets[s].programs[i] > 0; i++) {
			struct bpf_prog_info info = {};
			uint32_t len = sizeof(info);

			if (bpf_obj_get_info_by_fd(hooks->sets[s].programs[i], &info, &len) == 0)
				misses += info.recursion_misses;
		}
	return misses;
}
