/* SPDX-License-Identifier: Apache-2.0 */
/* libcurl, loaded when something is asked for over HTTP (base/dl.h): dl_X is curl_X. */
#ifndef BASE_DL_CURL_H
#define BASE_DL_CURL_H

#include <curl/curl.h>

#define DL_CURL(X)             \
	X(global_init)         \
	X(free)                \
	X(easy_init)           \
	X(easy_setopt)         \
	X(easy_getinfo)        \
	X(easy_reset)          \
	X(easy_cleanup)        \
	X(easy_strerror)       \
	X(easy_escape)         \
	X(slist_append)        \
	X(slist_free_all)      \
	X(multi_init)          \
	X(multi_cleanup)       \
	X(multi_add_handle)    \
	X(multi_remove_handle) \
	X(multi_perform)       \
	X(multi_poll)          \
	X(multi_wakeup)        \
	X(multi_info_read)

#define DL_CURL_DECLARE(name) extern __typeof__(curl_##name) *dl_##name;
DL_CURL(DL_CURL_DECLARE)

/* Once; any thread. 0; -ENOENT after one error in the log; -ENOMEM. */
int dl_curl_load(void);

#endif
