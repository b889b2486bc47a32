/* profiles_due.c -- profiles of an event have changed in the record store, nobody knows whose. */
#include "core/engine_state.h"

void engine_profiles_due(struct engine *engine, struct slice id)
{
    struct event *event = engine_find_event(engine, id);
    uint32_t count = event == NULL ? 0 : event->own.members_count;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t *due_s = &event->viewers[i].profile_due_s;
        if (*due_s > 0 && *due_s != VIEWER_ERASING) {
            *due_s = 1; /* one that was never loaded (0) is waited for anyway; the others are not */
        }
    }
}
