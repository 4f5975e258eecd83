/* SPDX-License-Identifier: Apache-2.0 */
/* A frame as text: for people and for programs. */
#ifndef CLI_TOP_TEXT_H
#define CLI_TOP_TEXT_H

#include <stddef.h>

#include "base/buf.h"

struct top_frame;

/* limit: at most so many rows. 0 or -ENOMEM; both leave half of it in out then. */
/* The head, a line of titles, the rows, each as wide as it takes. */
int top_text_plain(const struct top_frame *f, size_t limit, struct buf *out);
/*
 * One line:
 *   {"time":unix seconds,"source":"daemon","status":{…},"rows_total":N,"rows":[{"namespace":S,
 *    "pod":S,"uid":S,"container":S,"path":S,"rate":N,"backlog":N,"deadline_s":N,"oldest_s":N,
 *    "delivered":N,"lost_bytes":N,"rotations":N,"written":N,"hot":B,"gone":B},…]}
 *   status: what serve/status.h has, but for its containers
 *   {"time":unix seconds,"source":"self","interval_s":N,"rung":S,"roots":[S,…],"total":{…},
 *    "rows_total":N,"rows":[{…,"rate":N,"rotations":N,"writes_per_s":N,"bytes_per_write":N,
 *    "size":N,"idle_s":N,"written":N,"writes":N,"hot":B,"gone":B},…]}
 *   total: top_own.h
 * What is unknown is null. rows_total: rows there are, filtered, before limit.
 */
int top_text_json(const struct top_frame *f, size_t limit, struct buf *out);
/* "NAME":"TEXT" with a comma in front: a member. 0 or -ENOMEM. */
int top_text_member(struct buf *out, const char *name, const char *text);
/* ,"NAME":X; null where it is unknown */
int top_text_number(struct buf *out, const char *name, double x);
/* "TEXT" */
int top_text_string(struct buf *out, const char *text);

#endif
