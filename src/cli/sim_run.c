#include "cli/sim_run.h"

#include "cli/sim_queue.h"
#include "cli/sim_response.h"

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
    struct sim_base base;
    struct sim_frames frames;
    uint32_t frames_over;
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
    struct sim_client_options client = {
        .target = &run->options.target,
        .connections = options->connections + SIM_ASK_CONNECTIONS,
        .answer_timeout_us = ANSWER_TIMEOUT_US,
    };
    enum err err = sim_client_new(&client, &run->client, &run->loopback, why, why_bytes);
    if (err != ERR_NONE) {
        sim_run_free(run);
        return err;
    }
    run->reference =
        sim_reference_new(&options->plan.windows, options->world.viewers, options->world.sessions);
    run->queue = sim_queue_new(options->connections);
    run->start_us = sim_now_us();
    sim_ask_init(&run->asker, run->client, &run->options.world, options->connections,
                 run->start_us);
    *out = run;
    return ERR_NONE;
}

/* What an honest page does: what it is told.  But where no lease would outlast such an interval
 * nothing could be certain: then one of a third of the alive window. */
static void interval_choose(struct sim_run *run)
{
    struct sim_plan_config *plan = &run->options.plan;
    if (plan->interval_ms != 0) {
        return;
    }
    int64_t told_ms = sim_base_interval_ms(&run->asker);
    run->totals.told_interval_ms = told_ms;
    plan->interval_ms = sim_plan_interval_fits(&plan->windows, told_ms)
                            ? told_ms
                            : (plan->windows.alive_ms + 2) / 3;
}

enum err sim_run_begin(struct sim_run *run, char *why, size_t why_bytes)
{
    enum err err = sim_base_clock(&run->asker, why, why_bytes);
    if (err != ERR_NONE) {
        return err;
    }
    interval_choose(run);
    err = sim_plan_make(&run->options.plan, &run->plan, why, why_bytes);
    if (err != ERR_NONE) {
        return err;
    }
    return sim_base_read(&run->base, &run->asker, &run->options.plan.windows, why, why_bytes);
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
    sim_base_fini(&run->base);
    sim_frames_fini(&run->frames);
    sim_figures_fini(&run->figures);
    sim_lasting_fini(&run->lasting);
    free(run);
}

const struct sim_plan *sim_run_plan(const struct sim_run *run)
{
    return &run->plan;
}

const struct sim_base *sim_run_base(const struct sim_run *run)
{
    return &run->base;
}

int64_t sim_run_interval_ms(const struct sim_run *run)
{
    return run->options.plan.interval_ms;
}

uint32_t sim_run_frames(const struct sim_run *run)
{
    return run->frames_over;
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
        totals->told_interval_ms = sim_response_interval_ms(answer->body);
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
    sim_compare_now(&run->figures, &run->asker, run->reference, &run->base,
                    run->loopback ? run->plan.country_of : NULL, when);
}

/* The frames that only this run's heartbeats can be in. */
static void frames_begin(struct sim_run *run)
{
    const struct sim_run_options *options = &run->options;
    struct sim_range now = sim_ask_server_ms(&run->asker, run->base.at);
    int64_t first_ms = now.hi;
    if (run->base.audiences[0].attended == 0) { /* nobody was there before: the one of now too */
        first_ms = now.lo / options->frame_ms * options->frame_ms;
    }
    sim_frames_init(&run->frames, options->frame_ms, first_ms, options->plan.duration_ms,
                    options->world.sessions, run->loopback);
    sim_reference_frames(run->reference, &run->frames, run->plan.country_of, run->asker.offset_ms);
}

static void play_begin(struct sim_run *run)
{
    /* Times are told from the start of the run, which is now. */
    int64_t passed_ms = (sim_now_us() - run->start_us) / 1000;
    run->start_us += passed_ms * 1000;
    run->asker.start_us = run->start_us;
    run->asker.offset_ms.lo += passed_ms;
    run->asker.offset_ms.hi += passed_ms;
    sim_base_shift(&run->base, passed_ms);
    for (uint32_t i = 0; i < run->base.audiences_count; i++) {
        sim_reference_others(run->reference, i, run->base.audiences[i].active,
                             (struct sim_stretch){run->base.at.lo, run->base.until_ms});
    }
    frames_begin(run);
}

/* What lasts is asked for when all is over; frames too, if any is. */
static void compare_end(struct sim_run *run)
{
    int64_t end_ms = (run->end_us - run->start_us) / 1000;
    sim_lasting_make(&run->lasting, run->reference, &run->base, &run->frames, &run->asker,
                     run->options.sample);
    sim_ask_clear(&run->asker);
    sim_lasting_ask(&run->lasting, &run->asker);
    struct sim_range now = sim_ask_server_ms(&run->asker, (struct sim_range){end_ms, end_ms});
    run->frames_over = sim_compare_ask_frames(&run->asker, &run->lasting.frames, now.lo);
    ask_all(run, end_ms, ASK_PATIENCE_US);
    sim_compare_lasting(&run->figures, &run->asker, &run->lasting);
}

void sim_run_play(struct sim_run *run)
{
    ASSERT(run->plan.beats != NULL && run->base.audiences != NULL);
    play_begin(run);
    for (int i = 0; i < SIM_CHECKPOINTS; i++) {
        checkpoint(run, i);
    }
    int64_t patience_us = sim_now_us() + LINGER_US;
    while (!sim_queue_empty(run->queue) && sim_now_us() < patience_us) {
        turn(run, sim_now_us() + 5000);
    }
    run->end_us = sim_now_us();
    progress(run, run->end_us, true);
    compare_end(run);
}
