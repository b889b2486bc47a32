/* viewing_stats.c -- how long the viewers of an event or a session watched, and when. */
#include "api/shared.h"

#include "records/viewing_stats.h"

/* [{"fromMs":0,"toMs":60000,"viewers":3}, …]; the last one is open. */
static void put_histogram(struct buffer *out, const struct viewing_stats *stats)
{
    for (unsigned i = 0; i < VIEWING_STATS_BINS; i++) {
        buffer_put(out, i == 0 ? SLICE_LIT("[{\"fromMs\":") : SLICE_LIT(",{\"fromMs\":"));
        buffer_put_i64(out, viewing_stats_bins[i]);
        buffer_put_lit(out, ",\"toMs\":");
        if (i + 1 < VIEWING_STATS_BINS) {
            buffer_put_i64(out, viewing_stats_bins[i + 1]);
        } else {
            buffer_put_lit(out, "null");
        }
        buffer_put_lit(out, ",\"viewers\":");
        buffer_put_u64(out, stats->histogram[i]);
        buffer_put_char(out, '}');
    }
    buffer_put_char(out, ']');
}

static void put_retention(struct buffer *out, const struct viewing_stats *stats)
{
    buffer_put_char(out, '[');
    for (uint32_t i = 0; i < stats->retention_count; i++) {
        buffer_put(out, i == 0 ? SLICE_LIT("{\"minute\":") : SLICE_LIT(",{\"minute\":"));
        buffer_put_u64(out, i);
        buffer_put_lit(out, ",\"viewers\":");
        buffer_put_u64(out, stats->retention[i]);
        buffer_put_char(out, '}');
    }
    buffer_put_char(out, ']');
}

static void put_stats(struct buffer *out, const struct live_query *query,
                      const struct viewing_stats *stats)
{
    put_audience(out, query->event, query->session);
    buffer_put_lit(out, ",\"timestamp\":");
    buffer_put_i64(out, query->now_ms);
    buffer_put_lit(out, ",\"startMs\":");
    if (stats->start_ms != 0) {
        buffer_put_i64(out, stats->start_ms);
    } else {
        buffer_put_lit(out, "null"); /* not declared, and nobody has come */
    }
    buffer_put_lit(out, ",\"viewers\":");
    buffer_put_u64(out, stats->viewers);
    buffer_put_lit(out, ",\"viewings\":");
    buffer_put_u64(out, stats->viewings);
    buffer_put_lit(out, ",\"totalMs\":");
    buffer_put_i64(out, stats->total_ms);
    buffer_put_lit(out, ",\"averageMs\":");
    buffer_put_i64(out, stats->average_ms);
    buffer_put_lit(out, ",\"medianMs\":");
    buffer_put_i64(out, stats->median_ms);
    buffer_put_lit(out, ",\"p90Ms\":");
    buffer_put_i64(out, stats->p90_ms);
    buffer_put_lit(out, ",\"histogram\":");
    put_histogram(out, stats);
    buffer_put_lit(out, ",\"retention\":");
    put_retention(out, stats);
    buffer_put_char(out, '}');
}

static enum err take_start(void *ctx, const struct directory_entry *entry)
{
    int64_t *start_ms = ctx;
    *start_ms = entry->start_ms;
    return ERR_NONE;
}

static enum err take_member(void *ctx, const struct records_member *member)
{
    viewing_stats_add(ctx, member);
    return ERR_NONE;
}

/* On a thread that may block. */
static enum err work(struct records_link *link, struct live_query *query)
{
    struct shared_question *question = query->arg;
    const struct records_members_query all = {.event = query->event, .session = query->session};
    int64_t start_ms = 0;
    uint32_t next;
    buffer_reset(&question->text);
    enum err err = records_directory_get(link, query->event, query->session, take_start, &start_ms);
    if (err != ERR_NONE && err != ERR_NOT_FOUND) {
        return err;
    }
    struct viewing_stats_builder *builder = viewing_stats_new(start_ms, query->now_ms);
    err = records_members_each(link, &all, &next, take_member, builder);
    if (err != ERR_NONE) {
        viewing_stats_free(builder);
        return err;
    }
    struct viewing_stats stats;
    viewing_stats_finish(builder, &stats);
    put_stats(&question->text, query, &stats);
    viewing_stats_fini(&stats);
    return ERR_NONE;
}

void viewing_stats_get(struct call *call)
{
    shared_ask(call, work, true, &RANGE_NONE);
}
