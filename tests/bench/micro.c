/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one line costs in memory, without system calls: find its end, decode, join, encode.
 *
 *   micro [LINE_BYTES [SECONDS]]      default: 540-byte lines, one second each
 *
 * Prints one line per kind of text: ns per line, bytes of input per ns, MB/s. The batch is decoded
 * anew each time, as a file's bytes would be; it is a megabyte, so that it comes from the cache the
 * kernel's copy would leave it in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/sys.h"
#include "drain/decode.h"
#include "drain/join.h"
#include "event/source.h"
#include "output/batch.h"
#include "output/encode.h"

#define FILL_BYTES  (1u << 20)
#define CHUNK_BYTES 262144u

struct kind {
	const char *name;
	enum decode_format format;
	const char *head, *text, *end; /* text is repeated up to the length */
};

static const struct kind kinds[] = {
	{"cri plain", DECODE_CRI, "2026-11-21T00:32:02.367544321Z stdout F ",
	 "GET /api/v1/items?id=4711 200 took 12ms from 10.0.0.17; ", "\n"},
	{"cri json", DECODE_CRI, "2026-11-21T00:32:02.367544321Z stdout F ",
	 "{\"level\":\"info\",\"ts\":1732147922.367,\"msg\":\"item stored\",\"id\":4711},", "\n"},
	{"cri two-byte", DECODE_CRI, "2026-11-21T00:32:02.367544321Z stdout F ",
	 "Заказ принят и передан на склад ", "\n"},
	{"cri three-byte", DECODE_CRI, "2026-11-21T00:32:02.367544321Z stdout F ",
	 "注文を受け付けました。", "\n"},
	{"cri colours", DECODE_CRI, "2026-11-21T00:32:02.367544321Z stdout F ",
	 "\033[32mINFO\033[0m request handled in the usual time by worker 7 ", "\n"},
	{"docker plain", DECODE_DOCKER, "{\"log\":\"",
	 "GET /api/v1/items?id=4711 200 took 12ms from 10.0.0.17; ",
	 "\\n\",\"stream\":\"stdout\",\"time\":\"2026-11-21T00:32:02.367544321Z\"}\n"},
	{"raw plain", DECODE_RAW, "", "GET /api/v1/items?id=4711 200 took 12ms from 10.0.0.17; ",
	 "\n"},
};

static size_t line_make(const struct kind *k, size_t line_bytes, char *out)
{
	size_t at = strlen(k->head), n = strlen(k->text), end = strlen(k->end);

	memcpy(out, k->head, at);
	do {
		memcpy(out + at, k->text, n);
		at += n;
	} while (at + n + end <= line_bytes);
	memcpy(out + at, k->end, end);
	return at + end;
}

static void fill(struct batch *b, const char *lines, size_t n, enum decode_format format,
		 struct join_budget *budget)
{
	struct join join = {0};
	char *p = b->arena, *end = b->arena + n;

	memcpy(b->arena, lines, n);
	while (p < end) {
		char *eol = memchr(p, '\n', (size_t)(end - p));
		struct decoded d;

		decode_line(format, p, (size_t)(eol - p), false, &d);
		if (d.malformed || join_add(&join, budget, &d, false, b) < 0)
			abort();
		p = eol + 1;
	}
}

static size_t encode(struct batch *b, struct buf *out)
{
	struct encode_cursor cur = {0};
	size_t total = 0;
	int more;

	do {
		out->len = 0;
		more = encode_batch(ENCODE_NDJSON, b, &cur, CHUNK_BYTES, out);
		if (more < 0)
			abort();
		total += out->len;
	} while (more);
	return total;
}

static void measure(const struct kind *k, size_t line_bytes, double seconds, struct batch *b,
		    struct source *s)
{
	_cleanup_(buf_done) struct buf out = {0};
	_cleanup_free_ char *lines = malloc(FILL_BYTES + 2 * line_bytes + 1024);
	struct join_budget budget = {.max_bytes = 1 << 20, .line_max = 1 << 20};
	int64_t t, fill_ns = 0, encode_ns = 0, copy_ns = 0;
	size_t n = 0, made = 0, count = 0;

	while (n < FILL_BYTES && count < BATCH_RECORDS) {
		n += line_make(k, line_bytes, lines + n);
		count++;
	}
	for (made = 0; fill_ns + encode_ns < seconds * NS_PER_SEC; made++) {
		t = clock_now_ns();
		memcpy(b->arena, lines, n);
		copy_ns += clock_now_ns() - t;
		t = clock_now_ns();
		fill(b, lines, n, k->format, &budget);
		fill_ns += clock_now_ns() - t;
		b->spans[0] = (struct span){.source = source_ref(s), .count = b->n_records};
		b->n_spans = 1;
		t = clock_now_ns();
		encode(b, &out);
		encode_ns += clock_now_ns() - t;
		batch_reset(b);
	}
	fill_ns -= copy_ns;
	t = fill_ns + encode_ns;
	printf("%-15s %4zu B/line  decode %6.1f  encode %6.1f  both %6.1f ns/line  %5.2f B/ns  "
	       "%5.0f MB/s\n",
	       k->name, n / count, (double)fill_ns / (double)(made * count),
	       (double)encode_ns / (double)(made * count), (double)t / (double)(made * count),
	       (double)(made * n) / (double)t, (double)(made * n) * 1e3 / (double)t);
}

static struct source_name name_in(const struct source *s, const char *name)
{
	return (struct source_name){(uint16_t)(strstr(s->path, name) - s->path),
				    (uint16_t)strlen(name)};
}

int main(int argc, char **argv)
{
	size_t line_bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 540;
	double seconds = argc > 2 ? strtod(argv[2], NULL) : 1;
	struct source *s;
	struct batch *b;

	if (line_bytes < 1 || line_bytes > FILL_BYTES / 2)
		return 2;
	if (source_new("/var/log/pods/shop_cart-7d4b9c_0b5f1c1e-2b7a-4d7e-9a53-3f1c2d4e5f60/cart/"
		       "0.log",
		       &s) < 0)
		return 1;
	s->k8s_namespace = name_in(s, "shop");
	s->pod_name = name_in(s, "cart-7d4b9c");
	s->pod_uid = name_in(s, "0b5f1c1e-2b7a-4d7e-9a53-3f1c2d4e5f60");
	s->container_name = name_in(s, "cart/");
	s->container_name.len--;
	s->restart_count = 0;
	if (batch_new(FILL_BYTES + line_bytes, 1 << 20, &b) < 0)
		return 1;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		measure(&kinds[i], line_bytes, seconds, b, s);
	batch_free(b);
	source_unref(s);
	return 0;
}
