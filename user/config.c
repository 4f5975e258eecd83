/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Defaults, the file and the command line are all "option and text" and go through the same
 * setting_apply(), in this order, so that the later wins and all three know the same words.
 *
 *   defaults ──┐
 *   file ──────┼─> setting {option, text, where} ─> kind->parse, limits ─> struct config
 *   arguments ─┘
 *
 * Values of the file are checked even where a flag replaces them: a file that is wrong is wrong
 * whoever starts it. A list is replaced by the later source, not added to.
 *
 * Rejected: getopt_long, which needs the table a second time and words its own errors.
 */
#include "config.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sys.h"
#include "config_help.h"
#include "config_table.h"
#include "config_yaml.h"

/* One "option = text", and where it was said: what an error begins with. */
struct setting {
	const struct option *option;
	const char *text;
	const char *where; /* "/etc/hotdrain.yaml:3: linger"; NULL: the flag */
};

/* argv being read, and the settings found, in their order. */
struct arguments {
	int argc, next;
	char **argv;
	struct setting *settings;
	size_t n;
	char *why; /* CONFIG_WHY_MAX */
};

/* Puts one line into why; control characters in it are shown as '?'. */
static int complain(char *why, int r, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static int complain(char *why, int r, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, CONFIG_WHY_MAX, fmt, ap);
	va_end(ap);
	for (char *p = why; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return r;
}

static bool takes_list(const struct option *o)
{
	return o->kind && o->kind->list;
}

/* r: what the option's parser said of the text; NULL: there is none. */
static int setting_complain(const struct setting *s, int r, char *why)
{
	const struct option *o = s->option;
	char flag[64], expected[160] = "one of", got[128] = "nothing";
	const char *where = s->where ? s->where : option_flag(o, flag, sizeof(flag));
	size_t n = strlen(expected);

	if (r == -ENOMEM)
		return complain(why, r, "%s: out of memory", where);
	if (s->text)
		snprintf(got, sizeof(got), "'%s'", s->text);
	if (r == -ERANGE && o->max)
		return complain(why, -EINVAL, "%s: expected %s to %s, got %s", where, o->min,
				o->max, got);
	if (o->kind->expected)
		return complain(why, -EINVAL, "%s: expected %s, got %s", where, o->kind->expected,
				got);
	for (const char *p = o->words; *p && n < sizeof(expected) - 3; p++) {
		if (p == o->words || *p == '|')
			n += (size_t)snprintf(expected + n, 3, *p == '|' ? ", " : " ");
		if (*p != '|')
			expected[n++] = *p;
		expected[n] = '\0';
	}
	return complain(why, -EINVAL, "%s: expected %s, got %s", where, expected, got);
}

static int setting_apply(const struct setting *s, struct config *c, char *why)
{
	int r = s->option->kind->parse(s->option, s->text, (char *)c + s->option->offset);

	return r < 0 ? setting_complain(s, r, why) : 0;
}

static void list_clear(struct config_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct config_list){};
}

static void option_clear(const struct option *o, struct config *c)
{
	if (takes_list(o))
		list_clear((struct config_list *)((char *)c + o->offset));
}

static int apply_defaults(struct config *c, char *why)
{
	const char *root = getenv("CONTAINER_LOG_DIRECTORY");
	const char *uid = getenv("HOTDRAIN_POD_UID");
	int r = 0;

	for (size_t i = 0; i < config_options_n && !r; i++) {
		const struct option *o = &config_options[i];
		struct setting s = {.option = o, .text = o->initial, .where = o->key};

		if (takes_list(o) && o->offset == offsetof(struct config, roots))
			s.text = root && root[0] ? root : "/var/log/pods";
		if (s.text)
			r = setting_apply(&s, c, why);
	}
	if (!r && uid && uid[0]) {
		c->own_pod_uid = strdup(uid);
		if (!c->own_pod_uid)
			r = complain(why, -ENOMEM, "out of memory");
	}
	return r;
}

static int apply_key(const char *path, const struct yaml_key *key, const struct option *o,
		     struct config *c, char *why)
{
	_cleanup_(buf_done) struct buf where = {};
	int r = 0;

	if (key->line)
		r = buf_printf(&where, "%s:%zu: %s", path, key->line, key->name);
	else
		r = buf_printf(&where, "%s: %s", path, key->name);
	if (r < 0)
		return complain(why, r, "%s: out of memory", path);
	if (!key->n && o->offset != offsetof(struct config, link_roots))
		return complain(why, -EINVAL, "%s: expected %s, got an empty list", where.data,
				o->kind->expected);
	option_clear(o, c);
	for (size_t i = 0; i < key->n && !r; i++) {
		struct setting s = {.option = o, .text = key->texts[i], .where = where.data};

		r = setting_apply(&s, c, why);
	}
	return r;
}

static int apply_file(const char *path, struct config *c, char *why)
{
	_cleanup_(buf_done) struct buf error = {};
	_cleanup_free_ struct yaml_key *keys = calloc(config_options_n, sizeof(*keys));
	_cleanup_free_ size_t *rows = calloc(config_options_n, sizeof(*rows));
	size_t n = 0;
	int r;

	if (!keys || !rows)
		return complain(why, -ENOMEM, "%s: out of memory", path);
	for (size_t i = 0; i < config_options_n; i++) {
		if (config_options[i].flag_only)
			continue;
		rows[n] = i;
		keys[n].name = config_options[i].key;
		keys[n++].takes_list = takes_list(&config_options[i]);
	}
	r = yaml_load(path, keys, n, &error);
	if (r < 0)
		return complain(why, r, "%s", error.data ? error.data : "out of memory");
	for (size_t i = 0; i < n && !r; i++)
		if (keys[i].present)
			r = apply_key(path, &keys[i], &config_options[rows[i]], c, why);
	yaml_done(keys, n);
	return r;
}

static int apply_arguments(const struct arguments *a, struct config *c)
{
	int r = 0;

	for (size_t i = 0; i < a->n; i++) {
		bool first = true;

		for (size_t k = 0; k < i; k++)
			first = first && a->settings[k].option != a->settings[i].option;
		if (first)
			option_clear(a->settings[i].option, c);
		r = setting_apply(&a->settings[i], c, a->why);
		if (r < 0)
			return r;
	}
	return 0;
}

static const struct option *option_by_name(const char *name, size_t len)
{
	for (size_t i = 0; i < config_options_n; i++) {
		const char *key = config_options[i].key;
		size_t n = 0;

		while (n < len && key[n] && name[n] == (option_dash(key[n])))
			n++;
		if (n == len && !key[n])
			return &config_options[i];
	}
	return NULL;
}

static const struct option *option_by_letter(char letter)
{
	for (size_t i = 0; i < config_options_n; i++)
		if (config_options[i].flag && config_options[i].flag == letter)
			return &config_options[i];
	return NULL;
}

/* value: what followed "=", or the rest of a word of letters; NULL: the next word, if any. */
static int argument_add(struct arguments *a, const struct option *o, const char *value)
{
	if (option_takes_value(o) && !value)
		value = a->next < a->argc ? a->argv[a->next++] : NULL;
	if (!option_takes_value(o))
		value = o->fixed;
	a->settings[a->n++] = (struct setting){.option = o, .text = value};
	if (o->kind && !value)
		return setting_complain(&a->settings[a->n - 1], -EINVAL, a->why);
	return 0;
}

static int argument_long(struct arguments *a, const char *word)
{
	size_t len = strcspn(word, "=");
	const struct option *o = option_by_name(word, len);

	if (!o)
		return complain(a->why, -EINVAL,
				"unknown option '--%.*s', see 'hotdrain %s --help'",
				len > 200 ? 200 : (int)len, word, a->argv[0]);
	if (word[len] && !option_takes_value(o))
		return complain(a->why, -EINVAL, "--%s: takes no value, got '%s'", o->key,
				word + len + 1);
	return argument_add(a, o, word[len] ? word + len + 1 : NULL);
}

static int argument_letters(struct arguments *a, const char *word)
{
	for (; *word; word++) {
		const struct option *o = option_by_letter(*word);
		int r;

		if (!o)
			return complain(a->why, -EINVAL,
					"unknown option '-%c', see 'hotdrain %s --help'", *word,
					a->argv[0]);
		if (option_takes_value(o))
			return argument_add(a, o, word[1] ? word + 1 : NULL);
		r = argument_add(a, o, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

/* 0, or -EINVAL after a line. */
static int arguments_read(struct arguments *a)
{
	bool options_end = false;
	int r = 0;

	while (a->next < a->argc && !r) {
		const char *word = a->argv[a->next++];

		if (options_end || word[0] != '-' || !word[1])
			r = complain(a->why, -EINVAL,
				     "unexpected argument '%s', see 'hotdrain %s --help'", word,
				     a->argv[0]);
		else if (word[1] != '-')
			r = argument_letters(a, word + 1);
		else if (word[2])
			r = argument_long(a, word + 2);
		else
			options_end = true;
	}
	return r;
}

static int arguments_init(struct arguments *a, int argc, char **argv)
{
	size_t letters = 1;

	for (int i = 0; i < argc; i++)
		letters += strlen(argv[i]);
	*a = (struct arguments){.argc = argc, .argv = argv, .next = 1, .why = a->why};
	a->settings = calloc(letters, sizeof(*a->settings));
	return a->settings ? 0 : complain(a->why, -ENOMEM, "out of memory");
}

static void arguments_done(struct arguments *a)
{
	free(a->settings);
}

static const char *arguments_config(const struct arguments *a)
{
	for (size_t i = a->n; i-- > 0;)
		if (a->settings[i].option->offset == offsetof(struct config, config_path) &&
		    a->settings[i].option->kind)
			return a->settings[i].text;
	return NULL;
}

/* --help or --version, whichever came first: 1 and it is done. */
static int arguments_answer(const struct arguments *a)
{
	for (size_t i = 0; i < a->n; i++) {
		if (a->settings[i].option->kind)
			continue;
		if (a->settings[i].option->offset == ACTION_HELP)
			config_help(a->argv[0]);
		else
			printf("hotdrain %s\n", VERSION);
		return 1;
	}
	return 0;
}

static int settings_read(struct arguments *a, struct config *c)
{
	const char *path = arguments_config(a);
	int r = apply_defaults(c, a->why);

	if (!r && path)
		r = apply_file(path, c, a->why);
	return r ? r : apply_arguments(a, c);
}

/* why: CONFIG_WHY_MAX bytes. */
static int config_read(int argc, char **argv, struct config *ret, char *why)
{
	_cleanup_(arguments_done) struct arguments a = {.why = why};
	_cleanup_(config_done) struct config c = {.argc = argc, .argv = argv};
	int r;

	r = arguments_init(&a, argc, argv);
	if (!r)
		r = arguments_read(&a);
	if (!r)
		r = arguments_answer(&a);
	if (!r)
		r = settings_read(&a, &c);
	if (r)
		return r;
	*ret = c;
	c = (struct config){};
	return 0;
}

int config_parse(int argc, char **argv, struct config *ret)
{
	char why[CONFIG_WHY_MAX];
	int r = config_read(argc, argv, ret, why);

	if (r < 0)
		fprintf(stderr, "hotdrain: %s\n", why);
	return r;
}

int config_again(const struct config *c, struct config *ret, char *why)
{
	struct stat st;

	/* A pipe has been read, and would be waited for. */
	if (c->config_path && stat(c->config_path, &st) == 0 && !S_ISREG(st.st_mode))
		return complain(why, -EINVAL, "%s: expected a regular file, to be read again",
				c->config_path);
	return config_read(c->argc, c->argv, ret, why);
}

void config_done(struct config *c)
{
	free(c->config_path);
	free(c->bpf_pin);
	free(c->metrics);
	free(c->docker);
	free(c->pods_url);
	free(c->pods_token);
	free(c->pods_ca);
	list_clear(&c->pods_labels);
	list_clear(&c->pods_annotations);
	free(c->state);
	free(c->own_pod_uid);
	list_clear(&c->roots);
	list_clear(&c->link_roots);
	list_clear(&c->sinks);
	*c = (struct config){};
}
