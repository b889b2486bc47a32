/* model_engine.h -- the naive reference of DESIGN, section 2.
 *
 * Everything is an array that grows by one and is scanned from its start; nothing is kept that can
 * be computed, no viewing or frame is ever forgotten.  Whoever doubts a figure of the engine reads
 * model_engine.c beside section 2 and decides which of the two is wrong.
 *
 * Only what tests read is public.  Memory: owned by the model until model_free. */
#ifndef NOVABEAT_TESTS_MODEL_ENGINE_H
#define NOVABEAT_TESTS_MODEL_ENGINE_H

#include "core/engine.h"

/* How many per key (a group's id, a country's two letters). */
struct model_count {
    struct slice key;
    uint32_t count;
};
struct model_tally {
    struct model_count *counts;
    size_t count;
};

struct model_viewing {
    int64_t start_ms, end_ms;
};

struct model_frame {
    int64_t start_ms, end_ms;
    uint32_t viewers;
    struct model_tally groups, countries;
};

/* One viewer in one audience. */
struct model_member {
    struct slice viewer;
    int64_t expiry_ms;              /* alive at T iff T <= expiry_ms */
    struct model_viewing *viewings; /* oldest first */
    size_t viewings_count;
    int64_t counted_frame_ms; /* start of the newest frame that counted it; -1: none */
    struct slice groups;      /* packed: those at the latest heartbeat here */
    country_t country;        /* likewise */
};

struct model_audience {
    struct slice session;
    struct model_member *members; /* in order of arrival */
    size_t members_count;
    struct model_frame *frames; /* oldest first; the last one may still be counting */
    size_t frames_count;
    uint64_t peak_count;
    int64_t peak_ms;
    /* Of people who are gone, but whose statistics were kept. */
    uint64_t attended_kept, logins_kept;
    int64_t total_kept_ms;
    /* Viewings of viewers being erased that the record store has: they go with its next full pass.
     * Set by the test. */
    uint64_t logins_to_go;
    int64_t total_to_go_ms;
};

struct model_event {
    struct slice id;
    struct model_audience *audiences; /* [0]: the event's own; sessions by first heartbeat */
    size_t audiences_count;
    struct slice *groups; /* of each member of audiences[0]: packed, what the profile says now */
    bool purging;         /* until model_purged: counts nothing, whatever is kept */
    bool purge_keep;
};

struct model {
    struct engine_windows windows;
    int64_t now_ms;
    struct model_event *events;
    size_t events_count;
};

struct model *model_new(const struct engine_windows *windows);
void model_free(struct model *model);

void model_begin(struct model *model, int64_t now_ms);
void model_set_windows(struct model *model, const struct engine_windows *windows);
void model_heartbeat(struct model *model, const struct heartbeat *heartbeat);
void model_profile(struct model *model, struct slice event, struct slice viewer,
                   struct slice groups);
/* Forgets the viewer, but not what frames and peaks say; false: unknown. */
bool model_erase(struct model *model, struct slice event, struct slice viewer);
/* Forgets the event, or (keep_statistics) its viewers. */
void model_purge(struct model *model, struct slice event, bool keep_statistics);
/* The record store has forgotten it too. */
void model_purged(struct model *model, struct slice event);

/* NULL: nobody has seen it. */
const struct model_event *model_event_find(const struct model *model, struct slice event);
const struct model_audience *model_audience_find(const struct model_event *event,
                                                 struct slice session);
const struct model_member *model_member_find(const struct model_audience *audience,
                                             struct slice viewer);

static inline bool model_alive(const struct model *model, const struct model_member *member)
{
    return model->now_ms <= member->expiry_ms;
}

/* The figures of one audience, counted out now. */
void model_figures(const struct model *model, const struct model_audience *audience,
                   struct figures *figures);
/* Alive now by group and country; free both with model_tally_fini. */
void model_live(const struct model *model, const struct model_audience *audience,
                struct model_tally *groups, struct model_tally *countries);

void model_tally_add(struct model_tally *tally, struct slice key, uint32_t by);
bool model_tally_equal(const struct model_tally *a, const struct model_tally *b);
/* From packed bytes (groups.h). */
void model_tally_read(struct model_tally *tally, struct slice packed);
void model_tally_fini(struct model_tally *tally);

struct slice model_copy(struct slice text); /* freed by free((char *)ptr) */

#endif
