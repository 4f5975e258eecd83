/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growable run of bytes. Zero-initialised is empty. Growth doubles; a failed growth returns
 * -ENOMEM and leaves the buffer as it was. data is NULL until the first growth and carries no
 * terminating NUL unless buf_printf put one behind len.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stddef.h>

struct buf {
	char *data;
	size_t len;
	size_t cap;
};

void buf_done(struct buf *b);
int buf_reserve(struct buf *b, size_t more);
int buf_add(struct buf *b, const void *data, size_t n);
/* Gives memory back where most of it is not used any more. */
void buf_shrink(struct buf *b);
/* Appends, and keeps data[len] == '\0'. */
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
