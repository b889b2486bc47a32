/* simulate.c -- novabeat simulate: an honest client that knows what the figures must be.
 *
 * Path: settings -> plan (sim_plan.h) -> heartbeats (sim_run.h) -> reference (sim_reference.h) ->
 * comparison (sim_compare.h) -> report.  Exit code: 0 all figures agree, 1 some differ, 2 the
 * simulation could not be made. */
#include "cli/commands.h"
#include "cli/sim_run.h"

#include "base/duration.h"
#include "core/ids.h"

#include <stdlib.h>
#include <time.h>

#define CONNECTIONS_DEFAULT_MAX 10000
#define VERIFY_PATIENCE_US      15000000

static int complain(const char *why)
{
    fprintf(stderr, "novabeat simulate: %s\n", why);
    return EXIT_USAGE;
}

static int exit_code(const struct sim_figures *figures)
{
    bool wrong = figures->count == 0 || sim_figures_count(figures, SIM_DIFFERS) > 0 ||
                 sim_figures_count(figures, SIM_MISSING) > 0;
    return wrong ? EXIT_FAILED : EXIT_WELL;
}

static void say_frames(uint32_t frames, int64_t frame_ms)
{
    char length[DURATION_TEXT_BYTES];
    duration_format(frame_ms, length);
    if (frames == 0) {
        fprintf(stderr, "frames: none of %s is over yet, so none is compared\n", length);
    } else {
        fprintf(stderr, "frames: %" PRIu32 " of %s over and compared\n", frames, length);
    }
}

/* ---- --verify ---- */

static void verify_answered(void *ctx, const struct sim_answer *answer)
{
    sim_ask_answer(ctx, answer);
}

static void verify_ask(struct sim_asker *asker)
{
    sim_ask_start(asker, INT64_MIN, VERIFY_PATIENCE_US);
    while (!sim_ask_step(asker)) {
        sim_client_poll(asker->client, 10000, verify_answered, asker);
    }
}

static int verify(const struct settings *settings, const struct sim_target *target)
{
    char why[512], *event;
    struct sim_lasting lasting;
    struct sim_world world = {.host = target->host};
    if (sim_lasting_load(&lasting, &world, &event, settings->verify, why, sizeof(why)) !=
        ERR_NONE) {
        return complain(why);
    }
    struct sim_client *client;
    struct sim_client_options options = {target, SIM_ASK_CONNECTIONS, VERIFY_PATIENCE_US};
    bool loopback;
    int code = EXIT_USAGE;
    if (sim_client_new(&options, &client, &loopback, why, sizeof(why)) != ERR_NONE) {
        complain(why);
        goto lasting;
    }
    struct sim_asker asker;
    struct sim_figures figures = {.figures = NULL};
    struct sim_totals totals = {.sent = 0};
    sim_ask_init(&asker, client, &world, 0, sim_now_us());
    sim_lasting_ask(&lasting, &asker);
    verify_ask(&asker);
    if (asker.questions[0].body == NULL) {
        snprintf(why, sizeof(why), "http://%s gives no figures", target->host);
        complain(why);
        goto asker;
    }
    sim_compare_lasting(&figures, &asker, &lasting);
    int64_t now_ms = json_integer_value(json_object_get(asker.questions[0].body, "timestamp"));
    sim_ask_clear(&asker);
    uint32_t frames = sim_compare_ask_frames(&asker, &lasting.frames, now_ms);
    verify_ask(&asker);
    sim_compare_lasting(&figures, &asker, &lasting);
    say_frames(frames, lasting.frames.frame_ms);
    if (settings->json) {
        sim_report_json(&world, &totals, 0, &figures);
    } else {
        sim_report_text(&totals, 0, &figures);
    }
    code = exit_code(&figures);
    sim_figures_fini(&figures);
asker:
    sim_ask_fini(&asker);
    sim_client_free(client);
lasting:
    sim_lasting_fini(&lasting);
    free(event);
    return code;
}

/* ---- a run ---- */

/* From the settings.  A fresh event's id is made in `event`. */
static void options_make(const struct settings *settings, const struct sim_target *target,
                         char event[SIM_ID_BYTES], struct sim_run_options *options)
{
    uint64_t seed = settings->seed;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    while (seed == 0) {
        uint64_t mixed = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec++;
        seed = sim_random(&mixed) >> 32; /* short enough to be typed again */
    }
    *options = (struct sim_run_options){
        .world = {.event = settings->event,
                  .seed = seed,
                  .run = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000,
                  .viewers = (uint32_t)settings->viewers,
                  .sessions = (uint32_t)settings->sessions},
        .plan = {.windows = {.alive_ms = settings->alive_window_ms,
                             .hidden_ms = settings->hidden_window_ms,
                             .leaving_ms = settings->leaving_window_ms,
                             .gap_ms = settings->viewing_gap_ms,
                             .drift_permille = 10},
                 .interval_ms = settings_given(settings, "interval") ? settings->interval_ms : 0,
                 .duration_ms = settings->duration_ms,
                 .viewers = (uint32_t)settings->viewers,
                 .sessions = (uint32_t)settings->sessions,
                 .seed = seed},
        .target = *target,
        .frame_ms = settings->frame_ms,
        .sample = settings->sample,
        .quiet = settings->json,
    };
    if (settings->event[0] == '\0') { /* the second makes it fresh when a seed is used again */
        snprintf(event, SIM_ID_BYTES, "sim-%" PRIx64 "-%lld", seed, (long long)now.tv_sec);
        options->world.event = event;
    }
}

/* One connection per viewer, up to a bound: the setting, or what is sensible; and never more than
 * there are descriptors. */
static uint32_t connections_choose(const struct settings *settings)
{
    uint64_t most = sim_client_connections_max() - SIM_ASK_CONNECTIONS;
    uint64_t wanted = settings->connections != 0 ? settings->connections : CONNECTIONS_DEFAULT_MAX;
    wanted = wanted < settings->viewers ? wanted : settings->viewers;
    return (uint32_t)(wanted < most ? wanted : most);
}

static void introduce(const struct sim_run_options *options, const struct sim_plan *plan)
{
    const struct sim_world *world = &options->world;
    fprintf(stderr,
            "seed %" PRIu64 ", event %s: %" PRIu32 " viewers over %" PRIu32 " sessions on %" PRIu32
            " connections, %zu heartbeats in %.0f s\n",
            world->seed, world->event, world->viewers, world->sessions, options->connections,
            plan->beats_count, (double)options->plan.duration_ms / 1000);
    fprintf(stderr,
            "%" PRIu32 " hide their tab, %" PRIu32 " switch sessions, %" PRIu32
            " have two tabs, %" PRIu32 " leave, %" PRIu32 " just stop, %" PRIu32
            " return; certain while beats are answered within %lld ms\n",
            plan->hidden, plan->switches, plan->second_tabs, plan->leaves, plan->stops,
            plan->returns, (long long)plan->margin_ms);
}

/* What was found at the start, and what it means for the figures. */
static void introduce_found(const struct sim_run_options *options, const struct sim_run *run)
{
    int64_t told_ms = sim_run_totals(run)->told_interval_ms, used_ms = sim_run_interval_ms(run);
    char told[DURATION_TEXT_BYTES], used[DURATION_TEXT_BYTES], until[DURATION_TEXT_BYTES];
    if (told_ms == 0) {
        snprintf(told, sizeof(told), "none");
    } else {
        duration_format(told_ms, told);
    }
    duration_format(used_ms, used);
    if (options->plan.interval_ms == 0 && told_ms == used_ms) {
        fprintf(stderr, "interval %s, as the server tells\n", used);
    } else if (options->plan.interval_ms == 0) {
        fprintf(stderr,
                "interval %s: the server tells %s, and that does not fit the alive window; are the "
                "server's windows the same?\n",
                used, told);
    }
    const struct sim_base_audience *before = &sim_run_base(run)->audiences[0];
    if (before->attended > 0) {
        fprintf(stderr, "viewers before: %" PRId64 ", which the expected figures include\n",
                before->attended);
    }
    if (before->active > 0) {
        duration_format(options->plan.windows.hidden_ms, until);
        fprintf(stderr,
                "alive before: %" PRId64 ", for up to %s: until then figures are ranges; they "
                "differ if those viewers go on watching\n",
                before->active, until);
    }
}

/* Prints the outcome, and what may explain it. */
static int conclude(const struct settings *settings, const struct sim_run_options *options,
                    struct sim_run *run)
{
    const struct sim_figures *figures = sim_run_figures(run);
    const struct sim_totals *totals = sim_run_totals(run);
    if (settings->json) {
        sim_report_json(&options->world, totals, sim_run_elapsed_ms(run), figures);
    } else {
        sim_report_text(totals, sim_run_elapsed_ms(run), figures);
    }
    /* A valid heartbeat that was turned away is a failure too. */
    int code = totals->refused > 0 ? EXIT_FAILED : exit_code(figures);
    if (code != EXIT_WELL && totals->told_interval_ms != 0 &&
        totals->told_interval_ms != sim_run_interval_ms(run)) {
        fprintf(stderr,
                "novabeat simulate: the server tells an interval of %lld ms, the plan has %lld ms: "
                "are the server's windows the same?\n",
                (long long)totals->told_interval_ms, (long long)sim_run_interval_ms(run));
    }
    const struct sim_base_audience *before = &sim_run_base(run)->audiences[0];
    if (code != EXIT_WELL && before->active > 0) {
        fprintf(stderr,
                "novabeat simulate: others were watching the event at the start: do they still? "
                "An event of its own (--event) is the safest\n");
    }
    return code;
}

static int play(const struct settings *settings, const struct sim_target *target)
{
    char why[512], event[SIM_ID_BYTES];
    struct sim_run_options options;
    struct sim_run *run;
    options_make(settings, target, event, &options);
    options.world.host = target->host;
    options.connections = connections_choose(settings);
    if (!id_event_valid(slice_str(options.world.event))) {
        return complain("--event: 1 to 64 characters of A-Z a-z 0-9 . _ ~ -");
    }
    if (sim_run_new(&options, &run, why, sizeof(why)) != ERR_NONE) {
        return complain(why);
    }
    int code = EXIT_USAGE;
    if (sim_run_begin(run, why, sizeof(why)) != ERR_NONE) {
        complain(why);
        goto done;
    }
    introduce(&options, sim_run_plan(run));
    introduce_found(&options, run);
    sim_run_play(run);
    say_frames(sim_run_frames(run), options.frame_ms);
    code = conclude(settings, &options, run);
    if (settings->plan_state[0] != '\0' &&
        sim_lasting_save(sim_run_lasting(run), &options.world, settings->plan_state) != ERR_NONE) {
        snprintf(why, sizeof(why), "cannot write %s", settings->plan_state);
        code = complain(why);
    }
done:
    sim_run_free(run);
    return code;
}

int command_simulate(const struct settings *settings, int argc, char **argv)
{
    struct sim_target target;
    if (argc != 0) {
        fprintf(stderr, "novabeat simulate: %s: no argument is expected\n", argv[0]);
        return EXIT_USAGE;
    }
    if (sim_target_parse(settings->target, &target) != ERR_NONE) {
        return complain("--target must be http://HOST or http://HOST:PORT");
    }
    return settings->verify[0] != '\0' ? verify(settings, &target) : play(settings, &target);
}
