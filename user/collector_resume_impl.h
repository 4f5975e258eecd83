/* SPDX-License-Identifier: Apache-2.0 */
/* What collector_resume.c and collector_resume_gz.c share; nobody else includes this. */
#ifndef COLLECTOR_RESUME_IMPL_H
#define COLLECTOR_RESUME_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "account/checkpoint.h"
#include "base/buf.h"
#include "base/table.h"

struct collector;
struct file;

enum fate {
	FATE_OPEN,      /* its file has not turned up */
	FATE_REWRITTEN, /* it has, with other content */
	FATE_FOUND,
	FATE_GONE,
};

struct wanted {
	struct table_node by_inode, by_log;
	struct wanted *same_inode, *same_log;
	struct {
		uint64_t ino;
		int64_t btime_ns;
	} key;
	const struct checkpoint_entry *e;
	enum fate fate;
};

struct resume {
	struct checkpoint loaded;
	struct wanted *wanted; /* loaded.n */
	struct table by_inode, by_log;
	struct buf compressed; /* paths found in the scan, each with its NUL */
	unsigned found, inside_gz, new_gz, gone;
	int64_t born_until_ns; /* the wall clock at the start: what was born later is not of the
				  past */
	int64_t give_up_ns;    /* when it is judged whatever still fails */
	bool judged;
};

/* Length of the part that all generations of a log have in common. */
size_t resume_log_len(const char *path);
/* f has bytes of this length and sum there. */
bool resume_holds(struct file *f, uint64_t offset, uint32_t len, uint32_t sum);
/* The first of those of this path's log. */
struct wanted *resume_of_log(const struct resume *r, const char *path);
/* The entry whose content a file that nobody knew holds, or NULL. */
struct wanted *resume_by_content(const struct resume *r, struct file *f, const char *path);
/* f's content is what e says, and it goes on where e says. */
bool resume_is_of(struct file *f, const struct checkpoint_entry *e);
void resume_set_place(struct file *f, const struct checkpoint_entry *e);
void resume_go_on(struct collector *c, struct wanted *w, struct file *f);
/* Opens those compressed files that hold something wanted. */
void collector_resume_gz(struct collector *c);

#endif
