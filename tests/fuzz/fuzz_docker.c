/* SPDX-License-Identifier: Apache-2.0 */
/* Input: a byte that says how it is cut, then the stream. What is found must not depend on the
 * cuts, is JSON's to judge, and of what is read as an event it is checked what the callers rely on.
 */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/sys.h"
#include "event/event.h"
#include "watch/docker_event.h"
#include "watch/docker_stream.h"

const char *const fuzz_words[] = {
	"{\"Type\":\"container\",\"Action\":\"start\",\"Actor\":{\"ID\":\"c0ffee\",\"Attributes\":"
	"{",
	"\"image\":\"web:1\",\"name\":\"web\"}},\"time\":17,\"timeNano\":17000000001}\n",
	"\"timeNano\":9223372036854775807",
	"\"Action\":\"",
	"\"exitCode\":\"1\",",
	"\"containerExitCode\":\"0\",",
	"\"hotdrain.listed\":\"x\",",
	"{\"Id\":\"aa\",\"Names\":[\"/web\"],\"State\":\"running\",\"Labels\":{\"a\":\"b\"}}",
	"\"Names\":[\"/\",\"/a/b\"]",
	"rename",
	"died",
	"remove",
	"\\u0000",
	"\\ud83d\\ude00",
	"\xf0\x9f\x98\x80",
	"\\\"",
	"\\\\",
	"\"",
	"{",
	"}",
	"[",
	"]",
	",",
	":",
	"\n",
	"\r\n",
	"\n{",
	"null",
};
const size_t fuzz_n_words = ARRAY_SIZE(fuzz_words);

struct found {
	size_t n, bytes;
	uint64_t sum;
};

static void check_event(const struct event *e, bool row, const struct docker_notice *n)
{
	size_t bytes = 0;

	CHECK(e->type == EVENT_CONTAINER && e->watch == -1);
	CHECK(e->actor_id && *e->actor_id && strlen(e->actor_id) <= 128 && e->actor_name);
	CHECK(n->renamed ? e->action == 0 : (e->action & (e->action - 1)) == 0);
	CHECK(n->renamed || e->action & (CONTAINER_STARTS | CONTAINER_STOPS | CONTAINER_PAUSE));
	CHECK(e->n_attributes <= DOCKER_ATTRIBUTES_MAX + 2);
	CHECK(n->time_ns >= 0);
	for (size_t i = 0; i < e->n_attributes; i++) {
		const char *key = e->attributes[i].key;

		bytes += strlen(key) + strlen(e->attributes[i].value);
		CHECK(strncmp(key, "hotdrain.", 9) != 0 ||
		      strcmp(key, row ? DOCKER_LISTED : DOCKER_TIME) == 0);
	}
	CHECK(bytes <= DOCKER_ATTRIBUTE_BYTES_MAX + 64);
}

static int on_object(void *ctx, const char *text, size_t len)
{
	struct found *f = ctx;
	char *copy = malloc(len);
	struct docker_notice n;
	struct event e;
	int r;

	CHECK(copy && len >= 2 && text[0] == '{' && text[len - 1] == '}');
	memcpy(copy, text, len);
	f->n++;
	f->bytes += len;
	for (size_t i = 0; i < len; i++)
		f->sum = f->sum * 31 + (unsigned char)copy[i];
	for (int row = 0; row < 2; row++) {
		r = row ? docker_event_parse_row(copy, len, &e, &n)
			: docker_event_parse(copy, len, &e, &n);
		CHECK(r == 1 || r == -EBADMSG || (r == 0 && !row));
		if (r == 1) {
			check_event(&e, row, &n);
			event_done(&e);
		}
	}
	free(copy);
	return 0;
}

static struct found feed(const char *data, size_t len, size_t piece, uint64_t *ret_bad)
{
	struct docker_stream s = {0};
	struct found f = {0};

	for (size_t at = 0; at < len; at += piece) {
		size_t n = MIN(piece, len - at);
		char *copy = malloc(n);

		CHECK(copy);
		memcpy(copy, data + at, n);
		CHECK(docker_stream_feed(&s, copy, n, on_object, &f) == 0);
		CHECK(s.text.len <= at + n && s.depth <= at + n);
		free(copy);
	}
	docker_stream_end(&s);
	CHECK(s.depth == 0 && s.text.len == 0);
	*ret_bad = s.bad;
	docker_stream_done(&s);
	return f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct found whole, cut;
	uint64_t whole_bad, cut_bad;

	if (len < 2)
		return 0;
	whole = feed((const char *)data + 1, len - 1, len, &whole_bad);
	cut = feed((const char *)data + 1, len - 1, 1 + data[0] % 37, &cut_bad);
	CHECK(whole.n == cut.n && whole.bytes == cut.bytes && whole.sum == cut.sum);
	CHECK(whole_bad == cut_bad);
	CHECK(whole.bytes <= len);
	return 0;
}
