/* figures.c -- one figure of one audience: who watches now, who attended, how many at most. */
#include "api/internal.h"

#include "base/assert.h"

static void put_count(struct buffer *out, const struct live_query *query, uint64_t count)
{
    put_audience(out, query->event, query->session);
    buffer_put_lit(out, ",\"count\":");
    buffer_put_u64(out, count);
    buffer_put_lit(out, ",\"timestamp\":");
    buffer_put_i64(out, query->now_ms);
}

static const struct figures *figures_of(const struct live_query *query)
{
    ASSERT(query->rows == 1);
    return &query->figures[0];
}

static void write_active(struct buffer *out, const struct question *question)
{
    put_count(out, &question->query, figures_of(&question->query)->active);
    buffer_put_char(out, '}');
}

static void write_attended(struct buffer *out, const struct question *question)
{
    put_count(out, &question->query, figures_of(&question->query)->attended);
    buffer_put_char(out, '}');
}

static void write_peak(struct buffer *out, const struct question *question)
{
    const struct figures *figures = figures_of(&question->query);
    put_count(out, &question->query, figures->peak_count);
    put_peak_time(out, figures);
    buffer_put_char(out, '}');
}

void figures_active(struct call *call)
{
    question_ask(call, question_new(call, LIVE_FIGURES, write_active));
}

void figures_attended(struct call *call)
{
    question_ask(call, question_new(call, LIVE_FIGURES, write_attended));
}

void figures_peak(struct call *call)
{
    question_ask(call, question_new(call, LIVE_FIGURES, write_peak));
}

void put_peak_time(struct buffer *out, const struct figures *figures)
{
    buffer_put_lit(out, ",\"at\":");
    if (figures->peak_count > 0) {
        buffer_put_i64(out, figures->peak_ms);
    } else {
        buffer_put_lit(out, "null"); /* nobody has come yet: there was no such time */
    }
}
