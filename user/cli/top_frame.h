/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plain data: what `hotdrain top` shows at one moment, wherever the figures come from. Rows are
 * containers as a running daemon knows them, or files that top counts by itself.
 */
#ifndef CLI_TOP_FRAME_H
#define CLI_TOP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum top_from { TOP_DAEMON = 1, TOP_OWN = 2 }; /* bits */

/* Bytes, events and seconds; not a number (NAN): unknown. Whole numbers are exact up to 2^53. */
enum top_value {
	TOP_RATE,       /* bytes per second */
	TOP_BACKLOG,    /* bytes not yet read */
	TOP_DEADLINE,   /* seconds until they are rotated away; negative: late */
	TOP_AGE,        /* seconds since the oldest of them was written */
	TOP_DELIVERED,  /* bytes */
	TOP_LOST,       /* bytes */
	TOP_ROTATIONS,  /* of the log */
	TOP_WRITE_RATE, /* writes per second */
	TOP_MEAN,       /* bytes per write, of this interval */
	TOP_SIZE,       /* of the file */
	TOP_IDLE,       /* seconds since the last write */
	TOP_WRITTEN,    /* bytes; own: since top began */
	TOP_WRITES,     /* since top began */
	TOP_VALUES
};

enum top_name { TOP_NAMESPACE, TOP_POD, TOP_UID, TOP_CONTAINER, TOP_PATH, TOP_NAMES };

struct top_row {
	size_t name[TOP_NAMES]; /* where it begins in frame.text; 0: empty */
	double value[TOP_VALUES];
	bool hot;  /* daemon: looked at each tick; own: written to in this interval */
	bool gone; /* it has no file any more */
};

struct top_frame {
	enum top_from from;
	double now_s;      /* unix time */
	double interval_s; /* own: since the frame before */
	size_t head;       /* in text: lines of what concerns all, each ended by '\n' */
	size_t members;    /* in text: the same as JSON members, each with a comma in front */
	bool alarm;        /* head tells of something lost, or of a sink that fails */
	struct top_row *rows;
	size_t n, all, max; /* n: shown, the first ones; all: with those filtered out */
	struct buf text;    /* begins with an empty string; bytes as they came, maybe not UTF-8 */
};

void top_frame_done(struct top_frame *f); /* the struct is the caller's */
/* The same without rows and texts, and with the memory kept. */
void top_frame_clear(struct top_frame *f);
/* A copy of these bytes, NUL-terminated: where it begins, or 0 when it is empty or there is no
 * memory (then f->text.len stays as it was). */
size_t top_frame_text(struct top_frame *f, const char *text, size_t len);
/* A row with every value unknown, or NULL: no memory. */
struct top_row *top_frame_row(struct top_frame *f);
const char *top_frame_name(const struct top_frame *f, const struct top_row *r, enum top_name name);

/* Largest first, unknown ones last; but the smallest first where that is more urgent
 * (TOP_DEADLINE, TOP_IDLE). reverse: the other way round, unknown ones still last. Ties: by rate,
 * then by names and path. */
void top_frame_sort(struct top_frame *f, enum top_value by, bool reverse);
/* Shows those whose namespace matches the pattern (fnmatch(3)); NULL or "": all. Sort then. */
void top_frame_filter(struct top_frame *f, const char *pattern);

#endif
