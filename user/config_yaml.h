/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A flat YAML mapping, read through libcyaml as text: what the text means is for config.c to say.
 * A value is one scalar, or, where the key takes a list, a scalar or a sequence of scalars.
 */
#ifndef CONFIG_YAML_H
#define CONFIG_YAML_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

struct yaml_key {
	/* In: */
	const char *name;
	bool takes_list;
	/* Out: */
	bool present;
	char **texts; /* n of them; NULL when n is 0 */
	size_t n;
	size_t line; /* counted from 1; 0 when it could not be told (a key in flow style) */
};

/*
 * Fills the Out members of all n keys. 0 (also for a file that holds nothing), or -EINVAL, -ENOMEM,
 * or the -errno of reading it; then error holds one line that names path, line and key, and all
 * keys are absent. Files over 1 MiB are refused (-EFBIG).
 */
int yaml_load(const char *path, struct yaml_key *keys, size_t n, struct buf *error);
void yaml_done(struct yaml_key *keys, size_t n);

#endif
