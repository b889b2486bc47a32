/* concurrent.c -- how many were watching at past moments, and how many at all within a range. */
#include "api/shared.h"

#include "records/viewing_stats.h"

#define STEP_MS 60000

/* ---- viewers/concurrent?from&to&step ---- */

static enum err take_first(void *ctx, const struct records_member *member)
{
    int64_t *first_ms = ctx;
    if (member->viewings[0].start_ms < *first_ms) {
        *first_ms = member->viewings[0].start_ms;
    }
    return ERR_NONE;
}

static enum err add_member(void *ctx, const struct records_member *member)
{
    concurrent_add(ctx, member);
    return ERR_NONE;
}

static void put_points(struct buffer *out, const struct live_query *query, int64_t from_ms,
                       int64_t step_ms, const uint64_t *counts, uint32_t count)
{
    put_audience(out, query->event, query->session);
    buffer_put_lit(out, ",\"timestamp\":");
    buffer_put_i64(out, query->now_ms);
    buffer_put_lit(out, ",\"points\":[");
    for (uint32_t i = 0; i < count; i++) {
        buffer_put(out, i == 0 ? SLICE_LIT("{\"timestamp\":") : SLICE_LIT(",{\"timestamp\":"));
        buffer_put_i64(out, from_ms + i * step_ms);
        buffer_put_lit(out, ",\"count\":");
        buffer_put_u64(out, counts[i]);
        buffer_put_char(out, '}');
    }
    buffer_put_lit(out, "]}");
}

/* On a thread that may block. */
static enum err concurrent_work(struct records_link *link, struct live_query *query)
{
    struct shared_question *question = query->arg;
    const struct shared_range *range = &question->key.range;
    const struct records_members_query all = {.event = query->event, .session = query->session};
    int64_t step_ms = range->step_ms == RANGE_ABSENT ? STEP_MS : range->step_ms;
    int64_t from_ms = range->from_ms, to_ms = query->now_ms;
    uint32_t next;
    buffer_reset(&question->text);
    if (range->to_ms != RANGE_ABSENT && range->to_ms < to_ms) {
        to_ms = range->to_ms; /* else what lies ahead is not known yet */
    }
    if (from_ms == RANGE_ABSENT) {
        from_ms = INT64_MAX;
        enum err err = records_members_each(link, &all, &next, take_first, &from_ms);
        if (err != ERR_NONE) {
            return err;
        }
    }
    if (from_ms > to_ms) {
        put_points(&question->text, query, from_ms, step_ms, NULL, 0);
        return ERR_NONE;
    }
    if ((to_ms - from_ms) / step_ms >= CONCURRENT_POINTS_MAX) {
        question->problem = (struct problem){
            400, "step", "\"step\" is too small: at most 10000 points, from \"from\" to \"to\""};
        return ERR_NONE;
    }
    struct concurrent *concurrent = concurrent_new(from_ms, to_ms, step_ms, query->now_ms);
    enum err err = records_members_each(link, &all, &next, add_member, concurrent);
    if (err == ERR_NONE) {
        uint32_t count;
        const uint64_t *counts = concurrent_counts(concurrent, &count);
        put_points(&question->text, query, from_ms, step_ms, counts, count);
    }
    concurrent_free(concurrent);
    return err;
}
static_assert(CONCURRENT_POINTS_MAX == 10000, "the problem's words say so");

void concurrent_get(struct call *call)
{
    struct shared_range range;
    if (shared_range_read(call, true, &range)) {
        shared_ask(call, concurrent_work, true, &range);
    }
}

/* ---- viewers/all-time-active-count?from&to ---- */

struct seen {
    int64_t from_ms, to_ms, now_ms;
    uint64_t count;
};

/* Watching at any moment of the range: as in viewing_stats.h, so that this is never less than the
 * number that was watching at one of its moments. */
static bool was_seen(const struct seen *seen, const struct records_member *member)
{
    for (uint32_t i = 0; i < member->viewings_count; i++) {
        int64_t end_ms = member->viewings[i].end_ms;
        if (i + 1 == member->viewings_count && member->expiry_ms >= seen->now_ms &&
            end_ms < seen->now_ms) {
            end_ms = seen->now_ms;
        }
        if (member->viewings[i].start_ms <= seen->to_ms && end_ms >= seen->from_ms) {
            return true;
        }
    }
    return false;
}

static enum err count_member(void *ctx, const struct records_member *member)
{
    struct seen *seen = ctx;
    seen->count += was_seen(seen, member);
    return ERR_NONE;
}

/* On a thread that may block. */
static enum err seen_work(struct records_link *link, struct live_query *query)
{
    struct shared_question *question = query->arg;
    const struct shared_range *range = &question->key.range;
    const struct records_members_query all = {.event = query->event, .session = query->session};
    struct seen seen = {.from_ms = range->from_ms == RANGE_ABSENT ? 0 : range->from_ms,
                        .to_ms = range->to_ms == RANGE_ABSENT ? INT64_MAX : range->to_ms,
                        .now_ms = query->now_ms};
    uint32_t next;
    buffer_reset(&question->text);
    enum err err = records_members_each(link, &all, &next, count_member, &seen);
    if (err == ERR_NONE) {
        put_count(&question->text, query, seen.count);
        buffer_put_char(&question->text, '}');
    }
    return err;
}

void figures_ever(struct call *call)
{
    struct shared_range range;
    if (!shared_range_read(call, false, &range)) {
        return;
    }
    if (range.from_ms == RANGE_ABSENT && range.to_ms == RANGE_ABSENT) {
        figures_attended(call); /* known without a scan */
        return;
    }
    shared_ask(call, seen_work, true, &range);
}
