#include "cli/sim_reference.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

/* One viewer in one audience: a link of the viewer's list. */
struct entry {
    struct sim_member member;
    struct sim_range closed_ms; /* of the viewings before the latest: sum of end - start */
    uint32_t viewer, audience;
    uint32_t next;
    struct sim_frame_mark mark;
};

struct stretches {
    struct sim_stretch *items;
    size_t count, max;
};

struct audience {
    struct stretches sure, maybe; /* closed ones; the latest are in the members */
    int64_t others_count;
    struct sim_stretch others;
};

/* A viewing that another one followed. */
struct earlier {
    uint32_t entry;
    struct sim_span span;
};

struct sim_reference {
    struct sim_windows windows;
    uint32_t viewers, audiences_count;
    struct audience *audiences;
    struct sim_frames *frames; /* NULL: not counted */
    const uint8_t *country_of;
    struct sim_range offset_ms;
    uint32_t *first; /* by viewer: the first entry, or NONE */
    struct entry *entries;
    size_t entries_count, entries_max;
    struct earlier *earlier; /* in order of time */
    size_t earlier_count, earlier_max;
};

/* Room for one more item of `size` bytes. */
static void *grow(void *items, size_t count, size_t *max, size_t size)
{
    if (count < *max) {
        return items;
    }
    *max = *max == 0 ? 64 : *max * 2;
    void *grown = realloc(items, *max * size);
    ASSERT(grown != NULL);
    return grown;
}

struct sim_reference *sim_reference_new(const struct sim_windows *windows, uint32_t viewers,
                                        uint32_t sessions)
{
    ASSERT(viewers > 0 && windows->alive_ms > 0);
    struct sim_reference *reference = calloc(1, sizeof(*reference));
    ASSERT(reference != NULL);
    reference->windows = *windows;
    reference->viewers = viewers;
    reference->audiences_count = sessions + 1;
    reference->audiences = calloc(sessions + 1, sizeof(*reference->audiences));
    reference->first = malloc(viewers * sizeof(*reference->first));
    ASSERT(reference->audiences != NULL && reference->first != NULL);
    memset(reference->first, 0xff, viewers * sizeof(*reference->first));
    return reference;
}

void sim_reference_free(struct sim_reference *reference)
{
    if (reference == NULL) {
        return;
    }
    for (uint32_t i = 0; i < reference->audiences_count; i++) {
        free(reference->audiences[i].sure.items);
        free(reference->audiences[i].maybe.items);
    }
    free(reference->audiences);
    free(reference->first);
    free(reference->entries);
    free(reference->earlier);
    free(reference);
}

void sim_reference_others(struct sim_reference *reference, uint32_t audience, int64_t count,
                          struct sim_stretch within)
{
    ASSERT(audience < reference->audiences_count && count >= 0);
    reference->audiences[audience].others_count = count;
    reference->audiences[audience].others = within;
}

void sim_reference_frames(struct sim_reference *reference, struct sim_frames *frames,
                          const uint8_t *country_of, struct sim_range offset_ms)
{
    reference->frames = frames;
    reference->country_of = country_of;
    reference->offset_ms = offset_ms;
}

static uint32_t entry_find(const struct sim_reference *reference, uint32_t viewer,
                           uint32_t audience)
{
    ASSERT(viewer < reference->viewers && audience < reference->audiences_count);
    uint32_t i = reference->first[viewer];
    while (i != NONE && reference->entries[i].audience != audience) {
        i = reference->entries[i].next;
    }
    return i;
}

static uint32_t entry_make(struct sim_reference *reference, uint32_t viewer, uint32_t audience)
{
    uint32_t i = entry_find(reference, viewer, audience);
    if (i != NONE) {
        return i;
    }
    ASSERT(reference->entries_count < NONE);
    reference->entries = grow(reference->entries, reference->entries_count, &reference->entries_max,
                              sizeof(*reference->entries));
    i = (uint32_t)reference->entries_count++;
    struct entry *entry = &reference->entries[i];
    *entry =
        (struct entry){.viewer = viewer, .audience = audience, .next = reference->first[viewer]};
    sim_member_init(&entry->member);
    reference->first[viewer] = i;
    return i;
}

static void stretches_add(struct stretches *stretches, struct sim_stretch stretch)
{
    stretches->items =
        grow(stretches->items, stretches->count, &stretches->max, sizeof(*stretches->items));
    stretches->items[stretches->count++] = stretch;
}

/* How long a viewing was: never negative, and whole milliseconds of the server may make it one
 * longer or shorter. */
static struct sim_range span_ms(const struct sim_reference *reference, struct sim_span span)
{
    int64_t shortest = span.end.lo - span.start.hi - 1;
    int64_t longest = span.end.hi - span.start.lo + 1;
    struct sim_range drift = {shortest - shortest * reference->windows.drift_permille / 1000,
                              longest + longest * reference->windows.drift_permille / 1000};
    drift.lo = drift.lo < 0 ? 0 : drift.lo;
    return drift;
}

static void audience_beat(struct sim_reference *reference, uint32_t viewer, uint32_t audience,
                          enum sim_beat_kind kind, struct sim_range at, enum sim_outcome outcome)
{
    uint32_t i = entry_make(reference, viewer, audience);
    struct entry *entry = &reference->entries[i];
    struct sim_member_step step =
        sim_member_beat(&entry->member, &reference->windows, kind, at, outcome);
    if (reference->frames != NULL && kind != SIM_LEAVING) {
        struct sim_range server_at = {at.lo + reference->offset_ms.lo,
                                      at.hi + reference->offset_ms.hi};
        sim_frames_beat(reference->frames, audience, &entry->mark, reference->country_of[viewer],
                        server_at, outcome == SIM_COUNTED);
    }
    if (step.sure_closed) {
        stretches_add(&reference->audiences[audience].sure, step.sure);
    }
    if (step.maybe_closed) {
        stretches_add(&reference->audiences[audience].maybe, step.maybe);
    }
    if (step.viewing_closed) {
        struct sim_range length = span_ms(reference, step.viewing);
        entry->closed_ms.lo += length.lo;
        entry->closed_ms.hi += length.hi;
        reference->earlier = grow(reference->earlier, reference->earlier_count,
                                  &reference->earlier_max, sizeof(*reference->earlier));
        reference->earlier[reference->earlier_count++] = (struct earlier){i, step.viewing};
    }
}

void sim_reference_beat(struct sim_reference *reference, uint32_t viewer, uint32_t session,
                        enum sim_beat_kind kind, struct sim_range at, enum sim_outcome outcome)
{
    audience_beat(reference, viewer, 0, kind, at, outcome);
    if (session != 0) {
        audience_beat(reference, viewer, session, kind, at, outcome);
    }
}

/* ---- figures ---- */

static void range_add(struct sim_range *sum, struct sim_range part)
{
    sum->lo += part.lo;
    sum->hi += part.hi;
}

struct sim_range sim_reference_active(const struct sim_reference *reference, uint32_t audience,
                                      struct sim_range at)
{
    const struct audience *kept = &reference->audiences[audience];
    bool others = at.lo <= kept->others.to && kept->others.from <= at.hi;
    struct sim_range sum = {0, others ? kept->others_count : 0};
    for (size_t i = 0; i < reference->entries_count; i++) {
        if (reference->entries[i].audience == audience) {
            range_add(&sum, sim_member_alive(&reference->entries[i].member, at));
        }
    }
    return sum;
}

void sim_reference_active_by(const struct sim_reference *reference, uint32_t audience,
                             struct sim_range at, const uint8_t *class_of, uint32_t classes,
                             struct sim_range *ranges)
{
    memset(ranges, 0, classes * sizeof(*ranges));
    for (size_t i = 0; i < reference->entries_count; i++) {
        const struct entry *entry = &reference->entries[i];
        if (entry->audience == audience) {
            uint32_t class = class_of[entry->viewer];
            ASSERT(class < classes);
            range_add(&ranges[class], sim_member_alive(&entry->member, at));
        }
    }
}

struct sim_range sim_reference_attended(const struct sim_reference *reference, uint32_t audience)
{
    struct sim_range sum = {0, 0};
    for (size_t i = 0; i < reference->entries_count; i++) {
        const struct entry *entry = &reference->entries[i];
        if (entry->audience == audience) {
            sum.lo += entry->member.sure_joined;
            sum.hi += entry->member.maybe_joined;
        }
    }
    return sum;
}

struct sim_range sim_reference_logins(const struct sim_reference *reference, uint32_t audience)
{
    struct sim_range sum = {0, 0};
    for (size_t i = 0; i < reference->entries_count; i++) {
        if (reference->entries[i].audience == audience) {
            range_add(&sum, reference->entries[i].member.viewings);
        }
    }
    return sum;
}

bool sim_reference_viewing_ms(const struct sim_reference *reference, uint32_t audience,
                              struct sim_range *total)
{
    bool clear = true;
    *total = (struct sim_range){0, 0};
    for (size_t i = 0; i < reference->entries_count; i++) {
        const struct entry *entry = &reference->entries[i];
        if (entry->audience != audience || !entry->member.maybe_joined) {
            continue;
        }
        clear = clear && !entry->member.unclear && entry->member.sure_joined;
        range_add(total, entry->closed_ms);
        range_add(total, span_ms(reference, entry->member.latest));
    }
    return clear;
}

bool sim_reference_viewings(const struct sim_reference *reference, uint32_t viewer,
                            uint32_t audience, struct sim_span *spans, size_t max,
                            struct sim_range *count)
{
    *count = (struct sim_range){0, 0};
    uint32_t i = entry_find(reference, viewer, audience);
    if (i == NONE) {
        return true;
    }
    const struct sim_member *member = &reference->entries[i].member;
    *count = member->viewings;
    if (member->unclear || member->viewings.lo != member->viewings.hi ||
        (size_t)member->viewings.lo > max) {
        return false;
    }
    size_t found = 0;
    for (size_t k = 0; k < reference->earlier_count; k++) {
        if (reference->earlier[k].entry == i) {
            ASSERT(found < max);
            spans[found++] = reference->earlier[k].span;
        }
    }
    if (member->viewings.lo > 0) {
        ASSERT(found < max);
        spans[found++] = member->latest;
    }
    ASSERT(found == (size_t)member->viewings.lo);
    return true;
}

/* ---- the peak ---- */

/* The first and last moments of all stretches of one kind in one audience, each sorted. */
struct ends {
    int64_t *from, *to;
    size_t count;
};

static int order_moments(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return left < right ? -1 : left > right;
}

static void ends_add(struct ends *ends, struct sim_stretch stretch)
{
    if (stretch.from <= stretch.to) {
        ends->from[ends->count] = stretch.from;
        ends->to[ends->count++] = stretch.to;
    }
}

static struct ends ends_make(const struct sim_reference *reference, uint32_t audience, bool sure)
{
    const struct audience *kept = &reference->audiences[audience];
    const struct stretches *closed = sure ? &kept->sure : &kept->maybe;
    int64_t others = sure ? 0 : kept->others_count;
    size_t max = closed->count + reference->entries_count + (size_t)others;
    struct ends ends = {.from = malloc((max + 1) * sizeof(int64_t)),
                        .to = malloc((max + 1) * sizeof(int64_t))};
    ASSERT(ends.from != NULL && ends.to != NULL);
    for (size_t i = 0; i < closed->count; i++) {
        ends_add(&ends, closed->items[i]);
    }
    for (size_t i = 0; i < reference->entries_count; i++) {
        const struct entry *entry = &reference->entries[i];
        if (entry->audience == audience) {
            ends_add(&ends, sure ? entry->member.sure : entry->member.maybe);
        }
    }
    for (int64_t i = 0; i < others; i++) {
        ends_add(&ends, kept->others);
    }
    qsort(ends.from, ends.count, sizeof(int64_t), order_moments);
    qsort(ends.to, ends.count, sizeof(int64_t), order_moments);
    return ends;
}

/* The largest number of stretches over one moment; and the first moment that `target` of them (0:
 * the largest number) cover, INT64_MAX if there is none. */
static int64_t ends_largest(const struct ends *ends, int64_t target, int64_t *first_at)
{
    int64_t largest = 0;
    size_t ended = 0;
    *first_at = INT64_MAX;
    for (size_t i = 0; i < ends->count; i++) {
        while (ends->to[ended] < ends->from[i]) { /* the last moment still counts */
            ended++;
        }
        int64_t here = (int64_t)(i + 1 - ended);
        if (here > largest) {
            largest = here;
            if (target == 0 || (here >= target && *first_at == INT64_MAX)) {
                *first_at = ends->from[i];
            }
        }
    }
    return largest;
}

struct sim_peak sim_reference_peak(const struct sim_reference *reference, uint32_t audience)
{
    struct ends sure = ends_make(reference, audience, true);
    struct ends maybe = ends_make(reference, audience, false);
    struct sim_peak peak;
    peak.count.lo = ends_largest(&sure, 0, &peak.at.hi);
    peak.count.hi = ends_largest(&maybe, peak.count.lo, &peak.at.lo);
    if (peak.count.lo == 0) {
        peak.at.lo = 0;
    }
    if (peak.count.lo != peak.count.hi) {
        peak.at.hi = INT64_MAX;
    }
    free(sure.from);
    free(sure.to);
    free(maybe.from);
    free(maybe.to);
    return peak;
}
