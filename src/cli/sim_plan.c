#include "cli/sim_plan.h"

#include "cli/sim_life.h"

#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Below this a run says more about the machine's stalls than about the server. */
#define MARGIN_MS_MIN 20
#define MARGIN_MS_MAX 2000
/* A plan's times are 32 bits of ms; a day is enough. */
#define DURATION_MS_MAX (24 * 3600 * 1000)

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t spare_after(const struct sim_windows *windows, int64_t interval_ms)
{
    return sim_window_range(windows, windows->alive_ms).lo - interval_ms;
}

bool sim_plan_interval_fits(const struct sim_windows *windows, int64_t interval_ms)
{
    return interval_ms > 0 && spare_after(windows, interval_ms) >= 5 * MARGIN_MS_MIN;
}

/* How late a beat may be received: a fifth of what the windows leave over, a sixtieth of the run.
 */
static enum err margin_choose(const struct sim_plan_config *config, struct sim_timeline *timeline,
                              char *why, size_t why_bytes)
{
    const struct sim_windows *windows = &config->windows;
    int64_t spare = spare_after(windows, config->interval_ms);
    int64_t spare_hidden =
        sim_window_range(windows, windows->hidden_ms).lo - 2 * config->interval_ms;
    if (!sim_plan_interval_fits(windows, config->interval_ms)) {
        snprintf(why, why_bytes,
                 "the alive window (%lld ms) leaves less than %d ms after one interval (%lld ms)",
                 (long long)windows->alive_ms, 5 * MARGIN_MS_MIN, (long long)config->interval_ms);
        return ERR_INVALID;
    }
    if (config->duration_ms < 60 * MARGIN_MS_MIN || config->duration_ms > DURATION_MS_MAX) {
        snprintf(why, why_bytes, "the duration must be %d ms to a day", 60 * MARGIN_MS_MIN);
        return ERR_INVALID;
    }
    timeline->hidden = spare_hidden >= 5 * MARGIN_MS_MIN;
    int64_t margin = least(spare, least(config->interval_ms, windows->leaving_ms));
    margin = timeline->hidden ? least(margin, spare_hidden) : margin;
    margin = least(least(margin / 5, config->duration_ms / 60), MARGIN_MS_MAX);
    timeline->margin_ms = margin < MARGIN_MS_MIN ? MARGIN_MS_MIN : margin;
    return ERR_NONE;
}

static void timeline_make(const struct sim_plan_config *config, struct sim_timeline *timeline)
{
    int64_t margin = timeline->margin_ms, duration = config->duration_ms;
    int64_t spare = spare_after(&config->windows, config->interval_ms);
    /* Who switches leaves a lease behind that ends a leaving window after the switch, or what is
     * left of the alive window: the switches must be over by then. */
    int64_t switches = least(duration / 10, (least(config->windows.leaving_ms, spare)) / 2);
    timeline->joins[0] = (struct sim_stretch){0, duration * 15 / 100};
    timeline->checkpoints[0].from = timeline->joins[0].to + margin * 3 / 2;
    timeline->checkpoints[0].to = timeline->checkpoints[0].from + 2 * margin;
    /* A switch may get a time before it was sent, and that too must come after the room. */
    timeline->joins[1].from = timeline->checkpoints[0].to + margin / 2 + SIM_EARLY_MS + 1;
    timeline->joins[1].to = timeline->joins[1].from + switches;
    timeline->joins[2] = (struct sim_stretch){duration * 70 / 100, duration * 75 / 100};
    timeline->checkpoints[1].from = (timeline->joins[1].to + timeline->joins[2].from) / 2;
    timeline->checkpoints[1].to = timeline->checkpoints[1].from + 2 * margin;
    timeline->checkpoints[2].from = timeline->joins[2].to + margin * 3 / 2;
    timeline->checkpoints[2].to = timeline->checkpoints[2].from + 2 * margin;
    timeline->checkpoints[3] = (struct sim_stretch){duration, duration + 2 * margin};
    ASSERT(timeline->joins[1].to + margin < timeline->checkpoints[1].from);
    ASSERT(timeline->checkpoints[1].to + margin < timeline->joins[2].from);
    ASSERT(timeline->checkpoints[2].to + margin < duration);
}

/* Sorts by time, keeping the order of those of one time: two passes of 16 bits. */
static void sort_by_time(struct sim_plan *plan)
{
    struct sim_beat *other = malloc((plan->beats_count + 1) * sizeof(*other));
    size_t *starts = malloc(65536 * sizeof(*starts));
    ASSERT(other != NULL && starts != NULL);
    for (int shift = 0; shift <= 16; shift += 16) {
        memset(starts, 0, 65536 * sizeof(*starts));
        for (size_t i = 0; i < plan->beats_count; i++) {
            starts[(plan->beats[i].at_ms >> shift) & 0xffff]++;
        }
        size_t sum = 0;
        for (size_t digit = 0; digit < 65536; digit++) {
            size_t count = starts[digit];
            starts[digit] = sum;
            sum += count;
        }
        for (size_t i = 0; i < plan->beats_count; i++) {
            other[starts[(plan->beats[i].at_ms >> shift) & 0xffff]++] = plan->beats[i];
        }
        struct sim_beat *swapped = plan->beats;
        plan->beats = other;
        other = swapped;
    }
    free(other);
    free(starts);
}

static void life_append(struct sim_plan *plan, size_t *max, const struct sim_life *life)
{
    if (plan->beats_count + life->count > *max) {
        *max = (plan->beats_count + life->count) * 3 / 2 + 1024;
        plan->beats = realloc(plan->beats, *max * sizeof(*plan->beats));
        ASSERT(plan->beats != NULL);
    }
    memcpy(plan->beats + plan->beats_count, life->beats, life->count * sizeof(*life->beats));
    plan->beats_count += life->count;
}

static void life_count(struct sim_plan *plan, const struct sim_life *life)
{
    plan->hidden += life->hidden;
    plan->switches += life->switched;
    plan->leaves += life->left;
    plan->stops += life->stopped;
    plan->returns += life->returned;
    plan->second_tabs += life->second_tab;
}

enum err sim_plan_make(const struct sim_plan_config *config, struct sim_plan *plan, char *why,
                       size_t why_bytes)
{
    *plan = (struct sim_plan){.beats = NULL};
    struct sim_timeline timeline = {
        .windows = config->windows,
        .interval_ms = config->interval_ms,
        .duration_ms = config->duration_ms,
        .sessions = config->sessions,
    };
    if (config->viewers == 0 || config->sessions > SIM_PLAN_SESSIONS_MAX) {
        snprintf(why, why_bytes, "viewers must be 1 or more, sessions at most %u",
                 SIM_PLAN_SESSIONS_MAX);
        return ERR_INVALID;
    }
    enum err err = margin_choose(config, &timeline, why, why_bytes);
    if (err != ERR_NONE) {
        return err;
    }
    double beats = (double)config->viewers *
                   ((double)config->duration_ms / (double)config->interval_ms * 1.2 + 2);
    if (beats > SIM_PLAN_BEATS_MAX) {
        snprintf(why, why_bytes, "%.0f heartbeats are more than %u: fewer viewers, or shorter",
                 beats, SIM_PLAN_BEATS_MAX);
        return ERR_INVALID;
    }
    timeline_make(config, &timeline);
    memcpy(plan->joins, timeline.joins, sizeof(plan->joins));
    memcpy(plan->checkpoints, timeline.checkpoints, sizeof(plan->checkpoints));
    plan->margin_ms = timeline.margin_ms;
    plan->country_of = malloc(config->viewers);
    ASSERT(plan->country_of != NULL);
    struct sim_life life = {.beats = NULL};
    uint64_t random = config->seed;
    size_t max = 0;
    for (uint32_t viewer = 0; viewer < config->viewers; viewer++) {
        uint64_t a = sim_random_below(&random, SIM_COUNTRIES);
        uint64_t b = sim_random_below(&random, SIM_COUNTRIES);
        plan->country_of[viewer] = (uint8_t)least((int64_t)a, (int64_t)b);
        plan->plain += !sim_life_draw(&life, &timeline, viewer, &random);
        life_count(plan, &life);
        life_append(plan, &max, &life);
    }
    sim_life_fini(&life);
    sort_by_time(plan);
    return ERR_NONE;
}

void sim_plan_fini(struct sim_plan *plan)
{
    free(plan->beats);
    free(plan->country_of);
    *plan = (struct sim_plan){.beats = NULL};
}

const char *sim_plan_country(uint8_t index)
{
    static const char *const countries[SIM_COUNTRIES] = {"HK", "US", "GB", "DE", "JP", "SG",
                                                         "FR", "IN", "BR", "AU", "TW", "ZA"};
    ASSERT(index < SIM_COUNTRIES);
    return countries[index];
}
