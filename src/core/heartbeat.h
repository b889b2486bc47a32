/* heartbeat.h -- one "I am here" of one viewer: the engine's input.
 *
 * All slices borrow from whoever made the heartbeat (a connection's read buffer, a line of a trace,
 * a journal record) and must stay until the heartbeat was applied.  A heartbeat that reaches the
 * engine is valid: ids were checked with ids.h, groups are packed (groups.h), the country is one
 * that country_pack made.
 *
 * Source: DESIGN, words; semantics 1 to 5. */
#ifndef NOVABEAT_CORE_HEARTBEAT_H
#define NOVABEAT_CORE_HEARTBEAT_H

#include "base/slice.h"

#include <stdint.h>

/* A viewing country: two characters of A-Z 0-9, packed (country.h).  0 is "ZZ": not known. */
typedef uint16_t country_t;

enum heartbeat_flags {
    HEARTBEAT_HIDDEN = 1,  /* the page is in a hidden tab: the longer window */
    HEARTBEAT_LEAVING = 2, /* the page is going away: shortens the lease, counts in nothing */
    HEARTBEAT_GROUPS = 4,  /* `groups` says which groups the viewer is in, from a profile, a token,
                              a trace or a trusted back end: no profile is needed */
    HEARTBEAT_PROFILE = 8, /* with GROUPS: they are the answer of the record store to a look-up
                              (also the answer "unknown viewer", which is no groups): ask again only
                              after profile_ttl.  Without it the groups came with the heartbeat. */
};

struct heartbeat {
    struct slice event;
    struct slice session; /* empty: the viewer watches no session */
    struct slice viewer;
    struct slice groups; /* packed, sorted, unique; see groups.h */
    country_t country;
    uint8_t flags;
};

#endif
