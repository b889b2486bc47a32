/* changes.h -- what the engine has to say to the record store, and what it gets back when an event
 * returns to memory.
 *
 * The engine keeps the truth; the record store follows.  engine_collect() (engine.h) fills a
 * `struct changes` with rows as they are after journal record `seq` (between two batches, so all
 * rows of one collection are of one moment); records_commit() writes all of it in one transaction.
 *
 * What recovery rests on (ARCHITECTURE.md, recovery):
 *   1. Rows of an audience never come without its audience row, which carries the audience's
 *      aggregates as of the same moment and that moment's `seq`.
 *   2. New members are collected in the order of their numbers, without holes: what the store holds
 *      of an audience is members 0 … n-1 (but for erased ones).
 *   3. A viewing that ended because a new one began is collected before or with the member's row
 *      that shows the new one.
 *   4. Group sets of an event are collected in the order of their numbers, without holes, with or
 *      before the first row that uses them.
 *   5. `covered_seq`: all that journal records up to this one changed is in the store once this
 *      collection is committed; older journal segments may then go.
 *   6. A viewer's groups in its row are those as of the covered_seq that is committed with it or
 *      was before: replay goes through all their changes since.
 *   7. Erasures and purges come in the last part of a full pass that began after them, so with a
 *      covered_seq that is not before their journal record: replay never meets what was before.
 *      A viewing that ended before the erasure and was not collected then is never told, though
 *      the member's row may show the one after it (rule 3).
 *
 * All times are ms since the epoch.  Memory: the caller owns a struct changes and reuses it;
 * slices point into its text arena and are good until changes_reset. */
#ifndef NOVABEAT_CORE_CHANGES_H
#define NOVABEAT_CORE_CHANGES_H

#include "base/err.h"
#include "core/heartbeat.h"

/* One audience: of the event itself (session empty) or of one of its sessions. */
struct audience_row {
    struct slice event;
    struct slice session;
    uint64_t seq;      /* journal record after which all of this holds */
    int64_t as_of_ms;  /* engine time then */
    uint32_t members;  /* member numbers given so far; the members 0 ... members - 1 */
    uint32_t attended; /* viewers ever, without the erased ones (their rows stay, empty) */
    uint64_t logins;   /* viewings ever started */
    int64_t total_ms;  /* sum of (end - start) over all viewings */
    uint32_t peak_count;
    int64_t peak_ms;
    int64_t frame_start_ms;       /* of the newest frame, which may be over; 0 and 0: none yet */
    int64_t frame_length_ms;      /* and its length */
    uint32_t frame_viewers;       /* viewers counted in it so far; 0: it is over */
    struct slice frame_groups;    /* tally (groups.h) */
    struct slice frame_countries; /* tally */
    bool idle; /* event audience only: the event leaves memory with this commit */
};

/* One viewer in one audience, with the latest viewing.  Key: audience, member_no. */
struct member_row {
    uint32_t member_no;  /* order of arrival in this audience, from 0 */
    uint32_t viewer_no;  /* the member_no of the viewer in the event's audience (there: the same) */
    bool created;        /* not in the store yet: insert; else update */
    struct slice viewer; /* created in the event's audience only: the id; else empty */
    uint16_t groups;     /* event audience: set_no of the viewer's groups as of covered_seq (of its
                            first ones if it came later) */
    uint16_t lease_groups;    /* set_no of the groups of its latest heartbeat in this audience: the
                                 live    count counts it under these */
    country_t country;        /* the country of its latest heartbeat in this audience: likewise */
    int64_t profile_due_ms;   /* event audience: when to refresh the profile; 0: never loaded */
    int64_t start_ms, end_ms; /* the latest viewing */
    int64_t expiry_ms;        /* the lease: alive at T iff T <= expiry_ms */
    int64_t counted_frame_ms; /* start of the newest frame that has counted the member, to 100 ms */
};

/* The row of an erased viewer: its number stays taken, all else is 0, the country ZZ. */
static inline bool member_row_empty(const struct member_row *row)
{
    return row->start_ms == 0;
}

/* One set of groups that viewers of an event have.  Key: event, set_no (from 0; set 0 is the empty
 * set and is never collected).  Stays for as long as the event is stored. */
struct groups_row {
    uint16_t set_no;
    struct slice packed; /* groups.h */
};

/* An earlier viewing, over for good.  Key: audience, member_no, start_ms.  (Written again with the
 * same content after a crash: upsert.) */
struct viewing_row {
    uint32_t member_no;
    int64_t start_ms, end_ms;
};

/* A frame that is over.  Key: audience, start_ms.  Upsert. */
struct frame_row {
    int64_t start_ms, end_ms;
    uint32_t viewers;
    struct slice groups;    /* tally */
    struct slice countries; /* tally */
};

/* A viewer to be forgotten in all audiences of the event: its rows become empty ones
 * (member_row_empty), its earlier viewings, its id and its profile go. */
struct erasure_row {
    struct slice event, viewer;
    uint32_t viewer_no;
};

/* An event to be forgotten.  keep_statistics: only its people; frames, peaks and counts stay. */
struct purge_row {
    struct slice event;
    bool keep_statistics;
};

/* What records_commit answers: so many earlier viewings of erased viewers were stored, and went. */
struct erased_row {
    struct slice event, session;
    uint64_t viewings;
    int64_t total_ms;
};

/* One audience's part of a collection: ranges of the arrays below. */
struct change {
    struct audience_row audience;
    size_t members_first, members_count;
    size_t viewings_first, viewings_count;
    size_t frames_first, frames_count;
    size_t groups_first, groups_count; /* event audience only */
};

struct changes {
    struct change *changes;
    size_t changes_count;
    struct member_row *members; /* ascending member_no within a change */
    size_t members_count;
    struct viewing_row *viewings;
    size_t viewings_count;
    struct frame_row *frames;
    size_t frames_count;
    struct groups_row *groups;
    size_t groups_count;
    uint64_t covered_seq; /* 0: says nothing */
    struct erasure_row *erasures;
    size_t erasures_count;
    struct purge_row *purges;
    size_t purges_count;
    struct erased_row *erased; /* records_commit's answer; text in the arena */
    size_t erased_count;
    /* Private: capacities and the text arena. */
    size_t changes_max, members_max, viewings_max, frames_max, groups_max;
    size_t erasures_max, purges_max, erased_max;
    struct changes_text *text;
};

void changes_init(struct changes *changes);
void changes_reset(struct changes *changes); /* keeps the memory */
void changes_fini(struct changes *changes);

/* For the engine and for tests: append one row (copies the row, not its text) and get it back, or
 * copy text into the arena.  They abort when memory is out: the bound is the collector's. */
struct change *changes_add(struct changes *changes);
struct member_row *changes_add_member(struct changes *changes); /* to the last change */
struct viewing_row *changes_add_viewing(struct changes *changes);
struct frame_row *changes_add_frame(struct changes *changes);
struct groups_row *changes_add_groups(struct changes *changes);
struct erasure_row *changes_add_erasure(struct changes *changes); /* these to the whole */
struct purge_row *changes_add_purge(struct changes *changes);
struct erased_row *changes_add_erased(struct changes *changes);
struct slice changes_copy(struct changes *changes, struct slice text);

/* ---- The way back: an event as it was stored, built off the engine's thread ---- */

struct engine_config;
struct event;
struct event_builder;

/* An event without audiences yet; cfg gives the hash key. */
struct event_builder *event_builder_new(const struct engine_config *cfg, struct slice event);

/* Group sets first, in order; then audiences, the event's own (session empty) before its sessions';
 * then all members of the event's audience in order of member_no, then each session's in theirs.
 * member_row.created is ignored; viewer is needed for the event's audience.
 * ERR_DAMAGED when rows contradict each other (unknown audience or set, numbers out of order, a
 * viewer twice). *why then gets a static explanation.  (An audience row may say more `attended`
 * than members are stored: the rest is in the journal.) */
enum err event_builder_groups(struct event_builder *builder, const struct groups_row *row,
                              const char **why) WARN_UNUSED;
enum err event_builder_audience(struct event_builder *builder, const struct audience_row *row,
                                const char **why) WARN_UNUSED;
enum err event_builder_member(struct event_builder *builder, struct slice session,
                              const struct member_row *row, const char **why) WARN_UNUSED;

/* Takes the builder and gives the event (free it with event_free or let the engine adopt it). */
enum err event_builder_finish(struct event_builder *builder, struct event **event,
                              const char **why) WARN_UNUSED;
void event_builder_free(struct event_builder *builder);
void event_free(struct event *event);

#endif
