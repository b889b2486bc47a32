/* list.h -- intrusive doubly linked lists: linking never allocates, unlinking is O(1).
 *
 * A node is a member of what it links; LIST_ENTRY gets from one to the other.  A node that is in no
 * list points to itself, so unlinking twice does no harm.  Threads: the owner's only. */
#ifndef NOVABEAT_HTTP_LIST_H
#define NOVABEAT_HTTP_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev; /* of the head: the first and the last */
};

#define LIST_ENTRY(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_unlink(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* `node` must be in no list. */
static inline void list_append(struct list *head, struct list *node)
{
    node->next = head;
    node->prev = head->prev;
    head->prev->next = node;
    head->prev = node;
}

#endif
