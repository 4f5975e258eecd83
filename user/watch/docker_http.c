/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's multi interface with one transfer at a time, because its poll is what another thread
 * can end (curl_multi_wakeup). Rejected: HTTP by hand (chunks, and answers without a length, would
 * be a parser of their own to get wrong).
 */
#include "watch/docker_http.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/dl_curl.h"
#include "base/sys.h"

#define ANSWER_NS (60 * NS_PER_SEC) /* without a byte of what was asked for */

struct docker_http {
	const char *base, *socket;
	CURLM *multi;
	CURL *easy;
	atomic_bool stop;
};

/* One request under way. */
struct transfer {
	struct docker_http *h;
	const struct docker_get *get;
	bool answered; /* with status 200 */
	int64_t deadline_ns;
	int r; /* why the body was not taken */
	char error[CURL_ERROR_SIZE];
};

int docker_http_new(const char *base, const char *socket, struct docker_http **ret_http)
{
	struct docker_http *h;
	int r = dl_curl_load();

	if (r < 0)
		return r;
	h = calloc(1, sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->base = base;
	h->socket = socket;
	h->multi = dl_multi_init();
	h->easy = dl_easy_init();
	if (!h->multi || !h->easy) {
		docker_http_free(h);
		return -ENOMEM;
	}
	*ret_http = h;
	return 0;
}

void docker_http_free(struct docker_http *h)
{
	if (!h)
		return;
	if (h->easy)
		dl_easy_cleanup(h->easy);
	if (h->multi)
		dl_multi_cleanup(h->multi);
	free(h);
}

void docker_http_stop(struct docker_http *h)
{
	atomic_store(&h->stop, true);
	dl_multi_wakeup(h->multi);
}

int docker_http_wait(struct docker_http *h, int64_t ns)
{
	if (!atomic_load(&h->stop))
		dl_multi_poll(h->multi, NULL, 0, (int)(ns / NS_PER_MS), NULL);
	return atomic_load(&h->stop) ? -ECANCELED : 0;
}

static bool is_answered(struct transfer *t)
{
	long status = 0;

	if (!t->answered) {
		dl_easy_getinfo(t->h->easy, CURLINFO_RESPONSE_CODE, &status);
		t->answered = status == 200;
		if (t->answered && t->get->on_answer)
			t->get->on_answer(t->get->ctx);
	}
	return t->answered;
}

/* The empty line behind them ends the headers. */
static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
	if (n <= 2)
		is_answered(ctx);
	return n;
}

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct transfer *t = ctx;

	if (!is_answered(t))
		return n;
	t->deadline_ns = clock_now_ns() + ANSWER_NS;
	t->r = t->get->on_body(t->get->ctx, data, n);
	return t->r < 0 ? 0 : n;
}

static int transfer_begin(struct transfer *t)
{
	CURL *easy = t->h->easy;
	char url[1024];

	snprintf(url, sizeof(url), "%s%s", t->h->base, t->get->what);
	dl_easy_reset(easy);
	dl_easy_setopt(easy, CURLOPT_URL, url);
	if (t->h->socket)
		dl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, t->h->socket);
	dl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http");
	dl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
	dl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	dl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
	dl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	dl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	dl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, 10000L);
	dl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
	dl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	dl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
	dl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	dl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
	t->deadline_ns = clock_now_ns() + ANSWER_NS;
	return dl_multi_add_handle(t->h->multi, easy) == CURLM_OK ? 0 : -ENOMEM;
}

/* Until its end, however that was. */
static int transfer_wait(struct transfer *t)
{
	int left = 1;

	while (left) {
		int64_t wait_ns = t->deadline_ns - clock_now_ns();

		if (t->get->endless && t->answered)
			wait_ns = ANSWER_NS;
		if (atomic_load(&t->h->stop))
			return -ECANCELED;
		if (wait_ns <= 0) {
			snprintf(t->error, sizeof(t->error), "no answer within %d s",
				 (int)(ANSWER_NS / NS_PER_SEC));
			return -ETIMEDOUT;
		}
		if (dl_multi_perform(t->h->multi, &left) != CURLM_OK)
			return -EIO;
		if (left)
			dl_multi_poll(t->h->multi, NULL, 0, (int)(wait_ns / NS_PER_MS) + 1, NULL);
	}
	return 0;
}

static int transfer_result(struct transfer *t)
{
	int messages;
	const CURLMsg *message = dl_multi_info_read(t->h->multi, &messages);
	CURLcode code = message ? message->data.result : CURLE_FAILED_INIT;
	long status = 0, os_error = 0;

	if (t->r < 0)
		return t->r;
	dl_easy_getinfo(t->h->easy, CURLINFO_RESPONSE_CODE, &status);
	if (code == CURLE_OK && status == 200)
		return 0;
	if (code == CURLE_OK)
		snprintf(t->error, sizeof(t->error), "it answers with status %ld", status);
	else if (code == CURLE_COULDNT_CONNECT && /* libcurl's words speak of a port */
		 dl_easy_getinfo(t->h->easy, CURLINFO_OS_ERRNO, &os_error) == CURLE_OK && os_error)
		snprintf(t->error, sizeof(t->error), "%s", strerror((int)os_error));
	else if (!t->error[0])
		snprintf(t->error, sizeof(t->error), "%s", dl_easy_strerror(code));
	return -EIO;
}

int docker_http_get(struct docker_http *h, const struct docker_get *get, char *error, size_t size)
{
	struct transfer t = {.h = h, .get = get};
	int r = transfer_begin(&t);

	if (r == 0)
		r = transfer_wait(&t);
	if (r == 0)
		r = transfer_result(&t);
	dl_multi_remove_handle(h->multi, h->easy);
	if (r < 0 && size)
		snprintf(error, size, "%s", t.error[0] && t.r == 0 ? t.error : strerror(-r));
	return r;
}
