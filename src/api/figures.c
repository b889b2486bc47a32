/* figures.c -- one figure of one audience: who watches now, who attended, how many at most; and how
 * many have a profile. */
#include "api/shared.h"

#include "base/assert.h"

void put_count(struct buffer *out, const struct live_query *query, uint64_t count)
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

static void write_logins(struct buffer *out, const struct question *question)
{
    put_count(out, &question->query, figures_of(&question->query)->logins);
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

void figures_logins(struct call *call)
{
    question_ask(call, question_new(call, LIVE_FIGURES, write_logins));
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

/* ---- viewers/count ---- */

/* On a thread that may block. */
static enum err profiles_work(struct records_link *link, struct live_query *query)
{
    struct shared_question *question = query->arg;
    uint64_t count;
    buffer_reset(&question->text);
    enum err err = records_profiles_count(link, query->event, &count);
    if (err == ERR_NOT_FOUND) {
        question->problem = (struct problem){
            404, NULL,
            "the profiles are in another database, and no query that counts them is set"};
        return ERR_NONE;
    }
    if (err == ERR_NONE) {
        put_count(&question->text, query, count);
        buffer_put_char(&question->text, '}');
    }
    return err;
}

void figures_profiles(struct call *call)
{
    shared_ask(call, profiles_work, false, &RANGE_NONE);
}
