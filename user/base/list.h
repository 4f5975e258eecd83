/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive circular doubly linked list. A zeroed or list_init'ed link is in no list; list_del
 * leaves it so. The head is a link of its own.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
	struct list *prev, *next;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *l)
{
	l->prev = l->next = l;
}

static inline bool list_linked(const struct list *l)
{
	return l->next && l->next != l;
}

/* Puts l behind pos: behind the head is first, behind head->prev is last. */
static inline void list_add_after(struct list *pos, struct list *l)
{
	l->prev = pos;
	l->next = pos->next;
	pos->next->prev = l;
	pos->next = l;
}

static inline void list_add_tail(struct list *head, struct list *l)
{
	list_add_after(head->prev, l);
}

static inline void list_del(struct list *l)
{
	if (l->next) {
		l->prev->next = l->next;
		l->next->prev = l->prev;
	}
	list_init(l);
}

/* Safe against removal of the current link, not of the next one. */
#define list_for_each(l, next_, head)                                      \
	for (struct list *l = (head)->next, *next_ = l->next; l != (head); \
	     l = next_, next_ = l->next)

#endif
