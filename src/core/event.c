/* event.c -- one event's viewers and sessions. */
#include "core/event.h"

#include "base/assert.h"
#include "base/memory.h"

#include <stdlib.h>

struct event *event_new(struct slice id, const struct hash_key *hash_key)
{
    struct event *event = memory_zalloc(sizeof *event);
    ASSERT(id.len > 0 && id.len <= sizeof event->id);
    event->id_len = (uint8_t)id.len;
    memcpy(event->id, id.ptr, id.len);
    event->hash_key = *hash_key;
    index_init(&event->by_id);
    index_init(&event->by_session);
    group_sets_init(&event->sets, &event->hash_key);
    event->sets_stored = 1; /* the empty set is everywhere */
    audience_init(&event->own, event, SLICE_EMPTY, 0);
    return event;
}

void event_free(struct event *event)
{
    if (event == NULL) {
        return;
    }
    for (uint32_t i = 0; i < event->sessions_count; i++) {
        audience_fini(event->sessions[i]);
        free(event->sessions[i]);
    }
    audience_fini(&event->own);
    group_sets_fini(&event->sets);
    index_fini(&event->by_id);
    index_fini(&event->by_session);
    free(event->sessions);
    free(event->viewers);
    free(event->ids);
    free(event->regrouped);
    free(event->erasing);
    free(event);
}

uint32_t event_viewer_hash(const struct event *event, const struct viewer_key *key)
{
    return (uint32_t)hash_bytes(&event->hash_key, key->bytes);
}

uint32_t event_find_viewer(const struct event *event, const struct viewer_key *key, uint32_t hash)
{
    struct index_probe probe = index_probe(&event->by_id, hash);
    uint32_t number;
    while ((number = index_next(&probe)) != INDEX_NONE) {
        const struct viewer *viewer = &event->viewers[number];
        if (viewer->hash == hash && viewer_key_is(key, event->ids + viewer->id_at)) {
            break;
        }
    }
    return number;
}

static uint32_t viewer_hash(const void *owner, uint32_t number)
{
    return ((const struct event *)owner)->viewers[number].hash;
}

void event_append_viewer(struct event *event, const struct viewer_key *key, uint32_t hash)
{
    uint32_t number = event->own.members_count;
    uint32_t bytes = key == NULL ? 1 : (uint32_t)viewer_key_stored_bytes(key);
    ASSERT(UINT32_MAX - event->ids_bytes >= bytes);
    event->viewers =
        memory_grow(event->viewers, &event->viewers_max, number + 1, sizeof *event->viewers);
    event->ids = memory_grow(event->ids, &event->ids_max, event->ids_bytes + bytes, 1);
    if (key != NULL) {
        viewer_key_store(key, event->ids + event->ids_bytes);
    } else {
        event->ids[event->ids_bytes] = 0; /* the tag of no key */
    }
    event->viewers[number] = (struct viewer){.id_at = event->ids_bytes, .hash = hash};
    event->ids_bytes += bytes;
    index_insert(&event->by_id, hash, number, viewer_hash, event);
}

void event_forget_viewer(struct event *event, uint32_t viewer_no)
{
    struct viewer *viewer = &event->viewers[viewer_no];
    char *stored = event->ids + viewer->id_at;
    size_t bytes = (uint8_t)stored[0] == VIEWER_KEY_UUID ? 1 + sizeof(struct viewer_key){0}.uuid
                                                         : 1 + (size_t)(uint8_t)stored[0];
    memset(stored, 0, bytes);
    /* Its place in the index stays, under a hash that says nothing without the engine's key. */
    viewer->profile_due_s = 0;
    viewer->groups = viewer->groups_covered = 0;
}

struct slice event_viewer_text(const struct event *event, uint32_t viewer_no, char text[36])
{
    ASSERT(viewer_no < event->own.members_count);
    return viewer_key_text(event->ids + event->viewers[viewer_no].id_at, text);
}

void event_set_groups(struct event *event, uint32_t viewer_no, uint16_t set_no)
{
    struct viewer *viewer = &event->viewers[viewer_no];
    if (viewer_no == event->own.members_count) { /* new: its member follows */
        viewer->groups = viewer->groups_covered = set_no;
    }
    if (viewer->groups == set_no) {
        return;
    }
    if (viewer->groups == viewer->groups_covered) {
        event->regrouped = memory_grow(event->regrouped, &event->regrouped_max,
                                       event->regrouped_count + 1, sizeof *event->regrouped);
        event->regrouped[event->regrouped_count++] = (struct regrouped){.viewer_no = viewer_no};
    }
    viewer->groups = set_no;
}

uint32_t event_session_hash(const struct event *event, struct slice session)
{
    return (uint32_t)hash_bytes(&event->hash_key, session);
}

static uint32_t session_hash(const void *owner, uint32_t number)
{
    return ((const struct event *)owner)->sessions[number]->hash;
}

struct audience *event_find_session(const struct event *event, struct slice session, uint32_t hash)
{
    struct index_probe probe = index_probe(&event->by_session, hash);
    uint32_t number;
    while ((number = index_next(&probe)) != INDEX_NONE) {
        if (slice_equal(audience_session(event->sessions[number]), session)) {
            return event->sessions[number];
        }
    }
    return NULL;
}

struct audience *event_add_session(struct event *event, struct slice session, uint32_t hash)
{
    uint32_t number = event->sessions_count;
    event->sessions =
        memory_grow(event->sessions, &event->sessions_max, number + 1, sizeof(struct audience *));
    struct audience *audience = memory_alloc(sizeof *audience);
    audience_init(audience, event, session, hash);
    event->sessions[number] = audience;
    event->sessions_count++;
    index_insert(&event->by_session, hash, number, session_hash, event);
    return audience;
}

void event_check(const struct event *event)
{
    audience_check(&event->own);
    index_check(&event->by_id, event->own.members_count, viewer_hash, event);
    index_check(&event->by_session, event->sessions_count, session_hash, event);
    uint32_t touched = event->own.touched;
    for (uint32_t i = 0; i < event->sessions_count; i++) {
        audience_check(event->sessions[i]);
        touched += event->sessions[i]->touched;
    }
    ASSERT(touched == event->touched_count);
    ASSERT(event->sets_stored <= event->sets.sets_count);
    ASSERT(event->regrouped_begin <= event->regrouped_count);
    uint32_t differ = 0, erasing = 0;
    for (uint32_t i = 0; i < event->own.members_count; i++) {
        erasing += event_viewer_erasing(event, i);
        /* Forgotten or not, as a whole. */
        ASSERT((event->ids[event->viewers[i].id_at] == 0) == (event->own.members[i].start_ms == 0));
        differ += event->viewers[i].groups != event->viewers[i].groups_covered;
    }
    ASSERT(differ <= event->regrouped_count);
    ASSERT(erasing == event->erasing_count && event->erasing_begin <= event->erasing_count);
    for (uint32_t i = 0; i < event->erasing_count; i++) {
        ASSERT(event_viewer_erasing(event, event->erasing[i]));
    }
    ASSERT(!event->purging || event->purge_later ||
           (event->own.members_count == 0 && event->sessions_count == 0 &&
            event->touched_count == 0 && event->erasing_count == 0));
    ASSERT(event->purging || (!event->purge_begin && !event->purge_later));
}
