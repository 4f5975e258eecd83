/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copytruncate: a rotator copies the live file to a rotated name, then truncates the live one. The
 * copy is a new inode whose beginning was delivered already; what was not read before the
 * truncation is only in the copy.
 *
 * So a file that appears under a rotated name beside a live one is held back (f->maybe_copy, in no
 * chain queue) until it is known what it is: its head is compared with the live file's, and once
 * that is truncated the bytes before the offset reached must agree too. Then it is read from that
 * offset on, before the live file.
 */
#ifndef DRAIN_COPY_H
#define DRAIN_COPY_H

#include <stddef.h>
#include <stdint.h>

struct file;

enum copy_verdict {
	COPY_WAIT,  /* the live file's content so far: wait for the truncation, or for more */
	COPY_NO,    /* a file in its own right: read it from its beginning */
	COPY_RESUME /* the copy: f->offset and f->mark are set, read on from there */
};

/* The first bytes of a file, as read. */
void copy_take_head(struct file *f, const char *data, size_t n);
/* f (live) was found truncated, with lost_bytes unread; call before its offset is reset. */
void copy_note_truncation(struct file *f, uint64_t lost_bytes);
enum copy_verdict copy_judge(struct file *f);

#endif
