/* engine.h -- the deterministic heart: heartbeats and the time go in, figures and changes come out.
 *
 * Model: events; in each the viewers that ever came and one audience for the event and for each of
 * its sessions (audience.h).  The engine reads no clock, opens no file, takes no lock and starts no
 * thread; the same calls give the same answers.  So it can be checked against a model
 * (tests/model), simulated, and replayed from the journal.
 *
 * One batch of heartbeats goes through it in two steps, so that the journal can be written between:
 *   1. engine_place looks up what each heartbeat touches and says whether it can be applied now.
 *      It changes no figure.
 *   2. engine_apply counts a heartbeat that was READY.  It cannot fail or refuse.
 *
 * An event that is not in memory is the caller's to fetch (records_event_load) and engine_adopt;
 * a viewer's profile likewise (the caller puts the groups into the heartbeat and tries again).
 *
 * Times: ms since the epoch, never decreasing.  Memory: about 80 bytes per viewer with a UUID in
 * the event, 45 more per session watched; nothing is allocated for a heartbeat of a known viewer.
 * Threads: one owner.  Source: DESIGN, semantics 1 to 5. */
#ifndef NOVABEAT_CORE_ENGINE_H
#define NOVABEAT_CORE_ENGINE_H

#include "base/err.h"
#include "base/hash.h"
#include "core/changes.h"
#include "core/heartbeat.h"
#include "core/viewer_key.h"

struct engine;

/* What a heartbeat does depends on these (all in ms, at most 24 h; frame at least 100 ms;
 * leaving <= alive <= hidden <= gap). */
struct engine_windows {
    int64_t alive_ms, hidden_ms, leaving_ms, gap_ms, frame_ms;
};

struct engine_config {
    struct engine_windows windows;
    int64_t profile_ttl_ms; /* a profile is refreshed when it is older */
    int64_t event_idle_ms;  /* an event without a heartbeat for so long may leave memory */
    uint32_t events_max, sessions_max, viewers_max; /* in memory; per event; per event */
    /* In memory in all events together; 0: no bound.  all_viewers_max: members of the events' own
     * audiences.  all_audiences_max: of events and sessions; refuses new sessions (an event that
     * comes or comes back to memory is bounded by events_max). */
    uint32_t all_viewers_max, all_audiences_max;
    uint32_t backlog_max; /* ended viewings and frames that wait for the record store */
    struct hash_key hash_key;
};

struct engine *engine_new(const struct engine_config *cfg);
void engine_free(struct engine *engine);

/* Begins batch `seq` (the number of the journal record that holds it) at now_ms; both never
 * decrease.  Queries between batches may move the time alone (seq as it was). */
void engine_begin(struct engine *engine, uint64_t seq, int64_t now_ms);
int64_t engine_now_ms(const struct engine *engine);
uint64_t engine_seq(const struct engine *engine);

/* Other windows from now on.  Leases given stay as they are.  Frames that are being counted go on
 * to their ends; where a frame of another length would overlap one before it, it begins at that
 * one's end.  An input: journal it. */
void engine_set_windows(struct engine *engine, const struct engine_windows *windows);
const struct engine_windows *engine_windows(const struct engine *engine);
/* Other bounds, profile_ttl and event_idle from now on: all of cfg but windows and hash_key. */
void engine_set_bounds(struct engine *engine, const struct engine_config *cfg);

/* ---- heartbeats ---- */

#define PLACE_LIST(X)                                                                              \
    X(PLACE_READY, "can be applied")                                                               \
    X(PLACE_NEED_EVENT, "the event is not in memory: fetch it")                                    \
    X(PLACE_NEED_PROFILE, "the viewer's groups are not known: fetch the profile")                  \
    X(PLACE_SESSIONS_FULL, "sessions-max is reached for the event, or all-sessions-max")           \
    X(PLACE_VIEWERS_FULL, "viewers-max is reached for the event, or all-viewers-max")              \
    X(PLACE_GROUPS_FULL, "the event has too many different sets of groups")                        \
    X(PLACE_BACKLOG, "too much waits for the record store")                                        \
    X(PLACE_ERASING, "the viewer or the event is being erased: come again")

enum place_outcome {
#define PLACE_ENUM(name, text) name,
    PLACE_LIST(PLACE_ENUM)
#undef PLACE_ENUM
};

/* Where a heartbeat goes: filled by engine_place, used by engine_apply of the same batch.  Not to
 * be copied (the key points into it). */
struct place {
    enum place_outcome outcome;
    bool same_groups; /* the groups that came with the heartbeat are those the viewer has: they need
                         not be journaled */
    bool refresh;     /* the profile is older than profile_ttl: look it up again, without waiting */
    uint32_t viewer_hash, session_hash;
    uint32_t viewer_no; /* MEMBER_NONE: new */
    uint32_t member_no; /* in the session's audience; MEMBER_NONE: new or no session */
    struct event *event;
    struct audience *session; /* NULL: new or no session */
    struct viewer_key key;
};

/* Looks up all heartbeats of a batch side by side (the misses of the caches overlap).  READY
 * reserves room, so all READY ones of a batch can be applied.  Call once per batch, after
 * engine_begin or before it; until the batch was applied, call nothing that makes or frees events,
 * viewers or groups (engine_adopt, engine_committed, engine_profile, engine_erase, engine_purge). A
 * leave needs no profile. */
void engine_place(struct engine *engine, const struct heartbeat *const *heartbeats,
                  struct place *places, size_t count);

/* Counts one heartbeat whose place is READY.  The time is that of engine_begin.  ERASING (in a
 * replay): no effect. */
void engine_apply(struct engine *engine, const struct heartbeat *heartbeat, struct place *place);

/* Replay of what was journaled, and so was READY once: whatever the bounds say now, all places but
 * those whose event is missing become READY.  (A journal holds no heartbeat of a viewer or event
 * that is being erased; if it does, the place stays ERASING and engine_apply passes over it.) */
void engine_place_again(struct place *places, size_t count);

/* Both at once, for one heartbeat: what engine_place said; applied if READY. */
enum place_outcome engine_heartbeat(struct engine *engine, const struct heartbeat *heartbeat);

/* The viewer's groups are these from now on (a refreshed or newly put profile).  Unknown viewers
 * and events not in memory: no effect.  An input: journal it. */
void engine_profile(struct engine *engine, struct slice event, struct slice viewer,
                    struct slice groups);
/* The profile is being looked up: do not ask again before due_ms.  No input; changes no figure. */
void engine_profile_asked(struct engine *engine, struct place *place, int64_t due_ms);
/* Profiles of the event have changed in the store, nobody says whose: each viewer's is due, and is
 * looked up again with its next heartbeat, which does not wait.  No input; changes no figure. Cost:
 * O(viewers), a few ms a million. */
void engine_profiles_due(struct engine *engine, struct slice event);

/* ---- erasure ---- */

enum figures_outcome {
    FIGURES_OK,         /* also for an audience that nobody has seen: zeros */
    FIGURES_NEED_EVENT, /* the event is not in memory */
};

/* Forgets a viewer of an event in memory: from now on it counts in nothing but the peak and the
 * frames, which name nobody.  Its heartbeats are refused (PLACE_ERASING) until the pass that tells
 * the record store is committed; then it may come back as a new one.  An input: journal it.
 * *known: it had attended (and is not being erased already).  Journal it only if it is known
 * (engine_viewer says attended): a replay meets rows that are newer than the entry, and would erase
 * a viewer who came after it.  changes.h, rule 7. */
enum figures_outcome engine_erase(struct engine *engine, struct slice event, struct slice viewer,
                                  bool *known) WARN_UNUSED;
/* Forgets a whole event, in memory or not (keep_statistics: its people only).  Until that is
 * committed its heartbeats are refused and it counts nothing.  An input: journal it; so it is never
 * refused, also when events_max are in memory (an empty shell is small, and the caller bounds how
 * many there are).  With keep_statistics, what the event in memory has not stored yet is lost: that
 * is for events that are idle and stored.  Purged twice: without statistics if either said so. */
void engine_purge(struct engine *engine, struct slice event, bool keep_statistics);
/* So many erasures and purges are not committed yet: ask for a full pass. */
uint32_t engine_erasing(const struct engine *engine);

/* ---- events ---- */

bool engine_has_event(const struct engine *engine, struct slice event);
/* A new event without viewers; false when events_max are in memory. */
bool engine_add_event(struct engine *engine, struct slice event) WARN_UNUSED;
/* Takes a loaded event.  settle: its figures hold now; without it the journal still holds what its
 * rows lack, and its figures hold from the first batch after the newest row (recovery). */
bool engine_adopt(struct engine *engine, struct event *event, bool settle) WARN_UNUSED;
/* After recovery: all figures of all events hold. */
void engine_settle(struct engine *engine);
uint32_t engine_events_count(const struct engine *engine);

/* ---- figures, at the time of engine_begin ---- */

struct figures {
    struct slice session; /* empty: the event */
    uint64_t active, attended, logins;
    int64_t total_ms;
    uint64_t peak_count;
    int64_t peak_ms;
};

enum figures_outcome engine_figures(struct engine *engine, struct slice event, struct slice session,
                                    struct figures *figures) WARN_UNUSED;

/* The event and then each of its sessions in order of first heartbeat. Cost: O(sessions). */
typedef void figures_fn(void *ctx, const struct figures *figures);
enum figures_outcome engine_overview(struct engine *engine, struct slice event, figures_fn *fn,
                                     void *ctx) WARN_UNUSED;

/* Alive now by group and by country.  Cost: O(groups + countries seen). */
typedef void live_count_fn(void *ctx, bool is_group, struct slice key, uint32_t count);
enum figures_outcome engine_live(struct engine *engine, struct slice event, struct slice session,
                                 uint64_t *active, live_count_fn *fn, void *ctx) WARN_UNUSED;

/* Frames of the audience that are over and were not collected yet, oldest first. */
typedef void frame_fn(void *ctx, const struct frame_row *frame);
enum figures_outcome engine_frames(struct engine *engine, struct slice event, struct slice session,
                                   frame_fn *fn, void *ctx) WARN_UNUSED;

/* One viewer's latest viewing in the event and in each session, and those that are over and were
 * not collected yet.  *attended = false: never came.  Cost: O(sessions + viewings not collected).
 */
struct viewer_viewing {
    struct slice session;
    uint32_t viewer_no; /* the same in all */
    int64_t start_ms, end_ms;
    bool latest; /* else `alive` and `country` say nothing */
    bool alive;
    country_t country;
};
typedef void viewer_viewing_fn(void *ctx, const struct viewer_viewing *viewing);
enum figures_outcome engine_viewer(struct engine *engine, struct slice event, struct slice viewer,
                                   bool *attended, struct slice *groups, viewer_viewing_fn *fn,
                                   void *ctx) WARN_UNUSED;

/* The ids of all events in memory that somebody has been seen in. */
typedef void engine_event_fn(void *ctx, struct slice event);
void engine_events(const struct engine *engine, engine_event_fn *fn, void *ctx);

/* ---- changes for the record store (changes.h) ---- */

/* Begins a pass over what changed.  full: also viewings that only grew longer; when a full pass is
 * committed, everything up to the batch before it is covered.  Not while a pass is under way. */
void engine_collect_begin(struct engine *engine, bool full);
/* The next part of the pass, about rows_max rows at most: true when changes has something to
 * commit. Parts must be committed in order, each before the next is collected, and never be
 * dropped.  With false the pass is over. */
bool engine_collect(struct engine *engine, struct changes *changes, size_t rows_max) WARN_UNUSED;
bool engine_collecting(const struct engine *engine);
/* The newest part was committed, and this is it (with records_commit's answer): idle and purged
 * events that it carried leave memory, erased viewers are forgotten. */
void engine_committed(struct engine *engine, const struct changes *changes);

struct engine_sizes {
    uint64_t events, audiences, viewers, members, backlog;
};
void engine_sizes(const struct engine *engine, struct engine_sizes *sizes);

/* Walks everything and asserts every invariant.  Cost: O(all). */
void engine_check(const struct engine *engine);

#endif
