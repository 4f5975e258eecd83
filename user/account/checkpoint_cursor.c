/* SPDX-License-Identifier: Apache-2.0 */
#include "account/checkpoint_cursor.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/clock.h"
#include "base/sys.h"

#define CAME_MAX 40 /* bytes of what came that a reason shows */

int cursor_refuse(struct cursor *c, const char *expected)
{
	char came[CAME_MAX + 3];
	size_t n = 0;

	came[n++] = '"';
	for (const char *p = c->at; p < c->end && *p != ' ' && n <= CAME_MAX; p++)
		came[n++] = (char)(*p > ' ' && *p < 0x7f ? *p : '?');
	came[n++] = '"';
	came[n] = '\0';
	snprintf(c->why, c->why_size, "line %lu: expected %s, came %s", c->line, expected,
		 n > 2               ? came
		 : c->at < c->end    ? "a blank"
		 : c->end == c->stop ? "the end of the file"
				     : "the end of the line");
	return -EBADMSG;
}

bool cursor_line(struct cursor *c)
{
	const char *newline;

	c->line++;
	newline = memchr(c->at, '\n', (size_t)(c->stop - c->at));
	c->end = newline ? newline : c->stop;
	return newline;
}

bool cursor_text(struct cursor *c, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(c->end - c->at) < n || memcmp(c->at, text, n) != 0)
		return false;
	c->at += n;
	return true;
}

bool cursor_number(struct cursor *c, uint64_t max, uint64_t *ret)
{
	const char *p = c->at;
	uint64_t v = 0;

	for (; p < c->end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(v, UINT64_C(10), &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
			return false;
	if (p == c->at || (*c->at == '0' && p > c->at + 1) || v > max)
		return false;
	c->at = p;
	*ret = v;
	return true;
}

/* [-]SECONDS.NANOSECONDS, nine digits behind the point */
bool cursor_time(struct cursor *c, int64_t *ret)
{
	const char *begin = c->at;
	bool negative = cursor_text(c, "-");
	uint64_t max = INT64_MAX + (uint64_t)negative, sec, ns = 0;

	if (!cursor_number(c, max / NS_PER_SEC, &sec) || !cursor_text(c, ".") || c->end - c->at < 9)
		goto no;
	for (int i = 0; i < 9; i++) {
		if (c->at[i] < '0' || c->at[i] > '9')
			goto no;
		ns = ns * 10 + (uint64_t)(c->at[i] - '0');
	}
	ns += sec * NS_PER_SEC;
	if (ns > max || (negative && !ns))
		goto no;
	c->at += 9;
	*ret = negative ? -(int64_t)(ns - 1) - 1 : (int64_t)ns;
	return true;
no:
	c->at = begin;
	return false;
}

static int hex_digit(char c, char ten)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= ten && c < ten + 6 ? c - ten + 10 : -1;
}

bool cursor_sum(struct cursor *c, uint32_t *ret)
{
	uint32_t v = 0;

	if (c->end - c->at < 8)
		return false;
	for (int i = 0; i < 8; i++) {
		int digit = hex_digit(c->at[i], 'a');

		if (digit < 0)
			return false;
		v = v << 4 | (uint32_t)digit;
	}
	c->at += 8;
	*ret = v;
	return true;
}

bool cursor_part(struct cursor *c, uint32_t max, uint32_t *ret_len, uint32_t *ret_sum)
{
	const char *begin = c->at;
	uint64_t len;

	if (cursor_number(c, max, &len) && cursor_text(c, ":") && cursor_sum(c, ret_sum)) {
		*ret_len = (uint32_t)len;
		return true;
	}
	c->at = begin;
	return false;
}

bool cursor_dev(struct cursor *c, uint64_t *ret)
{
	const char *begin = c->at;
	uint64_t maj, min;

	if (cursor_number(c, UINT32_MAX, &maj) && cursor_text(c, ":") &&
	    cursor_number(c, UINT32_MAX, &min)) {
		*ret = makedev((unsigned)maj, (unsigned)min);
		return true;
	}
	c->at = begin;
	return false;
}

int cursor_path(struct cursor *c, char **ret)
{
	size_t room = MIN((size_t)(c->end - c->at), (size_t)PATH_MAX - 1), n = 0;
	_cleanup_free_ char *path = NULL;

	if (c->at == c->end || *c->at != '/')
		return -EBADMSG;
	path = malloc(room + 1);
	if (!path)
		return -ENOMEM;
	for (; c->at < c->end && n < room; c->at++) {
		int byte = (unsigned char)*c->at;

		if (byte == '%' && c->end - c->at >= 3) {
			int high = hex_digit(c->at[1], 'A'), low = hex_digit(c->at[2], 'A');

			byte = high < 0 || low < 0 ? -1 : high << 4 | low;
			/* Only what is never written as it is; a NUL ends a path. */
			if (byte <= 0 || (byte >= 0x21 && byte != 0x7f && byte != '%'))
				return -EBADMSG;
			c->at += 2;
		} else if (byte < 0x21 || byte == 0x7f || byte == '%') {
			return -EBADMSG;
		}
		path[n++] = (char)byte;
	}
	if (c->at < c->end)
		return -EBADMSG;
	path[n] = '\0';
	*ret = take_ptr(path);
	return 0;
}
