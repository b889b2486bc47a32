/* events.c -- the directory of events. */
#include "api/internal.h"

#include "core/ids.h"

static void write_events(struct buffer *out, const struct question *question)
{
    const struct live_query *query = &question->query;
    buffer_put_lit(out, "{\"events\":[");
    for (uint32_t i = 0; i < query->rows; i++) {
        if (i > 0) {
            buffer_put_char(out, ',');
        }
        put_audience(out, query->events[i], SLICE_EMPTY);
        buffer_put_char(out, '}');
    }
    buffer_put_char(out, ']');
    if (query->more && query->rows > 0) {
        buffer_put_lit(out, ",\"next\":");
        buffer_put_json_string(out, query->events[query->rows - 1]);
    }
    buffer_put_char(out, '}');
}

void events_list(struct call *call)
{
    enum { LIMIT, CURSOR, WANTED };
    struct parameter wanted[WANTED] = {
        [LIMIT] = {.name = "limit"},
        [CURSOR] = {.name = "cursor"},
    };
    uint64_t limit = ROWS_MAX;
    if (!call_parameters(call, wanted, WANTED) ||
        !parameter_number(call, &wanted[LIMIT], 1, ROWS_MAX, "1 to 1000", &limit)) {
        return;
    }
    if (wanted[CURSOR].given && !id_event_valid(wanted[CURSOR].value)) {
        call_problem(call, 400, "cursor", "\"cursor\" must be what \"next\" said");
        return;
    }
    struct question *question = question_new(call, LIVE_EVENTS, write_events);
    question->query.after = call_keep(call, wanted[CURSOR].value, question->event);
    question->query.limit = (uint32_t)limit;
    question_ask(call, question);
}
