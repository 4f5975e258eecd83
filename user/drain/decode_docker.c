/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dockerd's json-file: {"log":"text\n","stream":"stdout","attrs":{...},"time":"..."}
 *
 * Two passes. The first only looks: it finds the end of each string and value and remembers where
 * log, stream and time are, so that a line that turns out to be something else can still be
 * delivered as it was. The second undoes the escapes of log where it stands; no escape is shorter
 * than what it means, so the text never runs over what is still to be read.
 *
 * Lenient about what no writer should do but some do: raw control characters in strings, escapes
 * that do not exist (kept as they are), any order of keys. Of equal keys the last one counts, as in
 * Go. Values nobody asks for are skipped by counting brackets, without recursion, so that depth
 * costs nothing. Rejected: a JSON library (it copies, and refuses text that is not UTF-8).
 */
#include "drain/decode_docker.h"

#include <stdint.h>
#include <string.h>

#include "drain/decode.h"
#include "drain/decode_cri.h"
#include "output/batch.h"

enum docker_end {
	DOCKER_WHOLE, /* the object is complete and nothing follows it */
	DOCKER_OPEN,  /* well-formed as far as it goes */
	DOCKER_BAD,
};

struct slice {
	const char *data; /* NULL: not there */
	size_t len;
};

struct docker_line {
	struct slice log, stream, time;
	bool log_open; /* no closing quote: the line ends inside log */
};

static const char *skip_space(const char *p, const char *end)
{
	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
		p++;
	return p;
}

/* p is behind the opening quote; returns the closing one, or NULL. Each byte is seen at most twice:
 * the next quote is searched again only when it was an escaped one. */
static const char *string_end(const char *p, const char *end)
{
	const char *quote = memchr(p, '"', (size_t)(end - p));

	while (quote) {
		const char *escape = memchr(p, '\\', (size_t)(quote - p));

		if (!escape)
			return quote;
		p = escape + 2;
		if (p > quote)
			quote = p < end ? memchr(p, '"', (size_t)(end - p)) : NULL;
	}
	return NULL;
}

/* Any value that is not a string at p; NULL when it does not end. */
static const char *skip_value(const char *p, const char *end)
{
	size_t depth = 0;

	for (; p < end; p++) {
		if (*p == '"') {
			p = string_end(p + 1, end);
			if (!p)
				return NULL;
		} else if (*p == '{' || *p == '[') {
			depth++;
		} else if (*p == '}' || *p == ']') {
			if (!depth)
				return p;
			depth--;
		} else if (*p == ',' && !depth) {
			return p;
		}
	}
	return NULL;
}

static bool slice_is(const struct slice *s, const char *word)
{
	return s->len == strlen(word) && memcmp(s->data, word, s->len) == 0;
}

static struct slice *docker_key(struct docker_line *d, const struct slice *key)
{
	if (slice_is(key, "log"))
		return &d->log;
	if (slice_is(key, "stream"))
		return &d->stream;
	return slice_is(key, "time") ? &d->time : NULL;
}

/* One "key": value at *p, which is moved behind it. */
static enum docker_end docker_member(const char **p, const char *end, struct docker_line *d)
{
	struct slice key, *value;
	const char *at = *p, *close;

	if (at == end)
		return DOCKER_OPEN;
	if (*at++ != '"')
		return DOCKER_BAD;
	close = string_end(at, end);
	if (!close)
		return DOCKER_OPEN;
	key = (struct slice){at, (size_t)(close - at)};
	at = skip_space(close + 1, end);
	if (at == end)
		return DOCKER_OPEN;
	if (*at++ != ':')
		return DOCKER_BAD;
	at = skip_space(at, end);
	if (at == end)
		return DOCKER_OPEN;
	value = docker_key(d, &key);
	if (*at != '"') {
		*p = skip_value(at, end);
		return !*p ? DOCKER_OPEN : *p == at ? DOCKER_BAD : DOCKER_WHOLE;
	}
	at++;
	close = string_end(at, end);
	if (!close && value == &d->log) {
		d->log = (struct slice){at, (size_t)(end - at)};
		d->log_open = true;
	}
	if (!close)
		return DOCKER_OPEN;
	if (value)
		*value = (struct slice){at, (size_t)(close - at)};
	*p = close + 1;
	return DOCKER_WHOLE;
}

static enum docker_end docker_parse(const char *line, size_t len, struct docker_line *ret)
{
	const char *p = line, *end = line + len;
	enum docker_end r;

	*ret = (struct docker_line){0};
	if (!len || *p++ != '{')
		return DOCKER_BAD;
	do {
		p = skip_space(p, end);
		r = docker_member(&p, end, ret);
		if (r != DOCKER_WHOLE)
			return r;
		p = skip_space(p, end);
		if (p == end)
			return DOCKER_OPEN;
	} while (*p++ == ',');
	if (p[-1] != '}')
		return DOCKER_BAD;
	return skip_space(p, end) == end ? DOCKER_WHOLE : DOCKER_BAD;
}

bool docker_detect(const char *line, size_t len)
{
	struct docker_line d;

	switch (docker_parse(line, len, &d)) {
	case DOCKER_WHOLE:
		return d.log.data && (d.stream.data || d.time.data);
	case DOCKER_OPEN:
		return d.log_open;
	default:
		return false;
	}
}

/* The value of four hexadecimal digits, or -1. */
static int32_t hex4(const char *p)
{
	int32_t v = 0;

	for (int i = 0; i < 4; i++) {
		char c = p[i];

		if (c >= '0' && c <= '9')
			v = v * 16 + c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			v = v * 16 + (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return v;
}

static char *put_utf8(char *out, int32_t c)
{
	if (c < 0x80) {
		*out++ = (char)c;
		return out;
	}
	if (c < 0x800) {
		*out++ = (char)(0xc0 | c >> 6);
	} else if (c < 0x10000) {
		*out++ = (char)(0xe0 | c >> 12);
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
	} else {
		*out++ = (char)(0xf0 | c >> 18);
		*out++ = (char)(0x80 | (c >> 12 & 0x3f));
		*out++ = (char)(0x80 | (c >> 6 & 0x3f));
	}
	*out++ = (char)(0x80 | (c & 0x3f));
	return out;
}

/* \uXXXX at p, or two of them that form a surrogate pair. Returns how much was read, 0 when it is
 * no such escape. */
static size_t unescape_unicode(const char *p, size_t n, int32_t *ret_c)
{
	int32_t c = n >= 6 ? hex4(p + 2) : -1, low;

	if (c < 0)
		return 0;
	*ret_c = c >= 0xd800 && c <= 0xdfff ? 0xfffd : c;
	if (c < 0xd800 || c > 0xdbff || n < 12 || p[6] != '\\' || p[7] != 'u')
		return 6;
	low = hex4(p + 8);
	if (low < 0xdc00 || low > 0xdfff)
		return 6;
	*ret_c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
	return 12;
}

/* Undoes the escape at *p (a backslash), writing to *out <= *p; moves both. */
static void unescape_one(char **p, size_t n, char **out)
{
	static const char meaning[128] = {['"'] = '"',  ['\\'] = '\\', ['/'] = '/',  ['b'] = '\b',
					  ['f'] = '\f', ['n'] = '\n',  ['r'] = '\r', ['t'] = '\t'};
	unsigned char c = n > 1 ? (unsigned char)(*p)[1] : 0;
	int32_t code;
	size_t used;

	if (c < 128 && meaning[c]) {
		*(*out)++ = meaning[c];
		*p += 2;
		return;
	}
	used = c == 'u' ? unescape_unicode(*p, n, &code) : 0;
	if (used)
		*out = put_utf8(*out, code);
	else
		*(*out)++ = '\\';
	*p += used ? used : 1;
}

/* Returns the new length. */
static size_t unescape(char *text, size_t len)
{
	char *end = text + len, *p = memchr(text, '\\', len), *out = p;

	while (p) {
		char *run, *next;

		unescape_one(&p, (size_t)(end - p), &out);
		run = p;
		next = p < end ? memchr(p, '\\', (size_t)(end - p)) : NULL;
		p = next;
		if (!next)
			next = end;
		memmove(out, run, (size_t)(next - run));
		out += next - run;
		len = (size_t)(out - text);
	}
	return len;
}

/* A cut may have gone through an escape: what is left of it means nothing. */
static size_t cut_escape(const char *text, size_t len)
{
	size_t back = 0;

	for (size_t i = len > 6 ? len - 6 : 0; i < len; i++) {
		size_t slashes = 0;

		if (text[i] != '\\')
			continue;
		while (slashes < i && text[i - slashes - 1] == '\\')
			slashes++;
		if (slashes % 2 == 0 && (i + 1 == len || (text[i + 1] == 'u' && len - i < 6)))
			back = len - i;
	}
	return len - back;
}

bool decode_docker(char *line, size_t len, bool cut, struct decoded *ret)
{
	struct docker_line d;
	enum docker_end end = docker_parse(line, len, &d);
	size_t text_len;
	char *text;

	if (end == DOCKER_BAD || (end == DOCKER_OPEN && !cut) || !d.log.data)
		return false;
	if (d.time.data && (!d.time.len || time_length(d.time.data, d.time.len) != d.time.len))
		return false;
	text = line + (d.log.data - line);
	text_len = unescape(text, d.log_open ? cut_escape(text, d.log.len) : d.log.len);
	ret->partial = !d.log_open;
	if (text_len && text[text_len - 1] == '\n' && !d.log_open) {
		text_len--;
		ret->partial = false;
	}
	ret->text = text;
	ret->text_len = (uint32_t)text_len;
	ret->time = d.time.data;
	ret->time_len = (uint8_t)d.time.len;
	ret->stream = STREAM_NONE;
	if (d.stream.data && slice_is(&d.stream, "stdout"))
		ret->stream = STREAM_STDOUT;
	else if (d.stream.data && slice_is(&d.stream, "stderr"))
		ret->stream = STREAM_STDERR;
	ret->malformed = false;
	return true;
}
