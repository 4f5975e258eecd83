/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A batch -> bytes for a stream. Pure.
 *
 * ndjson: one object per record and line, keys in this order: time, stream, message,
 * k8s.namespace.name, k8s.pod.name, k8s.pod.uid, k8s.container.name, k8s.container.restart_count (a
 * number), log.file.path, the labels as they are; then "truncated":true when the record was cut. A
 * key that has no value is left out (time and stream of a raw line, the k8s keys of a file outside
 * the pods layout). Bytes that are not UTF-8 (RFC 3629: overlong, surrogates and beyond U+10FFFF
 * included) become one U+FFFD per maximal ill-formed subpart and the record is counted; control
 * characters are escaped (\b \t \n \f \r short, others \u00xx; 0x7f is not a control character to
 * JSON). raw: the text and a newline, byte-exact.
 */
#ifndef OUTPUT_ENCODE_H
#define OUTPUT_ENCODE_H

#include <stddef.h>
#include <stdint.h>

struct batch;
struct buf;

enum encode_format { ENCODE_NDJSON, ENCODE_RAW };

/* Where an encoding stands; zero-initialised at the batch's beginning. */
struct encode_cursor {
	uint32_t span, record;
	uint64_t invalid_records; /* counted up: records whose text was not UTF-8 */
};

/*
 * Appends whole records to out from *cur on until the batch ends or out holds at least soft_limit
 * bytes. 1: more to come; 0: the batch is done; -ENOMEM: nothing of the record at cur was appended.
 */
int encode_batch(enum encode_format format, const struct batch *b, struct encode_cursor *cur,
		 size_t soft_limit, struct buf *out);

int encode_format_parse(const char *name, enum encode_format *ret_format); /* 0 or -EINVAL */

#endif
