/* SPDX-License-Identifier: Apache-2.0 */
/* The file table's inside, shared by files.c (life) and found.c (names). */
#ifndef FILES_FILES_IMPL_H
#define FILES_FILES_IMPL_H

#include "base/log.h"
#include "base/table.h"
#include "files/files.h"

struct excluded {
	struct table_node by_id;
	struct file_id id;
};

struct files {
	struct files_hooks hooks;
	struct table by_id, by_path, by_wd, chains, excluded;
	char *excluded_uid; /* "_UID/" */
	bool starting, skip_existing, retry;
	size_t cursor;
	struct log_limit limit;
	struct files_stats stats;
};

#endif
