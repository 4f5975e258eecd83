/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chain has one text for all its parts, and where it is split: labels change rarely, records get
 * them always, and most chains have none. Where both parts have a member of one name (the
 * container's id), the second's is left out: no object may have a key twice.
 */
#include "collector_labels.h"

#include <stdbool.h>
#include <string.h>

#include "base/buf.h"
#include "base/sys.h"
#include "event/labels.h"
#include "files/chain.h"

struct part {
	const char *json;
	size_t len;
};

/* The member that begins at p.json; of {,"a":1,"b":{…}} the first is {,"a":1}. key: the same up to
 * its colon. */
static struct part member_at(struct part p, struct part *ret_key)
{
	bool quoted = false, named = false;
	struct part m = {p.json, 1};
	int depth = 0;

	for (; m.len < p.len; m.len++) {
		char c = p.json[m.len];

		if (quoted && c == '\\')
			m.len++;
		else if (c == '"')
			quoted = !quoted;
		else if (quoted)
			continue;
		else if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		else if (c == ',' && depth == 0)
			break;
		else if (c == ':' && !named) {
			named = true;
			*ret_key = (struct part){p.json, m.len};
		}
	}
	m.len = MIN(m.len, p.len);
	if (!named)
		*ret_key = m;
	return m;
}

static bool has_member(struct part p, struct part key)
{
	struct part m, k;

	for (; p.len; p.json += m.len, p.len -= m.len) {
		m = member_at(p, &k);
		if (k.len == key.len && memcmp(k.json, key.json, k.len) == 0)
			return true;
	}
	return false;
}

static int put_parts(struct part first, struct part second, struct buf *text)
{
	int r = first.len ? buf_add(text, first.json, first.len) : 0;
	struct part m, key;

	if (!first.len)
		return second.len ? buf_add(text, second.json, second.len) : 0;
	for (; second.len && r == 0; second.json += m.len, second.len -= m.len) {
		m = member_at(second, &key);
		if (!has_member(first, key))
			r = buf_add(text, m.json, m.len);
	}
	return r;
}

void collector_chain_labels(struct collector *c, struct chain *chain, enum labels_part part,
			    const char *json, size_t len)
{
	const struct labels *old = chain->labels;
	size_t split = chain->labels_split;
	struct part parts[] = {
		[LABELS_DOCKER] = {old ? old->json : NULL, split},
		[LABELS_PODS] = {old ? old->json + split : NULL, old ? old->len - split : 0}};
	_cleanup_(buf_done) struct buf text = {0};
	struct labels *labels = NULL;

	parts[part] = (struct part){json, len};
	if (put_parts(parts[LABELS_DOCKER], parts[LABELS_PODS], &text) < 0)
		return;
	if (old && old->len == text.len && parts[LABELS_DOCKER].len == split &&
	    memcmp(old->json, text.data, text.len) == 0)
		return;
	if (text.len)
		labels = labels_new(text.data, text.len);
	if (text.len && !labels)
		return;
	labels_unref(chain->labels);
	chain->labels = labels;
	chain->labels_split = (uint32_t)parts[LABELS_DOCKER].len;
}
