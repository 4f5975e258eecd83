/* SPDX-License-Identifier: Apache-2.0 */
#include "files/pod_path.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

#define ENGINE_ID_LEN 64

static size_t digits(const char *s)
{
	size_t n = 0;

	while (isdigit((unsigned char)s[n]))
		n++;
	return n;
}

/* The last path component before end. */
static const char *component(const char *path, const char *end)
{
	while (end > path && end[-1] != '/')
		end--;
	return end;
}

/* NAMESPACE_POD_UID: neither of the names may hold an underscore. */
static bool parse_pod_dir(const char *dir, const char *end, struct pod_path *p)
{
	const char *first = memchr(dir, '_', (size_t)(end - dir));
	const char *second = first ? memchr(first + 1, '_', (size_t)(end - first - 1)) : NULL;

	if (!second || first == dir || second == first + 1 || second + 1 == end ||
	    memchr(second + 1, '_', (size_t)(end - second - 1)))
		return false;
	p->ns = dir;
	p->ns_len = (size_t)(first - dir);
	p->pod = first + 1;
	p->pod_len = (size_t)(second - first - 1);
	p->uid = second + 1;
	p->uid_len = (size_t)(end - second - 1);
	return true;
}

static bool parse_pods(const char *path, const char *name, struct pod_path *p)
{
	size_t n = digits(name);
	const char *end = name - 1, *container, *dir;

	if (n == 0 || n > 9 || strncmp(name + n, ".log", 4) != 0 ||
	    (name[n + 4] != '\0' && name[n + 4] != '.'))
		return false;
	if (end <= path)
		return false;
	container = component(path, end);
	if (container == path || container == end)
		return false;
	dir = component(path, container - 1);
	if (!parse_pod_dir(dir, container - 1, p))
		return false;
	p->container = container;
	p->container_len = (size_t)(end - container);
	p->restart_count = (int)strtol(name, NULL, 10);
	return true;
}

/* POD_NAMESPACE_CONTAINER-ID.log, ID being hexadecimal. */
static bool parse_link(const char *name, struct pod_path *p)
{
	const char *first = strchr(name, '_'), *second = first ? strchr(first + 1, '_') : NULL;
	const char *dash = strrchr(name, '-');
	size_t id;

	if (!second || first == name || second == first + 1 || !dash || dash <= second + 1)
		return false;
	id = strspn(dash + 1, "0123456789abcdef");
	if (id < 12 || strcmp(dash + 1 + id, ".log") != 0)
		return false;
	*p = (struct pod_path){.pod = name,
			       .pod_len = (size_t)(first - name),
			       .ns = first + 1,
			       .ns_len = (size_t)(second - first - 1),
			       .container = second + 1,
			       .container_len = (size_t)(dash - second - 1),
			       .restart_count = -1};
	return true;
}

bool pod_path_parse(const char *path, struct pod_path *ret)
{
	const char *name = component(path, path + strlen(path));
	struct pod_path p = {0};

	if (!parse_pods(path, name, &p) && !parse_link(name, &p))
		return false;
	*ret = p;
	return true;
}

bool pod_path_ignored(const char *name)
{
	static const char *const suffixes[] = {".gz", ".tmp", ".bz2", ".xz", ".zst", ".lz4"};
	size_t len = strlen(name);

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		size_t n = strlen(suffixes[i]);

		if (len >= n && strcmp(name + len - n, suffixes[i]) == 0)
			return true;
	}
	return false;
}

/* The component that begins at dir is a container's identifier. */
static bool is_id(const char *dir)
{
	return strspn(dir, "0123456789abcdef") == ENGINE_ID_LEN && dir[ENGINE_ID_LEN] == '/';
}

/* ID/NAME, where dockerd's log is <ID>-json.log[.N]; ID/userdata/NAME, where podman's is ctr.log;
 * DRIVER-containers/NAME, podman's lists of them. */
bool pod_path_engine_own(const char *path)
{
	const char *name = component(path, path + strlen(path)), *dir, *id;

	if (name == path)
		return false;
	dir = component(path, name - 1);
	if (is_id(dir))
		return strncmp(name, dir, ENGINE_ID_LEN) != 0 ||
		       strncmp(name + ENGINE_ID_LEN, "-json.log", 9) != 0;
	id = dir == path ? dir : component(path, dir - 1);
	if (is_id(id) && strncmp(dir, "userdata/", 9) == 0)
		return strncmp(name, "ctr.log", 7) != 0;
	/* containers.json and .lock, volatile-containers.json, .tmp-containers.json123 */
	return (strstr(name, "containers.json") || strcmp(name, "containers.lock") == 0) &&
	       name - dir > 12 && strncmp(name - 12, "-containers/", 12) == 0;
}

/* What rotators put behind a name: .1, -20261121, .20261121-101112, .2026-11-21T10:11:12Z, .old. */
static bool rotation_suffix(const char *s)
{
	if (*s != '.' && *s != '-')
		return false;
	s++;
	if (strcmp(s, "old") == 0)
		return true;
	return isdigit((unsigned char)*s) && s[strspn(s, "0123456789-._:TZ")] == '\0';
}

size_t pod_path_live_len(const char *name)
{
	size_t len = strlen(name), at;

	for (const char *p = strstr(name, ".log"); p; p = strstr(p + 1, ".log"))
		if (p > name && (p[4] == '\0' || rotation_suffix(p + 4)))
			return (size_t)(p - name) + 4;
	for (at = len; at > 0 && (isdigit((unsigned char)name[at - 1]) || name[at - 1] == '-');)
		at--;
	/* messages.1: any number behind a dot; messages-20261121[-101112]: a date. */
	if (at > 1 && at < len && name[at - 1] == '.' && isdigit((unsigned char)name[at]))
		return at - 1;
	if (at > 0 && name[at] == '-' && digits(name + at + 1) >= 8)
		return at;
	return len;
}
