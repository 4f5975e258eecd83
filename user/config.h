/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every setting of `hotdrain run`, as one plain struct. Filled from one table of options
 * (config.c): defaults, then the YAML file, then the command line. A flag and its key share the
 * name (dashes there, underscores here), the words, the units and the limits.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "drain/decode.h"
#include "heat/priority.h"
#include "heat/write_count.h"
#include "output/encode.h"

#define CONFIG_STATE_DEFAULT "/var/lib/hotdrain"

struct buf;

enum config_start { CONFIG_START_BEGINNING, CONFIG_START_END };

struct config_list {
	char **items;
	size_t n;
};

#define CONFIG_WHY_MAX 1024

struct config {
	int argc; /* the command line it was read from, not owned */
	char **argv;
	char *config_path;                 /* NULL: no file was named */
	char *bpf_pin;                     /* directory, or "none" */
	char *metrics, *docker, *pods_url; /* or "none" */
	char *pods_token, *pods_ca;        /* files, or "none" */
	struct config_list pods_labels, pods_annotations;
	int64_t series_keep_ns, pods_refresh_ns;
	char *state; /* directory, or "none"; CONFIG_STATE_DEFAULT may be missing */
	struct config_list roots, link_roots,
		sinks; /* never an empty string; roots, sinks: n > 0 */
	enum encode_format format;
	enum decode_format decode;
	enum config_start start;
	enum order order;
	enum rung bpf;
	enum log_level log_level;
	int64_t linger_ns;
	int64_t exit_when_idle_ns; /* -1: never */
	int64_t rotate_quiet_ns;
	int64_t hot_quiet_ns;
	int64_t tick_ns;
	int64_t stop_timeout_ns;
	uint64_t line_max_bytes;
	uint64_t batch_bytes;
	uint64_t join_max_bytes;
	uint64_t held_max_bytes;
	uint64_t rotate_size_bytes;
	uint32_t batches;
	uint32_t rotate_files;
	uint32_t files_max; /* 1 .. WRITE_COUNT_SLOTS_MAX */
	/* $HOTDRAIN_POD_UID, not an option: the pod this process runs in, whose directory is left
	 * out so that hotdrain never reads its own log. NULL outside a pod. */
	char *own_pod_uid;
};

/*
 * argv[0] is the subcommand's name, for the help text; options follow. Reads the file that --config
 * names. 0: go on with *ret; 1: --help or --version was printed to standard output; -EINVAL,
 * -ENOMEM or the -errno of the file after one line on standard error. *ret is written only on 0,
 * and then needs config_done.
 */
int config_parse(int argc, char **argv, struct config *ret);
/* Reads the file again, with the same command line on top: 0, or -errno and why it cannot be used
 * in why (CONFIG_WHY_MAX bytes). *ret as above. */
int config_again(const struct config *c, struct config *ret, char *why);
/*
 * Adds the keys in which two configurations differ to names, as "linger, root": those that can
 * change while the program runs (live), or those that are taken at its start. How many; -ENOMEM.
 */
int config_differences(const struct config *a, const struct config *b, bool live,
		       struct buf *names);
bool config_list_same(const struct config_list *a, const struct config_list *b);
/* Everything that can change while the program runs is exchanged; the rest, and whoever borrows it,
 * stays as it is. */
void config_exchange(struct config *a, struct config *b);
void config_done(struct config *c);

#endif
