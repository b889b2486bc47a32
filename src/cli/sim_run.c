#define _GNU_SOURCE /* memmem */

#include "cli/sim_run.h"

#include "cli/sim_queue.h"

#include "base/assert.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_TIMEOUT_US 20000000
#define PROGRESS_US       1000000
#define ASK_PATIENCE_US   15000000
#define LINGER_US         10000000 /* after the end, for beats that are still without an answer */
#define TURN_BEATS_MAX    256      /* sent between two looks at what came back */
#define BACKOFF_MS_FIRST  50
#define BACKOFF_MS_MAX    2000

struct sim_run {
    struct sim_run_options options;
    struct sim_plan plan;
    struct sim_reference *reference;
    struct sim_client *client;
    struct sim_queue *queue;
    struct sim_asker asker;
    bool loopback;
    int64_t start_us, end_us, progress_us;
    size_t next_beat;
    uint64_t random;
    struct sim_totals totals;
    struct sim_figures figures;
    struct sim_lasting lasting;
};

enum err sim_run_new(const struct sim_run_options *options, struct sim_run **out, char *why,
                     size_t why_bytes)
{
    *out = NULL;
    struct sim_run *run = calloc(1, sizeof(*run));
    ASSERT(run != NULL && options->connections > 0);
    run->options = *options;
    run->random = options->world.seed + 1;
    enum err err = sim_plan_make(&options->plan, &run->plan, why, why_bytes);
    if (err != ERR_NONE) {
        goto fail;
    }
    struct sim_client_options client = {
        .target = &run->options.target,
        .connections = options->connections + SIM_ASK_CONNECTIONS,
        .answer_timeout_us = ANSWER_TIMEOUT_US,
    };
    err = sim_client_new(&client, &run->client, &run->loopback, why, why_bytes);
    if (err != ERR_NONE) {
        goto fail;
    }
    run->reference =
        sim_reference_new(&options->plan.windows, options->world.viewers, options->world.sessions);
    run->queue = sim_queue_new(options->connections);
    run->start_us = sim_now_us();
    sim_ask_init(&run->asker, run->client, &run->options.world, options->connections,
                 run->start_us);
    *out = run;
    return ERR_NONE;
fail:
    sim_run_free(run);
    return err;
}

void sim_run_free(struct sim_run *run)
{
    if (run == NULL) {
        return;
    }
    sim_ask_fini(&run->asker);
    sim_client_free(run->client);
    sim_queue_free(run->queue);
    sim_reference_free(run->reference);
    sim_plan_fini(&run->plan);
    sim_figures_fini(&run->figures);
    sim_lasting_fini(&run->lasting);
    free(run);
}

const struct sim_plan *sim_run_plan(const struct sim_run *run)
{
    return &run->plan;
}

const struct sim_totals *sim_run_totals(const struct sim_run *run)
{
    return &run->totals;
}

struct sim_figures *sim_run_figures(struct sim_run *run)
{
    return &run->figures;
}

int64_t sim_run_elapsed_ms(const struct sim_run *run)
{
    return (run->end_us - run->start_us) / 1000;
}

const struct sim_lasting *sim_run_lasting(const struct sim_run *run)
{
    return &run->lasting;
}

/* ---- one heartbeat ---- */

/* What a page sends.  A leave is a beacon: text/plain, and nobody waits for its answer. */
static struct slice beat_format(const struct sim_run *run, const struct sim_beat *beat, char *text,
                                size_t bytes)
{
    const struct sim_world *world = &run->options.world;
    char viewer[SIM_ID_BYTES], session[SIM_ID_BYTES] = "", path[192], body[384];
    sim_viewer_id(viewer, world, beat->viewer);
    if (beat->session != 0) {
        sim_session_id(session, beat->session);
    }
    snprintf(path, sizeof(path), "/events/%s%s%s", world->event,
             beat->session != 0 ? "/sessions/" : "", session);
    bool leaving = beat->kind == SIM_LEAVING;
    int body_len = snprintf(
        body, sizeof(body), "{\"viewerId\":\"%s\",\"path\":\"%s\",\"hidden\":%s%s}", viewer, path,
        beat->kind == SIM_HIDDEN ? "true" : "false", leaving ? ",\"leaving\":true" : "");
    int len = snprintf(text, bytes,
                       "POST /analytics/events/%s/heartbeat HTTP/1.1\r\n"
                       "Host: %s\r\n"
                       "User-Agent: Mozilla/5.0 (X11; Linux x86_64) novabeat-simulate\r\n"
                       "Accept: */*\r\n"
                       "Accept-Language: en-GB,en;q=0.9\r\n"
                       "Origin: http://%s\r\n"
                       "Referer: http://%s%s\r\n"
                       "CF-IPCountry: %s\r\n"
                       "Content-Type: %s\r\n"
                       "Content-Length: %d\r\n\r\n%s",
                       world->event, world->host, world->host, world->host, path,
                       sim_plan_country(run->plan.country_of[beat->viewer]),
                       leaving ? "text/plain;charset=UTF-8" : "application/json", body_len, body);
    ASSERT(body_len > 0 && (size_t)body_len < sizeof(body) && len > 0 && (size_t)len < bytes);
    return slice_of(text, (size_t)len);
}

static void connection_next(struct sim_run *run, uint32_t connection)
{
    uint32_t index;
    if (!sim_client_idle(run->client, connection) ||
        !sim_queue_front(run->queue, connection, &index)) {
        return;
    }
    char text[2048];
    const struct sim_beat *beat = &run->plan.beats[index];
    if (sim_queue_tries(run->queue, connection) == 0) {
        int64_t due_us = run->start_us + (int64_t)beat->at_ms * 1000;
        sim_latency_add(&run->totals.lateness, sim_now_us() - due_us);
    }
    sim_queue_sending(run->queue, connection);
    sim_client_send(run->client, connection, beat_format(run, beat, text, sizeof(text)));
}

static struct sim_range received_within(const struct sim_run *run, const struct sim_answer *answer)
{
    return (struct sim_range){
        (answer->sent_us - run->start_us) / 1000 - SIM_EARLY_MS,
        (answer->done_us - run->start_us + 999) / 1000,
    };
}

static void retry_later(struct sim_run *run, uint32_t connection, int retry_after_s)
{
    uint32_t tries = sim_queue_tries(run->queue, connection);
    int64_t backoff = (int64_t)BACKOFF_MS_FIRST << (tries < 6 ? tries : 6);
    backoff = backoff > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : backoff;
    backoff = backoff / 2 + (int64_t)sim_random_below(&run->random, (uint64_t)backoff);
    int64_t wait_ms = retry_after_s > 0 ? (int64_t)retry_after_s * 1000 + backoff / 4 : backoff;
    sim_queue_retry(run->queue, connection, sim_now_us() + wait_ms * 1000);
}

static void told_interval(struct sim_run *run, struct slice body)
{
    static const char key[] = "\"intervalMs\":";
    const char *at = memmem(body.ptr, body.len, key, sizeof(key) - 1);
    if (at == NULL) {
        return;
    }
    int64_t value = 0;
    for (at += sizeof(key) - 1; at < body.ptr + body.len && *at >= '0' && *at <= '9'; at++) {
        value = value > INT32_MAX ? value : value * 10 + (*at - '0');
    }
    run->totals.told_interval_ms = value;
}

static void beat_answered(struct sim_run *run, const struct sim_answer *answer)
{
    uint32_t index, connection = answer->connection;
    bool known = sim_queue_under_way(run->queue, connection, &index);
    ASSERT(known);
    const struct sim_beat *beat = &run->plan.beats[index];
    enum sim_beat_kind kind = (enum sim_beat_kind)beat->kind;
    struct sim_totals *totals = &run->totals;
    bool over = true; /* the page has nothing more to do about this beat */
    totals->sent += answer->sent;
    if (answer->status == 200) {
        totals->acknowledged++;
        sim_latency_add(&totals->latency, answer->done_us - answer->sent_us);
        sim_reference_beat(run->reference, beat->viewer, beat->session, kind,
                           received_within(run, answer), SIM_COUNTED);
        told_interval(run, answer->body);
    } else if (answer->status >= 400 && answer->status < 500 && answer->status != 429) {
        totals->first_refused = totals->refused == 0 ? answer->status : totals->first_refused;
        totals->refused++;
    } else {
        /* 429 says that it was not counted.  A 5xx should, but what failed may have failed after
         * counting; and nobody knows of one without an answer. */
        if (answer->sent && answer->status != 429) {
            sim_reference_beat(run->reference, beat->viewer, beat->session, kind,
                               received_within(run, answer), SIM_UNCERTAIN);
        }
        totals->busy += answer->status != 0;
        totals->lost += answer->status == 0 && answer->sent;
        totals->unsent += answer->status == 0 && !answer->sent;
        over = kind == SIM_LEAVING;
    }
    if (over) {
        sim_queue_pop(run->queue, connection);
        connection_next(run, connection);
    } else {
        retry_later(run, connection, answer->retry_after_s);
    }
}

static void answered(void *ctx, const struct sim_answer *answer)
{
    struct sim_run *run = ctx;
    if (answer->connection >= run->options.connections) {
        sim_ask_answer(&run->asker, answer);
    } else {
        beat_answered(run, answer);
    }
}

/* ---- the loop ---- */

/* A page whose beat is still without an answer does not add another one like it. */
static void beat_due(struct sim_run *run, uint32_t index)
{
    const struct sim_beat *beat = &run->plan.beats[index];
    uint32_t connection = beat->viewer % run->options.connections;
    if (beat->kind != SIM_LEAVING &&
        sim_queue_has_like(run->queue, connection, run->plan.beats, beat)) {
        run->totals.skipped++;
        return;
    }
    sim_queue_push(run->queue, connection, index);
    connection_next(run, connection);
}

static void progress(struct sim_run *run, int64_t now, bool last)
{
    if (run->options.quiet || (now < run->progress_us && !last)) {
        return;
    }
    run->progress_us = now + PROGRESS_US;
    int64_t now_ms = (now - run->start_us) / 1000;
    struct sim_progress line = {
        .now_ms = now_ms,
        .duration_ms = run->options.plan.duration_ms,
        .alive = sim_reference_active(run->reference, 0, (struct sim_range){now_ms, now_ms}),
        .connections = sim_client_open(run->client),
        .totals = &run->totals,
        .last = last,
    };
    sim_report_progress(&line);
}

/* One turn: send what is due, receive what came; waits until wake_us at most. */
static void turn(struct sim_run *run, int64_t wake_us)
{
    int64_t now = sim_now_us();
    int64_t now_ms = (now - run->start_us) / 1000;
    uint32_t connection;
    int sent = 0;
    while (sent++ < TURN_BEATS_MAX && run->next_beat < run->plan.beats_count &&
           run->plan.beats[run->next_beat].at_ms <= now_ms) {
        beat_due(run, (uint32_t)run->next_beat++);
    }
    while (sent++ < TURN_BEATS_MAX && sim_queue_retry_due(run->queue, now, &connection)) {
        connection_next(run, connection);
    }
    progress(run, now, false);
    if (run->next_beat < run->plan.beats_count) {
        int64_t due_us = run->start_us + run->plan.beats[run->next_beat].at_ms * (int64_t)1000;
        wake_us = due_us < wake_us ? due_us : wake_us;
    }
    int64_t retry_us = sim_queue_retry_next(run->queue);
    wake_us = retry_us < wake_us ? retry_us : wake_us;
    sim_client_poll(run->client, wake_us - sim_now_us(), answered, run);
}

/* Goes on until all questions have their answers or none can be hoped for. */
static void ask_all(struct sim_run *run, int64_t fresh_ms, int64_t patience_us)
{
    sim_ask_start(&run->asker, fresh_ms, patience_us);
    while (!sim_ask_step(&run->asker)) {
        turn(run, sim_now_us() + 5000);
    }
}

/* Goes on until every heartbeat that was sent before `moment_us` has its answer: only then is it
 * known what the server could have counted by then. */
static void settle(struct sim_run *run, int64_t moment_us)
{
    bool open = true;
    while (open) {
        open = false;
        for (uint32_t i = 0; i < run->options.connections && !open; i++) {
            open = sim_client_sent_us(run->client, i) <= moment_us;
        }
        if (open) {
            turn(run, sim_now_us() + 2000);
        }
    }
}

static void checkpoint(struct sim_run *run, int number)
{
    struct sim_stretch within = run->plan.checkpoints[number];
    int64_t from_us = run->start_us + within.from * 1000;
    while (sim_now_us() < from_us ||
           (number == SIM_CHECKPOINTS - 1 && run->next_beat < run->plan.beats_count)) {
        turn(run, from_us);
    }
    char when[32];
    snprintf(when, sizeof(when), "%.1fs", (double)within.from / 1000);
    sim_ask_clear(&run->asker);
    for (uint32_t i = 0; i <= run->options.world.sessions; i++) {
        sim_ask_add(&run->asker, SIM_ASK_ACTIVE, i, 0);
        sim_ask_add(&run->asker, SIM_ASK_LIVE, i, 0);
    }
    if (number == SIM_CHECKPOINTS - 1) {
        sim_ask_add(&run->asker, SIM_ASK_OVERVIEW, 0, 0);
    }
    ask_all(run, within.from, ASK_PATIENCE_US);
    settle(run, sim_now_us());
    sim_compare_now(&run->figures, &run->asker, run->reference,
                    run->loopback ? run->plan.country_of : NULL, when);
}

/* Before anything is sent: what time it is over there, and whether the event is new. */
static enum err begin(struct sim_run *run, char *why, size_t why_bytes)
{
    sim_ask_clear(&run->asker);
    sim_ask_add(&run->asker, SIM_ASK_ATTENDED, 0, 0);
    sim_ask_add(&run->asker, SIM_ASK_PEAK, 0, 0);
    sim_ask_add(&run->asker, SIM_ASK_ACTIVE, 0, 0);
    run->next_beat = run->plan.beats_count; /* none yet */
    run->progress_us = INT64_MAX;
    ask_all(run, INT64_MIN, 3000000);
    run->next_beat = 0;
    const struct sim_question *first = &run->asker.questions[0];
    const json_t *count = json_object_get(first->body, "count");
    if (first->body == NULL || first->status != 200 || !json_is_integer(count)) {
        snprintf(why, why_bytes, "http://%s gives no figures: %s", run->options.target.host,
                 first->status == 0 ? "it does not answer" : "is it novabeat, with --auth none?");
        return ERR_IO;
    }
    if (json_integer_value(count) != 0) {
        snprintf(why, why_bytes, "event %s has had %lld viewers already: take a new one",
                 run->options.world.event, (long long)json_integer_value(count));
        return ERR_INVALID;
    }
    if (!sim_ask_clock(&run->asker)) {
        snprintf(why, why_bytes, "the server's answers have no timestamp");
        return ERR_IO;
    }
    /* Times are told from the start of the run, which is now. */
    int64_t start_us = sim_now_us(), passed_ms = (start_us - run->start_us) / 1000;
    run->start_us += passed_ms * 1000;
    run->asker.start_us = run->start_us;
    run->asker.offset_ms.lo += passed_ms;
    run->asker.offset_ms.hi += passed_ms;
    run->progress_us = 0;
    return ERR_NONE;
}

enum err sim_run_play(struct sim_run *run, char *why, size_t why_bytes)
{
    enum err err = begin(run, why, why_bytes);
    if (err != ERR_NONE) {
        return err;
    }
    for (int i = 0; i < SIM_CHECKPOINTS; i++) {
        checkpoint(run, i);
    }
    int64_t patience_us = sim_now_us() + LINGER_US;
    while (!sim_queue_empty(run->queue) && sim_now_us() < patience_us) {
        turn(run, sim_now_us() + 5000);
    }
    run->end_us = sim_now_us();
    progress(run, run->end_us, true);
    int64_t end_ms = (run->end_us - run->start_us) / 1000;
    sim_lasting_make(&run->lasting, run->reference, &run->asker, run->options.sample);
    sim_ask_clear(&run->asker);
    for (uint32_t i = 0; i <= run->options.world.sessions; i++) {
        sim_ask_add(&run->asker, SIM_ASK_ATTENDED, i, 0);
        sim_ask_add(&run->asker, SIM_ASK_PEAK, i, 0);
    }
    sim_ask_add(&run->asker, SIM_ASK_OVERVIEW, 0, 0);
    for (size_t i = 0; i < run->lasting.sample_count; i++) {
        sim_ask_add(&run->asker, SIM_ASK_VIEWER, 0, run->lasting.sample[i].viewer);
    }
    ask_all(run, end_ms, ASK_PATIENCE_US);
    sim_compare_lasting(&run->figures, &run->asker, &run->lasting);
    return ERR_NONE;
}
