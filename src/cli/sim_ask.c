#include "cli/sim_ask.h"

#include "cli/sim_plan.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define RETRY_US 100000
/* A server may answer from a computation this old. */
#define STALE_MS_MAX 1500
/* The server's clock may be read anew (restart) or drawn a little while the run goes on. */
#define OFFSET_SLACK_MS 20
#define BUSY_NOT        SIZE_MAX

void sim_ask_init(struct sim_asker *asker, struct sim_client *client, const struct sim_world *world,
                  uint32_t first_connection, int64_t start_us)
{
    *asker = (struct sim_asker){
        .client = client,
        .world = world,
        .first_connection = first_connection,
        .start_us = start_us,
    };
    for (int i = 0; i < SIM_ASK_CONNECTIONS; i++) {
        asker->asked[i] = BUSY_NOT;
    }
}

void sim_ask_clear(struct sim_asker *asker)
{
    for (size_t i = 0; i < asker->questions_count; i++) {
        json_decref(asker->questions[i].body);
    }
    asker->questions_count = asker->open_count = 0;
    for (int i = 0; i < SIM_ASK_CONNECTIONS; i++) {
        asker->asked[i] = BUSY_NOT; /* a late answer to an old question is dropped */
    }
}

void sim_ask_fini(struct sim_asker *asker)
{
    sim_ask_clear(asker);
    free(asker->questions);
    asker->questions = NULL;
}

void sim_ask_add(struct sim_asker *asker, enum sim_question_kind kind, uint32_t audience,
                 uint32_t viewer)
{
    if (asker->questions_count == asker->questions_max) {
        asker->questions_max = asker->questions_max == 0 ? 64 : asker->questions_max * 2;
        asker->questions =
            realloc(asker->questions, asker->questions_max * sizeof(*asker->questions));
        ASSERT(asker->questions != NULL);
    }
    asker->questions[asker->questions_count++] =
        (struct sim_question){.kind = kind, .audience = audience, .viewer = viewer};
    asker->open_count++;
}

void sim_ask_add_frames(struct sim_asker *asker, uint32_t audience, int64_t from_ms,
                        uint32_t frames, size_t shown_min)
{
    sim_ask_add(asker, SIM_ASK_FRAMES, audience, 0);
    struct sim_question *question = &asker->questions[asker->questions_count - 1];
    question->from_ms = from_ms;
    question->frames = frames;
    question->shown_min = shown_min;
}

void sim_ask_start(struct sim_asker *asker, int64_t fresh_ms, int64_t patience_us)
{
    asker->fresh_ms = fresh_ms;
    asker->deadline_us = sim_now_us() + patience_us;
}

static struct slice question_format(const struct sim_asker *asker,
                                    const struct sim_question *question, char *text, size_t bytes)
{
    static const char *const paths[] = {
        [SIM_ASK_CLOCK] = "/viewers/active-count",
        [SIM_ASK_ACTIVE] = "/viewers/active-count",
        [SIM_ASK_LIVE] = "/statistics/live",
        [SIM_ASK_ATTENDED] = "/viewers/total-attended-count",
        [SIM_ASK_PEAK] = "/viewers/max-concurrent-count",
        [SIM_ASK_OVERVIEW] = "/overview",
        [SIM_ASK_VIEWER] = "/viewers/",
        [SIM_ASK_FRAMES] = "/statistics?from=",
    };
    /* What follows the path: a viewer's id, a time. */
    char session[SIM_ID_BYTES] = "", rest[SIM_ID_BYTES] = "";
    if (question->audience != 0) {
        sim_session_id(session, question->audience);
    }
    if (question->kind == SIM_ASK_VIEWER) {
        sim_viewer_id(rest, asker->world, question->viewer);
    }
    if (question->kind == SIM_ASK_FRAMES) {
        snprintf(rest, sizeof(rest), "%" PRId64, question->from_ms);
    }
    if (question->kind == SIM_ASK_CLOCK) {
        snprintf(session, sizeof(session), "clock-%" PRIx64 "-%" PRIu32, asker->world->run,
                 question->viewer);
    }
    int len = snprintf(text, bytes,
                       "GET /analytics/events/%s%s%s%s%s HTTP/1.1\r\n"
                       "Host: %s\r\n"
                       "Accept: application/json\r\n"
                       "User-Agent: novabeat-simulate\r\n\r\n",
                       asker->world->event, session[0] != '\0' ? "/sessions/" : "", session,
                       paths[question->kind], rest, asker->world->host);
    ASSERT(len > 0 && (size_t)len < bytes);
    return slice_of(text, (size_t)len);
}

bool sim_ask_step(struct sim_asker *asker)
{
    if (asker->open_count == 0) {
        return true;
    }
    int64_t now = sim_now_us();
    if (now >= asker->deadline_us) {
        asker->open_count = 0;
        return true;
    }
    size_t next = 0;
    for (uint32_t i = 0; i < SIM_ASK_CONNECTIONS; i++) {
        uint32_t connection = asker->first_connection + i;
        if (asker->asked[i] != BUSY_NOT || !sim_client_idle(asker->client, connection)) {
            continue;
        }
        while (next < asker->questions_count &&
               (asker->questions[next].done || asker->questions[next].due_us > now)) {
            next++;
        }
        if (next == asker->questions_count) {
            break;
        }
        char text[1024];
        struct sim_question *question = &asker->questions[next];
        asker->asked[i] = next;
        question->due_us = INT64_MAX; /* under way */
        question->tries++;
        sim_client_send(asker->client, connection,
                        question_format(asker, question, text, sizeof(text)));
    }
    return false;
}

/* When the answer was true: by its timestamp, if that is credible, else while it was under way. */
static struct sim_range moment_of(const struct sim_asker *asker, const json_t *body,
                                  struct sim_range under_way)
{
    const json_t *timestamp = json_object_get(body, "timestamp");
    if (!asker->offset_known || !json_is_integer(timestamp)) {
        return under_way;
    }
    int64_t told = json_integer_value(timestamp);
    struct sim_range at = {told - asker->offset_ms.hi, told + 1 - asker->offset_ms.lo};
    at.lo = at.lo < under_way.lo - STALE_MS_MAX ? under_way.lo - STALE_MS_MAX : at.lo;
    at.hi = at.hi > under_way.hi ? under_way.hi : at.hi;
    return at.lo <= at.hi ? at : under_way;
}

void sim_ask_answer(struct sim_asker *asker, const struct sim_answer *answer)
{
    size_t *asked = &asker->asked[answer->connection - asker->first_connection];
    if (*asked == BUSY_NOT) {
        return;
    }
    struct sim_question *question = &asker->questions[*asked];
    *asked = BUSY_NOT;
    question->status = answer->status;
    question->due_us = answer->done_us + RETRY_US;
    if (answer->status != 200 && answer->status != 404) {
        return;
    }
    json_t *body = json_loadb(answer->body.ptr, answer->body.len, 0, NULL);
    if (body == NULL) {
        return;
    }
    struct sim_range under_way = {
        (answer->sent_us - asker->start_us) / 1000 - SIM_EARLY_MS,
        (answer->done_us - asker->start_us + 999) / 1000,
    };
    question->at = moment_of(asker, body, under_way);
    if (question->at.hi < asker->fresh_ms && answer->status == 200) {
        json_decref(body);
        return;
    }
    json_decref(question->body);
    question->body = body;
    if (json_array_size(json_object_get(body, "statistics")) < question->shown_min) {
        return; /* kept, if nothing better comes */
    }
    question->done = true;
    if (asker->open_count > 0) {
        asker->open_count--;
    }
}

bool sim_ask_clock(struct sim_asker *asker)
{
    struct sim_range offset = {INT64_MIN, INT64_MAX};
    for (size_t i = 0; i < asker->questions_count; i++) {
        const struct sim_question *question = &asker->questions[i];
        ASSERT(question->kind == SIM_ASK_CLOCK);
        const json_t *timestamp = json_object_get(question->body, "timestamp");
        if (!json_is_integer(timestamp)) {
            continue;
        }
        int64_t told = json_integer_value(timestamp);
        int64_t lo = told - question->at.hi, hi = told + 1 - question->at.lo;
        if (!asker->offset_known || lo > offset.hi || hi < offset.lo) {
            offset = (struct sim_range){lo, hi};
        } else {
            offset.lo = lo > offset.lo ? lo : offset.lo;
            offset.hi = hi < offset.hi ? hi : offset.hi;
        }
        asker->offset_known = true;
    }
    asker->offset_ms = (struct sim_range){offset.lo - OFFSET_SLACK_MS, offset.hi + OFFSET_SLACK_MS};
    return asker->offset_known;
}

const json_t *sim_ask_overview_part(const json_t *overview, uint32_t audience)
{
    if (audience == 0) {
        return overview;
    }
    char id[SIM_ID_BYTES];
    sim_session_id(id, audience);
    const json_t *sessions = json_object_get(overview, "sessions");
    for (size_t i = 0; i < json_array_size(sessions); i++) {
        const json_t *session = json_array_get(sessions, i);
        const char *other = json_string_value(json_object_get(session, "sessionId"));
        if (other != NULL && strcmp(other, id) == 0) {
            return session;
        }
    }
    return NULL;
}

struct sim_range sim_ask_server_ms(const struct sim_asker *asker, struct sim_range at)
{
    if (at.hi == INT64_MAX) {
        return (struct sim_range){at.lo + asker->offset_ms.lo, INT64_MAX};
    }
    return (struct sim_range){at.lo + asker->offset_ms.lo, at.hi + asker->offset_ms.hi};
}
