/* alive.h -- who is watching now.
 *
 * Model: each member that is alive stands in one of four lists, each in order of the lease's end. A
 * lease given now ends after everything given before with the same window, so giving one is to move
 * the member to the end of its window's list; members whose leases are over are at the fronts.  So
 * everything is exact to the millisecond and O(1), whatever the windows are:
 *   VISIBLE, HIDDEN: leases of a heartbeat;  LEAVING: leases that a leave shortened;
 *   RESTORED: leases that came back with a loaded event, sorted once.
 *
 * Invariant: a member is alive (its lease is not known to be over) if and only if it is in a list;
 * count is their number.  alive_expire must have been called with the current time before count is
 * read.
 * Memory: the links are in the members; nothing is allocated.  Threads: the owner of the audience.
 * Source: DESIGN, semantics 1; equal to ZCOUNT key T-window +inf. */
#ifndef NOVABEAT_CORE_ALIVE_H
#define NOVABEAT_CORE_ALIVE_H

#include "core/member.h"

enum alive_list { ALIVE_NOT, ALIVE_VISIBLE, ALIVE_HIDDEN, ALIVE_LEAVING, ALIVE_RESTORED };
#define ALIVE_LISTS 5

struct alive {
    uint32_t head[ALIVE_LISTS]; /* soonest end; MEMBER_NONE: empty ([ALIVE_NOT] is not used) */
    uint32_t tail[ALIVE_LISTS];
    uint32_t count;
};

void alive_init(struct alive *alive);

/* Moves the member, alive or not, to the end of `list`.  Its lease must end no sooner than that of
 * every member there. */
void alive_put(struct alive *alive, struct member *members, uint32_t number, enum alive_list list);

/* Takes it out: not alive any more. */
void alive_remove(struct alive *alive, struct member *members, uint32_t number);

/* A member whose lease was over before now_ms (expiry < now), or MEMBER_NONE.  The caller takes it
 * out; call until there is none. */
uint32_t alive_expired(const struct alive *alive, const struct member *members, int64_t now_ms);

void alive_check(const struct alive *alive, const struct member *members, uint32_t members_count);

#endif
