/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Follows brackets and strings, no more than is needed to know where an object ends, and to notice
 * early that one never will:
 *
 *   between --{--> inside --its }--> between           the object is handed over
 *                    |--what cannot be there--> between    counted; a '{' there begins the next
 *                    |--larger than the limit--> skipping --its }, or "\n{"--> between
 *
 * "What cannot be there" is a control character inside a string, a closing bracket of the other
 * kind, and a '{' where JSON has no value: behind a cut object the next one is found at once, and
 * not taken for a part of it. While skipping, brackets may be out of step for good, so a '{' at the
 * beginning of a line is taken for a new object.
 *
 * Rejected: lines, because no document says that an event is one; jansson's own stream parser
 * (json_loadf, json_load_callback), which must be fed from a blocking read, has no limit and
 * cannot find its place again after an error.
 */
#include "watch/docker_stream.h"

#include <string.h>

#define DEPTH_MAX 64

void docker_stream_done(struct docker_stream *s)
{
	buf_done(&s->text);
	*s = (struct docker_stream){0};
}

static void forget(struct docker_stream *s)
{
	s->text.len = 0;
	buf_shrink(&s->text);
	s->depth = 0;
	s->in_string = s->escaped = s->skipping = false;
}

static void broken(struct docker_stream *s)
{
	s->bad += !s->skipping; /* that was counted when skipping began */
	forget(s);
}

static void skip(struct docker_stream *s)
{
	s->bad += !s->skipping;
	s->skipping = true;
	s->text.len = 0;
}

static void open_bracket(struct docker_stream *s, char c)
{
	s->arrays = s->arrays << 1 | (c == '[');
	if (++s->depth > DEPTH_MAX)
		skip(s);
}

static void begin(struct docker_stream *s)
{
	s->garbage = s->newline = false;
	s->before = '{';
	open_bracket(s, '{');
}

/* Outside a string. False: this cannot be there. */
static bool take_bracket(struct docker_stream *s, char c)
{
	bool array = s->arrays & 1;
	bool value = array ? s->before == ',' || s->before == '[' : s->before == ':';

	if (c == '{' || c == '[') {
		if (!value && !s->skipping)
			return false;
		open_bracket(s, c);
		return true;
	}
	if (array != (c == ']') && !s->skipping)
		return false;
	s->arrays >>= 1;
	s->depth--;
	return true;
}

/* A character of an object. False: this cannot be there. */
static bool take(struct docker_stream *s, char c)
{
	if (s->in_string) {
		if ((unsigned char)c < 0x20)
			return false;
		if (!s->escaped && c == '"')
			s->in_string = false;
		s->escaped = !s->escaped && c == '\\';
		return true;
	}
	if (s->skipping && s->newline && c == '{')
		return false;
	s->newline = c == '\n';
	switch (c) {
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		return true;
	case '{':
	case '}':
	case '[':
	case ']':
		if (!take_bracket(s, c))
			return false;
		break;
	case '"':
		s->in_string = true;
	}
	s->before = c;
	return true;
}

static int add(struct docker_stream *s, const char *data, size_t len)
{
	if (s->skipping)
		return 0;
	if (s->text.len + len > DOCKER_OBJECT_MAX) {
		skip(s);
		return 0;
	}
	return buf_add(&s->text, data, len);
}

static void between(struct docker_stream *s, char c)
{
	if (c && strchr(" \t\r\n,[]", c))
		return;
	s->bad += !s->garbage;
	s->garbage = true;
}

/* Its text is s->text and data. */
static int hand_over(struct docker_stream *s, const char *data, size_t len,
		     int (*on_object)(void *ctx, const char *text, size_t len), void *ctx)
{
	bool whole = !s->text.len && len <= DOCKER_OBJECT_MAX && !s->skipping;
	int r = whole ? 0 : add(s, data, len);

	if (r == 0 && !s->skipping)
		r = on_object(ctx, whole ? data : s->text.data, whole ? len : s->text.len);
	forget(s);
	return r;
}

int docker_stream_feed(struct docker_stream *s, const char *data, size_t len,
		       int (*on_object)(void *ctx, const char *text, size_t len), void *ctx)
{
	size_t first = 0; /* of the object under way, in data */
	int r = 0;

	for (size_t i = 0; i < len && r == 0; i++) {
		bool inside = s->depth;

		if (inside && take(s, data[i])) {
			if (!s->depth)
				r = hand_over(s, data + first, i + 1 - first, on_object, ctx);
			continue;
		}
		if (inside)
			broken(s);
		if (data[i] == '{') {
			first = i;
			begin(s);
		} else {
			between(s, data[i]);
		}
	}
	if (r == 0 && s->depth)
		r = add(s, data + first, len - first);
	if (r < 0)
		forget(s);
	return r;
}

void docker_stream_end(struct docker_stream *s)
{
	if (s->depth)
		broken(s);
	s->garbage = false;
}
