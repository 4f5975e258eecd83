/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <string.h>
#include <sys/random.h>

static uint64_t seed(void)
{
	static uint64_t value; /* set once, by the first table */

	if (!value && (getrandom(&value, sizeof(value), 0) != sizeof(value) || !value))
		value = UINT64_C(0x9e3779b97f4a7c15);
	return value;
}

uint64_t hash_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = seed() ^ len * UINT64_C(0x9e3779b97f4a7c15);

	while (len >= 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		h = (h ^ w) * UINT64_C(0xd6e8feb86659fd93);
		h ^= h >> 32;
		p += 8;
		len -= 8;
	}
	while (len--)
		h = (h ^ *p++) * UINT64_C(0x100000001b3);
	h ^= h >> 29;
	h *= UINT64_C(0xbf58476d1ce4e5b9);
	return h ^ h >> 32;
}
