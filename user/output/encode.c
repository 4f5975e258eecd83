/* SPDX-License-Identifier: Apache-2.0 */
/*
 * {"time":"…","stream":"stdout","message":"…","k8s.namespace.name":"…",…,"log.file.path":"…"}
 *  \________ constant but for the time ______/ text \________ source.ndjson_tail __________/
 *
 * Only the text is looked at byte by byte: the decoder lets nothing through as a time that would
 * need an escape, and what the file's names need was done once per file. Each record reserves its
 * worst case (six bytes per byte of text) at once and is then written without another check; what
 * of that is not used is never touched and so costs no memory, and the sink drops a buffer that a
 * long record has made large.
 */
#include "output/encode.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "event/source.h"
#include "output/batch.h"
#include "output/escape.h"

/* Copied whole and counted by len: a copy of a fixed size is two instructions. */
struct piece {
	char text[32];
	unsigned char len;
};

#define PIECE(s)                 \
	{                        \
		s, sizeof(s) - 1 \
	}

/* What stands before the text, by enum record_stream. */
static const struct piece after_time[] = {
	[STREAM_NONE] = PIECE("\",\"message\":\""),
	[STREAM_STDOUT] = PIECE("\",\"stream\":\"stdout\",\"message\":\""),
	[STREAM_STDERR] = PIECE("\",\"stream\":\"stderr\",\"message\":\""),
};
static const struct piece without_time[] = {
	[STREAM_NONE] = PIECE("{\"message\":\""),
	[STREAM_STDOUT] = PIECE("{\"stream\":\"stdout\",\"message\":\""),
	[STREAM_STDERR] = PIECE("{\"stream\":\"stderr\",\"message\":\""),
};
static const struct piece before_time = PIECE("{\"time\":\"");
static const struct piece record_end = PIECE("}\n");
static const struct piece truncated_end = PIECE(",\"truncated\":true}\n");

/* Room for all pieces around the text but time and tail. */
#define FRAME_ROOM 128

static inline char *put_piece(char *out, const struct piece *piece)
{
	memcpy(out, piece->text, sizeof(piece->text));
	return out + piece->len;
}

static int record_ndjson(const struct record *r, const struct source *s, bool *ret_invalid,
			 struct buf *out)
{
	size_t room = ESCAPE_ROOM((size_t)r->text_len) + r->time_len + s->ndjson_tail_len;
	char *p;

	if (out->cap - out->len < room + FRAME_ROOM && buf_reserve(out, room + FRAME_ROOM) < 0)
		return -ENOMEM;
	p = out->data + out->len;
	if (r->time) {
		p = put_piece(p, &before_time);
		memcpy(p, r->time, r->time_len);
		p = put_piece(p + r->time_len, &after_time[r->stream]);
	} else {
		p = put_piece(p, &without_time[r->stream]);
	}
	p = escape_json(p, r->text, r->text_len, ret_invalid);
	*p++ = '"';
	memcpy(p, s->ndjson_tail, s->ndjson_tail_len);
	p += s->ndjson_tail_len;
	p = put_piece(p, r->flags & RECORD_TRUNCATED ? &truncated_end : &record_end);
	out->len = (size_t)(p - out->data);
	return 0;
}

static int record_raw(const struct record *r, struct buf *out)
{
	if (buf_reserve(out, (size_t)r->text_len + 1) < 0)
		return -ENOMEM;
	if (r->text_len)
		memcpy(out->data + out->len, r->text, r->text_len);
	out->len += r->text_len;
	out->data[out->len++] = '\n';
	return 0;
}

int encode_batch(enum encode_format format, const struct batch *b, struct encode_cursor *cur,
		 size_t soft_limit, struct buf *out)
{
	for (; cur->span < b->n_spans; cur->span++) {
		const struct span *span = &b->spans[cur->span];
		uint32_t end = span->first + span->count;

		while (cur->record < end) {
			const struct record *r = &b->records[cur->record];
			bool invalid = false;
			int err;

			if (out->len >= soft_limit)
				return 1;
			err = format == ENCODE_RAW ? record_raw(r, out)
						   : record_ndjson(r, span->source, &invalid, out);
			if (err < 0)
				return err;
			cur->record++;
			cur->invalid_records += invalid;
		}
	}
	return 0;
}

/* ,"key":"value" */
static int tail_string(struct buf *out, const char *key, const char *value)
{
	size_t len = value ? strlen(value) : 0;
	bool invalid;
	int r;

	if (!value)
		return 0;
	r = buf_printf(out, ",\"%s\":\"", key);
	if (r < 0)
		return r;
	r = buf_reserve(out, ESCAPE_ROOM(len));
	if (r < 0)
		return r;
	out->len = (size_t)(escape_json(out->data + out->len, value, len, &invalid) - out->data);
	return buf_add(out, "\"", 1);
}

int encode_source(struct source *s)
{
	_cleanup_(buf_done) struct buf out = {0};
	int r = tail_string(&out, "k8s.namespace.name", s->k8s_namespace);

	if (r >= 0)
		r = tail_string(&out, "k8s.pod.name", s->pod_name);
	if (r >= 0)
		r = tail_string(&out, "k8s.pod.uid", s->pod_uid);
	if (r >= 0)
		r = tail_string(&out, "k8s.container.name", s->container_name);
	if (r >= 0 && s->restart_count >= 0)
		r = buf_printf(&out, ",\"k8s.container.restart_count\":%d", s->restart_count);
	if (r >= 0)
		r = tail_string(&out, "log.file.path", s->path);
	if (r < 0)
		return r;
	free(s->ndjson_tail);
	s->ndjson_tail_len = out.len;
	s->ndjson_tail = realloc(out.data, out.len);
	if (!s->ndjson_tail)
		s->ndjson_tail = out.data;
	out.data = NULL;
	return 0;
}

int encode_format_parse(const char *name, enum encode_format *ret_format)
{
	if (strcmp(name, "ndjson") == 0)
		*ret_format = ENCODE_NDJSON;
	else if (strcmp(name, "raw") == 0)
		*ret_format = ENCODE_RAW;
	else
		return -EINVAL;
	return 0;
}
