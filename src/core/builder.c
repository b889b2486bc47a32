/* builder.c -- an event from stored rows, built off the engine's thread. */
#include "base/assert.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/engine_state.h"
#include "core/groups.h"
#include "core/ids.h"

#include <stdlib.h>

struct event_builder {
    struct event *event;
    bool own_row;        /* the event's own audience was given */
    struct audience *at; /* of the newest member */
};

#define REFUSE(why, text) (*(why) = (text), ERR_DAMAGED)

/* Stored times are 0 to the year 10000: sums of two never overflow. */
static bool time_possible(int64_t ms)
{
    return ms >= 0 && ms <= INT64_C(253402300800000);
}

struct event_builder *event_builder_new(const struct engine_config *cfg, struct slice event)
{
    struct event_builder *builder = memory_zalloc(sizeof *builder);
    builder->event = event_new(event, &cfg->hash_key);
    return builder;
}

void event_builder_free(struct event_builder *builder)
{
    if (builder != NULL) {
        event_free(builder->event);
        free(builder);
    }
}

enum err event_builder_groups(struct event_builder *builder, const struct groups_row *row,
                              const char **why)
{
    struct event *event = builder->event;
    if (row->set_no != event->sets.sets_count || !groups_valid(row->packed) ||
        group_sets_find(&event->sets, row->packed) != INDEX_NONE) {
        return REFUSE(why, "a set of groups is out of order, invalid or there twice");
    }
    (void)group_sets_intern(&event->sets, row->packed);
    event->sets_stored = event->sets.sets_count;
    return ERR_NONE;
}

/* The counts of the frame that is being counted.  Every viewer counts in one country. */
static bool restore_frame(struct audience *audience, const struct audience_row *row)
{
    uint64_t viewers = 0;
    struct slice rest = row->frame_countries, key;
    for (uint32_t count; tally_next(&rest, &key, &count);) {
        country_t country;
        if (!country_pack(key, &country)) {
            return false;
        }
        counts_at(&audience->countries, country)->frame = count;
        viewers += count;
    }
    rest = row->frame_groups;
    for (uint32_t count; tally_next(&rest, &key, &count);) {
        uint32_t group_no = group_sets_group(&audience->event->sets, key);
        if (group_no == INDEX_NONE || count > row->frame_viewers) {
            return false;
        }
        counts_at(&audience->groups, group_no)->frame = count;
    }
    audience->frame_viewers = row->frame_viewers;
    return viewers == row->frame_viewers;
}

enum err event_builder_audience(struct event_builder *builder, const struct audience_row *row,
                                const char **why)
{
    struct event *event = builder->event;
    struct audience *audience = &event->own;
    if (row->session.len > 0) {
        if (!id_session_valid(row->session)) {
            return REFUSE(why, "a session's id is not valid");
        }
        uint32_t hash = event_session_hash(event, row->session);
        if (!builder->own_row || event_find_session(event, row->session, hash) != NULL) {
            return REFUSE(why, "a session comes before its event or twice");
        }
        audience = event_add_session(event, row->session, hash);
    } else if (builder->own_row) {
        return REFUSE(why, "the event's audience comes twice");
    } else {
        builder->own_row = true;
        event->last_ms = row->as_of_ms;
    }
    /* More attended than are members where people went and their statistics were kept. */
    if (row->members > VIEWERS_PER_EVENT_MAX || row->logins < row->attended || row->total_ms < 0) {
        return REFUSE(why, "an audience's sums are impossible");
    }
    if (!time_possible(row->as_of_ms) || !time_possible(row->peak_ms) ||
        !time_possible(row->frame_start_ms) || !time_possible(row->frame_length_ms) ||
        (row->frame_viewers > 0 && row->frame_length_ms == 0)) {
        return REFUSE(why, "an audience's times are impossible");
    }
    audience->logins = row->logins;
    audience->total_ms = row->total_ms;
    audience->attended_less = (int64_t)row->members - (int64_t)row->attended;
    audience->peak_count = row->peak_count;
    audience->peak_ms = row->peak_ms;
    audience->catching_up = true;
    audience->settled_seq = row->seq;
    audience->settled_ms = row->as_of_ms;
    audience->frame_start_ms = row->frame_start_ms;
    audience->frame_length_ms = row->frame_length_ms;
    if (row->frame_viewers > 0 && !restore_frame(audience, row)) {
        return REFUSE(why, "a frame's counts are of unknown groups or countries or do not add up");
    }
    audience->stored_count = row->members; /* until all members are here: the bound for them */
    index_reserve(audience->session_len > 0 ? &audience->by_viewer : &event->by_id, row->members);
    return ERR_NONE;
}

static enum err restore_viewer(struct event *event, const struct member_row *row, const char **why)
{
    if (member_row_empty(row)) { /* erased: a number and no more */
        event_append_viewer(event, NULL, hash_number(row->member_no));
        return ERR_NONE;
    }
    if (!id_viewer_valid(row->viewer) || row->groups >= event->sets.sets_count ||
        !time_possible(row->profile_due_ms)) {
        return REFUSE(why, "a viewer has no valid id or profile");
    }
    struct viewer_key key;
    viewer_key_make(&key, row->viewer);
    uint32_t hash = event_viewer_hash(event, &key);
    if (event_find_viewer(event, &key, hash) != MEMBER_NONE) {
        return REFUSE(why, "a viewer is there twice");
    }
    event_append_viewer(event, &key, hash);
    struct viewer *viewer = &event->viewers[row->member_no];
    viewer->groups = viewer->groups_covered = row->groups;
    /* A profile may have been imported while the event was away: look it up again with the viewer's
     * next heartbeat, which does not wait for it. */
    viewer->profile_due_s = row->profile_due_ms > 0;
    return ERR_NONE;
}

enum err event_builder_member(struct event_builder *builder, struct slice session,
                              const struct member_row *row, const char **why)
{
    struct event *event = builder->event;
    struct audience *audience = builder->at != NULL ? builder->at : &event->own;
    if (!slice_equal(audience_session(audience), session)) {
        audience = session.len == 0
                       ? &event->own
                       : event_find_session(event, session, event_session_hash(event, session));
    }
    if (audience == NULL || !builder->own_row) {
        return REFUSE(why, "a member's audience is not known");
    }
    builder->at = audience;
    bool own = audience == &event->own;
    if (row->member_no != audience->members_count || row->member_no >= audience->stored_count ||
        row->viewer_no >= VIEWERS_PER_EVENT_MAX || (own && row->viewer_no != row->member_no)) {
        return REFUSE(why, "a member is out of order or too many");
    }
    int64_t lease_ms = 0;
    if (!time_possible(row->start_ms) || !time_possible(row->end_ms) ||
        row->start_ms > row->end_ms ||
        __builtin_sub_overflow(row->expiry_ms, row->end_ms, &lease_ms) || lease_ms > INT32_MAX ||
        lease_ms < INT32_MIN) {
        return REFUSE(why, "a member's times are impossible");
    }
    if (row->lease_groups >= event->sets.sets_count || row->country >= COUNTRY_COUNT) {
        return REFUSE(why, "a member counts under unknown groups or an unknown country");
    }
    if (member_row_empty(row) && (row->end_ms != 0 || lease_ms != 0 || row->lease_groups != 0 ||
                                  row->country != 0 || row->groups != 0 || row->viewer.len > 0)) {
        return REFUSE(why, "an erased member's row is not empty");
    }
    if (own) {
        enum err err = restore_viewer(event, row, why);
        if (err != ERR_NONE) {
            return err;
        }
    } else if (audience_find(audience, row->viewer_no) != MEMBER_NONE) {
        return REFUSE(why, "a viewer is twice in a session");
    }
    uint32_t number = audience_append(audience, row->viewer_no); /* moves the array: not inline */
    struct member *member = &audience->members[number];
    member->start_ms = row->start_ms;
    member->end_ms = row->end_ms;
    member->lease_ms = (int32_t)lease_ms;
    member->country = row->country;
    member->groups = row->lease_groups;
    member->frame = member_row_empty(row) ? 0 : member_frame(row->counted_frame_ms);
    return ERR_NONE;
}

enum err event_builder_finish(struct event_builder *builder, struct event **event, const char **why)
{
    *event = NULL;
    enum err err = ERR_NONE;
    if (!builder->own_row) {
        err = REFUSE(why, "an event without its own audience");
    } else {
        *event = builder->event;
        builder->event = NULL;
        (*event)->own.stored_count = (*event)->own.members_count;
        for (uint32_t i = 0; i < (*event)->sessions_count; i++) {
            (*event)->sessions[i]->stored_count = (*event)->sessions[i]->members_count;
        }
    }
    event_builder_free(builder);
    return err;
}
