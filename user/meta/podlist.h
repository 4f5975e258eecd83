/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pods of a node, by what their logs' directories are called. Made from the text of a PodList
 * (kubernetes core/v1, as the kubelet's /pods and the API server's /api/v1/pods give it), taken in
 * pieces as they come: only one pod of it is in memory at a time. Pure.
 */
#ifndef META_PODLIST_H
#define META_PODLIST_H

#include <stddef.h>
#include <stdint.h>

#include "base/table.h"
#include "meta/pod.h"

#define PODLIST_POD_MAX    ((size_t)4 << 20) /* the text of one pod: a larger one is skipped */
#define PODLIST_VALUES_MAX 50000 /* in one pod, likewise: parsed, {} is 80 times its text */
#define PODLIST_TOP_MAX    ((size_t)64 << 10) /* and of all that is not a pod */
#define PODLIST_KEPT_MAX   ((size_t)32 << 20) /* what is kept of all: pods beyond are skipped */
#define PODLIST_PODS_MAX   100000
#define PODLIST_TOKEN_MAX  ((size_t)16 << 10)

struct podlist;

struct podlist_stats {
	unsigned pods;
	uint64_t skipped;  /* without a UID, or beyond a limit */
	uint64_t left_out; /* labels and annotations beyond a limit */
};

/* choice is used until the last podlist_read, and not owned. */
int podlist_new(const struct pod_choice *choice, struct podlist **ret_list);
void podlist_free(struct podlist *l); /* may be NULL */

/*
 * The next piece of a page. 0; -EBADMSG: no PodList, or -EFBIG: a limit, *ret_why (static) says
 * what is wrong; -ENOMEM. After a failure the list is only good for podlist_free.
 */
int podlist_read(struct podlist *l, const char *text, size_t len, const char **ret_why);
/*
 * The page is over. *ret_next: where the next one begins (metadata.continue), NULL: this was the
 * last; the list's, until the next call of podlist_read. Errors as above.
 */
int podlist_end(struct podlist *l, const char **ret_next, const char **ret_why);

/* The pod whose directory has this UID, or NULL. */
struct pod *podlist_find(const struct podlist *l, const char *uid, size_t len);
/* By NAMESPACE and NAME, for who has no UID. */
struct pod *podlist_find_name(const struct podlist *l, const char *ns, size_t ns_len,
			      const char *name, size_t name_len);
/* Moves a pod over that to does not have. Without memory it stays. */
void podlist_move(struct podlist *from, struct podlist *to, struct pod *p);
void podlist_stats(const struct podlist *l, struct podlist_stats *ret_stats);

#endif
