/* viewing.h -- when does a viewing go on, and when does a new one begin?
 *
 * Decides purely; the audience acts.  Source: DESIGN, semantics 3. */
#ifndef NOVABEAT_CORE_VIEWING_H
#define NOVABEAT_CORE_VIEWING_H

#include <stdint.h>

enum viewing_action {
    VIEWING_EXTEND, /* end = now */
    VIEWING_OPEN,   /* the latest one is over; start = end = now */
};

/* end_ms <= now_ms: of the latest viewing. */
static inline enum viewing_action viewing_advance(int64_t end_ms, int64_t now_ms, int64_t gap_ms)
{
    return now_ms - end_ms > gap_ms ? VIEWING_OPEN : VIEWING_EXTEND;
}

#endif
