/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl's multi interface for one transfer: its curl_multi_poll can be woken, so that neither a
 * server that is silent nor a wait for the next request holds up the end of the program. (The easy
 * interface asks a callback once a second.)
 *
 * The connection is kept from one request to the next. Proxies of the environment are not asked:
 * they are for what is outside the cluster. Redirects are not followed, and no other protocol than
 * HTTP is spoken, so that the token goes nowhere but to the host that was configured; not in plain
 * text at all. The certificate must be signed by the configured authority and be for the host's
 * name; there is no setting to go on without.
 */
#include "meta/fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/dl_curl.h"
#include "base/log.h"
#include "base/sys.h"

#define TOKEN_MAX     (64 * 1024)
#define CONNECT_MS    10000L
#define POLL_MS       60000
#define AUTHORIZATION "Authorization: Bearer "

struct fetch {
	struct fetch_options o;
	CURL *easy;
	CURLM *multi;
	atomic_bool stop;
	char error[CURL_ERROR_SIZE];
	/* Of the request under way: */
	int (*take)(void *ctx, const char *data, size_t n);
	void *ctx;
	int failure;
	size_t got;
};

static size_t on_body(char *data, size_t size, size_t n, void *ctx)
{
	struct fetch *f = ctx;
	long status = 0;

	n *= size;
	dl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	f->got += n;
	if (f->got > f->o.max_bytes)
		f->failure = -EFBIG;
	else if (status == 200)
		f->failure = f->take(f->ctx, data, n);
	return f->failure < 0 ? 0 : n;
}

static bool is_https(const struct fetch *f)
{
	return strncasecmp(f->o.url, "https://", 8) == 0;
}

static int set_up(struct fetch *f)
{
	CURL *e = f->easy;
	CURLcode r = dl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);

	r = r ? r : dl_easy_setopt(e, CURLOPT_WRITEDATA, f);
	r = r ? r : dl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
	r = r ? r : dl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	r = r ? r : dl_easy_setopt(e, CURLOPT_PROXY, "");
	r = r ? r : dl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	r = r ? r : dl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	r = r ? r : dl_easy_setopt(e, CURLOPT_USERAGENT, "hotdrain/" VERSION);
	r = r ? r : dl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	r = r ? r : dl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
	r = r ? r : dl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)(f->o.silence_ns / NS_PER_SEC));
	r = r ? r : dl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(f->o.timeout_ns / NS_PER_MS));
	if (f->o.ca_file) {
		r = r ? r : dl_easy_setopt(e, CURLOPT_CAINFO, f->o.ca_file);
		r = r ? r : dl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	}
	/* Not to wait for a name server at the end; since 7.87. */
	dl_easy_setopt(e, CURLOPT_QUICK_EXIT, 1L);
	return r == CURLE_OK ? 0 : -ENOMEM;
}

int fetch_new(const struct fetch_options *o, struct fetch **ret_fetch)
{
	struct fetch *f;
	int r = dl_curl_load();

	if (r < 0)
		return r;
	f = calloc(1, sizeof(*f));
	if (!f)
		return -ENOMEM;
	f->o = *o;
	f->easy = dl_easy_init();
	f->multi = dl_multi_init();
	if (!f->easy || !f->multi || set_up(f) < 0) {
		fetch_free(f);
		return -ENOMEM;
	}
	if (o->token_file && !is_https(f))
		log_warn(0, "%s: is not https, the token is not sent there", o->url);
	*ret_fetch = f;
	return 0;
}

void fetch_free(struct fetch *f)
{
	if (!f)
		return;
	if (f->easy)
		dl_easy_cleanup(f->easy);
	if (f->multi)
		dl_multi_cleanup(f->multi);
	free(f);
}

/* What the file holds but for the blanks around it. */
static int token_read(const char *path, char *header, size_t size, char *why)
{
	_cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	size_t at = strlen(header), len;
	ssize_t n = fd < 0 ? -1 : read(fd, header + at, size - at - 1);

	if (n < 0) {
		snprintf(why, FETCH_WHY_MAX, "token file %s: %s", path, strerror(errno));
		return -EIO;
	}
	header[at + (size_t)n] = '\0';
	len = strcspn(header + at, " \t\r\n");
	if (!len || header[at + len + strspn(header + at + len, " \t\r\n")] ||
	    at + (size_t)n == size - 1) {
		snprintf(why, FETCH_WHY_MAX, "token file %s: expected one word, got %zd bytes",
			 path, n);
		return -EIO;
	}
	header[at + len] = '\0';
	return 0;
}

static int headers_add(struct curl_slist **headers, const char *line)
{
	struct curl_slist *more = dl_slist_append(*headers, line);

	if (!more)
		return -ENOMEM;
	*headers = more;
	return 0;
}

static int headers_make(const struct fetch *f, struct curl_slist **headers, char *why)
{
	_cleanup_free_ char *line = NULL;
	int r = headers_add(headers, "Accept: application/json");

	if (r < 0 || !f->o.token_file || !is_https(f))
		return r;
	line = malloc(TOKEN_MAX);
	if (!line)
		return -ENOMEM;
	snprintf(line, TOKEN_MAX, AUTHORIZATION);
	r = token_read(f->o.token_file, line, TOKEN_MAX, why);
	return r < 0 ? r : headers_add(headers, line);
}

static int url_set(struct fetch *f, const char *next)
{
	const char *url = f->o.url, *mark = strchr(url, '?') ? "&" : "?";
	_cleanup_free_ char *whole = NULL;
	char *token = next ? dl_easy_escape(f->easy, next, 0) : NULL;
	int r = -ENOMEM;

	if (next && (!token || asprintf(&whole, "%s%scontinue=%s", url, mark, token) < 0))
		whole = NULL;
	else if (dl_easy_setopt(f->easy, CURLOPT_URL, next ? whole : url) == CURLE_OK)
		r = 0;
	dl_free(token);
	return r;
}

/* Until it is done or stopped. */
static CURLcode transfer(struct fetch *f)
{
	int running = 1, left;
	const CURLMsg *m;

	while (running && !fetch_stopped(f)) {
		if (dl_multi_perform(f->multi, &running) != CURLM_OK)
			return CURLE_OUT_OF_MEMORY;
		if (running)
			dl_multi_poll(f->multi, NULL, 0, POLL_MS, NULL);
	}
	m = dl_multi_info_read(f->multi, &left);
	return m ? m->data.result : CURLE_ABORTED_BY_CALLBACK;
}

static int outcome(struct fetch *f, CURLcode result, char *why)
{
	long status = 0;

	if (fetch_stopped(f))
		return -ECANCELED;
	dl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
	if (f->got > f->o.max_bytes)
		snprintf(why, FETCH_WHY_MAX, "more than %zu bytes", f->o.max_bytes);
	else if (f->failure < 0)
		return f->failure;
	else if (result != CURLE_OK)
		snprintf(why, FETCH_WHY_MAX, "%s",
			 f->error[0] ? f->error : dl_easy_strerror(result));
	else if (status != 200)
		snprintf(why, FETCH_WHY_MAX, "HTTP status %ld", status);
	else
		return 0;
	return -EIO;
}

int fetch_get(struct fetch *f, const char *next, int (*take)(void *ctx, const char *data, size_t n),
	      void *ctx, char why[static FETCH_WHY_MAX])
{
	struct curl_slist *headers = NULL;
	CURLcode result;
	int r;

	f->take = take;
	f->ctx = ctx;
	f->failure = 0;
	f->got = 0;
	f->error[0] = '\0';
	snprintf(why, FETCH_WHY_MAX, "%s", strerror(ENOMEM));
	r = headers_make(f, &headers, why);
	if (r == 0)
		r = url_set(f, next);
	if (r == 0 && (dl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
		       dl_multi_add_handle(f->multi, f->easy) != CURLM_OK))
		r = -ENOMEM;
	if (r == 0) {
		result = transfer(f);
		r = outcome(f, result, why);
		dl_multi_remove_handle(f->multi, f->easy);
		dl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, NULL);
	}
	dl_slist_free_all(headers);
	return r;
}

void fetch_wait(struct fetch *f, int64_t until_ns)
{
	int64_t left = until_ns - clock_now_ns();

	if (left > 0 && !fetch_stopped(f))
		dl_multi_poll(f->multi, NULL, 0, (int)MIN(left / NS_PER_MS + 1, (int64_t)POLL_MS),
			      NULL);
}

void fetch_wake(struct fetch *f)
{
	dl_multi_wakeup(f->multi);
}

void fetch_stop(struct fetch *f)
{
	atomic_store(&f->stop, true);
	fetch_wake(f);
}

bool fetch_stopped(const struct fetch *f)
{
	return atomic_load(&f->stop);
}
