/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everything a pod's records need is made once, when its list has come, and put into one allocation
 * of its exact size, without pointers to free: what is kept of 250 pods is some 200 KiB.
 *
 *   struct pod | strings, each terminated, offset 0 is "" | JSON members | struct pod_container[]
 *
 * The names of a pod's own (namespace, name, uid, container's name) are left out: its log's path
 * has them, and every record already.
 *
 * Of an owner that is a ReplicaSet made by a Deployment the Deployment is named too: the ReplicaSet
 * is called DEPLOYMENT-HASH, and the pod's label pod-template-hash says the hash
 * (pkg/controller/deployment/sync.go). A Job's CronJob is not told: nothing in the pod says whether
 * there is one, and names that end in digits do not prove it.
 *
 * A container's log N.log is of its Nth restart (kubelet's kuberuntime_container.go); the status
 * has the ids of the last one and of the one before.
 */
#include "meta/pod.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "output/escape.h"

struct pod_container {
	uint32_t name, image, id, last_id; /* where in text they begin; 0: none */
	int32_t restarts;                  /* -1: not known */
};

/* A pod in the making. */
struct draft {
	struct buf text, json, containers;
	uint32_t n_containers, left_out;
	bool failed; /* no memory */
};

struct slice {
	const char *at;
	size_t len;
};

static void draft_done(struct draft *d)
{
	buf_done(&d->text);
	buf_done(&d->json);
	buf_done(&d->containers);
}

static struct slice string_of(const json_t *object, const char *key)
{
	const json_t *v = json_object_get(object, key);
	struct slice s = {json_string_value(v), json_string_length(v)};

	/* A name with a NUL in it is none. */
	if (!s.at || s.len > POD_NAME_MAX || strlen(s.at) != s.len)
		return (struct slice){"", 0};
	return s;
}

static void put(struct draft *d, struct buf *to, const void *data, size_t n)
{
	if (n && buf_add(to, data, n) < 0)
		d->failed = true;
}

static uint32_t keep(struct draft *d, struct slice s)
{
	uint32_t at = (uint32_t)d->text.len;

	if (!s.len)
		return 0;
	put(d, &d->text, s.at, s.len);
	put(d, &d->text, "", 1);
	return at;
}

/* ,"PREFIXKEY":"VALUE" */
static int member_add(struct buf *out, const char *prefix, struct slice key, struct slice value)
{
	size_t prefix_len = strlen(prefix);
	bool invalid;
	char *p;

	if (buf_reserve(out, prefix_len + ESCAPE_ROOM(key.len) + ESCAPE_ROOM(value.len)) < 0)
		return -ENOMEM;
	p = mempcpy(out->data + out->len, ",\"", 2);
	p = mempcpy(p, prefix, prefix_len);
	p = escape_json(p, key.at, key.len, &invalid);
	p = mempcpy(p, "\":\"", 3);
	p = escape_json(p, value.at, value.len, &invalid);
	*p++ = '"';
	out->len = (size_t)(p - out->data);
	return 0;
}

static void put_member(struct draft *d, const char *prefix, struct slice key, struct slice value)
{
	size_t before = d->json.len;

	if (value.len > POD_VALUE_MAX || key.len > POD_NAME_MAX) {
		d->left_out++;
		return;
	}
	if (member_add(&d->json, prefix, key, value) < 0)
		d->failed = true;
	if (d->json.len > POD_JSON_MAX) {
		d->json.len = before;
		d->left_out++;
	}
}

static void put_name(struct draft *d, const char *key, struct slice value)
{
	if (value.len)
		put_member(d, key, (struct slice){"", 0}, value);
}

static bool is_chosen(const struct pod_names *names, const char *name)
{
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->items[i], "*") == 0 || strcmp(names->items[i], name) == 0)
			return true;
	return false;
}

static void put_chosen(struct draft *d, const char *prefix, const json_t *map,
		       const struct pod_names *names)
{
	json_t *m = (json_t *)map;

	for (void *i = json_object_iter(m); i; i = json_object_iter_next(m, i)) {
		struct slice key = {json_object_iter_key(i), strlen(json_object_iter_key(i))};
		const json_t *v = json_object_iter_value(i);

		if (json_is_string(v) && is_chosen(names, key.at))
			put_member(d, prefix, key,
				   (struct slice){json_string_value(v), json_string_length(v)});
	}
}

static const json_t *owner_of(const json_t *meta)
{
	const json_t *all = json_object_get(meta, "ownerReferences");

	for (size_t i = 0; i < json_array_size(all); i++) {
		const json_t *o = json_array_get(all, i);

		if (json_is_true(json_object_get(o, "controller")))
			return o;
	}
	return json_array_get(all, 0);
}

/* cart of the ReplicaSet cart-5f4d8c7b9 and the pod's hash 5f4d8c7b9; else empty. */
static struct slice deployment_of(struct slice set, struct slice hash)
{
	if (!hash.len || set.len < hash.len + 2 || set.at[set.len - hash.len - 1] != '-' ||
	    memcmp(set.at + set.len - hash.len, hash.at, hash.len) != 0)
		return (struct slice){"", 0};
	return (struct slice){set.at, set.len - hash.len - 1};
}

static void put_owner(struct draft *d, const json_t *meta)
{
	static const char *const kinds[][2] = {
		{"ReplicaSet", "k8s.replicaset.name"},
		{"StatefulSet", "k8s.statefulset.name"},
		{"DaemonSet", "k8s.daemonset.name"},
		{"Job", "k8s.job.name"},
		{"CronJob", "k8s.cronjob.name"},
		{"ReplicationController", "k8s.replicationcontroller.name"},
	};
	const json_t *owner = owner_of(meta);
	struct slice kind = string_of(owner, "kind"), name = string_of(owner, "name");

	/* The node owns what stands for a static pod: k8s.node.name says it. */
	if (!kind.len || !name.len || strcmp(kind.at, "Node") == 0)
		return;
	if (strcmp(kind.at, "ReplicaSet") == 0)
		put_name(d, "k8s.deployment.name",
			 deployment_of(name, string_of(json_object_get(meta, "labels"),
						       "pod-template-hash")));
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (strcmp(kind.at, kinds[i][0]) != 0)
			continue;
		put_name(d, kinds[i][1], name);
		return;
	}
	put_name(d, "k8s.owner.kind", kind);
	put_name(d, "k8s.owner.name", name);
}

static const json_t *named(const json_t *array, const char *name)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const json_t *o = json_array_get(array, i);

		if (strcmp(string_of(o, "name").at, name) == 0)
			return o;
	}
	return NULL;
}

/* containerd://0123… without the runtime's name. */
static struct slice id_of(const json_t *object)
{
	struct slice id = string_of(object, "containerID");
	const char *colon = strstr(id.at, "://");

	return colon ? (struct slice){colon + 3, strlen(colon + 3)} : id;
}

static void put_containers(struct draft *d, const json_t *specs, const json_t *statuses)
{
	for (size_t i = 0; i < json_array_size(specs); i++) {
		const json_t *spec = json_array_get(specs, i), *s, *restarts, *last;
		struct slice name = string_of(spec, "name"), image = string_of(spec, "image");
		struct pod_container c = {.restarts = -1};

		if (!name.len || d->n_containers == POD_CONTAINERS_MAX)
			continue;
		s = named(statuses, name.at);
		restarts = json_object_get(s, "restartCount");
		last = json_object_get(json_object_get(s, "lastState"), "terminated");
		if (json_is_integer(restarts) && json_integer_value(restarts) >= 0 &&
		    json_integer_value(restarts) <= INT32_MAX)
			c.restarts = (int32_t)json_integer_value(restarts);
		c.name = keep(d, name);
		c.image = keep(d, image.len ? image : string_of(s, "image"));
		c.id = keep(d, id_of(s));
		c.last_id = keep(d, id_of(last));
		put(d, &d->containers, &c, sizeof(c));
		d->n_containers++;
	}
}

static int pod_make(const struct draft *d, const uint32_t names[3], struct pod **ret_pod)
{
	size_t align = _Alignof(struct pod_container);
	size_t text = (d->text.len + d->json.len + align - 1) / align * align;
	size_t size = sizeof(struct pod) + text + d->containers.len;
	struct pod *p = calloc(1, size);

	if (!p)
		return -ENOMEM;
	p->size = (uint32_t)size;
	p->left_out = d->left_out;
	memcpy(p->text, d->text.data, d->text.len);
	p->uid = p->text + names[0];
	p->hash = p->text + names[1];
	p->name = p->text + names[2];
	p->json = p->text + d->text.len;
	p->json_len = (uint32_t)d->json.len;
	if (d->json.len)
		memcpy(p->text + d->text.len, d->json.data, d->json.len);
	p->n_containers = d->n_containers;
	p->containers = (const struct pod_container *)(p->text + text);
	if (d->containers.len)
		memcpy(p->text + text, d->containers.data, d->containers.len);
	*ret_pod = p;
	return 0;
}

static uint32_t keep_name(struct draft *d, const json_t *meta)
{
	uint32_t at = (uint32_t)d->text.len;
	struct slice ns = string_of(meta, "namespace"), name = string_of(meta, "name");

	if (!ns.len || !name.len)
		return 0;
	put(d, &d->text, ns.at, ns.len);
	put(d, &d->text, "/", 1);
	keep(d, name);
	return at;
}

int pod_new(const json_t *object, const struct pod_choice *choice, struct pod **ret_pod)
{
	const json_t *meta = json_object_get(object, "metadata");
	const json_t *spec = json_object_get(object, "spec");
	const json_t *status = json_object_get(object, "status");
	const json_t *annotations = json_object_get(meta, "annotations");
	_cleanup_(draft_done) struct draft d = {0};
	uint32_t names[3];

	put(&d, &d.text, "", 1);
	names[0] = keep(&d, string_of(meta, "uid"));
	names[1] = keep(&d, string_of(annotations, "kubernetes.io/config.hash"));
	if (!names[1])
		names[1] = keep(&d, string_of(annotations, "kubernetes.io/config.mirror"));
	names[2] = keep_name(&d, meta);
	put_name(&d, "k8s.node.name", string_of(spec, "nodeName"));
	put_owner(&d, meta);
	put_chosen(&d, "k8s.pod.label.", json_object_get(meta, "labels"), &choice->labels);
	put_chosen(&d, "k8s.pod.annotation.", annotations, &choice->annotations);
	put_containers(&d, json_object_get(spec, "initContainers"),
		       json_object_get(status, "initContainerStatuses"));
	put_containers(&d, json_object_get(spec, "containers"),
		       json_object_get(status, "containerStatuses"));
	put_containers(&d, json_object_get(spec, "ephemeralContainers"),
		       json_object_get(status, "ephemeralContainerStatuses"));
	if (d.failed)
		return -ENOMEM;
	if (!names[0] || !names[2])
		return -EBADMSG;
	return pod_make(&d, names, ret_pod);
}

/* NAME[:TAG][@DIGEST]: the name, and the tag in *ret_tag. */
static struct slice image_name(const char *image, struct slice *ret_tag)
{
	size_t len = strcspn(image, "@");
	const char *slash = memrchr(image, '/', len), *from = slash ? slash : image;
	const char *colon = memchr(from, ':', len - (size_t)(from - image));

	*ret_tag = (struct slice){"", 0};
	if (!colon)
		return (struct slice){image, len};
	*ret_tag = (struct slice){colon + 1, len - (size_t)(colon + 1 - image)};
	return (struct slice){image, (size_t)(colon - image)};
}

static int image_add(struct buf *out, const char *image)
{
	struct slice none = {"", 0}, tag, name = image_name(image, &tag);
	int r = 0;

	if (name.len)
		r = member_add(out, "container.image.name", none, name);
	if (r == 0 && tag.len)
		r = member_add(out, "container.image.tag", none, tag);
	return r;
}

int pod_labels(const struct pod *p, const char *container, size_t len, int restart, struct buf *out)
{
	const struct pod_container *c = NULL;
	size_t before = out->len;
	uint32_t id = 0;
	int r = 0;

	for (uint32_t i = 0; i < p->n_containers && !c; i++) {
		const char *name = p->text + p->containers[i].name;

		if (strlen(name) == len && memcmp(name, container, len) == 0)
			c = &p->containers[i];
	}
	if (c && restart >= 0 && c->restarts == restart)
		id = c->id;
	else if (c && restart >= 0 && c->restarts - 1 == restart)
		id = c->last_id;
	if (id)
		r = member_add(out, "container.id", (struct slice){"", 0},
			       (struct slice){p->text + id, strlen(p->text + id)});
	if (r == 0 && c && c->image)
		r = image_add(out, p->text + c->image);
	if (r == 0 && p->json_len)
		r = buf_add(out, p->json, p->json_len);
	if (r < 0) {
		out->len = before;
		return r;
	}
	return id != 0;
}
