/* The reference's ranges against a naive reference that knows the server's times, and the plan's
 * promise: every figure at every checkpoint is certain. */
#include "tap.h"

#include "cli/sim_plan.h"
#include "cli/sim_reference.h"

#include <string.h>

/* ---- the naive reference: one viewer and audience is a row; semantics 1 to 5 word for word ----
 */

#define AUDIENCES_MAX 8
#define VIEWERS_MAX   256
#define VIEWINGS_MAX  64

struct row {
    int64_t starts[VIEWINGS_MAX], ends[VIEWINGS_MAX];
    int viewings;
};

struct naive {
    struct sim_windows windows;
    int64_t expiry[AUDIENCES_MAX][VIEWERS_MAX];
    int64_t peak[AUDIENCES_MAX], peak_at[AUDIENCES_MAX];
    struct row rows[AUDIENCES_MAX][VIEWERS_MAX];
};

#define NEVER INT64_MIN

static int64_t naive_active(const struct naive *naive, uint32_t audience, int64_t now)
{
    int64_t alive = 0;
    for (size_t viewer = 0; viewer < VIEWERS_MAX; viewer++) {
        alive += now <= naive->expiry[audience][viewer];
    }
    return alive;
}

static void naive_audience(struct naive *naive, uint32_t viewer, uint32_t audience,
                           enum sim_beat_kind kind, int64_t now)
{
    assert_true(viewer < VIEWERS_MAX && audience < AUDIENCES_MAX);
    struct row *row = &naive->rows[audience][viewer];
    int64_t *expiry = &naive->expiry[audience][viewer];
    const struct sim_windows *windows = &naive->windows;
    bool same = row->viewings > 0 && now - row->ends[row->viewings - 1] <= windows->gap_ms;
    if (kind == SIM_LEAVING) {
        if (now + windows->leaving_ms < *expiry) {
            *expiry = now + windows->leaving_ms;
        }
        if (same) {
            row->ends[row->viewings - 1] = now;
        }
        return;
    }
    *expiry = now + (kind == SIM_HIDDEN ? windows->hidden_ms : windows->alive_ms);
    if (!same) {
        assert_true(row->viewings < VIEWINGS_MAX);
        row->starts[row->viewings++] = now;
    }
    row->ends[row->viewings - 1] = now;
    int64_t alive = naive_active(naive, audience, now);
    if (alive > naive->peak[audience]) {
        naive->peak[audience] = alive;
        naive->peak_at[audience] = now;
    }
}

static void naive_beat(struct naive *naive, uint32_t viewer, uint32_t session,
                       enum sim_beat_kind kind, int64_t now)
{
    naive_audience(naive, viewer, 0, kind, now);
    if (session != 0) {
        naive_audience(naive, viewer, session, kind, now);
    }
}

static struct naive *naive_new(const struct sim_windows *windows)
{
    struct naive *naive = calloc(1, sizeof(*naive));
    assert_non_null(naive);
    naive->windows = *windows;
    for (size_t i = 0; i < AUDIENCES_MAX * VIEWERS_MAX; i++) {
        naive->expiry[i / VIEWERS_MAX][i % VIEWERS_MAX] = NEVER;
    }
    return naive;
}

/* ---- comparing ---- */

static void expect_range(struct sim_range range, int64_t value, bool exact)
{
    assert_true(range.lo <= value && value <= range.hi);
    if (exact) {
        assert_int_equal(range.lo, range.hi);
    }
}

/* What was true at `asked`; of it is known that it was within `ask`. */
static void compare_active(const struct sim_reference *reference, const struct naive *naive,
                           uint32_t audiences, struct sim_range ask, int64_t asked, bool exact)
{
    for (uint32_t audience = 0; audience < audiences; audience++) {
        expect_range(sim_reference_active(reference, audience, ask),
                     naive_active(naive, audience, asked), exact);
    }
}

static void compare_viewings(const struct sim_reference *reference, uint32_t viewer,
                             uint32_t audience, const struct row *row)
{
    struct sim_span spans[VIEWINGS_MAX];
    struct sim_range count;
    bool clear = sim_reference_viewings(reference, viewer, audience, spans, VIEWINGS_MAX, &count);
    expect_range(count, row->viewings, clear);
    for (int i = 0; clear && i < row->viewings; i++) {
        expect_range(spans[i].start, row->starts[i], false);
        expect_range(spans[i].end, row->ends[i], false);
    }
}

static void compare_lasting(const struct sim_reference *reference, const struct naive *naive,
                            uint32_t viewers, uint32_t audiences, bool exact)
{
    for (uint32_t audience = 0; audience < audiences; audience++) {
        int64_t attended = 0, logins = 0, viewing_ms = 0;
        for (uint32_t viewer = 0; viewer < viewers; viewer++) {
            const struct row *row = &naive->rows[audience][viewer];
            attended += row->viewings > 0;
            logins += row->viewings;
            for (int k = 0; k < row->viewings; k++) {
                viewing_ms += row->ends[k] - row->starts[k];
            }
            compare_viewings(reference, viewer, audience, row);
        }
        struct sim_range total;
        struct sim_peak peak = sim_reference_peak(reference, audience);
        expect_range(sim_reference_attended(reference, audience), attended, exact);
        expect_range(sim_reference_logins(reference, audience), logins, exact);
        expect_range(peak.count, naive->peak[audience], exact);
        if (peak.count.lo > 0) {
            expect_range(peak.at, naive->peak_at[audience], false);
        }
        bool clear = sim_reference_viewing_ms(reference, audience, &total);
        assert_true(clear || !exact);
        if (clear) {
            expect_range(total, viewing_ms, false);
        }
    }
}

/* Random heartbeats, received anywhere between sent and answered, some lost before or after they
 * were counted.  Whatever the ranges say, the truth is inside. */
static void reference_round(uint64_t *random, bool known)
{
    struct sim_windows windows = {.alive_ms = 20 + (int64_t)sim_random_below(random, 80),
                                  .leaving_ms = 5 + (int64_t)sim_random_below(random, 40)};
    windows.hidden_ms = windows.alive_ms + (int64_t)sim_random_below(random, 80);
    windows.gap_ms = windows.hidden_ms + (int64_t)sim_random_below(random, 60);
    struct naive *naive = naive_new(&windows);
    struct sim_reference *reference = sim_reference_new(&windows, 6, 3);
    /* With known times, hidden would still be open: whether a shorter lease may replace it. */
    uint32_t kinds = known ? 1 : 2;
    int64_t now = 1000;
    for (int i = 0; i < 300; i++) {
        uint32_t viewer = (uint32_t)sim_random_below(random, 6);
        uint32_t session = (uint32_t)sim_random_below(random, 4);
        enum sim_beat_kind kind = sim_random_below(random, 8) == 0
                                      ? SIM_LEAVING
                                      : (enum sim_beat_kind)sim_random_below(random, kinds);
        now += (int64_t)sim_random_below(random, sim_random_below(random, 10) == 0 ? 150 : 12);
        int64_t before = known ? 0 : (int64_t)sim_random_below(random, 8);
        int64_t after = known ? 0 : (int64_t)sim_random_below(random, 8);
        struct sim_range at = {now - before, now + after};
        bool lost = !known && sim_random_below(random, 6) == 0;
        bool received = !lost || sim_random_below(random, 2) == 0;
        if (received) {
            naive_beat(naive, viewer, session, kind, now);
        }
        sim_reference_beat(reference, viewer, session, kind, at,
                           lost ? SIM_UNCERTAIN : SIM_COUNTED);
        compare_active(reference, naive, 4, (struct sim_range){now, now + after}, now, false);
        now += after;
    }
    compare_lasting(reference, naive, 6, 4, false);
    if (known) { /* the ranges differ from a point only by the millisecond of rounding */
        for (uint32_t audience = 0; audience < 4; audience++) {
            struct sim_range attended = sim_reference_attended(reference, audience);
            assert_int_equal(attended.lo, attended.hi);
        }
    }
    sim_reference_free(reference);
    free(naive);
}

static void test_reference_holds_the_truth(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    for (int round = 0; round < 400; round++) {
        reference_round(&random, round % 4 == 0);
    }
}

/* One viewer, by hand: the ranges are as narrow as they can be. */
static void test_reference_is_tight(void **state)
{
    (void)state;
    struct sim_windows windows = {
        .alive_ms = 100, .hidden_ms = 200, .leaving_ms = 50, .gap_ms = 300};
    struct sim_reference *reference = sim_reference_new(&windows, 2, 1);
    sim_reference_beat(reference, 0, 1, SIM_VISIBLE, (struct sim_range){1000, 1010}, SIM_COUNTED);
    const struct {
        struct sim_range ask, alive;
    } cases[] = {
        {{990, 999}, {0, 0}},   {{1000, 1009}, {0, 1}}, {{1010, 1100}, {1, 1}},
        {{1100, 1101}, {0, 1}}, {{1111, 1111}, {0, 1}}, {{1112, 1112}, {0, 0}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sim_range alive = sim_reference_active(reference, 1, cases[i].ask);
        assert_int_equal(alive.lo, cases[i].alive.lo);
        assert_int_equal(alive.hi, cases[i].alive.hi);
    }
    /* Alive together for certain: the peak is 2, at the second one's arrival. */
    sim_reference_beat(reference, 1, 0, SIM_VISIBLE, (struct sim_range){1050, 1060}, SIM_COUNTED);
    struct sim_peak peak = sim_reference_peak(reference, 0);
    assert_int_equal(peak.count.lo, 2);
    assert_int_equal(peak.count.hi, 2);
    assert_int_equal(peak.at.lo, 1050);
    assert_int_equal(peak.at.hi, 1060);
    /* A second viewing is certain only beyond the gap. */
    sim_reference_beat(reference, 0, 0, SIM_VISIBLE, (struct sim_range){1305, 1308}, SIM_COUNTED);
    struct sim_range logins = sim_reference_logins(reference, 0);
    assert_int_equal(logins.lo, 2);
    assert_int_equal(logins.hi, 3);
    sim_reference_beat(reference, 1, 0, SIM_VISIBLE, (struct sim_range){1362, 1362}, SIM_COUNTED);
    logins = sim_reference_logins(reference, 0);
    assert_int_equal(logins.lo, 3);
    assert_int_equal(logins.hi, 4);
    /* Sent and never answered: it may count. */
    sim_reference_beat(reference, 1, 1, SIM_VISIBLE, (struct sim_range){1400, 1410}, SIM_UNCERTAIN);
    struct sim_range attended = sim_reference_attended(reference, 1);
    assert_int_equal(attended.lo, 1);
    assert_int_equal(attended.hi, 2);
    sim_reference_free(reference);
}

/* ---- the plan ---- */

/* When heartbeats get to the server and their answers back.  All keep the plan's margin. */
enum lateness {
    LATE_NEVER,  /* at once, by a clock that the server read as long before as it may */
    LATE_ALWAYS, /* at the last moment */
    LATE_RANDOM, /* at random moments in between */
};

struct arrival {
    struct sim_range known; /* what the client knows of it: sent and answered */
    int64_t received;
};

/* One plan on its way through both references. */
struct play {
    const struct sim_plan *plan;
    struct arrival *arrivals; /* by beat */
    struct naive *naive;
    struct sim_reference *reference;
    uint32_t viewers, audiences;
    size_t received, answered; /* so many beats the naive one has, and the reference */
};

/* The server receives heartbeats in the order of the plan, and a viewer's next one is sent after
 * the answer to the one before. */
static void arrivals_draw(struct play *play, enum lateness lateness, uint64_t *random)
{
    int64_t received = -SIM_EARLY_MS;
    int64_t *free_at = calloc(play->viewers, sizeof(*free_at));
    assert_non_null(free_at);
    for (size_t i = 0; i < play->plan->beats_count; i++) {
        const struct sim_beat *beat = &play->plan->beats[i];
        int64_t due = beat->at_ms, last = due + play->plan->margin_ms, sent = due, done = last;
        switch (lateness) {
        case LATE_NEVER:
            received = due - SIM_EARLY_MS;
            done = due;
            break;
        case LATE_ALWAYS:
            received = last;
            break;
        case LATE_RANDOM:
            received = received > due ? received : due;
            assert_true(received <= last);
            received += (int64_t)sim_random_below(random, (uint64_t)(last - received) / 4 + 1);
            sent = due > free_at[beat->viewer] ? due : free_at[beat->viewer];
            sent = sent > received ? received : sent;
            done = received + (int64_t)sim_random_below(random, (uint64_t)(last - received) + 1);
            break;
        }
        free_at[beat->viewer] = done;
        play->arrivals[i] = (struct arrival){{sent - SIM_EARLY_MS, done}, received};
    }
    free(free_at);
}

static void play_begin(struct play *play, const struct sim_plan_config *config,
                       const struct sim_plan *plan, enum lateness lateness, uint64_t *random)
{
    *play = (struct play){
        .plan = plan,
        .arrivals = malloc((plan->beats_count + 1) * sizeof(*play->arrivals)),
        .naive = naive_new(&config->windows),
        .reference = sim_reference_new(&config->windows, config->viewers, config->sessions),
        .viewers = config->viewers,
        .audiences = config->sessions + 1,
    };
    assert_non_null(play->arrivals);
    arrivals_draw(play, lateness, random);
}

/* To the moment `asked`.  The server has counted what it received by then, and no more.  The client
 * compares later, when what it had sent by then is answered; so the reference also has heartbeats
 * that were under way. */
static void play_to(struct play *play, int64_t asked)
{
    size_t count = play->plan->beats_count;
    for (; play->received < count && play->arrivals[play->received].received <= asked;
         play->received++) {
        const struct sim_beat *beat = &play->plan->beats[play->received];
        naive_beat(play->naive, beat->viewer, beat->session, (enum sim_beat_kind)beat->kind,
                   play->arrivals[play->received].received);
    }
    for (; play->answered < count &&
           (int64_t)play->plan->beats[play->answered].at_ms - SIM_EARLY_MS <= asked;
         play->answered++) {
        const struct sim_beat *beat = &play->plan->beats[play->answered];
        sim_reference_beat(play->reference, beat->viewer, beat->session,
                           (enum sim_beat_kind)beat->kind, play->arrivals[play->answered].known,
                           SIM_COUNTED);
    }
}

static void play_end(struct play *play)
{
    play_to(play, INT64_MAX);
    assert_int_equal(play->received, play->plan->beats_count);
    assert_int_equal(play->answered, play->plan->beats_count);
    compare_lasting(play->reference, play->naive, play->viewers, play->audiences, true);
    sim_reference_free(play->reference);
    free(play->naive);
    free(play->arrivals);
}

/* Asks within every checkpoint and in the room around it, at points and at a moment of which only
 * this is known. */
static void plan_play(const struct sim_plan_config *config, const struct sim_plan *plan,
                      enum lateness lateness, uint64_t *random)
{
    struct play play;
    play_begin(&play, config, plan, lateness, random);
    for (int checkpoint = 0; checkpoint < SIM_CHECKPOINTS; checkpoint++) {
        struct sim_range room = {plan->checkpoints[checkpoint].from - plan->margin_ms / 2,
                                 plan->checkpoints[checkpoint].to + plan->margin_ms / 2};
        int64_t between = (int64_t)sim_random_below(random, (uint64_t)(room.hi - room.lo));
        int64_t moments[] = {room.lo, room.lo + between, room.hi};
        for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
            struct sim_range ask = {moments[i], moments[i]};
            play_to(&play, moments[i]);
            compare_active(play.reference, play.naive, play.audiences, ask, moments[i], true);
        }
        compare_active(play.reference, play.naive, play.audiences, room, room.hi, true);
    }
    play_end(&play);
}

static const struct sim_plan_config plan_settings[] = {
    /* The defaults for a minute, for three seconds' windows, for ten minutes; tight ones. */
    {{65000, 125000, 35000, 150000, 10}, 30000, 60000, 150, 4, 0},
    {{3000, 6000, 1500, 8000, 10}, 1000, 20000, 200, 5, 0},
    {{65000, 125000, 35000, 150000, 10}, 30000, 600000, 120, 3, 0},
    {{1000, 1900, 600, 2500, 10}, 400, 8000, 100, 0, 0},
    {{700, 900, 100, 900, 10}, 500, 30000, 80, 2, 0},
};

static void test_plan_is_certain(void **state)
{
    (void)state;
    uint64_t random = tap_seed();
    char why[200];
    for (size_t i = 0; i < sizeof(plan_settings) / sizeof(plan_settings[0]); i++) {
        uint32_t plain = 0, viewers = 0;
        for (int round = 0; round < 12; round++) {
            struct sim_plan_config config = plan_settings[i];
            struct sim_plan plan;
            config.seed = sim_random(&random);
            assert_int_equal(sim_plan_make(&config, &plan, why, sizeof(why)), ERR_NONE);
            plan_play(&config, &plan, LATE_RANDOM, &random);
            plain += plan.plain;
            viewers += config.viewers;
            sim_plan_fini(&plan);
        }
        assert_true(plain * 10 <= viewers); /* certainty is not bought with dull lives */
    }
}

/* The ends of what the margin allows, with plans in which leases end soon after a checkpoint and
 * heartbeats are received soon after it: two came from seeds with which this test's predecessor
 * failed, since it asked when the last of those was received, after the checkpoint. */
static void test_plan_is_certain_at_its_margins(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {2784677092823920139u, 7811462320312048645u, 1, 2, 3, 4, 5, 6};
    uint64_t random = 1;
    char why[200];
    for (size_t i = 0; i < sizeof(plan_settings) / sizeof(plan_settings[0]); i++) {
        for (size_t k = 0; k < sizeof(seeds) / sizeof(seeds[0]); k++) {
            struct sim_plan_config config = plan_settings[i];
            struct sim_plan plan;
            config.seed = seeds[k];
            assert_int_equal(sim_plan_make(&config, &plan, why, sizeof(why)), ERR_NONE);
            plan_play(&config, &plan, LATE_NEVER, &random);
            plan_play(&config, &plan, LATE_ALWAYS, &random);
            plan_play(&config, &plan, LATE_RANDOM, &random);
            sim_plan_fini(&plan);
        }
    }
}

/* What is asked after a checkpoint may meet the end of a lease: a range of more than one value, and
 * the truth is within.  So an answer that comes late cannot make a right server look wrong. */
static void test_plan_asked_late_is_a_range(void **state)
{
    (void)state;
    struct sim_plan_config config = plan_settings[1];
    struct sim_plan plan;
    struct play play;
    char why[200];
    uint64_t random = 1;
    config.seed = 2784677092823920139u;
    assert_int_equal(sim_plan_make(&config, &plan, why, sizeof(why)), ERR_NONE);
    play_begin(&play, &config, &plan, LATE_ALWAYS, &random);
    int wide = 0;
    struct sim_stretch within = plan.checkpoints[2];
    for (int64_t asked = within.from; asked <= within.to + 2 * plan.margin_ms; asked++) {
        bool exact = asked <= within.to + plan.margin_ms / 2; /* room for the clocks' difference */
        play_to(&play, asked);
        compare_active(play.reference, play.naive, play.audiences, (struct sim_range){asked, asked},
                       asked, exact);
        struct sim_range active =
            sim_reference_active(play.reference, 0, (struct sim_range){asked, asked});
        wide += active.lo != active.hi;
    }
    assert_true(wide > 0);
    play_end(&play);
    sim_plan_fini(&plan);
}

/* A plan is certain, and yet has all of it: departures, second viewings, a peak that comes late. */
static void test_plan_shows_what_happens(void **state)
{
    (void)state;
    char why[200];
    struct sim_plan plan;
    struct sim_plan_config config = plan_settings[1];
    config.viewers = 3000;
    config.seed = 7;
    assert_int_equal(sim_plan_make(&config, &plan, why, sizeof(why)), ERR_NONE);
    assert_true(plan.hidden > 100 && plan.switches > 100 && plan.leaves > 100);
    assert_true(plan.stops > 100 && plan.returns > 100 && plan.second_tabs > 100);
    struct sim_reference *reference =
        sim_reference_new(&config.windows, config.viewers, config.sessions);
    for (size_t i = 0; i < plan.beats_count; i++) {
        const struct sim_beat *beat = &plan.beats[i];
        assert_true(i == 0 || plan.beats[i - 1].at_ms <= beat->at_ms);
        assert_true(beat->at_ms < config.duration_ms);
        sim_reference_beat(reference, beat->viewer, beat->session, (enum sim_beat_kind)beat->kind,
                           (struct sim_range){beat->at_ms, beat->at_ms}, SIM_COUNTED);
    }
    struct sim_range attended = sim_reference_attended(reference, 0);
    struct sim_range logins = sim_reference_logins(reference, 0);
    struct sim_range last = sim_reference_active(
        reference, 0, (struct sim_range){config.duration_ms, config.duration_ms});
    struct sim_peak peak = sim_reference_peak(reference, 0);
    assert_int_equal(attended.lo, config.viewers);
    assert_true(logins.lo > attended.lo + 50);  /* second viewings */
    assert_true(last.lo < peak.count.lo - 300); /* departures */
    assert_true(peak.count.lo < attended.lo);   /* late arrivals after departures */
    sim_reference_free(reference);
    sim_plan_fini(&plan);
}

static void test_plan_is_its_seed(void **state)
{
    (void)state;
    char why[200];
    struct sim_plan first, same, other;
    struct sim_plan_config config = plan_settings[1];
    assert_int_equal(sim_plan_make(&config, &first, why, sizeof(why)), ERR_NONE);
    assert_int_equal(sim_plan_make(&config, &same, why, sizeof(why)), ERR_NONE);
    config.seed++;
    assert_int_equal(sim_plan_make(&config, &other, why, sizeof(why)), ERR_NONE);
    assert_int_equal(first.beats_count, same.beats_count);
    assert_memory_equal(first.beats, same.beats, first.beats_count * sizeof(*first.beats));
    assert_true(first.beats_count != other.beats_count ||
                memcmp(first.beats, other.beats, first.beats_count * sizeof(*first.beats)) != 0);
    sim_plan_fini(&first);
    sim_plan_fini(&same);
    sim_plan_fini(&other);
}

static void test_plan_refuses(void **state)
{
    (void)state;
    char why[200];
    struct sim_plan plan;
    struct sim_plan_config config = plan_settings[1];
    config.windows.alive_ms = config.interval_ms + 50;
    assert_int_equal(sim_plan_make(&config, &plan, why, sizeof(why)), ERR_INVALID);
    config = plan_settings[1];
    config.duration_ms = 1000;
    assert_int_equal(sim_plan_make(&config, &plan, why, sizeof(why)), ERR_INVALID);
    config = plan_settings[1];
    config.viewers = 1u << 30;
    assert_int_equal(sim_plan_make(&config, &plan, why, sizeof(why)), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_holds_the_truth),
        cmocka_unit_test(test_reference_is_tight),
        cmocka_unit_test(test_plan_is_certain),
        cmocka_unit_test(test_plan_is_certain_at_its_margins),
        cmocka_unit_test(test_plan_asked_late_is_a_range),
        cmocka_unit_test(test_plan_shows_what_happens),
        cmocka_unit_test(test_plan_is_its_seed),
        cmocka_unit_test(test_plan_refuses),
    };
    return tap_run(tests);
}
