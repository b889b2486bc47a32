/* audience.c -- one heartbeat in one audience, step by step as DESIGN, semantics 1 to 5, has it. */
#include "core/audience.h"

#include "base/assert.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/engine_state.h"
#include "core/groups.h"
#include "core/viewing.h"

#include <stdlib.h>

#define WORD_BITS 64

void audience_init(struct audience *audience, struct event *event, struct slice session,
                   uint32_t hash)
{
    *audience = (struct audience){.event = event, .hash = hash};
    ASSERT(session.len <= sizeof audience->session);
    audience->session_len = (uint8_t)session.len;
    if (session.len > 0) {
        memcpy(audience->session, session.ptr, session.len);
    }
    index_init(&audience->by_viewer);
    alive_init(&audience->alive);
    counts_init(&audience->groups);
    counts_init(&audience->countries);
}

void audience_fini(struct audience *audience)
{
    for (uint32_t i = 0; i < audience->frames_count; i++) {
        free(audience->frames[i].groups);
        free(audience->frames[i].countries);
    }
    free(audience->members);
    free(audience->fresh);
    free(audience->dirty);
    free(audience->closed);
    free(audience->frames);
    index_fini(&audience->by_viewer);
    counts_fini(&audience->groups);
    counts_fini(&audience->countries);
}

static uint32_t member_hash(const void *owner, uint32_t number)
{
    return hash_number(((const struct audience *)owner)->members[number].viewer);
}

uint32_t audience_find(const struct audience *audience, uint32_t viewer_no)
{
    struct index_probe probe = index_probe(&audience->by_viewer, hash_number(viewer_no));
    uint32_t number;
    while ((number = index_next(&probe)) != INDEX_NONE) {
        if (audience->members[number].viewer == viewer_no) {
            break;
        }
    }
    return number;
}

/* ---- what is to be stored ---- */

void audience_touch(struct engine *engine, struct audience *audience)
{
    if (audience->touched) {
        return;
    }
    audience->touched = true;
    audience->touched_next = NULL;
    audience->touched_prev = engine->touched_last;
    if (engine->touched_last == NULL) {
        engine->touched_first = audience;
    } else {
        engine->touched_last->touched_next = audience;
    }
    engine->touched_last = audience;
    engine->touched_count++;
    audience->event->touched_count++;
}

/* Sets the bit of a member: *count grows if it was not set. */
static void mark(uint64_t *bits, uint32_t *count, uint32_t member_no)
{
    uint64_t bit = 1ull << (member_no % WORD_BITS);
    uint64_t *word = &bits[member_no / WORD_BITS];
    *count += (*word & bit) == 0;
    *word |= bit;
}

void audience_mark_dirty(struct engine *engine, struct audience *audience, uint32_t member_no)
{
    mark(audience->dirty, &audience->dirty_count, member_no);
    audience_touch(engine, audience);
}

static void push_closed(struct engine *engine, struct audience *audience, uint32_t member_no)
{
    const struct member *member = &audience->members[member_no];
    audience->closed = memory_grow(audience->closed, &audience->closed_max,
                                   audience->closed_count + 1, sizeof *audience->closed);
    audience->closed[audience->closed_count++] =
        (struct viewing_row){member_no, member->start_ms, member->end_ms};
    engine->backlog++;
}

/* ---- members ---- */

static uint64_t *bits_grow(uint64_t *bits, uint32_t words_before, uint32_t words)
{
    bits = memory_resize(bits, words * sizeof *bits);
    memset(bits + words_before, 0, (words - words_before) * sizeof *bits);
    return bits;
}

uint32_t audience_append(struct audience *audience, uint32_t viewer_no)
{
    uint32_t number = audience->members_count;
    audience->members =
        memory_grow(audience->members, &audience->members_max, number + 1, sizeof(struct member));
    if (number / WORD_BITS >= audience->bits_max) {
        uint32_t words = audience->bits_max == 0 ? 1 : audience->bits_max * 2;
        audience->fresh = bits_grow(audience->fresh, audience->bits_max, words);
        audience->dirty = bits_grow(audience->dirty, audience->bits_max, words);
        audience->bits_max = words;
    }
    audience->members[number] = (struct member){
        .next = MEMBER_NONE, .prev = MEMBER_NONE, .viewer = viewer_no, .list = ALIVE_NOT};
    audience->members_count++;
    if (audience->session_len > 0) {
        index_insert(&audience->by_viewer, hash_number(viewer_no), number, member_hash, audience);
    }
    return number;
}

static uint32_t append_counted(struct engine *engine, struct audience *audience, uint32_t viewer_no)
{
    engine->members_count++;
    engine->viewers_count += audience->session_len == 0;
    return audience_append(audience, viewer_no);
}

/* Adds `by` (1 or -1) to the live counts that the member stands for. */
static void count_live(struct audience *audience, const struct member *member, int by)
{
    const struct group_set *set = &audience->event->sets.sets[member->groups];
    for (uint32_t i = 0; i < set->groups_count; i++) {
        counts_at(&audience->groups, set->groups[i])->live += (uint32_t)by;
    }
    counts_at(&audience->countries, member->country)->live += (uint32_t)by;
}

/* The start of the frame that a heartbeat counts in now: aligned to the epoch.  When the length was
 * changed, a frame that is being counted goes on to its end and the next one begins there: frames
 * of an audience never overlap. */
static int64_t frame_start_now(const struct engine *engine, const struct audience *audience)
{
    int64_t newest_ms = audience->frame_start_ms;
    int64_t newest_end_ms = newest_ms + audience->frame_length_ms;
    if (engine->now_ms >= newest_ms && engine->now_ms < newest_end_ms) {
        return newest_ms;
    }
    if (engine->now_ms >= newest_end_ms && engine->frame_start_ms < newest_end_ms) {
        return newest_end_ms;
    }
    return engine->frame_start_ms; /* before the newest one: only while catching up */
}

static void count_frame(struct engine *engine, struct audience *audience,
                        const struct member *member)
{
    if (audience->frame_viewers == 0) {
        int64_t end_ms = engine->frame_start_ms + engine->cfg.windows.frame_ms;
        audience->frame_start_ms = frame_start_now(engine, audience);
        audience->frame_length_ms = end_ms - audience->frame_start_ms;
    }
    audience->frame_viewers++;
    const struct group_set *set = &audience->event->sets.sets[member->groups];
    for (uint32_t i = 0; i < set->groups_count; i++) {
        counts_at(&audience->groups, set->groups[i])->frame++;
    }
    counts_at(&audience->countries, member->country)->frame++;
}

/* ---- frames ---- */

char *audience_frame_tally(const struct counts *counts, const struct event *event, uint32_t *len)
{
    uint32_t bytes = 0, bytes_max = 0;
    char *tally = NULL;
    struct counts_entry *entry;
    for (uint32_t i = 0; (entry = counts_each(counts, &i)) != NULL;) {
        if (entry->frame == 0) {
            continue;
        }
        char country[2];
        struct slice key = slice_of(country, sizeof country);
        if (event == NULL) {
            country_text((country_t)(entry->key - 1), country);
        } else {
            key = group_sets_name(&event->sets, entry->key - 1);
        }
        tally = memory_grow(tally, &bytes_max, bytes + (uint32_t)tally_entry_bytes(key.len), 1);
        bytes += (uint32_t)tally_put(tally + bytes, key, entry->frame);
    }
    *len = bytes;
    return tally;
}

static void clear_frame(struct counts *counts)
{
    struct counts_entry *entry;
    for (uint32_t i = 0; (entry = counts_each(counts, &i)) != NULL;) {
        entry->frame = 0;
    }
}

static void close_frame(struct engine *engine, struct audience *audience)
{
    audience->frames = memory_grow(audience->frames, &audience->frames_max,
                                   audience->frames_count + 1, sizeof *audience->frames);
    struct frame_over *frame = &audience->frames[audience->frames_count++];
    frame->start_ms = audience->frame_start_ms;
    frame->end_ms = audience->frame_start_ms + audience->frame_length_ms;
    frame->viewers = audience->frame_viewers;
    frame->groups = audience_frame_tally(&audience->groups, audience->event, &frame->groups_len);
    frame->countries = audience_frame_tally(&audience->countries, NULL, &frame->countries_len);
    clear_frame(&audience->groups);
    clear_frame(&audience->countries);
    audience->frame_viewers = 0;
    audience->aggregates_dirty = true;
    engine->backlog++;
    audience_touch(engine, audience);
}

void audience_update(struct engine *engine, struct audience *audience)
{
    if (audience->catching_up) {
        return;
    }
    uint32_t number;
    while ((number = alive_expired(&audience->alive, audience->members, engine->now_ms)) !=
           MEMBER_NONE) {
        count_live(audience, &audience->members[number], -1);
        alive_remove(&audience->alive, audience->members, number);
    }
    if (audience->frame_viewers > 0 &&
        engine->now_ms >= audience->frame_start_ms + audience->frame_length_ms) {
        close_frame(engine, audience);
    }
}

/* ---- heartbeats ---- */

struct row_step {
    bool opened;         /* a viewing began */
    bool counted;        /* first heartbeat in this frame */
    int64_t extended_ms; /* by so much did the viewing grow */
};

/* The part of a heartbeat that concerns the member's row alone: also while catching up. */
static struct row_step renew_row(struct engine *engine, struct audience *audience,
                                 uint32_t member_no, bool created,
                                 const struct heartbeat *heartbeat, uint16_t groups)
{
    const struct engine_windows *windows = &engine->cfg.windows;
    struct member *member = &audience->members[member_no];
    int64_t now_ms = engine->now_ms;
    struct row_step step = {.opened = created};
    if (!created && viewing_advance(member->end_ms, now_ms, windows->gap_ms) == VIEWING_OPEN) {
        if (!audience->catching_up) { /* else the store has it: it came with the aggregates */
            push_closed(engine, audience, member_no);
        }
        step.opened = true;
    }
    if (step.opened) {
        member->start_ms = now_ms;
        mark(audience->fresh, &audience->fresh_count, member_no);
    } else {
        step.extended_ms = now_ms - member->end_ms;
        mark(audience->dirty, &audience->dirty_count, member_no);
    }
    uint32_t frame = member_frame(frame_start_now(engine, audience));
    step.counted = created || member->frame != frame;
    member->end_ms = now_ms;
    member->lease_ms =
        (int32_t)((heartbeat->flags & HEARTBEAT_HIDDEN) ? windows->hidden_ms : windows->alive_ms);
    member->frame = frame;
    member->country = heartbeat->country;
    member->groups = groups;
    return step;
}

static uint32_t catch_up_heartbeat(struct engine *engine, struct audience *audience,
                                   uint32_t viewer_no, uint32_t member_no,
                                   const struct heartbeat *heartbeat, uint16_t groups)
{
    bool created = member_no == MEMBER_NONE;
    if (created) {
        member_no = append_counted(engine, audience, viewer_no);
    } else if (engine->now_ms < audience->members[member_no].end_ms) {
        return member_no; /* the stored row is newer than this heartbeat and has it in it */
    }
    (void)renew_row(engine, audience, member_no, created, heartbeat, groups);
    audience->aggregates_dirty = true;
    audience_touch(engine, audience);
    return member_no;
}

/* Settles an audience whose stored aggregates were reached by the replay. */
static bool still_catching_up(const struct engine *engine, struct audience *audience)
{
    if (audience->catching_up && engine->seq > audience->settled_seq) {
        audience_settle(audience);
    }
    return audience->catching_up;
}

uint32_t audience_heartbeat(struct engine *engine, struct audience *audience, uint32_t viewer_no,
                            uint32_t member_no, const struct heartbeat *heartbeat, uint16_t groups)
{
    if (still_catching_up(engine, audience)) {
        return catch_up_heartbeat(engine, audience, viewer_no, member_no, heartbeat, groups);
    }
    audience_update(engine, audience);
    bool created = member_no == MEMBER_NONE;
    if (created) {
        member_no = append_counted(engine, audience, viewer_no);
    }
    struct member *member = &audience->members[member_no];
    bool was_alive = member->list != ALIVE_NOT;
    if (was_alive && (member->country != heartbeat->country || member->groups != groups)) {
        count_live(audience, member, -1); /* counted anew below */
        was_alive = false;
    }
    struct row_step step = renew_row(engine, audience, member_no, created, heartbeat, groups);
    alive_put(&audience->alive, audience->members, member_no,
              (heartbeat->flags & HEARTBEAT_HIDDEN) ? ALIVE_HIDDEN : ALIVE_VISIBLE);
    if (!was_alive) {
        count_live(audience, member, 1);
    }
    audience->logins += step.opened;
    audience->total_ms += step.extended_ms;
    if (step.counted) {
        count_frame(engine, audience, member);
    }
    if (audience->alive.count > audience->peak_count) {
        audience->peak_count = audience->alive.count;
        audience->peak_ms = engine->now_ms;
    }
    audience->aggregates_dirty = true;
    audience_touch(engine, audience);
    return member_no;
}

void audience_leave(struct engine *engine, struct audience *audience, uint32_t member_no)
{
    struct member *member = &audience->members[member_no];
    bool catching_up = still_catching_up(engine, audience);
    if (catching_up && engine->now_ms < member->end_ms) {
        return;
    }
    audience_update(engine, audience);
    const struct engine_windows *windows = &engine->cfg.windows;
    int64_t expiry_ms = member_expiry_ms(member);
    bool shortened = expiry_ms > engine->now_ms + windows->leaving_ms;
    if (shortened) {
        expiry_ms = engine->now_ms + windows->leaving_ms;
    }
    if (viewing_advance(member->end_ms, engine->now_ms, windows->gap_ms) == VIEWING_EXTEND) {
        audience->total_ms += catching_up ? 0 : engine->now_ms - member->end_ms;
        member->end_ms = engine->now_ms;
    } else if (!shortened) {
        return; /* long gone */
    }
    int64_t lease_ms = expiry_ms - member->end_ms;
    /* Who only ever leaves, for 25 days: over is over. */
    member->lease_ms = lease_ms < INT32_MIN ? INT32_MIN : (int32_t)lease_ms;
    if (shortened && !catching_up) {
        alive_put(&audience->alive, audience->members, member_no, ALIVE_LEAVING);
    }
    mark(audience->dirty, &audience->dirty_count, member_no);
    audience->aggregates_dirty = true;
    audience_touch(engine, audience);
}

/* ---- erasure ---- */

/* Forgets viewings of a member that are over and not collected; *total_ms: their length. */
static uint32_t drop_closed(struct engine *engine, struct audience *audience, uint32_t member_no,
                            int64_t *total_ms)
{
    uint32_t kept = 0;
    *total_ms = 0;
    for (uint32_t i = 0; i < audience->closed_count; i++) {
        struct viewing_row row = audience->closed[i];
        if (row.member_no == member_no) {
            *total_ms += row.end_ms - row.start_ms;
        } else {
            audience->closed[kept++] = row;
        }
    }
    uint32_t dropped = audience->closed_count - kept;
    audience->closed_count = kept;
    engine->backlog -= dropped;
    return dropped;
}

void audience_erase(struct engine *engine, struct audience *audience, uint32_t member_no)
{
    audience->erasing_count++;
    audience->aggregates_dirty = true;
    audience_touch(engine, audience);
    if (still_catching_up(engine, audience)) {
        return; /* the sums are already without it */
    }
    audience_update(engine, audience);
    struct member *member = &audience->members[member_no];
    if (member->list != ALIVE_NOT) {
        count_live(audience, member, -1);
        alive_remove(&audience->alive, audience->members, member_no);
    }
    int64_t total_ms;
    uint32_t dropped = drop_closed(engine, audience, member_no, &total_ms);
    audience->attended_less++;
    audience->logins -= 1 + dropped;
    audience->total_ms -= total_ms + member->end_ms - member->start_ms;
}

void audience_forget(struct audience *audience, uint32_t member_no)
{
    struct member *member = &audience->members[member_no];
    ASSERT(member->list == ALIVE_NOT && member->start_ms != 0 && audience->erasing_count > 0);
    ASSERT(member_no < audience->stored_count);
    audience->erasing_count--;
    *member = (struct member){
        .next = MEMBER_NONE, .prev = MEMBER_NONE, .viewer = member->viewer, .list = ALIVE_NOT};
}

/* ---- catching up ends ---- */

struct lease {
    int64_t expiry_ms;
    uint32_t member_no;
};

static int lease_order(const void *a, const void *b)
{
    const struct lease *left = a, *right = b;
    if (left->expiry_ms != right->expiry_ms) {
        return left->expiry_ms < right->expiry_ms ? -1 : 1;
    }
    return left->member_no < right->member_no ? -1 : left->member_no > right->member_no;
}

static bool may_be_alive(const struct audience *audience, const struct member *member)
{
    return member->start_ms != 0 && !event_viewer_erasing(audience->event, member->viewer);
}

void audience_settle(struct audience *audience)
{
    bool derive = audience->catching_up; /* else: only the order of the lists is made anew */
    uint32_t leases_count = 0, leases_max = 0;
    struct lease *leases = NULL;
    for (uint32_t i = 0; i < audience->members_count; i++) {
        struct member *member = &audience->members[i];
        int64_t expiry_ms = member_expiry_ms(member);
        if (derive ? may_be_alive(audience, member) && expiry_ms >= audience->settled_ms
                   : member->list != ALIVE_NOT) {
            leases = memory_grow(leases, &leases_max, leases_count + 1, sizeof *leases);
            leases[leases_count++] = (struct lease){expiry_ms, i};
        }
        member->list = ALIVE_NOT;
    }
    if (leases_count > 1) {
        qsort(leases, leases_count, sizeof *leases, lease_order);
    }
    alive_init(&audience->alive);
    for (uint32_t i = 0; i < leases_count; i++) {
        alive_put(&audience->alive, audience->members, leases[i].member_no, ALIVE_RESTORED);
        if (derive) {
            count_live(audience, &audience->members[leases[i].member_no], 1);
        }
    }
    free(leases);
    audience->catching_up = false;
}

/* ---- invariants ---- */

static uint32_t bits_count(const uint64_t *bits, uint32_t words)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < words; i++) {
        count += (uint32_t)__builtin_popcountll(bits[i]);
    }
    return count;
}

/* Who is erased or being erased is not alive and has nothing that waits but its row. */
static void check_erased(const struct audience *audience, uint32_t member_no)
{
    const struct member *member = &audience->members[member_no];
    bool empty = member->start_ms == 0;
    if (!empty && !event_viewer_erasing(audience->event, member->viewer)) {
        return;
    }
    ASSERT(member->list == ALIVE_NOT);
    for (uint32_t i = 0; i < audience->closed_count; i++) {
        ASSERT(audience->closed[i].member_no != member_no);
    }
    if (empty) {
        ASSERT(member->end_ms == 0 && member->lease_ms == 0 && member->country == 0 &&
               member->groups == 0);
        uint64_t bits =
            audience->fresh[member_no / WORD_BITS] | audience->dirty[member_no / WORD_BITS];
        ASSERT((bits >> (member_no % WORD_BITS) & 1) == 0);
    }
}

void audience_check(const struct audience *audience)
{
    uint32_t count = audience->members_count, erasing = 0;
    if (!audience->catching_up) {
        alive_check(&audience->alive, audience->members, count);
        ASSERT(audience->peak_count >= audience->alive.count);
        ASSERT(count >= audience->attended_less);
        ASSERT(audience->logins >= audience_attended(audience) && audience->total_ms >= 0);
    }
    if (audience->session_len > 0) {
        index_check(&audience->by_viewer, count, member_hash, audience);
    }
    ASSERT(audience->stored_count <= count);
    ASSERT(bits_count(audience->fresh, audience->bits_max) == audience->fresh_count);
    ASSERT(bits_count(audience->dirty, audience->bits_max) == audience->dirty_count);
    for (uint32_t i = 0; i < count; i++) {
        const struct member *member = &audience->members[i];
        ASSERT(member->start_ms <= member->end_ms);
        ASSERT(member->viewer < audience->event->own.members_count);
        ASSERT(audience->session_len > 0 || member->viewer == i);
        erasing += event_viewer_erasing(audience->event, member->viewer);
        check_erased(audience, i);
        if (i >= audience->stored_count) {
            ASSERT(audience->fresh[i / WORD_BITS] >> (i % WORD_BITS) & 1);
        }
    }
    ASSERT(erasing == audience->erasing_count);
    bool pending = audience->fresh_count > 0 || audience->dirty_count > 0 ||
                   audience->closed_count > 0 || audience->frames_count > 0 ||
                   audience->aggregates_dirty || audience->frame_viewers > 0;
    ASSERT(!pending || audience->touched);
    uint64_t live = 0;
    struct counts_entry *entry;
    for (uint32_t i = 0; (entry = counts_each(&audience->countries, &i)) != NULL;) {
        live += entry->live;
    }
    ASSERT(audience->catching_up || live == audience->alive.count);
}
