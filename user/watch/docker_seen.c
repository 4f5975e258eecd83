/* SPDX-License-Identifier: Apache-2.0 */
#include "watch/docker_seen.h"

#include <string.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/sys.h"
#include "event/event.h"

bool docker_seen_add(struct docker_seen *s, const struct event *e, int64_t time_ns)
{
	uint64_t hash = hash_bytes(e->actor_id, strlen(e->actor_id)) + e->action;

	if (!time_ns)
		return true;
	for (size_t i = 0; i < s->n; i++)
		if (s->ring[i].ns == time_ns && s->ring[i].hash == hash)
			return false;
	if (s->n == DOCKER_SEEN_MAX)
		s->forgot_ns = s->ring[s->next].ns;
	else
		s->n++;
	s->ring[s->next].ns = time_ns;
	s->ring[s->next].hash = hash;
	s->next = (s->next + 1) % DOCKER_SEEN_MAX;
	s->last_ns = time_ns;
	return true;
}

int64_t docker_seen_since(const struct docker_seen *s, int64_t start_ns)
{
	int64_t since = s->last_ns - NS_PER_SEC;

	if (!s->last_ns)
		return start_ns;
	/* Later than the last: the daemon's clock was set back meanwhile. */
	if (s->forgot_ns >= since && s->forgot_ns < s->last_ns)
		since = s->forgot_ns + 1;
	return s->last_ns >= start_ns ? MAX(since, start_ns) : since;
}
