/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes are taken in two rounds: what hotdrain or the API itself needs to know first, then the
 * labels, so that a container with very many labels loses some of those and not its exit code.
 *
 * A container's labels are anybody's words: one that begins with "hotdrain." is left out, since
 * those are this program's.
 */
#include "watch/docker_event.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "event/event.h"

#define ID_MAX 128

static const struct {
	const char *word;
	uint32_t action;
} actions[] = {
	{"create", CONTAINER_CREATE},  {"start", CONTAINER_START}, {"unpause", CONTAINER_UNPAUSE},
	{"kill", CONTAINER_KILL},      {"stop", CONTAINER_STOP},   {"pause", CONTAINER_PAUSE},
	{"die", CONTAINER_DIE},        {"died", CONTAINER_DIE},    {"destroy", CONTAINER_DESTROY},
	{"remove", CONTAINER_DESTROY},
};

static const char *const own_words[] = {"image", "exitCode", "signal"};

static void json_release(json_t **j)
{
	json_decref(*j);
}

/* jansson takes no NUL in a key, and C no NUL in a string: "\\u0000" becomes a space. */
static void blank_nuls(char *text, size_t len)
{
	for (char *p = memmem(text, len, "\\u0000", 6); p;
	     p = memmem(p, len - (size_t)(p - text), "\\u0000", 6))
		memcpy(p, "\\u0020", 6);
}

static int json_read(const char *text, size_t len, json_t **ret)
{
	_cleanup_free_ char *copy = NULL;
	json_error_t error;
	json_t *j = json_loadb(text, len, 0, &error);

	if (!j && (json_error_code(&error) == json_error_null_character ||
		   json_error_code(&error) == json_error_null_byte_in_key)) {
		copy = malloc(len);
		if (!copy)
			return -ENOMEM;
		memcpy(copy, text, len);
		blank_nuls(copy, len);
		j = json_loadb(copy, len, 0, &error);
	}
	if (!j)
		return json_error_code(&error) == json_error_out_of_memory ? -ENOMEM : -EBADMSG;
	*ret = j;
	return 0;
}

static const char *string_at(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static uint32_t action_of(const char *word)
{
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(word, actions[i].word) == 0)
			return actions[i].action;
	return 0;
}

int docker_event_add(struct event *e, const char *key, const char *value)
{
	struct event_attribute *a;

	if (e->n_attributes % 8 == 0) {
		a = realloc(e->attributes, (e->n_attributes + 8) * sizeof(*a));
		if (!a)
			return -ENOMEM;
		e->attributes = a;
	}
	a = &e->attributes[e->n_attributes];
	*a = (struct event_attribute){strdup(key), strdup(value)};
	if (!a->key || !a->value) {
		free(a->key);
		free(a->value);
		return -ENOMEM;
	}
	e->n_attributes++;
	return 0;
}

struct attributes {
	struct event *event;
	size_t bytes;
	unsigned cut;
};

static int add_limited(struct attributes *a, const char *key, const char *value)
{
	size_t bytes = strlen(key) + strlen(value);

	if (a->event->n_attributes == DOCKER_ATTRIBUTES_MAX ||
	    a->bytes + bytes > DOCKER_ATTRIBUTE_BYTES_MAX) {
		a->cut++;
		return 0;
	}
	a->bytes += bytes;
	return docker_event_add(a->event, key, value);
}

static bool is_own_word(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(own_words); i++)
		if (strcmp(key, own_words[i]) == 0)
			return true;
	return false;
}

/* What a label may not be called, what is said elsewhere, and Podman's own. */
static bool is_reserved(const char *key)
{
	return strncmp(key, "hotdrain.", 9) == 0 || strcmp(key, "name") == 0 ||
	       strcmp(key, "oldName") == 0 || strcmp(key, "containerExitCode") == 0 ||
	       strcmp(key, "podId") == 0;
}

static int add_all(struct attributes *a, json_t *object, bool own)
{
	const char *key, *text;
	json_t *value;
	int r;

	json_object_foreach(object, key, value)
	{
		text = json_string_value(value);
		if (!text || is_own_word(key) != own || is_reserved(key))
			continue;
		r = add_limited(a, key, text);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_time(struct event *e, int64_t time_ns)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, time_ns);
	return time_ns ? docker_event_add(e, DOCKER_TIME, text) : 0;
}

static int set_actor(struct event *e, const char *id, const char *name)
{
	e->actor_id = strdup(id);
	e->actor_name = strdup(name ? name : id);
	return e->actor_id && e->actor_name ? 0 : -ENOMEM;
}

static int64_t time_of(const json_t *object)
{
	int64_t ns = json_integer_value(json_object_get(object, "timeNano"));
	int64_t s = json_integer_value(json_object_get(object, "time"));

	if (ns > 0)
		return ns;
	return s > 0 && s < INT64_MAX / NS_PER_SEC ? s * NS_PER_SEC : 0;
}

static int fill_event(struct event *e, const char *id, json_t *words, struct docker_notice *n)
{
	struct attributes a = {.event = e};
	const char *code = string_at(words, "containerExitCode");
	int r = set_actor(e, id, string_at(words, "name"));

	if (r == 0)
		r = add_time(e, n->time_ns);
	if (r == 0 && code && e->action == CONTAINER_DIE && !string_at(words, "exitCode"))
		r = add_limited(&a, "exitCode", code);
	if (r == 0)
		r = add_all(&a, words, true);
	if (r == 0)
		r = add_all(&a, words, false);
	n->cut = a.cut;
	return r;
}

int docker_event_parse(const char *text, size_t len, struct event *ret_event,
		       struct docker_notice *ret_notice)
{
	_cleanup_(json_release) json_t *object = NULL;
	_cleanup_(event_done) struct event e = {.type = EVENT_CONTAINER, .watch = -1};
	struct docker_notice n = {0};
	const char *type, *word, *id;
	json_t *actor;
	int r = json_read(text, len, &object);

	if (r < 0)
		return r;
	type = string_at(object, "Type");
	if (type && strcmp(type, "container") != 0)
		return 0;
	actor = json_object_get(object, "Actor");
	word = string_at(object, "Action");
	id = string_at(actor, "ID");
	if (!type || !word || !id || !*id || strlen(id) > ID_MAX)
		return -EBADMSG;
	e.action = action_of(word);
	n.renamed = strcmp(word, "rename") == 0;
	if (!e.action && !n.renamed)
		return 0;
	n.time_ns = time_of(object);
	r = fill_event(&e, id, json_object_get(actor, "Attributes"), &n);
	if (r < 0)
		return r;
	*ret_event = e;
	e = (struct event){0};
	*ret_notice = n;
	return 1;
}

/* "/web"; links to it from other containers are names too: "/proxy/web". */
static const char *row_name(const json_t *row)
{
	json_t *names = json_object_get(row, "Names"), *each;
	const char *name = NULL;
	size_t i;

	json_array_foreach(names, i, each)
	{
		const char *text = json_string_value(each);

		if (text && *text == '/')
			text++;
		if (text && *text && (!name || !strchr(text, '/')))
			name = text;
	}
	return name;
}

static int fill_row(struct event *e, const json_t *row, const char *id, struct docker_notice *n)
{
	struct attributes a = {.event = e};
	const char *image = string_at(row, "Image");
	int r = set_actor(e, id, row_name(row));

	if (r == 0)
		r = docker_event_add(e, DOCKER_LISTED, "true");
	if (r == 0 && image)
		r = add_limited(&a, "image", image);
	if (r == 0)
		r = add_all(&a, json_object_get(row, "Labels"), false);
	n->cut = a.cut;
	return r;
}

int docker_event_parse_row(const char *text, size_t len, struct event *ret_event,
			   struct docker_notice *ret_notice)
{
	_cleanup_(json_release) json_t *row = NULL;
	_cleanup_(event_done) struct event e = {.type = EVENT_CONTAINER, .watch = -1};
	struct docker_notice n = {0};
	const char *id, *state;
	int r = json_read(text, len, &row);

	if (r < 0)
		return r;
	id = string_at(row, "Id");
	state = string_at(row, "State");
	if (!id || !*id || strlen(id) > ID_MAX)
		return -EBADMSG;
	n.running = state && (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0);
	e.action = n.running ? CONTAINER_START : CONTAINER_CREATE;
	r = fill_row(&e, row, id, &n);
	if (r < 0)
		return r;
	*ret_event = e;
	e = (struct event){0};
	*ret_notice = n;
	return 1;
}
