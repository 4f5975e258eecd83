/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "output/escape.h"

struct text text_begin(struct buf *buf)
{
	return (struct text){.buf = buf, .began = buf->len};
}

int text_end(struct text *t)
{
	if (t->failure)
		t->buf->len = t->began;
	return t->failure;
}

static void add(struct text *t, const char *what, size_t len)
{
	if (!t->failure)
		t->failure = buf_add(t->buf, what, len);
}

void text_add(struct text *t, const char *what)
{
	add(t, what, strlen(what));
}

void text_printf(struct text *t, const char *fmt, ...)
{
	struct buf *b = t->buf;
	va_list ap;
	int n;

	if (!t->failure)
		t->failure = buf_reserve(b, 128);
	if (t->failure)
		return;
	va_start(ap, fmt);
	n = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n >= b->cap - b->len) {
		t->failure = buf_reserve(b, (size_t)n + 1);
		if (t->failure)
			return;
		va_start(ap, fmt);
		vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	if (n < 0)
		t->failure = -EINVAL;
	else
		b->len += (size_t)n;
}

void text_seconds(struct text *t, uint64_t ns)
{
	char digits[32];
	int n = snprintf(digits, sizeof(digits), "%" PRIu64 ".%09" PRIu64,
			 ns / (uint64_t)NS_PER_SEC, ns % (uint64_t)NS_PER_SEC);

	while (digits[n - 1] == '0')
		n--;
	if (digits[n - 1] == '.')
		n--;
	add(t, digits, (size_t)n);
}

void text_json(struct text *t, const char *what)
{
	struct buf *b = t->buf;
	size_t len = what ? strlen(what) : 0;
	bool invalid;

	text_add(t, "\"");
	if (!t->failure)
		t->failure = buf_reserve(b, ESCAPE_ROOM(len));
	if (!t->failure)
		b->len = (size_t)(escape_json(b->data + b->len, what, len, &invalid) - b->data);
	text_add(t, "\"");
}
