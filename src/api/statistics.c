/* statistics.c -- frames that are over, and the same counts as they are now. */
#include "api/internal.h"

#include "core/groups.h"

/* ---- statistics?from&to ---- */

/* {"HK":50,"US":50} */
static void put_tally(struct buffer *out, struct slice tally)
{
    char before = '{';
    uint32_t count;
    for (struct slice key; tally_next(&tally, &key, &count);) {
        buffer_put_char(out, before);
        buffer_put_json_string(out, key);
        buffer_put_char(out, ':');
        buffer_put_u64(out, count);
        before = ',';
    }
    if (before == '{') {
        buffer_put_char(out, before);
    }
    buffer_put_char(out, '}');
}

static void put_frame(struct buffer *out, const struct frame_row *frame)
{
    buffer_put_lit(out, "{\"viewerCount\":");
    buffer_put_u64(out, frame->viewers);
    buffer_put_lit(out, ",\"timestamp\":");
    buffer_put_i64(out, frame->end_ms);
    buffer_put_lit(out, ",\"frameStart\":");
    buffer_put_i64(out, frame->start_ms);
    buffer_put_lit(out, ",\"countByUserGroup\":");
    put_tally(out, frame->groups);
    buffer_put_lit(out, ",\"countByViewingCountry\":");
    put_tally(out, frame->countries);
    buffer_put_char(out, '}');
}

static void write_frames(struct buffer *out, const struct question *question)
{
    const struct live_query *query = &question->query;
    put_audience(out, query->event, query->session);
    buffer_put_lit(out, ",\"statistics\":[");
    for (uint32_t i = 0; i < query->rows; i++) {
        if (i > 0) {
            buffer_put_char(out, ',');
        }
        put_frame(out, &query->frames[i]);
    }
    buffer_put_char(out, ']');
    if (query->more && query->rows > 0) {
        /* The start of the newest frame given.  A text: it means nothing but to be sent back. */
        buffer_put_lit(out, ",\"next\":\"");
        buffer_put_i64(out, query->frames[query->rows - 1].start_ms);
        buffer_put_char(out, '"');
    }
    buffer_put_char(out, '}');
}

void statistics_get(struct call *call)
{
    enum { FROM, TO, LIMIT, CURSOR, WANTED };
    struct parameter wanted[WANTED] = {
        [FROM] = {.name = "from"},
        [TO] = {.name = "to"},
        [LIMIT] = {.name = "limit"},
        [CURSOR] = {.name = "cursor"},
    };
    static const char time_rule[] = "a time in ms since the epoch";
    uint64_t from_ms = 0, to_ms = TIME_MS_MAX, limit = ROWS_MAX, given_ms = 0;
    if (!call_parameters(call, wanted, WANTED) ||
        !parameter_number(call, &wanted[FROM], 0, TIME_MS_MAX, time_rule, &from_ms) ||
        !parameter_number(call, &wanted[TO], 0, TIME_MS_MAX, time_rule, &to_ms) ||
        !parameter_number(call, &wanted[LIMIT], 1, ROWS_MAX, "1 to 1000", &limit) ||
        !parameter_number(call, &wanted[CURSOR], 0, TIME_MS_MAX, "what \"next\" said", &given_ms)) {
        return;
    }
    if (wanted[TO].given && to_ms < from_ms) {
        call_problem(call, 400, "to", "\"to\" must not be before \"from\"");
        return;
    }
    if (wanted[CURSOR].given && given_ms >= from_ms) {
        from_ms = given_ms + 1;
    }
    struct question *question = question_new(call, LIVE_FRAMES, write_frames);
    question->query.from_ms = (int64_t)from_ms;
    question->query.to_ms = (int64_t)to_ms;
    question->query.limit = (uint32_t)limit;
    question_ask(call, question);
}

/* ---- statistics/live ---- */

static void put_counts(struct buffer *out, const struct live_query *query, bool groups)
{
    char before = '{';
    for (uint32_t i = 0; i < query->rows; i++) {
        const struct live_count *count = &query->counts[i];
        if (count->is_group == groups) {
            buffer_put_char(out, before);
            buffer_put_json_string(out, count->key);
            buffer_put_char(out, ':');
            buffer_put_u64(out, count->count);
            before = ',';
        }
    }
    if (before == '{') {
        buffer_put_char(out, before);
    }
    buffer_put_char(out, '}');
}

static void write_live(struct buffer *out, const struct question *question)
{
    const struct live_query *query = &question->query;
    put_audience(out, query->event, query->session);
    buffer_put_lit(out, ",\"viewerCount\":");
    buffer_put_u64(out, query->active);
    buffer_put_lit(out, ",\"timestamp\":");
    buffer_put_i64(out, query->now_ms);
    buffer_put_lit(out, ",\"countByUserGroup\":");
    put_counts(out, query, true);
    buffer_put_lit(out, ",\"countByViewingCountry\":");
    put_counts(out, query, false);
    buffer_put_char(out, '}');
}

void statistics_live(struct call *call)
{
    question_ask(call, question_new(call, LIVE_COUNTS, write_live));
}
