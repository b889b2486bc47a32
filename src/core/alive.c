/* alive.c -- lists of leases in order of their ends. */
#include "core/alive.h"

#include "base/assert.h"

void alive_init(struct alive *alive)
{
    for (int list = 0; list < ALIVE_LISTS; list++) {
        alive->head[list] = MEMBER_NONE;
        alive->tail[list] = MEMBER_NONE;
    }
    alive->count = 0;
}

static void unlink_member(struct alive *alive, struct member *members, struct member *member)
{
    if (member->prev != MEMBER_NONE) {
        members[member->prev].next = member->next;
    } else {
        alive->head[member->list] = member->next;
    }
    if (member->next != MEMBER_NONE) {
        members[member->next].prev = member->prev;
    } else {
        alive->tail[member->list] = member->prev;
    }
}

void alive_put(struct alive *alive, struct member *members, uint32_t number, enum alive_list list)
{
    ASSERT(list != ALIVE_NOT);
    struct member *member = &members[number];
    if (member->list == ALIVE_NOT) {
        alive->count++;
    } else {
        unlink_member(alive, members, member);
    }
    uint32_t tail = alive->tail[list];
    member->list = list;
    member->next = MEMBER_NONE;
    member->prev = tail;
    alive->tail[list] = number;
    if (tail == MEMBER_NONE) {
        alive->head[list] = number;
    } else {
        ASSERT(member_expiry_ms(&members[tail]) <= member_expiry_ms(member));
        members[tail].next = number;
    }
}

void alive_remove(struct alive *alive, struct member *members, uint32_t number)
{
    struct member *member = &members[number];
    ASSERT(member->list != ALIVE_NOT && alive->count > 0);
    unlink_member(alive, members, member);
    member->list = ALIVE_NOT;
    alive->count--;
}

uint32_t alive_expired(const struct alive *alive, const struct member *members, int64_t now_ms)
{
    for (int list = ALIVE_VISIBLE; list < ALIVE_LISTS; list++) {
        uint32_t head = alive->head[list];
        if (head != MEMBER_NONE && member_expiry_ms(&members[head]) < now_ms) {
            return head;
        }
    }
    return MEMBER_NONE;
}

void alive_check(const struct alive *alive, const struct member *members, uint32_t members_count)
{
    uint32_t linked = 0;
    for (int list = ALIVE_VISIBLE; list < ALIVE_LISTS; list++) {
        uint32_t before = MEMBER_NONE;
        for (uint32_t at = alive->head[list]; at != MEMBER_NONE; at = members[at].next) {
            ASSERT(at < members_count && members[at].list == (unsigned)list);
            ASSERT(members[at].prev == before);
            ASSERT(before == MEMBER_NONE ||
                   member_expiry_ms(&members[before]) <= member_expiry_ms(&members[at]));
            before = at;
            ASSERT(++linked <= members_count);
        }
        ASSERT(alive->tail[list] == before);
    }
    ASSERT(linked == alive->count);
    uint32_t marked = 0;
    for (uint32_t at = 0; at < members_count; at++) {
        marked += members[at].list != ALIVE_NOT;
    }
    ASSERT(marked == alive->count);
}
