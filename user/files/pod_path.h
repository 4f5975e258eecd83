/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pure: what a log file's path says. Source of the layouts: kubelet's pkg/kubelet/kuberuntime
 * (legacy_log.go, kuberuntime_container.go).
 *   …/NAMESPACE_POD_UID/CONTAINER/N.log[.ROTATED]      below /var/log/pods
 *   …/POD_NAMESPACE_CONTAINER-ID.log                   links in /var/log/containers
 */
#ifndef FILES_POD_PATH_H
#define FILES_POD_PATH_H

#include <stdbool.h>
#include <stddef.h>

struct pod_path { /* slices of the path */
	const char *ns, *pod, *uid, *container;
	size_t ns_len, pod_len, uid_len, container_len;
	int restart_count; /* -1: not in the path */
};

/* False when path is of neither layout. uid is NULL for a link of /var/log/containers. */
bool pod_path_parse(const char *path, struct pod_path *ret);

/* A file that is never followed: compressed, or still being made (.gz .bz2 .xz .zst .lz4 .tmp). */
bool pod_path_ignored(const char *name);

/* dockerd's and podman's own files beside their containers' logs (config.v2.json, hosts, pidfile,
 * containers.json, …). */
bool pod_path_engine_own(const char *path);

/*
 * Length of the name that a rotated file had while it was written: 0.log of 0.log.20261121-101112,
 * app.log of app.log.1, app.log-20261121; messages of messages.1, messages-20261121. The name's own
 * length when it does not look rotated.
 */
size_t pod_path_live_len(const char *name);

#endif
