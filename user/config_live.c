/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What of a configuration can change under a running program, and doing so. Which settings those
 * are is the table's to say (at_start), so that a new one cannot be forgotten here: it counts as
 * live unless its row says otherwise.
 *
 * The program borrows texts and lists of the configuration for as long as it runs. So the struct
 * stays where it is: values move into it, and those that are taken at the start are never touched.
 * Rejected: a new struct in place of the old one (each borrower would have to be told).
 */
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "config.h"
#include "config_table.h"

static const void *field(const struct config *c, const struct option *o)
{
	return (const char *)c + o->offset;
}

static size_t field_size(const struct option *o)
{
	return o->kind->size ? o->kind->size : sizeof(char *);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool config_list_same(const struct config_list *a, const struct config_list *b)
{
	if (a->n != b->n)
		return false;
	for (size_t i = 0; i < a->n; i++)
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	return true;
}

static bool same(const struct config *a, const struct config *b, const struct option *o)
{
	if (o->kind->list)
		return config_list_same(field(a, o), field(b, o));
	if (!o->kind->size)
		return same_text(*(char *const *)field(a, o), *(char *const *)field(b, o));
	return memcmp(field(a, o), field(b, o), o->kind->size) == 0;
}

/* An option without a key names another one's field, or none, or the file itself. */
static bool is_setting(const struct option *o, bool live)
{
	return !o->flag_only && o->at_start != live;
}

int config_differences(const struct config *a, const struct config *b, bool live, struct buf *names)
{
	int n = 0, r = 0;

	for (size_t i = 0; i < config_options_n && r == 0; i++) {
		const struct option *o = &config_options[i];

		if (is_setting(o, live) && !same(a, b, o))
			r = buf_printf(names, "%s%s", n++ ? ", " : "", o->key);
	}
	return r < 0 ? r : n;
}

void config_exchange(struct config *a, struct config *b)
{
	char was[sizeof(struct config_list)];

	_Static_assert(sizeof(was) >= sizeof(uint64_t), "the list is the largest field");
	for (size_t i = 0; i < config_options_n; i++) {
		const struct option *o = &config_options[i];
		void *to = (char *)a + o->offset, *from = (char *)b + o->offset;

		if (!is_setting(o, true))
			continue;
		memcpy(was, to, field_size(o));
		memcpy(to, from, field_size(o));
		memcpy(from, was, field_size(o));
	}
}
