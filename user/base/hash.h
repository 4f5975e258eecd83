/* SPDX-License-Identifier: Apache-2.0 */
/* Seeded per process: what a stranger names or writes cannot be chosen to collide. */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t hash_bytes(const void *data, size_t len);

#endif
