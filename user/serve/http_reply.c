/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each path says. A request comes here three times: with its head only, then whole, and when
 * it has waited for a status, again with that.
 *
 * Metrics are made while they are sent, a piece at a time: for thousands of containers they are
 * megabytes, of which only what is under way needs memory. The status they are made from stays as
 * long as somebody reads.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/sys.h"
#include "base/units.h"
#include "serve/http_impl.h"
#include "serve/page.h"
#include "serve/prometheus.h"
#include "serve/status.h"

#define PLAIN "text/plain; charset=utf-8"

struct reply {
	bool head; /* a HEAD request's: its body is left out */
	unsigned code;
	const char *type, *allow;
	struct MHD_Response *response; /* NULL: no memory; the client is cut off */
};

static struct MHD_Response *from_text(const char *text)
{
	return mhd.create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
}

static void reply_text(struct reply *r, unsigned code, const char *text)
{
	r->code = code;
	r->type = PLAIN;
	r->response = from_text(text);
}

/* Metrics */

struct stream {
	struct http_status *status;
	struct prometheus at;
	struct buf piece;
	size_t sent; /* of the piece */
	bool end;    /* it is the last */
};

static ssize_t stream_read(void *cls, uint64_t pos, char *out, size_t max)
{
	struct stream *s = cls;
	size_t n;

	while (s->sent == s->piece.len) {
		int r;

		if (s->end)
			return MHD_CONTENT_READER_END_OF_STREAM;
		s->piece.len = s->sent = 0;
		r = prometheus_next(&s->at, &s->piece);
		if (r < 0)
			return MHD_CONTENT_READER_END_WITH_ERROR;
		s->end = r == 0;
	}
	n = MIN(max, s->piece.len - s->sent);
	memcpy(out, s->piece.data + s->sent, n);
	s->sent += n;
	return (ssize_t)n;
}

static void stream_free(void *cls)
{
	struct stream *s = cls;

	http_status_unref(s->status);
	buf_done(&s->piece);
	free(s);
}

static void reply_metrics(struct reply *r, struct http_status *status,
			  struct MHD_Connection *connection)
{
	struct stream *s = calloc(1, sizeof(*s));

	r->type = "text/plain; version=0.0.4; charset=utf-8";
	if (!s)
		return;
	s->status = http_status_ref(status);
	s->at = prometheus_begin(&status->s);
	r->response = mhd.create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, stream_read, s,
							stream_free);
	if (!r->response)
		stream_free(s);
	else if (r->head) /* libmicrohttpd 0.9.75 sends the last chunk of a body that is left out */
		mhd.set_response_options(r->response, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT,
					 MHD_RO_END);
}

/* The others */

static void reply_json(struct reply *r, struct http_status *status,
		       struct MHD_Connection *connection)
{
	const char *limit = mhd.lookup_connection_value(connection, MHD_GET_ARGUMENT_KIND, "limit");
	struct buf out = {0};
	uint64_t n = 0;

	if (limit && (count_parse(limit, &n) < 0 || n > SIZE_MAX)) {
		reply_text(r, MHD_HTTP_BAD_REQUEST,
			   "limit: expected a number of containers, 0 for all\n");
		return;
	}
	r->type = "application/json";
	if (status_json(&status->s, (size_t)n, &out) == 0)
		r->response =
			mhd.create_response_from_buffer(out.len, out.data, MHD_RESPMEM_MUST_FREE);
	if (!r->response)
		buf_done(&out);
}

static void reply_healthy(struct reply *r, struct http_status *status,
			  struct MHD_Connection *connection)
{
	reply_text(r, MHD_HTTP_OK, "ok\n");
}

static void reply_ready(struct reply *r, struct http_status *status,
			struct MHD_Connection *connection)
{
	const struct status *s = &status->s;
	char why[STATUS_SINKS_MAX * (sizeof(s->sinks[0].name) + 32)];
	size_t len = 0;

	if (!s->scanned)
		len += (size_t)snprintf(why, sizeof(why), "the first scan is not over\n");
	for (size_t i = 0; i < s->n_sinks; i++)
		if (s->sinks[i].failing)
			len += (size_t)snprintf(why + len, sizeof(why) - len,
						"sink %s is failing\n", s->sinks[i].name);
	if (len)
		reply_text(r, MHD_HTTP_SERVICE_UNAVAILABLE, why);
	else
		reply_text(r, MHD_HTTP_OK, "ready\n");
}

static void reply_page(struct reply *r, struct http_status *status,
		       struct MHD_Connection *connection)
{
	r->type = "text/html; charset=utf-8";
	r->response = mhd.create_response_from_buffer((size_t)page_html_len, (void *)page_html,
						      MHD_RESPMEM_PERSISTENT);
}

struct path {
	const char *name;
	bool needs_status;
	void (*reply)(struct reply *r, struct http_status *s, struct MHD_Connection *connection);
};

static const struct path paths[] = {
	{"/metrics", true, reply_metrics}, {"/healthz", true, reply_healthy},
	{"/readyz", true, reply_ready},    {"/status.json", true, reply_json},
	{"/", false, reply_page},
};

static const struct path *path_find(const char *url)
{
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (strcmp(paths[i].name, url) == 0)
			return &paths[i];
	return NULL;
}

/* Nothing from elsewhere runs in the page, nobody frames it, nothing is kept: a figure is old when
 * it has been read. */
static enum MHD_Result reply_send(struct MHD_Connection *connection, const struct reply *r)
{
	const struct {
		const char *name, *value;
	} headers[] = {
		{"Content-Type", r->type},
		{"Allow", r->allow},
		{"Cache-Control", "no-store"},
		{"Content-Security-Policy",
		 "default-src 'self' 'unsafe-inline'; img-src data:; base-uri 'none'; "
		 "form-action 'none'; frame-ancestors 'none'"},
		{"Referrer-Policy", "no-referrer"},
		{"X-Content-Type-Options", "nosniff"},
		{"Connection", "close"},
	};
	enum MHD_Result done = MHD_YES;

	if (!r->response)
		return MHD_NO;
	for (size_t i = 0; done == MHD_YES && i < ARRAY_SIZE(headers); i++)
		if (headers[i].value)
			done = mhd.add_response_header(r->response, headers[i].name,
						       headers[i].value);
	if (done == MHD_YES)
		done = mhd.queue_response(connection, r->code, r->response);
	mhd.destroy_response(r->response);
	return done;
}

/* What can be seen from the head: a body is not waited for. */
static bool refuse(struct reply *r, const char *url, const char *method)
{
	if (strcmp(method, "GET") != 0 && !r->head) {
		reply_text(r, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
		r->allow = "GET, HEAD";
		return true;
	}
	if (!path_find(url)) {
		reply_text(r, MHD_HTTP_NOT_FOUND,
			   "there are / /metrics /healthz /readyz /status.json\n");
		return true;
	}
	return false;
}

enum MHD_Result http_reply(void *cls, struct MHD_Connection *connection, const char *url,
			   const char *method, const char *version, const char *body,
			   size_t *body_len, void **request)
{
	struct reply r = {.code = MHD_HTTP_OK, .head = strcmp(method, "HEAD") == 0};
	const struct path *path;
	struct http *h = cls;
	struct http_client *c = http_client_of(h, connection);

	if (!c)
		return MHD_NO;
	if (refuse(&r, url, method))
		return reply_send(connection, &r);
	if (!*request || *body_len) { /* the head only; a body, which means nothing */
		*request = c;
		*body_len = 0;
		return MHD_YES;
	}
	path = path_find(url);
	if (path->needs_status && c->state == READING && !h->young) {
		http_ask(h, c);
		return MHD_YES;
	}
	if (path->needs_status && c->state == READING)
		c->status = http_status_ref(h->young);
	if (path->needs_status && !c->status)
		reply_text(&r, MHD_HTTP_SERVICE_UNAVAILABLE, "the event loop does not answer\n");
	else
		path->reply(&r, c->status, connection);
	http_status_unref(c->status);
	c->status = NULL;
	c->state = ANSWERED;
	return reply_send(connection, &r);
}
