/* SPDX-License-Identifier: Apache-2.0 */
#include "event/event.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/sys.h"

static const struct {
	uint32_t action;
	const char *name;
} action_names[] = {
	{FILE_WRITTEN, "written"},        {FILE_CLOSED, "closed"},
	{FILE_CREATED, "created"},        {FILE_DELETED, "deleted"},
	{FILE_MOVED_FROM, "moved_from"},  {FILE_MOVED_TO, "moved_to"},
	{FILE_UNWATCHED, "unwatched"},    {FILE_RENAMED, "renamed"},
	{CONTAINER_CREATE, "create"},     {CONTAINER_START, "start"},
	{CONTAINER_UNPAUSE, "unpause"},   {CONTAINER_KILL, "kill"},
	{CONTAINER_STOP, "stop"},         {CONTAINER_PAUSE, "pause"},
	{CONTAINER_DIE, "die"},           {CONTAINER_DESTROY, "destroy"},
	{CONTROL_RELOAD, "force-reload"}, {CONTROL_OVERFLOW, "overflow"},
};

void event_done(struct event *e)
{
	for (size_t i = 0; i < e->n_attributes; i++) {
		free(e->attributes[i].key);
		free(e->attributes[i].value);
	}
	free(e->attributes);
	free(e->actor_name);
	free(e->actor_id);
	*e = (struct event){.watch = -1};
}

bool event_is_container_start(const struct event *e)
{
	return e->type == EVENT_CONTAINER && e->action & CONTAINER_STARTS;
}

bool event_is_container_stop(const struct event *e)
{
	return e->type == EVENT_CONTAINER && e->action & CONTAINER_STOPS;
}

bool event_is_container_pause(const struct event *e)
{
	return e->type == EVENT_CONTAINER && e->action & CONTAINER_PAUSE;
}

const char *event_string(const struct event *e, char *buf, size_t size)
{
	size_t at = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(action_names); i++)
		if (e->action & action_names[i].action && at < size)
			at += (size_t)snprintf(buf + at, size - at, "%s%s", at ? "|" : "",
					       action_names[i].name);
	if (at < size && e->actor_name)
		snprintf(buf + at, size - at, " %s", e->actor_name);
	return buf;
}
