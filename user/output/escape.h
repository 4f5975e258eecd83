/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text -> the inside of a JSON string (RFC 8259), as encode.h describes. Three versions of the same
 * function, so that a test can hold the fast ones against the plain one.
 */
#ifndef OUTPUT_ESCAPE_H
#define OUTPUT_ESCAPE_H

#include <stdbool.h>
#include <stddef.h>

/* What out must have room for; a little beyond the result may be overwritten. */
#define ESCAPE_ROOM(len) ((len)*6 + 64)

/* Returns the end of what was written. *ret_invalid: some of it was not UTF-8. text may be NULL
 * when len is 0. Reads nothing outside [text, text + len). */
char *escape_json(char *out, const char *text, size_t len, bool *ret_invalid);
/* The same without AVX2, and byte by byte: for tests. */
char *escape_json_narrow(char *out, const char *text, size_t len, bool *ret_invalid);
char *escape_json_plain(char *out, const char *text, size_t len, bool *ret_invalid);

/* The length of the character that text begins with, len > 0; where it is not UTF-8
 * (*ret_valid false) of what one U+FFFD stands for. */
size_t escape_char_length(const char *text, size_t len, bool *ret_valid);

#endif
