/* model_cast.h -- who may appear in a random run: events, sessions, viewers of every kind, groups.
 *
 * All text lies in the cast, so slices of heartbeats stay good for the whole run, as a journal that
 * the tests keep needs it. */
#ifndef NOVABEAT_TESTS_MODEL_CAST_H
#define NOVABEAT_TESTS_MODEL_CAST_H

#include "core/engine.h"

#define CAST_SESSIONS_MAX 8
#define CAST_SETS         12

struct cast_text {
    char bytes[VIEWER_ID_BYTES_MAX + 8];
    size_t len;
};

struct cast {
    uint64_t random; /* the state of tap_random */
    size_t events_count, sessions_count, viewers_count;
    size_t event_now; /* where nearly all heartbeats go for a while, so that others fall idle */
    struct cast_text *events, *viewers;
    struct cast_text sessions[CAST_SESSIONS_MAX];
    struct {
        char bytes[GROUPS_PACKED_BYTES_MAX];
        size_t len;
    } sets[CAST_SETS]; /* packed; [0] is the empty set */
};

void cast_init(struct cast *cast, uint64_t seed, size_t events, size_t sessions, size_t viewers);
void cast_fini(struct cast *cast);

uint64_t cast_random(struct cast *cast);
static inline uint64_t cast_below(struct cast *cast, uint64_t bound)
{
    return cast_random(cast) % bound;
}
static inline bool cast_chance(struct cast *cast, uint64_t of)
{
    return cast_below(cast, of) == 0;
}

struct slice cast_groups(struct cast *cast); /* one of the sets */

/* Anything may be in it.  Its groups are those of a token (GROUPS), of a profile (GROUPS | PROFILE)
 * or not given. */
struct heartbeat cast_heartbeat(struct cast *cast);

/* How far the time moves: mostly little, often to the very ms of a window's end or the one after,
 * sometimes days. */
int64_t cast_step_ms(struct cast *cast, const struct engine_windows *windows);

/* Any valid windows, some of them 0. */
struct engine_windows cast_windows(struct cast *cast);

#endif
