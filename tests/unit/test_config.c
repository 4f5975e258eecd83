/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line and the YAML file as they are promised to a user: what each spelling means, and
 * the one line that says what is wrong. Everything goes through config_parse().
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/sys.h"
#include "config.h"
#include "config_table.h"

#define WORDS_MAX 16
#define EXAMPLE   "deploy/config.yaml"

static char dir[64], file[80];
static char said[64 * 1024]; /* what the last parse() wrote */

/* Everything that goes to fd while it lasts ends in said. */
static int capture_begin(int fd, int *ret_saved)
{
	char path[96];
	int out;

	snprintf(path, sizeof(path), "%s/said", dir);
	out = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	fflush(stdout);
	*ret_saved = dup(fd);
	dup2(out, fd);
	return out;
}

static void capture_end(int fd, int out, int saved)
{
	ssize_t n;

	fflush(stdout);
	dup2(saved, fd);
	close(saved);
	n = pread(out, said, sizeof(said) - 1, 0);
	said[n < 0 ? 0 : n] = '\0';
	close(out);
}

/* line: the words behind "run", split at spaces; "@" is the file's path. */
static int parse_to(int fd, const char *line, struct config *ret)
{
	char copy[512], run[] = "run", *words[WORDS_MAX] = {run}, *rest = copy, *w;
	int n = 1, r, out, saved;

	snprintf(copy, sizeof(copy), "%s", line);
	while ((w = strsep(&rest, " ")) && n < WORDS_MAX - 1)
		if (w[0])
			words[n++] = strcmp(w, "@") ? w : file;
	out = capture_begin(fd, &saved);
	r = config_parse(n, words, ret);
	capture_end(fd, out, saved);
	return r;
}

static int parse(const char *line, struct config *ret)
{
	return parse_to(STDERR_FILENO, line, ret);
}

static void write_file(const char *text)
{
	FILE *f = fopen(file, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* One line, that begins with "hotdrain: " and holds want; "@" in it stands for the file's path. */
static void assert_said(const char *want)
{
	char line[512];
	const char *at = strchr(want, '@');

	snprintf(line, sizeof(line), "hotdrain: %.*s%s%s\n",
		 at ? (int)(at - want) : (int)strlen(want), want, at ? file : "", at ? at + 1 : "");
	assert_string_equal(said, line);
}

static void nothing_said_is_every_default(void **state)
{
	struct config c;

	assert_int_equal(parse("", &c), 0);
	assert_string_equal(said, "");
	assert_null(c.config_path);
	assert_null(c.own_pod_uid);
	assert_int_equal(c.roots.n, 1);
	assert_string_equal(c.roots.items[0], "/var/log/pods");
	assert_int_equal(c.link_roots.n, 0);
	assert_int_equal(c.sinks.n, 1);
	assert_string_equal(c.sinks.items[0], "stdout");
	assert_int_equal(c.format, ENCODE_NDJSON);
	assert_int_equal(c.decode, DECODE_AUTO);
	assert_int_equal(c.start, CONFIG_START_BEGINNING);
	assert_int_equal(c.order, ORDER_HOT);
	assert_int_equal(c.bpf, RUNG_AUTO);
	assert_string_equal(c.bpf_pin, "none");
	assert_int_equal(c.log_level, LOG_INFO);
	assert_int_equal(c.linger_ns, 5000000);
	assert_int_equal(c.exit_when_idle_ns, -1);
	assert_int_equal(c.rotate_quiet_ns, 2000000000);
	assert_int_equal(c.hot_quiet_ns, 250000000);
	assert_int_equal(c.tick_ns, 9000000);
	assert_int_equal(c.stop_timeout_ns, 5000000000);
	assert_int_equal(c.line_max_bytes, 1 << 20);
	assert_int_equal(c.batch_bytes, 256 << 10);
	assert_int_equal(c.join_max_bytes, 8 << 20);
	assert_int_equal(c.rotate_size_bytes, 10 << 20);
	assert_int_equal(c.batches, 8);
	assert_int_equal(c.rotate_files, 5);
	assert_int_equal(c.files_max, 16384);
	config_done(&c);
}

static void every_spelling_of_a_flag_is_taken(void **state)
{
	struct config c;

	assert_int_equal(parse("-r/a -r /b --root /c --root=/d -oL -fraw --order=fifo --bpf kprobe "
			       "--exit-when-idle=0",
			       &c),
			 0);
	assert_int_equal(c.roots.n, 4);
	assert_string_equal(c.roots.items[0], "/a");
	assert_string_equal(c.roots.items[1], "/b");
	assert_string_equal(c.roots.items[2], "/c");
	assert_string_equal(c.roots.items[3], "/d");
	assert_string_equal(c.sinks.items[0], "L");
	assert_int_equal(c.format, ENCODE_RAW);
	assert_int_equal(c.order, ORDER_FIFO);
	assert_int_equal(c.bpf, RUNG_KPROBE);
	assert_int_equal(c.exit_when_idle_ns, 0);
	config_done(&c);

	assert_int_equal(parse("-vqfraw --linger 1s --linger=2s --decode docker --start end", &c),
			 0);
	assert_int_equal(c.log_level, LOG_WARN);
	assert_int_equal(c.format, ENCODE_RAW);
	assert_int_equal(c.linger_ns, 2000000000);
	assert_int_equal(c.decode, DECODE_DOCKER);
	assert_int_equal(c.start, CONFIG_START_END);
	config_done(&c);

	assert_int_equal(parse("--log-level=error -- ", &c), 0);
	assert_int_equal(c.log_level, LOG_ERR);
	config_done(&c);
}

static void bad_flag_is_one_line_with_what_was_expected(void **state)
{
#define DURATION_EXPECTED "expected a duration such as 5ms (units: ns, us, ms, s, m, h), got "
	static const struct {
		const char *line, *want;
	} rows[] = {
		{"--linger abc", "--linger: " DURATION_EXPECTED "'abc'"},
		{"--linger=5", "--linger: " DURATION_EXPECTED "'5'"},
		{"--linger", "--linger: " DURATION_EXPECTED "nothing"},
		{"--linger=", "--linger: " DURATION_EXPECTED "''"},
		{"--linger 2m", "--linger: expected 0 to 1m, got '2m'"},
		{"--exit-when-idle=soon",
		 "--exit-when-idle: expected 'never' or a duration such as "
		 "5ms (units: ns, us, ms, s, m, h), got 'soon'"},
		{"--line-max 5x",
		 "--line-max: expected a size such as 64Ki (units: k, M, G, T, Ki, "
		 "Mi, Gi, Ti), got '5x'"},
		{"--line-max 1", "--line-max: expected 1Ki to 64Mi, got '1'"},
		{"--batches 1", "--batches: expected 2 to 256, got '1'"},
		{"--batches -5", "--batches: expected a whole number, got '-5'"},
		{"--files-max 65537", "--files-max: expected 1 to 65536, got '65537'"},
		{"--files-max 99999999999999999999",
		 "--files-max: expected 1 to 65536, got '99999999999999999999'"},
		{"--order best", "--order: expected one of hot, fair, fifo, got 'best'"},
		{"--order ho", "--order: expected one of hot, fair, fifo, got 'ho'"},
		{"-f xml", "--format: expected one of ndjson, raw, got 'xml'"},
		{"--decode CRI", "--decode: expected one of auto, cri, docker, raw, got 'CRI'"},
		{"--bpf lsm",
		 "--bpf: expected one of auto, fs, vfs, kprobe, syscall, off, got 'lsm'"},
		{"--start middle", "--start: expected one of beginning, end, got 'middle'"},
		{"--root=", "--root: expected a directory, got ''"},
		{"-r", "--root: expected a directory, got nothing"},
		{"--verbose=3", "--verbose: takes no value, got '3'"},
		{"--foo", "unknown option '--foo', see 'hotdrain run --help'"},
		{"--lin=1s", "unknown option '--lin', see 'hotdrain run --help'"},
		{"--exit_when_idle=1s",
		 "unknown option '--exit_when_idle', see 'hotdrain run --help'"},
		{"-vx", "unknown option '-x', see 'hotdrain run --help'"},
		{"/var/log", "unexpected argument '/var/log', see 'hotdrain run --help'"},
		{"-- --help", "unexpected argument '--help', see 'hotdrain run --help'"},
		{"-", "unexpected argument '-', see 'hotdrain run --help'"},
		{"--foo\033[31m", "unknown option '--foo?[31m', see 'hotdrain run --help'"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config c;

		assert_int_equal(parse(rows[i].line, &c), -EINVAL);
		assert_said(rows[i].want);
	}
}

static void file_gives_every_key(void **state)
{
	struct config c;

	write_file("# all of them\n---\nroot: [/a, /b]\nlink_root: /c\nsink:\n  - stdout\n"
		   "  - \"file:/x y\"\nformat: raw\ndecode: cri\nstart: end\norder: fair\nbpf: "
		   "off\nbpf.pin: /p\n"
		   "linger: 1ms\nexit_when_idle: 3s\nline_max: 2Mi\nbatch_bytes: 64Ki\nbatches: 4\n"
		   "join_max: 16Mi\nrotate_size: 1M\nrotate_files: 2\nrotate_quiet: 1s\n"
		   "hot_quiet: 100ms\ntick: 2ms\nstop_timeout: 1s\nfiles_max: 10\n"
		   "log_level: debug\n");
	assert_int_equal(parse("-c @", &c), 0);
	assert_string_equal(said, "");
	assert_string_equal(c.config_path, file);
	assert_int_equal(c.roots.n, 2);
	assert_string_equal(c.roots.items[1], "/b");
	assert_int_equal(c.link_roots.n, 1);
	assert_string_equal(c.link_roots.items[0], "/c");
	assert_int_equal(c.sinks.n, 2);
	assert_string_equal(c.sinks.items[1], "file:/x y");
	assert_int_equal(c.format, ENCODE_RAW);
	assert_int_equal(c.decode, DECODE_CRI);
	assert_int_equal(c.start, CONFIG_START_END);
	assert_int_equal(c.order, ORDER_FAIR);
	assert_int_equal(c.bpf, RUNG_OFF);
	assert_string_equal(c.bpf_pin, "/p");
	assert_int_equal(c.log_level, LOG_DEBUG);
	assert_int_equal(c.linger_ns, 1000000);
	assert_int_equal(c.exit_when_idle_ns, 3000000000);
	assert_int_equal(c.rotate_quiet_ns, 1000000000);
	assert_int_equal(c.hot_quiet_ns, 100000000);
	assert_int_equal(c.tick_ns, 2000000);
	assert_int_equal(c.stop_timeout_ns, 1000000000);
	assert_int_equal(c.line_max_bytes, 2 << 20);
	assert_int_equal(c.batch_bytes, 64 << 10);
	assert_int_equal(c.join_max_bytes, 16 << 20);
	assert_int_equal(c.rotate_size_bytes, 1000000);
	assert_int_equal(c.batches, 4);
	assert_int_equal(c.rotate_files, 2);
	assert_int_equal(c.files_max, 10);
	config_done(&c);
}

static void flags_win_wherever_they_stand(void **state)
{
	static const char *const lines[] = {
		"-r /flag --linger 9ms -v -c @",
		"-c @ -r /flag --linger 9ms -v",
		"-r /flag --config=@ --linger 9ms -v",
	};

	write_file("root: [/a, /b]\nlinger: 1ms\ntick: 3ms\nlog_level: error\n");
	for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
		char line[256];
		struct config c;

		/* "@" alone is replaced, --config=@ is not. */
		if (strstr(lines[i], "=@"))
			snprintf(line, sizeof(line), "-r /flag --config=%s --linger 9ms -v", file);
		else
			snprintf(line, sizeof(line), "%s", lines[i]);
		assert_int_equal(parse(line, &c), 0);
		assert_int_equal(c.roots.n, 1);
		assert_string_equal(c.roots.items[0], "/flag");
		assert_int_equal(c.linger_ns, 9000000);
		assert_int_equal(c.tick_ns, 3000000);
		assert_int_equal(c.log_level, LOG_DEBUG);
		config_done(&c);
	}
}

static void file_that_holds_nothing_changes_nothing(void **state)
{
	static const char *const texts[] = {
		"", "\n\n", "# linger: 1s\n", "---\n", "--- \n# x\n...\n", "{}\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct config c;

		write_file(texts[i]);
		assert_int_equal(parse("-c @", &c), 0);
		assert_int_equal(c.linger_ns, 5000000);
		config_done(&c);
	}
}

static void bad_file_is_one_line_with_key_and_line(void **state)
{
	static const struct {
		const char *text, *want;
	} rows[] = {
		{"root: /a\n\nfoo: 1\n", "@:3: unknown key 'foo', see 'hotdrain run --help'"},
		{"exit-when-idle: 1s\n",
		 "@:1: unknown key 'exit-when-idle', see 'hotdrain run --help'"},
		{"config: x\n", "@:1: unknown key 'config', see 'hotdrain run --help'"},
		{"foo: [1, 2]\n", "@:1: unknown key 'foo', see 'hotdrain run --help'"},
		{"# x\nlinger: abc\n", "@:2: linger: " DURATION_EXPECTED "'abc'"},
		{"# x\n\"linger\": 5\n", "@:2: linger: " DURATION_EXPECTED "'5'"},
		{"linger:\n", "@:1: linger: " DURATION_EXPECTED "''"},
		{"linger: 2m\n", "@:1: linger: expected 0 to 1m, got '2m'"},
		{"tick: 1ms\nlinger: [1ms]\n", "@:2: linger: expected a single value, got a list"},
		{"tick: 1ms\nlinger: {a: b}\n",
		 "@:2: linger: expected a single value, got a mapping"},
		{"root:\n  a: b\n", "@:1: root: expected a single value, got a mapping"},
		{"root:\n- x\n- [y]\n",
		 "@:1: root: expected single values in the list, got a list"},
		{"tick: 1ms\nroot: []\n", "@:2: root: expected a directory, got an empty list"},
		{"root: ''\n", "@:1: root: expected a directory, got ''"},
		{"linger: 1s\nlinger: 1s\n", "@:2: linger: the key is there twice"},
		{"bpf: 3\n",
		 "@:1: bpf: expected one of auto, fs, vfs, kprobe, syscall, off, got '3'"},
		{"{linger: 5}\n", "@: linger: " DURATION_EXPECTED "'5'"},
		{"hello\n", "@: expected lines of the form KEY: VALUE"},
		{"- a\n", "@: expected lines of the form KEY: VALUE"},
		{"linger: 1s\n---\ntick: 1s\n", "@: only one document is taken"},
		{"root: &x /a\nsink: [*x]\n", "@: near line 2: aliases (*NAME) are not taken"},
		{"linger: \"x\n", "@: near line 1: found unexpected end of stream"},
		{"root: b\n\tc: d\n",
		 "@: near line 1: found a tab character that violates indentation"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct config c;

		write_file(rows[i].text);
		assert_int_equal(parse("-c @ --linger 1ms", &c), -EINVAL);
		assert_said(rows[i].want);
	}
}

static void file_that_cannot_be_read_is_one_line(void **state)
{
	struct config c;

	unlink(file);
	assert_int_equal(parse("--config @", &c), -ENOENT);
	assert_said("@: No such file or directory");
	assert_int_equal(parse("--config /", &c), -EISDIR);
	assert_said("/: Is a directory");
	assert_int_equal(parse("--config /dev/zero", &c), -EFBIG);
	assert_said("/dev/zero: File too large");
	assert_int_equal(parse("--config", &c), -EINVAL);
	assert_said("--config: expected a file, got nothing");
}

static void assert_same(const struct option *o, const struct config *a, const struct config *b)
{
	const char *x = (const char *)a + o->offset, *y = (const char *)b + o->offset;

	if (o->kind->list) {
		const struct config_list *l = (const void *)x, *m = (const void *)y;

		assert_int_equal(l->n, m->n);
		for (size_t i = 0; i < l->n; i++)
			assert_string_equal(l->items[i], m->items[i]);
		return;
	}
	if (o->kind->expected && strstr(o->kind->expected, "or 'none'")) {
		assert_string_equal(*(char *const *)x, *(char *const *)y);
		return;
	}
	/* None is narrower; of a wider one this is the half that tells (little-endian). */
	assert_memory_equal(x, y, sizeof(uint32_t));
}

/* deploy/config.yaml: every key is there, and says what holds without it. */
static void example_file_is_the_defaults(void **state)
{
	struct config with, without;

	if (access(EXAMPLE, R_OK) < 0)
		fail_msg("no %s: to be run from the top of the tree", EXAMPLE);
	assert_int_equal(parse("-c " EXAMPLE, &with), 0);
	assert_int_equal(parse("", &without), 0);
	for (size_t i = 0; i < config_options_n; i++) {
		const struct option *o = &config_options[i];
		FILE *f = fopen(EXAMPLE, "r");
		char line[256];
		size_t n = strlen(o->key);
		bool found = false;

		assert_non_null(f);
		while (fgets(line, sizeof(line), f))
			found = found || (!strncmp(line, o->key, n) && line[n] == ':');
		fclose(f);
		assert_int_equal(found, !o->flag_only);
		if (found)
			assert_same(o, &with, &without);
	}
	assert_int_equal(with.line_max_bytes, without.line_max_bytes);
	assert_int_equal(with.exit_when_idle_ns, without.exit_when_idle_ns);
	config_done(&with);
	config_done(&without);
}

static void environment_names_root_and_own_pod(void **state)
{
	struct config c;

	setenv("CONTAINER_LOG_DIRECTORY", "/var/log/containers", 1);
	setenv("HOTDRAIN_POD_UID", "0b5c", 1);
	assert_int_equal(parse("", &c), 0);
	assert_string_equal(c.roots.items[0], "/var/log/containers");
	assert_string_equal(c.own_pod_uid, "0b5c");
	config_done(&c);
	assert_int_equal(parse("-r /a", &c), 0);
	assert_int_equal(c.roots.n, 1);
	assert_string_equal(c.roots.items[0], "/a");
	config_done(&c);
	setenv("CONTAINER_LOG_DIRECTORY", "", 1);
	setenv("HOTDRAIN_POD_UID", "", 1);
	assert_int_equal(parse("", &c), 0);
	assert_string_equal(c.roots.items[0], "/var/log/pods");
	assert_null(c.own_pod_uid);
	config_done(&c);
	unsetenv("CONTAINER_LOG_DIRECTORY");
	unsetenv("HOTDRAIN_POD_UID");
}

static void help_shows_every_option_within_100_columns(void **state)
{
	static const char *const flags[] = {
		"-c, --config FILE",   "-r, --root DIR",   "-o, --sink SPEC",
		"-f, --format",        "--decode auto|",   "--start beginning|end",
		"--order hot|",        "--bpf auto|",      "--linger DURATION",
		"--exit-when-idle DU", "--line-max SIZE",  "--batch-bytes SIZE",
		"--batches NUMBER",    "--join-max SIZE",  "--rotate-size SIZE",
		"--rotate-files NUM",  "--rotate-quiet",   "--hot-quiet DURATION",
		"--tick DURATION",     "--stop-timeout D", "--files-max NUMBER",
		"--log-level error|",  "-v, --verbose",    "-q, --quiet",
		"--version",           "-h, --help",       "--link-root DIR",
		"default: 5ms",        "4Ki to 16Mi",
	};
	struct config c;
	char *rest = said, *line;

	assert_int_equal(parse_to(STDOUT_FILENO, "-v --help --version", &c), 1);
	for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
		assert_non_null(strstr(said, flags[i]));
	while ((line = strsep(&rest, "\n")))
		assert_true(strlen(line) <= 100);
	assert_int_equal(parse_to(STDOUT_FILENO, "--version --help", &c), 1);
	assert_string_equal(said, "hotdrain " VERSION "\n");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_said_is_every_default),
		cmocka_unit_test(every_spelling_of_a_flag_is_taken),
		cmocka_unit_test(bad_flag_is_one_line_with_what_was_expected),
		cmocka_unit_test(file_gives_every_key),
		cmocka_unit_test(flags_win_wherever_they_stand),
		cmocka_unit_test(file_that_holds_nothing_changes_nothing),
		cmocka_unit_test(bad_file_is_one_line_with_key_and_line),
		cmocka_unit_test(file_that_cannot_be_read_is_one_line),
		cmocka_unit_test(example_file_is_the_defaults),
		cmocka_unit_test(environment_names_root_and_own_pod),
		cmocka_unit_test(help_shows_every_option_within_100_columns),
	};
	char path[96];
	int r;

	cmocka_set_message_output(CM_OUTPUT_TAP);
	snprintf(dir, sizeof(dir), "/tmp/test_config.XXXXXX");
	if (!mkdtemp(dir))
		return 1;
	snprintf(file, sizeof(file), "%s/c.yaml", dir);
	unsetenv("CONTAINER_LOG_DIRECTORY");
	unsetenv("HOTDRAIN_POD_UID");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(file);
	snprintf(path, sizeof(path), "%s/said", dir);
	unlink(path);
	rmdir(dir);
	return r;
}
