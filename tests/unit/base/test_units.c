/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/sys.h"
#include "base/units.h"

struct row {
	const char *text;
	int r;
	uint64_t value;
};

static void duration_takes_units_only(void **state)
{
	static const struct row rows[] = {
		{"5ms", 0, 5000000},
		{"1s", 0, 1000000000},
		{"250us", 0, 250000},
		{"2m", 0, UINT64_C(120000000000)},
		{"1h", 0, UINT64_C(3600000000000)},
		{"7ns", 0, 7},
		{"0", 0, 0},
		{"0ms", 0, 0},
		{"007s", 0, UINT64_C(7000000000)},
		{"5", -EINVAL, 0},
		{"00", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"ms", -EINVAL, 0},
		{"abc", -EINVAL, 0},
		{"-5ms", -EINVAL, 0},
		{"+5ms", -EINVAL, 0},
		{" 5ms", -EINVAL, 0},
		{"5 ms", -EINVAL, 0},
		{"5ms ", -EINVAL, 0},
		{"5MS", -EINVAL, 0},
		{"1.5s", -EINVAL, 0},
		{"0x5s", -EINVAL, 0},
		{"5Mi", -EINVAL, 0},
		{"9223372036854775807ns", 0, INT64_MAX},
		{"9223372036854775808ns", -ERANGE, 0},
		{"99999999999h", -ERANGE, 0},
		{"99999999999999999999s", -ERANGE, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		int64_t ns = -7;

		assert_int_equal(duration_parse(rows[i].text, &ns), rows[i].r);
		assert_int_equal(ns, rows[i].r ? -7 : (int64_t)rows[i].value);
	}
}

static void size_takes_binary_and_decimal_units(void **state)
{
	static const struct row rows[] = {
		{"0", 0, 0},
		{"4096", 0, 4096},
		{"10k", 0, 10000},
		{"10M", 0, 10000000},
		{"1G", 0, 1000000000},
		{"2T", 0, UINT64_C(2000000000000)},
		{"64Ki", 0, 65536},
		{"10Mi", 0, 10485760},
		{"1Gi", 0, 1073741824},
		{"1Ti", 0, UINT64_C(1) << 40},
		{"10K", -EINVAL, 0},
		{"10m", -EINVAL, 0},
		{"10MB", -EINVAL, 0},
		{"10MiB", -EINVAL, 0},
		{"Mi", -EINVAL, 0},
		{"", -EINVAL, 0},
		{"-1", -EINVAL, 0},
		{"1.5Mi", -EINVAL, 0},
		{"5ms", -EINVAL, 0},
		{"18446744073709551615", 0, UINT64_MAX},
		{"18446744073709551616", -ERANGE, 0},
		{"16777216Ti", -ERANGE, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint64_t bytes = 77;

		assert_int_equal(size_parse(rows[i].text, &bytes), rows[i].r);
		assert_int_equal(bytes, rows[i].r ? 77 : rows[i].value);
	}
}

static void count_takes_no_unit(void **state)
{
	uint64_t n = 77;

	assert_int_equal(count_parse("16384", &n), 0);
	assert_int_equal(n, 16384);
	assert_int_equal(count_parse("1k", &n), -EINVAL);
	assert_int_equal(count_parse("", &n), -EINVAL);
	assert_int_equal(n, 16384);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(duration_takes_units_only),
		cmocka_unit_test(size_takes_binary_and_decimal_units),
		cmocka_unit_test(count_takes_no_unit),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
