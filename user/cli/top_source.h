/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames come from. Nothing blocks but for opening: the caller polls the descriptors, calls
 * turn, says when it wants a frame, and takes it when it is there.
 */
#ifndef CLI_TOP_SOURCE_H
#define CLI_TOP_SOURCE_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/top_status.h" /* TOP_WHY_MAX */

#define TOP_FDS 2

struct top_frame;

struct top_source_ops {
	size_t (*fds)(const void *ctx, struct pollfd fds[TOP_FDS]); /* how many */
	int64_t (*turn)(void *ctx, int64_t now_ns); /* when to come again; INT64_MAX */
	void (*want)(void *ctx);
	/* 0: *f is a new frame, unsorted; -EAGAIN: not yet, *f is as it was; another -errno and one
	 * clause in why: there will be none before it is wanted again, *f is as it was or empty. */
	int (*take)(void *ctx, struct top_frame *f, char why[TOP_WHY_MAX]);
	void (*free)(void *ctx);
};

struct top_source {
	const struct top_source_ops *ops;
	void *ctx;
};

#endif
