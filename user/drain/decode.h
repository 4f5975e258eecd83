/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pure: one physical line of a log file -> its parts, in place. Sources of the formats:
 *   CRI     kubernetes/design-proposals "kubelet CRI logging": TIME STREAM TAG CONTENT, where TAG
 * is P (partial) or F (full), possibly more tags after ':' that are ignored; TIME is RFC 3339 with
 * any number of fractional digits and Z or +hh:mm; CONTENT may be empty. docker  json-file: one
 * object per line, {"log":"text\n","stream":"stdout",...,"time":"..."}; keys in any order, unknown
 * keys skipped (attrs may hold objects); a log without a final newline is partial. Escapes are
 * undone in place (the result is never longer than the source); invalid surrogates become U+FFFD.
 * Text need not be UTF-8. raw     the line itself. A line that is not of its file's format is
 * delivered whole, as raw: never dropped.
 */
#ifndef DRAIN_DECODE_H
#define DRAIN_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum decode_format { DECODE_AUTO, DECODE_CRI, DECODE_DOCKER, DECODE_RAW };

struct decoded {
	const char *text, *time; /* slices of the line; time NULL when there is none */
	uint32_t text_len;
	uint8_t time_len;
	uint8_t stream; /* enum record_stream */
	bool partial;   /* more of this record follows on the same stream */
	bool malformed; /* not of the format asked for: text is the whole line */
};

/* What the content says: never DECODE_AUTO. line has no newline; len may be 0 (raw). */
enum decode_format decode_detect(const char *line, size_t len);

/*
 * line: len bytes without the newline, writable (docker unescapes into it). format is not AUTO.
 * cut: the line was cut at the limit, so that a docker object may end anywhere: what there is of
 * "log" is decoded. Fills every member of *ret; cannot fail.
 */
void decode_line(enum decode_format format, char *line, size_t len, bool cut, struct decoded *ret);

const char *decode_format_name(enum decode_format format);
int decode_format_parse(const char *name, enum decode_format *ret_format); /* 0 or -EINVAL */

#endif
