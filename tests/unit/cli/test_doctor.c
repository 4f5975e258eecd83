// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/sys.h"
#include "cli/doctor.h"

/* Runs doctor with up to three arguments; what it printed (both streams) and its exit status. */
static int doctor(const char *a, const char *b, const char *c, char text[16384])
{
	char *argv[] = {(char *)"doctor", (char *)a, (char *)b, (char *)c, NULL};
	_cleanup_fd_ int out = memfd_create("doctor", 0);
	int saved[2] = {dup(1), dup(2)}, argc = 1, status;
	ssize_t n;

	while (argv[argc])
		argc++;
	fflush(stdout);
	dup2(out, 1);
	dup2(out, 2);
	status = doctor_main(argc, argv);
	fflush(stdout);
	for (int i = 0; i < 2; i++) {
		dup2(saved[i], i + 1);
		close(saved[i]);
	}
	n = pread(out, text, 16383, 0);
	assert_true(n >= 0);
	text[n] = '\0';
	return status;
}

static void every_section_is_there(void **state)
{
	static const char *const wanted[] = {
		"kernel ",
		"BTF ",
		"lockdown ",
		"  vfs ",
		"  kprobe ",
		"  syscall ",
		"  off ",
		"  CAP_BPF ",
		"  CAP_PERFMON ",
		"  CAP_LEASE ",
		"  CAP_SYS_ADMIN ",
		"max_user_watches ",
		"max_queued_events ",
		"open files ",
		"  /dev/shm ",
	};
	char text[16384];

	assert_int_equal(doctor("--root", "/dev/shm", NULL, text), 0);
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!strstr(text, wanted[i]))
			fail_msg("no \"%s\" in\n%s", wanted[i], text);
}

static void roots_are_tried(void **state)
{
	char dir[] = "/tmp/hotdrain.XXXXXX", file[64], text[16384];

	assert_non_null(mkdtemp(dir));
	assert_int_equal(doctor("-r", dir, NULL, text), 0);
	assert_non_null(strstr(text, "no file there yet"));
	snprintf(file, sizeof(file), "%s/0.log", dir);
	close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(doctor("-r", dir, NULL, text), 0);
	assert_null(strstr(text, "no file there yet"));
	assert_non_null(strstr(text, "readable, "));
	assert_int_equal(doctor("-r", file, NULL, text), 0);
	assert_non_null(strstr(text, "not a directory"));
	unlink(file);
	rmdir(dir);
	assert_int_equal(doctor("-r", dir, NULL, text), 0);
	assert_non_null(strstr(text, "No such file or directory"));
}

static void default_root_comes_from_the_environment(void **state)
{
	char text[16384];

	setenv("CONTAINER_LOG_DIRECTORY", "/nowhere/at/all", 1);
	assert_int_equal(doctor(NULL, NULL, NULL, text), 0);
	assert_non_null(strstr(text, "  /nowhere/at/all "));
	unsetenv("CONTAINER_LOG_DIRECTORY");
	assert_int_equal(doctor(NULL, NULL, NULL, text), 0);
	assert_non_null(strstr(text, "  /var/log/pods "));
}

static void wrong_arguments_are_one_line_and_status_2(void **state)
{
	static const char *const wrong[][2] = {
		{"-x", NULL}, {"--wat", NULL}, {"-r", NULL}, {"--root", ""}, {"stray", NULL},
	};
	char text[16384];

	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		assert_int_equal(doctor(wrong[i][0], wrong[i][1], NULL, text), 2);
		assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
	}
	assert_int_equal(doctor("--help", NULL, NULL, text), 0);
	assert_non_null(strstr(text, "--root DIR"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_section_is_there),
		cmocka_unit_test(roots_are_tried),
		cmocka_unit_test(default_root_comes_from_the_environment),
		cmocka_unit_test(wrong_arguments_are_one_line_and_status_2),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests_name("doctor", tests, NULL, NULL);
}
