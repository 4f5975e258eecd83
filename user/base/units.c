/* SPDX-License-Identifier: Apache-2.0 */
#include "base/units.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/sys.h"

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit time_units[] = {
	{"ns", 1},
	{"us", 1000},
	{"ms", 1000000},
	{"s", UINT64_C(1000000000)},
	{"m", UINT64_C(60000000000)},
	{"h", UINT64_C(3600000000000)},
};

static const struct unit size_units[] = {
	{"", 1},
	{"k", 1000},
	{"M", 1000000},
	{"G", UINT64_C(1000000000)},
	{"T", UINT64_C(1000000000000)},
	{"Ki", UINT64_C(1) << 10},
	{"Mi", UINT64_C(1) << 20},
	{"Gi", UINT64_C(1) << 30},
	{"Ti", UINT64_C(1) << 40},
};

static const struct unit no_units[] = {{"", 1}};

/* strtoull would take a sign, leading space and a second number base. */
static int digits_parse(const char *text, uint64_t *ret_value, const char **ret_rest)
{
	uint64_t value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			return -ERANGE;
	if (p == text)
		return -EINVAL;
	*ret_value = value;
	*ret_rest = p;
	return 0;
}

static int units_parse(const char *text, const struct unit *units, size_t n, uint64_t *ret_value)
{
	const char *rest;
	uint64_t value;
	int r;

	r = digits_parse(text, &value, &rest);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(rest, units[i].name))
			continue;
		if (__builtin_mul_overflow(value, units[i].factor, &value))
			return -ERANGE;
		*ret_value = value;
		return 0;
	}
	return -EINVAL;
}

int duration_parse(const char *text, int64_t *ret_ns)
{
	uint64_t ns;
	int r;

	if (!strcmp(text, "0")) {
		*ret_ns = 0;
		return 0;
	}
	r = units_parse(text, time_units, ARRAY_SIZE(time_units), &ns);
	if (r < 0)
		return r;
	if (ns > INT64_MAX)
		return -ERANGE;
	*ret_ns = (int64_t)ns;
	return 0;
}

int size_parse(const char *text, uint64_t *ret_bytes)
{
	return units_parse(text, size_units, ARRAY_SIZE(size_units), ret_bytes);
}

int count_parse(const char *text, uint64_t *ret_count)
{
	return units_parse(text, no_units, ARRAY_SIZE(no_units), ret_count);
}
