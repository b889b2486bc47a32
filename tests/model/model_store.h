/* model_store.h -- a record store in memory: arrays of rows by the keys of core/changes.h.
 *
 * model_store_commit applies a collection as a database would, and aborts when it breaks one of the
 * rules that changes.h states: recovery rests on them.  Text is copied. */
#ifndef NOVABEAT_TESTS_MODEL_STORE_H
#define NOVABEAT_TESTS_MODEL_STORE_H

#include "model/model_engine.h"

struct store_audience {
    struct audience_row row; /* its text belongs to the store */
    struct member_row *members;
    unsigned char *lacking; /* of each member: an earlier viewing of it was dropped by an erasure
                               that is to come, and never stored */
    size_t members_count;
    struct viewing_row *viewings; /* earlier ones */
    size_t viewings_count;
    struct frame_row *frames; /* by start */
    size_t frames_count;
};

struct store_event {
    struct slice id;
    struct store_audience *audiences; /* [0]: the event's own */
    size_t audiences_count;
    struct slice *sets; /* [0]: the empty set */
    size_t sets_count;
};

struct model_store {
    struct store_event *events;
    size_t events_count;
    uint64_t covered_seq;
};

struct model_store *model_store_new(void);
void model_store_free(struct model_store *store);

/* One transaction; its answer (erased) goes into changes. */
void model_store_commit(struct model_store *store, struct changes *changes);

/* NULL: never stored. */
const struct store_event *model_store_find(const struct model_store *store, struct slice event);
/* As it was when it left memory: row "idle". */
static inline bool store_event_idle(const struct store_event *event)
{
    return event->audiences[0].row.idle;
}
/* Builds it: for engine_adopt. */
struct event *model_store_load(const struct store_event *event, const struct engine_config *cfg);

/* After everything was collected and committed: the store holds what the model knows. */
void model_store_compare(const struct model_store *store, const struct model *model);

#endif
