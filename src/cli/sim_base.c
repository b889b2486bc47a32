#include "cli/sim_base.h"

#include "cli/sim_response.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define CLOCK_QUESTIONS 3
#define PATIENCE_US     5000000

/* ---- asking, while nothing else goes on ---- */

static void asked(void *ctx, const struct sim_answer *answer)
{
    sim_ask_answer(ctx, answer);
}

static void ask_all(struct sim_asker *asker, int64_t fresh_ms)
{
    sim_ask_start(asker, fresh_ms, PATIENCE_US);
    while (!sim_ask_step(asker)) {
        sim_client_poll(asker->client, 5000, asked, asker);
    }
}

enum err sim_base_clock(struct sim_asker *asker, char *why, size_t why_bytes)
{
    sim_ask_clear(asker);
    for (uint32_t i = 0; i < CLOCK_QUESTIONS; i++) {
        sim_ask_add(asker, SIM_ASK_CLOCK, 0, i);
    }
    ask_all(asker, INT64_MIN);
    const struct sim_question *first = &asker->questions[0];
    if (first->body == NULL || first->status != 200) {
        snprintf(why, why_bytes, "http://%s gives no figures: %s", asker->world->host,
                 first->status == 0 ? "it does not answer" : "is it novabeat, with --auth none?");
        return ERR_IO;
    }
    if (!sim_ask_clock(asker)) {
        snprintf(why, why_bytes, "the server's answers have no timestamp");
        return ERR_IO;
    }
    return ERR_NONE;
}

struct told {
    uint32_t connection;
    bool answered;
    int64_t interval_ms;
};

static void told_answered(void *ctx, const struct sim_answer *answer)
{
    struct told *told = ctx;
    if (answer->connection != told->connection) {
        return;
    }
    told->answered = true;
    told->interval_ms = answer->status == 200 ? sim_response_interval_ms(answer->body) : 0;
}

int64_t sim_base_interval_ms(struct sim_asker *asker)
{
    const struct sim_world *world = asker->world;
    char viewer[SIM_ID_BYTES], body[128], text[512];
    sim_viewer_id(viewer, world, world->viewers); /* one more than there are */
    int body_len = snprintf(body, sizeof(body), "{\"viewerId\":\"%s\",\"leaving\":true}", viewer);
    int len = snprintf(text, sizeof(text),
                       "POST /analytics/events/%s/heartbeat HTTP/1.1\r\n"
                       "Host: %s\r\n"
                       "User-Agent: novabeat-simulate\r\n"
                       "Content-Type: text/plain;charset=UTF-8\r\n"
                       "Content-Length: %d\r\n\r\n%s",
                       world->event, world->host, body_len, body);
    ASSERT(len > 0 && (size_t)len < sizeof(text));
    struct told told = {.connection = asker->first_connection};
    while (!sim_client_idle(asker->client, told.connection)) { /* the clock's last answer */
        sim_client_poll(asker->client, 5000, asked, asker);
    }
    sim_client_send(asker->client, told.connection, slice_of(text, (size_t)len));
    while (!told.answered) { /* or lost, after the client's own time */
        sim_client_poll(asker->client, 5000, told_answered, &told);
    }
    return told.interval_ms;
}

/* ---- what the event has had ---- */

static bool audience_read(struct sim_base_audience *audience, const json_t *part)
{
    const json_t *attended = json_object_get(part, "attended");
    const json_t *peak = json_object_get(part, "maxConcurrent");
    audience->attended = json_integer_value(attended);
    audience->logins = json_integer_value(json_object_get(part, "logins"));
    audience->viewing_ms = json_integer_value(json_object_get(part, "totalViewingMs"));
    audience->active = json_integer_value(json_object_get(part, "active"));
    audience->peak = json_integer_value(json_object_get(peak, "count"));
    audience->peak_at = json_integer_value(json_object_get(peak, "at"));
    return json_is_integer(attended);
}

/* By country, and by group, those who are alive. */
static void others_read(struct sim_base_audience *audience, const json_t *live)
{
    const json_t *countries = json_object_get(live, "countByViewingCountry");
    const char *key;
    json_t *value;
    int64_t known = 0, all = 0;
    for (uint8_t i = 0; i < SIM_COUNTRIES; i++) {
        audience->countries[i] =
            json_integer_value(json_object_get(countries, sim_plan_country(i)));
        known += audience->countries[i];
    }
    json_object_foreach((json_t *)countries, key, value)
    {
        all += json_integer_value(value);
    }
    audience->elsewhere = all - known;
    audience->groups = (int64_t)json_object_size(json_object_get(live, "countByUserGroup"));
}

enum err sim_base_read(struct sim_base *base, struct sim_asker *asker,
                       const struct sim_windows *windows, char *why, size_t why_bytes)
{
    *base = (struct sim_base){.audiences_count = asker->world->sessions + 1};
    base->audiences = calloc(base->audiences_count, sizeof(*base->audiences));
    ASSERT(base->audiences != NULL && asker->offset_known);
    sim_ask_clear(asker);
    sim_ask_add(asker, SIM_ASK_OVERVIEW, 0, 0);
    ask_all(asker, (sim_now_us() - asker->start_us) / 1000);
    const struct sim_question *overview = &asker->questions[0];
    if (overview->body == NULL || overview->status != 200 ||
        !audience_read(&base->audiences[0], overview->body)) {
        snprintf(why, why_bytes, "http://%s gives no overview of event %s (status %d)",
                 asker->world->host, asker->world->event, overview->status);
        sim_base_fini(base);
        return ERR_IO;
    }
    base->at = overview->at;
    base->until_ms = base->at.hi + sim_window_range(windows, windows->hidden_ms).hi;
    for (uint32_t i = 1; i < base->audiences_count; i++) {
        /* A session that nobody has seen has no part: all its counts are 0. */
        (void)audience_read(&base->audiences[i], sim_ask_overview_part(overview->body, i));
    }
    sim_ask_clear(asker); /* the overview is gone */
    for (uint32_t i = 0; i < base->audiences_count; i++) {
        if (base->audiences[i].active > 0) {
            sim_ask_add(asker, SIM_ASK_LIVE, i, 0);
        }
    }
    ask_all(asker, base->at.lo);
    for (size_t i = 0; i < asker->questions_count; i++) {
        const struct sim_question *question = &asker->questions[i];
        others_read(&base->audiences[question->audience], question->body);
    }
    return ERR_NONE;
}

void sim_base_fini(struct sim_base *base)
{
    free(base->audiences);
    *base = (struct sim_base){.audiences = NULL};
}

void sim_base_shift(struct sim_base *base, int64_t passed_ms)
{
    base->at.lo -= passed_ms;
    base->at.hi -= passed_ms;
    base->until_ms -= passed_ms;
}

/* ---- what follows from it ---- */

const struct sim_base_audience *sim_base_others(const struct sim_base *base, uint32_t audience,
                                                struct sim_range at)
{
    ASSERT(audience < base->audiences_count);
    const struct sim_base_audience *before = &base->audiences[audience];
    return before->active > 0 && at.lo <= base->until_ms ? before : NULL;
}

struct sim_peak sim_base_peak(const struct sim_base_audience *before, struct sim_peak run)
{
    struct sim_range old_at = {before->peak_at, before->peak_at};
    if (before->peak >= run.count.hi) { /* reached again is not exceeded */
        return (struct sim_peak){{before->peak, before->peak}, old_at};
    }
    if (before->peak < run.count.lo) {
        return run;
    }
    return (struct sim_peak){{before->peak, run.count.hi}, {before->peak_at, INT64_MAX}};
}
