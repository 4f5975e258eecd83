/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a container beside its log's path, from as many places as there are. */
#ifndef COLLECTOR_LABELS_H
#define COLLECTOR_LABELS_H

#include <stddef.h>

struct chain;
struct collector;

enum labels_part { LABELS_DOCKER, LABELS_PODS };

/*
 * From now on what is read of the chain gets this (event/labels.h: JSON members, each with a comma
 * in front; copied) instead of what that part was before; the other part stays, and Docker's comes
 * first. len 0 (json may be NULL): none any more. The same again changes nothing. A name that both
 * have is Docker's (given again after that, the other's can come back). Without memory it stays as
 * it was.
 */
void collector_chain_labels(struct collector *c, struct chain *chain, enum labels_part part,
			    const char *json, size_t len);

#endif
