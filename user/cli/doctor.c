// SPDX-License-Identifier: Apache-2.0
/*
 * A report for a person who asks why there are no counters, or why a file is not followed. It tries
 * each thing instead of deducing it: every rung is attached for real, each root is opened, and the
 * first file in it is asked for its key. It changes nothing and needs no privilege: what is refused
 * is what it has to tell.
 *
 *   NAME         what was found
 *     detail     one line each
 */
#include "cli/doctor.h"

#include <cap-ng.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/utsname.h>

#include "base/log.h"
#include "base/sys.h"
#include "heat/write_count.h"

#define DEFAULT_ROOT "/var/log/pods"
#define EXIT_USER    2
#define FIND_DEPTH   4    /* namespace_pod_uid / container / N.log, and one to spare */
#define FIND_MOST    1000 /* directory entries looked at before giving up */

static void line(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void line(const char *name, const char *fmt, ...)
{
	va_list ap;

	printf("%-22s ", name);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* The first line of a small file, or what went wrong with it. */
static const char *file_line(const char *path, char *text, size_t size)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);

	if (n < 0)
		return strerror(errno);
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static void show_kernel(void)
{
	const char *btf = "/sys/kernel/btf/vmlinux", *lockdown = "/sys/kernel/security/lockdown";
	char text[128];
	struct utsname u;
	struct stat st;

	if (uname(&u) == 0)
		line("kernel", "%s %s", u.release, u.machine);
	if (stat(btf, &st) == 0)
		line("BTF", "%s, %lld KiB", btf, (long long)st.st_size / 1024);
	else
		line("BTF", "%s: %s (no BPF program can be loaded)", btf, strerror(errno));
	if (access(lockdown, F_OK) == 0)
		line("lockdown", "%s", file_line(lockdown, text, sizeof(text)));
	else
		line("lockdown", "none known (no %s)", lockdown);
}

static void show_rungs(void)
{
	enum rung best = RUNG_OFF;

	puts("counting writes");
	for (enum rung rung = RUNG_FS; rung < RUNG_OFF; rung++) {
		struct write_count *wc;
		char name[32];

		snprintf(name, sizeof(name), "  %s", rung_name(rung));
		if (write_count_new(rung, 16, NULL, &wc) < 0) {
			line(name, "out of memory");
			continue;
		}
		if (write_count_rung(wc) == rung)
			line(name, "yes");
		else
			line(name, "no: %s", write_count_refusal(wc, rung));
		if (write_count_rung(wc) == rung && best == RUNG_OFF)
			best = rung;
		write_count_free(wc);
	}
	line("  off", "yes: sizes only");
	line("  --bpf auto takes", "%s", rung_name(best));
}

static void show_capabilities(void)
{
	static const struct {
		unsigned int cap;
		const char *name, *use;
	} caps[] = {
		{CAP_BPF, "  CAP_BPF", "load the counting programs"},
		{CAP_PERFMON, "  CAP_PERFMON", "attach them"},
		{CAP_SYS_ADMIN, "  CAP_SYS_ADMIN",
		 "count on filesystems that are modules; kprobes"},
		{CAP_DAC_READ_SEARCH, "  CAP_DAC_READ_SEARCH", "read logs of every owner"},
		{CAP_SYS_RESOURCE, "  CAP_SYS_RESOURCE", "raise the limit of open files"},
		{CAP_LEASE, "  CAP_LEASE", "know when a writer has closed a file of another owner"},
	};

	puts("capabilities");
	if (capng_get_caps_process() < 0) {
		line("", "cannot be read");
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		line(caps[i].name, "%-3s (%s)",
		     capng_have_capability(CAPNG_EFFECTIVE, caps[i].cap) ? "yes" : "no",
		     caps[i].use);
}

static void show_limits(void)
{
	static const char *const names[] = {"max_user_watches", "max_queued_events",
					    "max_user_instances"};
	char path[64], name[32], text[64], most[32];
	struct rlimit limit;

	puts("inotify");
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "/proc/sys/fs/inotify/%s", names[i]);
		snprintf(name, sizeof(name), "  %s", names[i]);
		line(name, "%s", file_line(path, text, sizeof(text)));
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	snprintf(most, sizeof(most), "%llu", (unsigned long long)limit.rlim_max);
	line("open files", "%llu, can be raised to %s", (unsigned long long)limit.rlim_cur,
	     limit.rlim_max == RLIM_INFINITY ? "any number" : most);
}

static const char *filesystem_name(int fd, char *text, size_t size)
{
	/* uapi/linux/magic.h, and zfs, which is not in there */
	static const struct {
		uint32_t magic;
		const char *name;
	} known[] = {
		{0xef53, "ext4"},      {0x58465342, "xfs"},  {0x9123683e, "btrfs"},
		{0x01021994, "tmpfs"}, {0x6969, "nfs"},      {0x794c7630, "overlay"},
		{0x858458f6, "ramfs"}, {0x01021997, "9p"},   {0xf2f52010, "f2fs"},
		{0x65735546, "fuse"},  {0xff534d42, "cifs"}, {0x2fc12fc1, "zfs"},
		{0x00c36400, "ceph"},
	};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return strerror(errno);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (known[i].magic == (uint32_t)fs.f_type)
			return known[i].name;
	snprintf(text, size, "filesystem type 0x%x", (unsigned int)fs.f_type);
	return text;
}

static void dir_close(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

static int first_file(int dir_fd, int depth, int *most);

static int first_file_at(int dir_fd, const char *name, int depth, int *most)
{
	_cleanup_fd_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (S_ISREG(st.st_mode))
		return take_fd(fd);
	return S_ISDIR(st.st_mode) && depth > 0 ? first_file(fd, depth - 1, most) : -1;
}

/* Some regular file below the directory, open, or -1. */
static int first_file(int dir_fd, int depth, int *most)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), found = -1;
	_cleanup_(dir_close) DIR *dir = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;

	if (!dir) {
		close_fd(&copy);
		return -1;
	}
	while (found < 0 && (*most)-- > 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			found = first_file_at(dir_fd, entry->d_name, depth, most);
	return found;
}

/* How a file below the directory is counted, by counting it. */
static const char *counting(struct write_count *wc, int dir_fd)
{
	int most = FIND_MOST, slot, r;
	_cleanup_fd_ int fd = first_file(dir_fd, FIND_DEPTH, &most);
	bool positions;

	if (fd < 0)
		return "counters: no file there yet to tell";
	r = write_count_add(wc, fd, NULL, &slot);
	if (r == -EOPNOTSUPP)
		return "no counters (no rung attaches)";
	if (r == -ENODATA)
		return "no counters (nothing counts this filesystem, or its inode numbers are not "
		       "unique or not known here)";
	if (r < 0)
		return strerror(-r);
	positions = write_count_positions(wc, slot);
	write_count_del(wc, slot);
	return positions ? "writes and truncations are counted"
			 : "writes are counted, truncations are not";
}

static void show_root(struct write_count *wc, const char *root)
{
	_cleanup_fd_ int fd = open(root, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *real = realpath(root, NULL);
	char name[64], text[40];
	struct stat st;

	snprintf(name, sizeof(name), "  %s", root);
	if (fd < 0 || fstat(fd, &st) < 0) {
		line(name, "%s", strerror(errno));
		return;
	}
	if (!S_ISDIR(st.st_mode)) {
		line(name, "not a directory");
		return;
	}
	if (real && strcmp(real, root) != 0)
		line(name, "is %s", real);
	line(real && strcmp(real, root) != 0 ? "" : name, "readable, %s, %s",
	     filesystem_name(fd, text, sizeof(text)), counting(wc, fd));
}

static void show_roots(char **roots, size_t n)
{
	struct write_count *wc;
	const char *given = getenv("CONTAINER_LOG_DIRECTORY");

	puts("roots");
	if (write_count_new(RUNG_AUTO, 16, NULL, &wc) < 0) {
		line("", "out of memory");
		return;
	}
	for (size_t i = 0; i < n; i++)
		show_root(wc, roots[i]);
	if (n == 0)
		show_root(wc, given && *given ? given : DEFAULT_ROOT);
	write_count_free(wc);
}

static void usage(void)
{
	puts("usage: hotdrain doctor [OPTION...]\n\n"
	     "Says what this kernel and these privileges allow. Changes nothing.\n\n"
	     "  -r, --root DIR   look at this directory (repeatable; default\n"
	     "                   $CONTAINER_LOG_DIRECTORY, else " DEFAULT_ROOT ")\n"
	     "  -v, --verbose    show what libbpf says, on standard error\n"
	     "  -h, --help       this text");
}

/* 0: go on; 1: --help was printed; -EINVAL after one line on standard error. */
static int options_parse(int argc, char **argv, char **roots, size_t *ret_n)
{
	static const struct option options[] = {
		{"root", required_argument, NULL, 'r'},
		{"verbose", no_argument, NULL, 'v'},
		{"help", no_argument, NULL, 'h'},
		{},
	};
	size_t n = 0;
	int c;

	opterr = 0;
	optind = 1;
	while ((c = getopt_long(argc, argv, ":r:vh", options, NULL)) != -1)
		switch (c) {
		case 'r':
			if (!*optarg)
				return log_err(-EINVAL, "--root: the directory's name is empty");
			roots[n++] = optarg;
			break;
		case 'v':
			log_set_level(LOG_DEBUG);
			break;
		case 'h':
			usage();
			return 1;
		case ':':
			return log_err(-EINVAL, "%s needs a value; see 'hotdrain doctor --help'",
				       argv[optind - 1]);
		default:
			return log_err(-EINVAL, "unknown option '%s'; see 'hotdrain doctor --help'",
				       argv[optind - 1]);
		}
	if (optind < argc)
		return log_err(-EINVAL, "unexpected argument '%s'; see 'hotdrain doctor --help'",
			       argv[optind]);
	*ret_n = n;
	return 0;
}

int doctor_main(int argc, char **argv)
{
	_cleanup_free_ char **roots = calloc((size_t)argc + 1, sizeof(*roots));
	size_t n = 0;
	int r;

	if (!roots)
		return 1;
	r = options_parse(argc, argv, roots, &n);
	if (r != 0)
		return r < 0 ? EXIT_USER : 0;
	show_kernel();
	show_rungs();
	show_capabilities();
	show_limits();
	show_roots(roots, n);
	return 0;
}
