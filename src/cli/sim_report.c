#include "cli/sim_report.h"

#include "base/assert.h"

#include <unistd.h>

#define BITS          6 /* of precision in a bucket */
#define PROGRESS_MS   5000
#define LABEL_COLUMNS 40

/* ---- latencies ---- */

/* Values below 128 have a bucket each; above, 64 buckets per power of two. */
static size_t bucket_of(uint64_t us)
{
    if (us < (2u << BITS)) {
        return us;
    }
    unsigned shift = 63u - (unsigned)__builtin_clzll(us) - BITS;
    size_t bucket = ((size_t)shift << BITS) + (us >> shift);
    return bucket < SIM_LATENCY_BUCKETS ? bucket : SIM_LATENCY_BUCKETS - 1;
}

/* The largest value of a bucket. */
static int64_t bucket_most(size_t bucket)
{
    if (bucket < (2u << BITS)) {
        return (int64_t)bucket;
    }
    size_t shift = (bucket >> BITS) - 1;
    return (int64_t)(((bucket - (shift << BITS) + 1) << shift) - 1);
}

void sim_latency_add(struct sim_latency *latency, int64_t us)
{
    us = us < 0 ? 0 : us;
    latency->buckets[bucket_of((uint64_t)us)]++;
    latency->count++;
    latency->max_us = us > latency->max_us ? us : latency->max_us;
}

int64_t sim_latency_quantile(const struct sim_latency *latency, uint32_t permille)
{
    ASSERT(permille <= 1000);
    uint64_t wanted = (latency->count * permille + 999) / 1000, seen = 0;
    for (size_t i = 0; i < SIM_LATENCY_BUCKETS && wanted > 0; i++) {
        seen += latency->buckets[i];
        if (seen >= wanted) {
            return bucket_most(i) < latency->max_us ? bucket_most(i) : latency->max_us;
        }
    }
    return 0;
}

/* ---- while it runs ---- */

void sim_report_progress(const struct sim_progress *progress)
{
    static int64_t next_ms;
    static uint64_t sent_before;
    static int64_t before_ms;
    bool terminal = isatty(STDERR_FILENO) == 1;
    if (!terminal && progress->now_ms < next_ms && !progress->last) {
        return;
    }
    next_ms = progress->now_ms + PROGRESS_MS;
    const struct sim_totals *totals = progress->totals;
    int64_t since = progress->now_ms - before_ms;
    double rate = since <= 0 ? 0 : (double)(totals->sent - sent_before) * 1000 / (double)since;
    sent_before = totals->sent;
    before_ms = progress->now_ms;
    char alive[64];
    if (progress->alive.lo == progress->alive.hi) {
        snprintf(alive, sizeof(alive), "%" PRId64, progress->alive.lo);
    } else {
        snprintf(alive, sizeof(alive), "%" PRId64 " to %" PRId64, progress->alive.lo,
                 progress->alive.hi);
    }
    fprintf(stderr,
            "%s%6.1f s of %.0f s   alive %s   connections %" PRIu32 "   beats %" PRIu64
            "   %.0f/s   errors %" PRIu64 "%s%s",
            terminal ? "\r" : "", (double)progress->now_ms / 1000,
            (double)progress->duration_ms / 1000, alive, progress->connections, totals->sent, rate,
            totals->busy + totals->lost + totals->unsent + totals->refused,
            terminal ? "\033[K" : "\n", terminal && progress->last ? "\n" : "");
    fflush(stderr);
}

/* ---- at the end ---- */

static const char *verdict_text(enum sim_verdict verdict)
{
    switch (verdict) {
    case SIM_AGREES:
        return "ok";
    case SIM_WITHIN:
        return "ok, within";
    case SIM_DIFFERS:
        return "DIFFERS";
    case SIM_MISSING:
        return "MISSING";
    }
    return "";
}

static void range_text(char *text, size_t bytes, const struct sim_figure *figure)
{
    if (figure->expected.lo == figure->expected.hi) {
        snprintf(text, bytes, "%" PRId64, figure->expected.lo);
    } else if (figure->expected.hi == INT64_MAX) {
        snprintf(text, bytes, "at least %" PRId64, figure->expected.lo);
    } else {
        snprintf(text, bytes, "%" PRId64 " to %" PRId64, figure->expected.lo, figure->expected.hi);
    }
}

static void print_table(const struct sim_figures *figures)
{
    size_t hidden = 0;
    printf("\n%-*s %31s %15s   %s\n", LABEL_COLUMNS, "figure", "expected", "server", "ok");
    for (size_t i = 0; i < figures->count; i++) {
        const struct sim_figure *figure = &figures->figures[i];
        if (figure->detail && figure->verdict == SIM_AGREES) {
            hidden++;
            continue;
        }
        char expected[64], server[32] = "-";
        range_text(expected, sizeof(expected), figure);
        if (figure->verdict != SIM_MISSING) {
            snprintf(server, sizeof(server), "%" PRId64, figure->server);
        }
        printf("%-*s %31s %15s   %s\n", LABEL_COLUMNS, figure->label, expected, server,
               verdict_text(figure->verdict));
    }
    if (hidden > 0) {
        printf("%-*s %31s %15zu   ok\n", LABEL_COLUMNS, "countries, frames, overview, viewers, …",
               "", hidden);
    }
}

void sim_report_text(const struct sim_totals *totals, int64_t elapsed_ms,
                     const struct sim_figures *figures)
{
    const struct sim_latency *latency = &totals->latency, *lateness = &totals->lateness;
    double seconds = (double)elapsed_ms / 1000;
    if (totals->sent > 0) {
        printf("heartbeats    %" PRIu64 " sent, %" PRIu64 " acknowledged, %.0f a second over "
               "%.1f s\n",
               totals->sent, totals->acknowledged, seconds > 0 ? (double)totals->sent / seconds : 0,
               seconds);
        printf("latency       p50 %.2f ms, p99 %.2f ms, max %.2f ms\n",
               (double)sim_latency_quantile(latency, 500) / 1000,
               (double)sim_latency_quantile(latency, 990) / 1000, (double)latency->max_us / 1000);
        printf("own lateness  p99 %.2f ms, max %.2f ms (sent after the planned moment)\n",
               (double)sim_latency_quantile(lateness, 990) / 1000, (double)lateness->max_us / 1000);
        printf("interval told %" PRId64 " ms\n", totals->told_interval_ms);
    }
    if (totals->busy + totals->lost + totals->unsent + totals->skipped > 0) {
        printf("tried again   %" PRIu64 " after 429 or 5xx, %" PRIu64 " lost without an answer, "
               "%" PRIu64 " unsent; %" PRIu64 " beats skipped meanwhile\n",
               totals->busy, totals->lost, totals->unsent, totals->skipped);
    }
    if (totals->refused > 0) {
        printf("refused       %" PRIu64 " (first: status %d)\n", totals->refused,
               totals->first_refused);
    }
    print_table(figures);
    size_t within = sim_figures_count(figures, SIM_WITHIN);
    size_t wrong =
        sim_figures_count(figures, SIM_DIFFERS) + sim_figures_count(figures, SIM_MISSING);
    if (within > 0) {
        printf("\n%zu figures could not be known exactly (late or lost heartbeats, or "
               "others' leases); they were checked to lie between their bounds\n",
               within);
    }
    if (wrong > 0) {
        printf("\n%zu of %zu figures differ\n", wrong, figures->count);
    } else {
        printf("\nall %zu figures agree\n", figures->count);
    }
}

static json_t *latency_json(const struct sim_latency *latency)
{
    return json_pack("{s:I,s:I,s:I}", "p50Us", (json_int_t)sim_latency_quantile(latency, 500),
                     "p99Us", (json_int_t)sim_latency_quantile(latency, 990), "maxUs",
                     (json_int_t)latency->max_us);
}

static json_t *figure_json(const struct sim_figure *figure)
{
    static const char *const words[] = {
        [SIM_AGREES] = "agrees",
        [SIM_WITHIN] = "within",
        [SIM_DIFFERS] = "differs",
        [SIM_MISSING] = "missing",
    };
    json_t *json = json_pack("{s:s,s:[I,I],s:s}", "figure", figure->label, "expected",
                             (json_int_t)figure->expected.lo, (json_int_t)figure->expected.hi,
                             "verdict", words[figure->verdict]);
    if (figure->verdict != SIM_MISSING) {
        json_object_set_new(json, "server", json_integer(figure->server));
    }
    return json;
}

void sim_report_json(const struct sim_world *world, const struct sim_totals *totals,
                     int64_t elapsed_ms, const struct sim_figures *figures)
{
    size_t within = sim_figures_count(figures, SIM_WITHIN);
    size_t wrong =
        sim_figures_count(figures, SIM_DIFFERS) + sim_figures_count(figures, SIM_MISSING);
    json_t *list = json_array();
    for (size_t i = 0; i < figures->count; i++) {
        json_array_append_new(list, figure_json(&figures->figures[i]));
    }
    char seed[24];
    snprintf(seed, sizeof(seed), "%" PRIu64, world->seed);
    json_t *heartbeats = json_pack(
        "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "sent", (json_int_t)totals->sent, "acknowledged",
        (json_int_t)totals->acknowledged, "busy", (json_int_t)totals->busy, "lost",
        (json_int_t)totals->lost, "unsent", (json_int_t)totals->unsent, "refused",
        (json_int_t)totals->refused, "skipped", (json_int_t)totals->skipped, "toldIntervalMs",
        (json_int_t)totals->told_interval_ms);
    json_t *root = json_pack(
        "{s:s,s:s,s:I,s:I,s:I,s:o,s:o,s:o,s:I,s:I,s:I,s:o}", "event", world->event, "seed", seed,
        "viewers", (json_int_t)world->viewers, "sessions", (json_int_t)world->sessions, "elapsedMs",
        (json_int_t)elapsed_ms, "heartbeats", heartbeats, "latency", latency_json(&totals->latency),
        "lateness", latency_json(&totals->lateness), "compared", (json_int_t)figures->count,
        "within", (json_int_t)within, "differ", (json_int_t)wrong, "figures", list);
    ASSERT(root != NULL); /* only memory can be missing */
    json_dumpf(root, stdout, JSON_INDENT(1));
    printf("\n");
    json_decref(root);
}
