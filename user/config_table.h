/* SPDX-License-Identifier: Apache-2.0 */
/* The table of options that config.c works from. */
#ifndef CONFIG_TABLE_H
#define CONFIG_TABLE_H

#include <stdbool.h>
#include <stddef.h>

struct option;

struct kind {
	const char *metavar;
	const char
		*expected; /* completes "expected ..., got 'x'"; NULL: one of the option's words */
	bool list;         /* field is a struct config_list, parse adds to it */
	size_t size;       /* of the field; 0: it is a text (char *) */
	/* 0, -EINVAL, -ERANGE, -ENOMEM; field is written on success only. */
	int (*parse)(const struct option *o, const char *text, void *field);
};

struct option {
	const char *key; /* the flag is the same with dashes for _ and . */
	char flag;
	bool flag_only; /* has no key in the file */
	const struct kind *kind;
	size_t offset;
	const char *initial; /* NULL: none, or not a constant */
	const char *min, *max;
	const char *fixed; /* the flag takes no value, and stands for this one */
	const char *words;
	bool at_start; /* cannot change while the program runs */
	const char *help;
};

/* What an option without a kind asks for; its offset holds it. */
enum option_action { ACTION_VERSION = 1, ACTION_HELP };

extern const struct option config_options[];
extern const size_t config_options_n;

char option_dash(char c);
/* "--exit-when-idle" for exit_when_idle; returns name. */
char *option_flag(const struct option *o, char *name, size_t size);
bool option_takes_value(const struct option *o);

#endif
