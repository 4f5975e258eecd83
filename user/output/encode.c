/* SPDX-License-Identifier: Apache-2.0 */
/*
 * {"time":"…","stream":"stdout","message":"…","k8s.namespace.name":"…",…,"log.file.path":"…",LABELS}
 *  \________ constant but for the time ______/ text \__ tail: the file's names, what is known __/
 *
 * Only the text is looked at byte by byte: the decoder lets nothing through as a time that would
 * need an escape, and the tail is made for the first record of a span and copied from there to the
 * others. (Kept with each file it would be a tenth of what a silent file costs.) Each record
 * reserves its worst case (six bytes per byte of text) at once and is then written without another
 * check; what of that is not used is never touched and so costs no memory, and the sink drops a
 * buffer that a long record has made large.
 */
#include "output/encode.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "event/labels.h"
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
/* For all pieces of a tail but the names, which are slices of the path, and the labels. */
#define TAIL_ROOM(path_len) (256 + 2 * ESCAPE_ROOM((size_t)(path_len)))

/* Where in out the tail of the span at hand was written last; len 0: not yet. */
struct tail {
	size_t at, len;
};

static inline char *put_piece(char *out, const struct piece *piece)
{
	memcpy(out, piece->text, sizeof(piece->text));
	return out + piece->len;
}

/* In blocks, the last of which ends with it: for a length below 256 memcpy is a string instruction,
 * which took an eighth of all the time of a back-fill into null. */
static inline char *put_time(char *out, const char *time, size_t len)
{
	if (len < 16)
		return mempcpy(out, time, len);
	for (size_t at = 0; at < len - 16; at += 16)
		memcpy(out + at, time + at, 16);
	memcpy(out + len - 16, time + len - 16, 16);
	return out + len;
}

/* ,"key":"value" */
static char *put_name(char *out, const struct piece *key, const char *name, size_t len)
{
	bool invalid;

	if (!len)
		return out;
	out = escape_json(put_piece(out, key), name, len, &invalid);
	*out++ = '"';
	return out;
}

static char *put_number(char *out, unsigned n)
{
	if (n >= 10)
		out = put_number(out, n / 10);
	*out++ = (char)('0' + n % 10);
	return out;
}

static size_t tail_room(const struct span *span)
{
	return TAIL_ROOM(span->source->path_len) + (span->labels ? span->labels->len : 0);
}

/* tail_room bytes. */
static char *put_tail(char *out, const struct span *span)
{
	const struct source *s = span->source;
	static const struct piece keys[] = {
		PIECE(",\"k8s.namespace.name\":\""), PIECE(",\"k8s.pod.name\":\""),
		PIECE(",\"k8s.pod.uid\":\""), PIECE(",\"k8s.container.name\":\"")};
	static const struct piece path = PIECE(",\"log.file.path\":\"");
	static const struct piece restarts = PIECE(",\"k8s.container.restart_count\":");
	const struct source_name names[] = {s->k8s_namespace, s->pod_name, s->pod_uid,
					    s->container_name};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		out = put_name(out, &keys[i], s->path + names[i].at, names[i].len);
	if (s->restart_count >= 0)
		out = put_number(put_piece(out, &restarts), (unsigned)s->restart_count);
	out = put_name(out, &path, s->path, s->path_len);
	return span->labels ? mempcpy(out, span->labels->json, span->labels->len) : out;
}

static int record_ndjson(const struct record *r, const struct span *span, struct tail *tail,
			 bool *ret_invalid, struct buf *out)
{
	size_t room = ESCAPE_ROOM((size_t)r->text_len) + r->time_len + FRAME_ROOM;
	char *p, *names;

	room += tail->len ? tail->len : tail_room(span);
	if (out->cap - out->len < room && buf_reserve(out, room) < 0)
		return -ENOMEM;
	p = out->data + out->len;
	if (r->time) {
		p = put_piece(p, &before_time);
		p = put_piece(put_time(p, r->time, r->time_len), &after_time[r->stream]);
	} else {
		p = put_piece(p, &without_time[r->stream]);
	}
	p = escape_json(p, r->text, r->text_len, ret_invalid);
	*p++ = '"';
	names = p;
	p = tail->len ? mempcpy(p, out->data + tail->at, tail->len) : put_tail(p, span);
	*tail = (struct tail){(size_t)(names - out->data), (size_t)(p - names)};
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
		struct tail tail = {0};

		while (cur->record < end) {
			const struct record *r = &b->records[cur->record];
			bool invalid = false;
			int err;

			if (out->len >= soft_limit)
				return 1;
			err = format == ENCODE_RAW ? record_raw(r, out)
						   : record_ndjson(r, span, &tail, &invalid, out);
			if (err < 0)
				return err;
			cur->record++;
			cur->invalid_records += invalid;
		}
	}
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
