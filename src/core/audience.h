/* audience.h -- the data sets of one event or of one session: everything that is counted.
 *
 * Model: an array of members in order of arrival; the lists of leases (alive.h); sums that are
 * kept, not scanned for; what the record store does not know yet.
 *
 * Leases that are over are taken out when the audience is next touched: no timers.  A frame is
 * closed when the audience is next touched after its end, or by the next pass of engine_collect.
 *
 * What is not stored yet: a bit per member in `fresh` (a viewing has begun: to be stored soon) or
 * in `dirty` (its end or lease has moved: within the minute), viewings and frames that are over,
 * and whether the aggregates changed.
 *
 * Erasure: a member whose viewer is being erased counts in nothing, but its row is still collected
 * as it was, so that rows come in order without holes; once the record store has forgotten it, the
 * row is an empty one (start_ms = 0), which nobody finds.
 *
 * Catching up: an audience that was loaded while the journal still holds batches up to settled_seq
 * has rows that are older than its aggregates.  Until those batches were replayed only rows are
 * brought up to date, each from its own time on; audience_settle then derives leases and live
 * counts.
 *
 * Invariants: audience_check.  Threads: the engine's owner.  Source: DESIGN, semantics 1 to 5. */
#ifndef NOVABEAT_CORE_AUDIENCE_H
#define NOVABEAT_CORE_AUDIENCE_H

#include "base/limits.h"
#include "core/alive.h"
#include "core/changes.h"
#include "core/counts.h"
#include "core/index.h"
#include "core/member.h"

struct engine;
struct event;

/* A frame that is over and not stored yet; owns its tallies. */
struct frame_over {
    int64_t start_ms, end_ms;
    uint32_t viewers;
    char *groups, *countries;
    uint32_t groups_len, countries_len;
};

struct audience {
    struct event *event;
    uint32_t hash; /* of the session's id */
    uint8_t session_len;
    char session[SESSION_ID_BYTES_MAX];

    struct member *members;
    uint32_t members_count, members_max;
    struct index by_viewer; /* sessions only: viewer number to member number */

    struct alive alive;
    struct counts groups, countries;
    uint64_t logins;
    int64_t total_ms;
    int64_t attended_less;  /* attended = members_count - this: erased ones count up; below 0 where
                               the statistics of people who are gone were kept */
    uint32_t erasing_count; /* members whose viewer is being erased */
    uint32_t peak_count;
    int64_t peak_ms;
    int64_t frame_start_ms, frame_length_ms; /* the newest frame; both 0: none yet */
    uint32_t frame_viewers;                  /* counted in it so far; 0: it is over */

    bool aggregates_dirty;
    bool touched; /* in the engine's list of audiences that have something to store */
    bool catching_up;
    uint32_t stored_count; /* members 0 … stored_count - 1 are in the record store */
    uint32_t fresh_count, dirty_count;
    uint32_t bits_max; /* words in each bitmap */
    uint64_t *fresh, *dirty;
    struct viewing_row *closed;
    uint32_t closed_count, closed_max;
    struct frame_over *frames;
    uint32_t frames_count, frames_max;
    struct audience *touched_next, *touched_prev;

    uint64_t settled_seq; /* catching up: the batch after which the aggregates hold … */
    int64_t settled_ms;   /* … and its time */
};

void audience_init(struct audience *audience, struct event *event, struct slice session,
                   uint32_t hash);
void audience_fini(struct audience *audience);

static inline struct slice audience_session(const struct audience *audience)
{
    return slice_of(audience->session, audience->session_len);
}

/* The member of a viewer in a session's audience, or MEMBER_NONE. */
uint32_t audience_find(const struct audience *audience, uint32_t viewer_no);

/* Counts one heartbeat (no leave) of a viewer; member_no MEMBER_NONE: a new member.  Returns the
 * member's number. */
uint32_t audience_heartbeat(struct engine *engine, struct audience *audience, uint32_t viewer_no,
                            uint32_t member_no, const struct heartbeat *heartbeat, uint16_t groups);
void audience_leave(struct engine *engine, struct audience *audience, uint32_t member_no);

/* The member counts in nothing any more but the peak and the frames.  Its row stays as it is. */
void audience_erase(struct engine *engine, struct audience *audience, uint32_t member_no);
/* The erasure is stored: the member's row becomes an empty one (member_row_empty). */
void audience_forget(struct audience *audience, uint32_t member_no);

static inline uint64_t audience_attended(const struct audience *audience)
{
    return (uint64_t)((int64_t)audience->members_count - audience->attended_less);
}

/* Takes out leases that are over and closes a frame that is over: before anything is read. */
void audience_update(struct engine *engine, struct audience *audience);

/* Ends catching up.  Also re-sorts the leases after the windows changed. */
void audience_settle(struct audience *audience);

/* The frame's counts as a tally (groups.h), by group of `event`, or by country when that is NULL.
 * The caller frees it. */
char *audience_frame_tally(const struct counts *counts, const struct event *event, uint32_t *len);

/* Something of it is to be stored: into the engine's list. */
void audience_touch(struct engine *engine, struct audience *audience);

/* A member's row changed without a heartbeat (its profile): to be stored within the minute. */
void audience_mark_dirty(struct engine *engine, struct audience *audience, uint32_t member_no);

/* Appends a member, without counting anything: load and replay of old rows. */
uint32_t audience_append(struct audience *audience, uint32_t viewer_no);

void audience_check(const struct audience *audience);

#endif
