/* overview.c -- an event and its sessions at a glance. */
#include "api/internal.h"

#include "base/assert.h"

#include <stdlib.h>

static void put_figures(struct buffer *out, const struct figures *figures)
{
    buffer_put_lit(out, "\"active\":");
    buffer_put_u64(out, figures->active);
    buffer_put_lit(out, ",\"attended\":");
    buffer_put_u64(out, figures->attended);
    buffer_put_lit(out, ",\"logins\":");
    buffer_put_u64(out, figures->logins);
    buffer_put_lit(out, ",\"maxConcurrent\":{\"count\":");
    buffer_put_u64(out, figures->peak_count);
    put_peak_time(out, figures);
    buffer_put_lit(out, "},\"totalViewingMs\":");
    buffer_put_i64(out, figures->total_ms);
    /* Of one viewing; rounded to the nearest ms. */
    int64_t viewings = (int64_t)figures->logins;
    buffer_put_lit(out, ",\"averageViewingMs\":");
    buffer_put_i64(out, viewings == 0 ? 0 : (figures->total_ms + viewings / 2) / viewings);
}

static int session_order(const void *a, const void *b)
{
    return slice_compare(((const struct figures *)a)->session,
                         ((const struct figures *)b)->session);
}

static void write_overview(struct buffer *out, const struct question *question)
{
    const struct live_query *query = &question->query;
    ASSERT(query->rows > 0);
    if (query->rows > 2) { /* by id, whether they come from memory or from the records */
        qsort(query->figures + 1, query->rows - 1, sizeof *query->figures, session_order);
    }
    put_audience(out, query->event, SLICE_EMPTY);
    buffer_put_lit(out, ",\"timestamp\":");
    buffer_put_i64(out, query->now_ms);
    buffer_put_char(out, ',');
    put_figures(out, &query->figures[0]);
    buffer_put_lit(out, ",\"sessions\":[");
    for (uint32_t i = 1; i < query->rows; i++) {
        if (i > 1) {
            buffer_put_char(out, ',');
        }
        buffer_put_lit(out, "{\"sessionId\":");
        buffer_put_json_string(out, query->figures[i].session);
        buffer_put_char(out, ',');
        put_figures(out, &query->figures[i]);
        buffer_put_char(out, '}');
    }
    buffer_put_lit(out, "]}");
}

void overview_get(struct call *call)
{
    question_ask(call, question_new(call, LIVE_OVERVIEW, write_overview));
}
