/* member.h -- one viewer in one audience: 40 bytes, an element of the audience's array.
 *
 * The number of a member is its place in that array: the order of arrival.  In the event's own
 * audience it is also the viewer's number in the event. */
#ifndef NOVABEAT_CORE_MEMBER_H
#define NOVABEAT_CORE_MEMBER_H

#include "core/heartbeat.h"

#include <assert.h>
#include <stdint.h>

#define MEMBER_NONE UINT32_MAX

struct member {
    int64_t start_ms; /* the latest viewing */
    int64_t end_ms;
    int32_t lease_ms; /* the lease ends at end_ms + lease_ms (may be before end_ms: a leave moves
                         the end but not a lease that is over) */
    uint32_t frame;   /* member_frame() of the newest frame that counted it */
    uint32_t next;    /* neighbours in the list of leases (alive.h) */
    uint32_t prev;
    uint32_t viewer : 28; /* number in the event's audience */
    uint32_t list : 4;    /* enum alive_list; ALIVE_NOT: not alive */
    country_t country;    /* of the latest heartbeat here; the live count counts it there */
    uint16_t groups;      /* likewise: number of a set of groups */
};

static_assert(sizeof(struct member) == 40, "memory per viewer and audience is a promise");

/* A frame is known by its start; a member keeps it in units of 100 ms (no frame is shorter), modulo
 * 2^32: the same again after 13 years. */
#define FRAME_UNIT_MS 100
static inline uint32_t member_frame(int64_t frame_start_ms)
{
    return (uint32_t)(frame_start_ms / FRAME_UNIT_MS);
}

static inline int64_t member_expiry_ms(const struct member *member)
{
    return member->end_ms + member->lease_ms;
}

#endif
