/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcyaml checks a document against a schema made at run time from the keys: each is optional and
 * is loaded as a string, because limits, units and words belong to the option table and must not
 * exist twice. libcyaml 1.3 has no "string or sequence"; so a key that takes a list is first tried
 * as a string, and as a sequence once libcyaml has met one there. Each round settles one key.
 *
 * What went wrong is known only from libcyaml's log: a sentence, then a backtrace whose innermost
 * line names the field and the position of the event before. For an unknown key that is the line
 * of the value above it, so a key's line is looked for in the text: it is the first line that
 * begins with it. A mapping in flow style has no such line, and the message then names the key
 * alone.
 *
 * Rejected: libyaml underneath by hand (it knows every line, but the schema, duplicate keys and
 * aliases would be written again), and a schema with typed numbers (durations and sizes have
 * units).
 */
#include "config_yaml.h"

#include <cyaml/cyaml.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sys.h"

#define FILE_MAX_BYTES (1 << 20)

/* What libcyaml loads for one key: the schema uses text or list. */
struct value {
	char *text;
	char **list;
	uint32_t n;
};

struct schema {
	cyaml_schema_field_t *fields; /* n keys and an end mark */
	cyaml_schema_value_t top;
	bool *as_list;
};

/* The first complaint of a load, as the log told it. */
struct complaint {
	char text[256];
	char field[64];
	size_t line; /* of the event before, 0 when unknown */
	bool in_entry;
};

static const cyaml_schema_value_t entry_schema = {
	CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char, 0, CYAML_UNLIMITED),
};

static void complaint_take(cyaml_log_t level, void *ctx, const char *fmt, va_list ap)
{
	struct complaint *c = ctx;
	char line[256], *text = line;

	vsnprintf(line, sizeof(line), fmt, ap);
	line[strcspn(line, "\n")] = '\0';
	if (!strncmp(text, "Load: ", 6))
		text += 6;
	if (!strncmp(text, "libyaml: ", 9))
		text += 9;
	if (!strcmp(text, "Backtrace:"))
		return;
	if (!c->text[0]) {
		snprintf(c->text, sizeof(c->text), "%s", text);
		return;
	}
	if (!strncmp(text, "  in sequence entry", 19))
		c->in_entry = true;
	if (!c->line && sscanf(text, "  in mapping (line: %zu", &c->line) != 1 &&
	    sscanf(text, "  in mapping field '%63[^']' (line: %zu", c->field, &c->line) != 2)
		c->field[0] = '\0';
}

static void schema_done(struct schema *s)
{
	free(s->fields);
	free(s->as_list);
}

static int schema_init(struct schema *s, const struct yaml_key *keys, size_t n)
{
	s->fields = calloc(n + 1, sizeof(*s->fields));
	s->as_list = calloc(n, sizeof(*s->as_list));
	if (!s->fields || !s->as_list)
		return -ENOMEM;
	s->top = (cyaml_schema_value_t){
		.type = CYAML_MAPPING,
		.flags = CYAML_FLAG_POINTER,
		.data_size = (uint32_t)(n * sizeof(struct value)),
		.mapping = {.fields = s->fields},
	};
	return 0;
}

static void schema_fill(struct schema *s, const struct yaml_key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		cyaml_schema_field_t *f = &s->fields[i];
		size_t at = i * sizeof(struct value);

		*f = (cyaml_schema_field_t){.key = keys[i].name};
		f->value.flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL;
		if (s->as_list[i]) {
			f->value.type = CYAML_SEQUENCE;
			f->value.data_size = sizeof(char *);
			f->value.sequence.entry = &entry_schema;
			f->value.sequence.max = CYAML_UNLIMITED;
			f->data_offset = (uint32_t)(at + offsetof(struct value, list));
			f->count_offset = (uint32_t)(at + offsetof(struct value, n));
			f->count_size = sizeof(uint32_t);
		} else {
			f->value.type = CYAML_STRING;
			f->value.data_size = 1;
			f->value.string.max = CYAML_UNLIMITED;
			f->data_offset = (uint32_t)(at + offsetof(struct value, text));
		}
	}
}

static int file_read(const char *path, struct buf *text)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		return -errno;
	for (;;) {
		ssize_t n;
		int r = buf_reserve(text, 4096);

		if (r < 0)
			return r;
		n = read(fd, text->data + text->len, 4096);
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		text->len += (size_t)n;
		if (text->len > FILE_MAX_BYTES)
			return -EFBIG;
	}
}

/* Comments, blank lines and document marks only: to libcyaml a bare "---" is a scalar. */
static bool text_is_empty(const char *text)
{
	for (const char *p = text; *p; p += *p == '\n') {
		size_t mark = !strncmp(p, "---", 3) || !strncmp(p, "...", 3) ? 3 : 0;
		size_t n = strcspn(p, "\n");
		size_t blank = mark + strspn(p + mark, " \t\r");

		if (blank < n && p[blank] != '#')
			return false;
		p += n;
	}
	return true;
}

/* Where the key is for the nth time; 0: it is not. */
static size_t key_line(const char *text, const char *name, int nth)
{
	size_t line = 1, len = strlen(name);

	for (const char *p = text; *p; line++) {
		const char *at = p + strspn(p, " \"'");

		if (!strncmp(at, name, len) && at[len + strspn(at + len, " \"'")] == ':' && !--nth)
			return line;
		p += strcspn(p, "\n");
		p += *p == '\n';
	}
	return 0;
}

/* "PATH:LINE: ", the line left out when it is not known. */
static void error_begin(struct buf *error, const char *path, size_t line)
{
	buf_printf(error, "%s: ", path);
	if (line) {
		error->len -= 2;
		buf_printf(error, ":%zu: ", line);
	}
}

static int error_add(struct buf *error, const char *path, const char *text,
		     const struct complaint *c)
{
	char key[64], got[32];

	if (sscanf(c->text, "Unexpected key: %63[^\n]", key) == 1) {
		error_begin(error, path, key_line(text, key, 1));
		buf_printf(error, "unknown key '%s', see 'hotdrain run --help'", key);
	} else if (sscanf(c->text, "Mapping field already seen: %63[^\n]", key) == 1) {
		error_begin(error, path, key_line(text, key, 2));
		buf_printf(error, "%s: the key is there twice", key);
	} else if (sscanf(c->text, "Expecting STRING, got event: %31s", got) == 1 && c->field[0]) {
		error_begin(error, path, key_line(text, c->field, 1));
		buf_printf(error, "%s: expected %s, got a %s", c->field,
			   c->in_entry ? "single values in the list" : "a single value",
			   !strcmp(got, "MAPPING_START") ? "mapping" : "list");
	} else if (sscanf(c->text, "Expecting MAPPING, got event: %31s", got) == 1) {
		error_begin(error, path, 0);
		buf_printf(error, "expected lines of the form KEY: VALUE");
	} else {
		buf_printf(error, "%s: ", path);
		if (c->line)
			buf_printf(error, "near line %zu: ", c->line);
		buf_printf(error, "%s", c->text[0] ? c->text : "not valid YAML");
	}
	return -EINVAL;
}

/* Does libcyaml complain of a sequence at a key that takes one? Then asks for it there. */
static bool schema_learn(struct schema *s, const struct yaml_key *keys, size_t n,
			 const struct complaint *c)
{
	if (strcmp(c->text, "Expecting STRING, got event: SEQUENCE_START") || c->in_entry)
		return false;
	for (size_t i = 0; i < n; i++) {
		if (strcmp(keys[i].name, c->field) || !keys[i].takes_list || s->as_list[i])
			continue;
		s->as_list[i] = true;
		return true;
	}
	return false;
}

static int text_load(const char *path, const struct buf *text, struct schema *s,
		     const struct yaml_key *keys, size_t n, struct buf *error,
		     struct value **ret_values)
{
	for (;;) {
		struct complaint c = {};
		const cyaml_config_t config = {
			.log_fn = complaint_take,
			.log_ctx = &c,
			.log_level = CYAML_LOG_WARNING,
			.mem_fn = cyaml_mem,
			.flags = CYAML_CFG_NO_ALIAS,
		};
		struct value *values = NULL;
		cyaml_err_t e;

		schema_fill(s, keys, n);
		e = cyaml_load_data((const uint8_t *)text->data, text->len, &config, &s->top,
				    (cyaml_data_t **)&values, NULL);
		/* A warning (further documents are ignored) is an error here. */
		if (e == CYAML_OK && !c.text[0]) {
			*ret_values = values;
			return 0;
		}
		if (e == CYAML_ERR_ALIAS)
			snprintf(c.text, sizeof(c.text), "aliases (*NAME) are not taken");
		if (e == CYAML_OK) {
			snprintf(c.text, sizeof(c.text), "only one document is taken");
			cyaml_free(&config, &s->top, values, 0);
		}
		if (!schema_learn(s, keys, n, &c))
			return error_add(error, path, text->data, &c);
	}
}

static int keys_take(const struct schema *s, struct yaml_key *keys, size_t n, const char *text,
		     const struct value *values)
{
	for (size_t i = 0; i < n; i++) {
		const struct value *v = &values[i];

		keys[i].present = v->text || s->as_list[i];
		keys[i].line = keys[i].present ? key_line(text, keys[i].name, 1) : 0;
		keys[i].n = v->text ? 1 : v->n;
		keys[i].texts = calloc(keys[i].n + 1, sizeof(char *));
		if (!keys[i].texts)
			return -ENOMEM;
		for (size_t k = 0; k < keys[i].n; k++) {
			keys[i].texts[k] = strdup(v->text ? v->text : v->list[k]);
			if (!keys[i].texts[k])
				return -ENOMEM;
		}
	}
	return 0;
}

int yaml_load(const char *path, struct yaml_key *keys, size_t n, struct buf *error)
{
	static const cyaml_config_t config = {.mem_fn = cyaml_mem};
	_cleanup_(buf_done) struct buf text = {};
	_cleanup_(schema_done) struct schema schema = {};
	struct value *values = NULL;
	int r;

	r = file_read(path, &text);
	if (!r)
		r = buf_add(&text, "", 1);
	if (!r)
		r = schema_init(&schema, keys, n);
	if (r) {
		buf_printf(error, "%s: %s", path, strerror(-r));
		return r;
	}
	text.len--;
	if (strlen(text.data) != text.len) {
		buf_printf(error, "%s: not a text file", path);
		return -EINVAL;
	}
	if (text_is_empty(text.data))
		return 0;
	r = text_load(path, &text, &schema, keys, n, error, &values);
	if (r < 0 || !values)
		return r;
	r = keys_take(&schema, keys, n, text.data, values);
	cyaml_free(&config, &schema.top, values, 0);
	if (r < 0) {
		yaml_done(keys, n);
		buf_printf(error, "%s: %s", path, strerror(-r));
	}
	return r;
}

void yaml_done(struct yaml_key *keys, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; keys[i].texts && k < keys[i].n; k++)
			free(keys[i].texts[k]);
		free(keys[i].texts);
		keys[i].texts = NULL;
		keys[i].n = 0;
		keys[i].present = false;
	}
}
