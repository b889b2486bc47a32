/* event.h -- one event in memory: its viewers, its sets of groups, its audiences.
 *
 * A viewer's number is its member number in the event's own audience: viewers[i] and own.members[i]
 * are the same viewer.  An event shares nothing with other events or with the engine, so it can be
 * built off the engine's thread and then be adopted.
 *
 * Threads: whoever builds it, then the engine's owner. */
#ifndef NOVABEAT_CORE_EVENT_H
#define NOVABEAT_CORE_EVENT_H

#include "base/hash.h"
#include "core/audience.h"
#include "core/group_sets.h"
#include "core/viewer_key.h"

#define VIEWER_ERASING UINT32_MAX

struct viewer {
    uint32_t id_at; /* of its stored key (viewer_key.h) in event.ids; zeros: erased, never found */
    uint32_t hash;
    uint32_t profile_due_s;  /* when to refresh the profile, s since the epoch; 0: never loaded;
                                VIEWER_ERASING: no heartbeat is taken until it is forgotten */
    uint16_t groups;         /* number of the set of groups that its profile has now */
    uint16_t groups_covered; /* and had when the record store covered everything: what is stored */
};

/* A viewer whose groups may differ from those stored.
 *
 * The row of a viewer may reach the store before those of the sessions, and a crash between them
 * makes the journal count a session's older heartbeats again: they must count under the groups of
 * their time.  The journal says every change; so what the store has to know is the groups as of
 * covered_seq, and they change in one transaction with it. */
struct regrouped {
    uint32_t viewer_no;
    uint16_t groups_begin; /* when the pass under way began */
};

struct event {
    uint8_t id_len;
    char id[EVENT_ID_BYTES_MAX];
    struct hash_key hash_key;
    struct event *bucket_next;         /* the engine's table */
    struct event *all_next, *all_prev; /* the engine's list */

    struct viewer *viewers; /* own.members_count of them */
    uint32_t viewers_max;
    struct index by_id;
    char *ids;
    uint32_t ids_bytes, ids_max;
    struct group_sets sets;

    struct audience own;
    struct audience **sessions; /* in order of first heartbeat */
    uint32_t sessions_count, sessions_max;
    struct index by_session;

    int64_t last_ms;             /* of the newest heartbeat */
    struct regrouped *regrouped; /* in no order, some twice; sorted when a full pass begins */
    uint32_t regrouped_count, regrouped_max;
    uint32_t regrouped_begin; /* the first ones, of the pass under way */
    uint32_t sets_stored;     /* sets 0 … sets_stored - 1 are in the record store */
    uint32_t touched_count;   /* audiences in the engine's list */
    uint32_t *erasing;        /* numbers of the viewers that are to be forgotten, oldest first */
    uint32_t erasing_count, erasing_max;
    uint32_t erasing_begin; /* the first ones, of the full pass under way */
    bool purging;           /* counts nothing, takes nothing: an empty shell, but for purge_later */
    bool purge_later; /* left when the full pass under way has stored what it will call covered */
    bool purge_keep;  /* its statistics stay in the record store */
    bool purge_begin; /* the full pass under way will say so … */
    bool purge_again; /* asked for once more since: one more full pass, or a replay that begins
                         between the two would purge what came back after the first */
    bool purge_begin_keep; /* … and this */
    bool idle_collected;   /* the part that says "idle" is on its way to the record store */
    bool evict_listed;
    struct event *evict_next;
    /* Reserved by engine_place for the batch at hand. */
    uint32_t viewers_reserved, sessions_reserved, sets_reserved;
    bool regroups_reserved; /* one of them changes the groups of a viewer */
    uint64_t reserved_batch;
};

struct event *event_new(struct slice id, const struct hash_key *hash_key);

static inline struct slice event_id(const struct event *event)
{
    return slice_of(event->id, event->id_len);
}

uint32_t event_viewer_hash(const struct event *event, const struct viewer_key *key);
/* The number of a viewer, or MEMBER_NONE. */
uint32_t event_find_viewer(const struct event *event, const struct viewer_key *key, uint32_t hash);
/* Adds the viewer whose number is the next one (own.members_count); the member follows.  key NULL:
 * an erased one, which is never found. */
void event_append_viewer(struct event *event, const struct viewer_key *key, uint32_t hash);
/* Its id is gone: never found again. */
void event_forget_viewer(struct event *event, uint32_t viewer_no);
/* Also for a number that is not given yet: false. */
static inline bool event_viewer_erasing(const struct event *event, uint32_t viewer_no)
{
    return viewer_no < event->own.members_count &&
           event->viewers[viewer_no].profile_due_s == VIEWER_ERASING;
}
struct slice event_viewer_text(const struct event *event, uint32_t viewer_no, char text[36]);

uint32_t event_session_hash(const struct event *event, struct slice session);
struct audience *event_find_session(const struct event *event, struct slice session, uint32_t hash);
struct audience *event_add_session(struct event *event, struct slice session, uint32_t hash);

/* The viewer's groups are those of this set from now on. */
void event_set_groups(struct event *event, uint32_t viewer_no, uint16_t set_no);

void event_check(const struct event *event);

#endif
