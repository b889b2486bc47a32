#include "cli/sim_life.h"

#include "base/assert.h"

#include <stdlib.h>

#define DRAWS_MAX 40
/* Audiences one viewer gets to: the event, and a session per switch and second tab. */
#define AUDIENCES_MAX 8
#define TURNS_MAX     10

/* ---- is it certain? ---- */

struct known {
    uint32_t audience;
    struct sim_member member;
};

static bool overlaps(struct sim_stretch a, struct sim_stretch b)
{
    return a.from <= b.to && b.from <= a.to;
}

/* May a lease end within [end.from, end.to]?  Not where joins or checkpoints are. */
static bool end_allowed(const struct sim_timeline *timeline, struct sim_stretch end)
{
    for (int i = 0; i < SIM_JOINS; i++) {
        struct sim_stretch join = timeline->joins[i];
        join.from -= SIM_EARLY_MS;
        join.to += timeline->margin_ms;
        if (overlaps(join, end)) {
            return false;
        }
    }
    for (int i = 0; i < SIM_CHECKPOINTS; i++) {
        struct sim_stretch checkpoint = timeline->checkpoints[i];
        checkpoint.from -= timeline->margin_ms / 2;
        checkpoint.to += timeline->margin_ms / 2;
        if (overlaps(checkpoint, end)) {
            return false;
        }
    }
    return true;
}

static bool join_allowed(const struct sim_timeline *timeline, struct sim_stretch join)
{
    for (int i = 0; i < SIM_JOINS; i++) {
        if (join.from >= timeline->joins[i].from - SIM_EARLY_MS &&
            join.to <= timeline->joins[i].to + timeline->margin_ms) {
            return true;
        }
    }
    return false;
}

static struct sim_member *known_find(struct known *known, size_t *count, uint32_t audience)
{
    for (size_t i = 0; i < *count; i++) {
        if (known[i].audience == audience) {
            return &known[i].member;
        }
    }
    ASSERT(*count < AUDIENCES_MAX);
    known[*count].audience = audience;
    sim_member_init(&known[*count].member);
    return &known[(*count)++].member;
}

/* One beat in one audience: is all that it does certain? */
static bool beat_certain(const struct sim_timeline *timeline, struct sim_member *member,
                         const struct sim_beat *beat)
{
    bool first = !member->maybe_joined;
    struct sim_range at = {(int64_t)beat->at_ms - SIM_EARLY_MS, beat->at_ms + timeline->margin_ms};
    struct sim_member_step step = sim_member_beat(member, &timeline->windows,
                                                  (enum sim_beat_kind)beat->kind, at, SIM_COUNTED);
    if (member->unclear || step.sure_closed != step.maybe_closed) {
        return false;
    }
    if (beat->kind == SIM_LEAVING) {
        return true;
    }
    if (step.sure_closed &&
        !end_allowed(timeline, (struct sim_stretch){step.sure.to, step.maybe.to})) {
        return false;
    }
    if (first || step.sure_closed) {
        return join_allowed(timeline, (struct sim_stretch){member->maybe.from, member->sure.from});
    }
    return true;
}

bool sim_life_certain(const struct sim_life *life, const struct sim_timeline *timeline)
{
    struct known known[AUDIENCES_MAX];
    size_t count = 0;
    for (size_t i = 0; i < life->count; i++) {
        const struct sim_beat *beat = &life->beats[i];
        if (!beat_certain(timeline, known_find(known, &count, 0), beat)) {
            return false;
        }
        if (beat->session != 0 &&
            !beat_certain(timeline, known_find(known, &count, beat->session), beat)) {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct sim_member *member = &known[i].member;
        if (member->maybe_joined &&
            !end_allowed(timeline, (struct sim_stretch){member->sure.to, member->maybe.to})) {
            return false;
        }
    }
    return true;
}

/* ---- from turns to beats ---- */

/* What one tab does next.  SHOW: it shows a session, and beats at once and then by its timer. */
struct turn {
    enum { TURN_SHOW, TURN_LEAVE, TURN_STOP } act;
    int64_t at_ms;
    uint16_t session;
    bool hidden;
};

struct tab {
    struct turn turns[TURNS_MAX];
    size_t count;
};

static void turn_add(struct tab *tab, struct turn turn)
{
    ASSERT(tab->count < TURNS_MAX);
    ASSERT(tab->count == 0 || tab->turns[tab->count - 1].at_ms <= turn.at_ms);
    tab->turns[tab->count++] = turn;
}

static void beat_add(struct sim_life *life, struct sim_beat beat)
{
    if (life->count == life->max) {
        life->max = life->max == 0 ? 64 : life->max * 2;
        life->beats = realloc(life->beats, life->max * sizeof(*life->beats));
        ASSERT(life->beats != NULL);
    }
    life->beats[life->count++] = beat;
}

static void tab_emit(struct sim_life *life, const struct sim_timeline *timeline,
                     const struct tab *tab, struct sim_beat beat, uint64_t *random)
{
    for (size_t i = 0; i < tab->count; i++) {
        const struct turn *turn = &tab->turns[i];
        int64_t until = i + 1 < tab->count ? tab->turns[i + 1].at_ms : timeline->duration_ms;
        if (turn->act == TURN_LEAVE) {
            beat.at_ms = (uint32_t)turn->at_ms;
            beat.kind = SIM_LEAVING;
            beat_add(life, beat);
        }
        if (turn->act != TURN_SHOW) {
            continue;
        }
        beat.session = turn->session;
        beat.kind = turn->hidden ? SIM_HIDDEN : SIM_VISIBLE;
        int64_t period = turn->hidden ? 2 * timeline->interval_ms : timeline->interval_ms;
        int64_t at = turn->at_ms;
        do { /* the first at once, even if the next turn follows in the same millisecond */
            beat.at_ms = (uint32_t)at;
            beat_add(life, beat);
            at += period - (int64_t)sim_random_below(random, (uint64_t)(period / 20 + 1));
        } while (at < until);
    }
}

/* Orders the beats of two tabs, [0, middle) and the rest, by time. */
static void tabs_merge(struct sim_life *life, size_t middle)
{
    size_t count = life->count, left = 0, right = middle;
    if (middle == count) {
        return;
    }
    struct sim_beat *merged = malloc(count * sizeof(*merged));
    ASSERT(merged != NULL);
    for (size_t i = 0; i < count; i++) {
        bool take_left = right == count ||
                         (left < middle && life->beats[left].at_ms <= life->beats[right].at_ms);
        merged[i] = life->beats[take_left ? left++ : right++];
    }
    free(life->beats);
    life->beats = merged;
    life->max = count;
}

/* ---- drawing ---- */

static bool chance(uint64_t *random, uint32_t percent)
{
    return sim_random_below(random, 100) < percent;
}

/* A moment of [from, to). */
static int64_t moment(uint64_t *random, int64_t from, int64_t to)
{
    return from >= to ? from : from + (int64_t)sim_random_below(random, (uint64_t)(to - from));
}

static int64_t moment_in(uint64_t *random, struct sim_stretch stretch)
{
    return moment(random, stretch.from, stretch.to);
}

/* Some sessions are more popular than others; one page in ten shows none. */
static uint16_t draw_session(const struct sim_timeline *timeline, uint64_t *random)
{
    if (timeline->sessions == 0 || chance(random, 10)) {
        return 0;
    }
    uint64_t a = sim_random_below(random, timeline->sessions);
    uint64_t b = sim_random_below(random, timeline->sessions);
    return (uint16_t)(1 + (a < b ? a : b));
}

/* The tab goes away, with or without a word. */
static void draw_departure(struct sim_life *life, struct tab *tab, struct turn now,
                           uint64_t *random)
{
    bool leave = chance(random, 55);
    now.act = leave ? TURN_LEAVE : TURN_STOP;
    turn_add(tab, now);
    life->left = life->left || leave;
    life->stopped = life->stopped || !leave;
}

/* When one who will return goes: half of them early enough that the viewing gap passes. */
static int64_t draw_pause(const struct sim_timeline *timeline, int64_t from, uint64_t *random)
{
    int64_t to = timeline->joins[2].from;
    int64_t far = to - timeline->windows.gap_ms * 102 / 100 - 2 * timeline->margin_ms;
    return chance(random, 50) && far > from ? moment(random, from, far) : moment(random, from, to);
}

static void draw_first_tab(struct sim_life *life, const struct sim_timeline *timeline,
                           struct tab *tab, uint64_t *random)
{
    bool late = chance(random, 12);
    struct turn now = {
        .act = TURN_SHOW,
        .at_ms = moment_in(random, timeline->joins[late ? 2 : 0]),
        .session = draw_session(timeline, random),
        .hidden = timeline->hidden && chance(random, 12),
    };
    turn_add(tab, now);
    life->hidden = now.hidden;
    if (!late && chance(random, 20)) {
        uint16_t other = draw_session(timeline, random);
        now.at_ms = moment_in(random, timeline->joins[1]);
        if (other != now.session) {
            if (chance(random, 50)) { /* the old page says that it goes */
                now.act = TURN_LEAVE;
                turn_add(tab, now);
                now.act = TURN_SHOW;
            }
            now.session = other;
            turn_add(tab, now);
            life->switched = true;
        }
    }
    int64_t settled = late ? timeline->joins[2].to : timeline->joins[1].to;
    if (timeline->hidden && chance(random, 12)) {
        now.at_ms = moment(random, settled, timeline->duration_ms);
        now.hidden = !now.hidden;
        turn_add(tab, now);
        settled = now.at_ms;
        life->hidden = true;
    }
    if (!late && settled < timeline->joins[2].from && chance(random, 20)) {
        struct turn back = now;
        now.at_ms = draw_pause(timeline, settled, random);
        draw_departure(life, tab, now, random);
        back.at_ms = moment_in(random, timeline->joins[2]);
        turn_add(tab, back);
        life->returned = true;
    } else if (chance(random, 40)) {
        now.at_ms = moment(random, settled, timeline->duration_ms);
        draw_departure(life, tab, now, random);
    }
}

/* Opened beside the first one, among the arrivals or the switches. */
static void draw_second_tab(struct sim_life *life, const struct sim_timeline *timeline,
                            struct tab *tab, uint64_t *random)
{
    struct turn now = {
        .act = TURN_SHOW,
        .at_ms = moment_in(random, timeline->joins[chance(random, 50)]),
        .session = draw_session(timeline, random),
        .hidden = timeline->hidden && chance(random, 25),
    };
    turn_add(tab, now);
    life->second_tab = true;
    if (chance(random, 70)) {
        now.at_ms = moment(random, timeline->joins[1].to, timeline->duration_ms);
        draw_departure(life, tab, now, random);
    }
}

static void life_clear(struct sim_life *life)
{
    *life = (struct sim_life){.beats = life->beats, .max = life->max};
}

bool sim_life_draw(struct sim_life *life, const struct sim_timeline *timeline, uint32_t viewer,
                   uint64_t *random)
{
    for (int draw = 0; draw < DRAWS_MAX; draw++) {
        life_clear(life);
        struct tab first = {.count = 0}, second = {.count = 0};
        draw_first_tab(life, timeline, &first, random);
        tab_emit(life, timeline, &first, (struct sim_beat){.viewer = viewer}, random);
        if (chance(random, 10)) {
            size_t middle = life->count;
            draw_second_tab(life, timeline, &second, random);
            tab_emit(life, timeline, &second, (struct sim_beat){.viewer = viewer, .tab = 1},
                     random);
            tabs_merge(life, middle);
        }
        if (sim_life_certain(life, timeline)) {
            return true;
        }
    }
    life_clear(life);
    struct tab plain = {.count = 0};
    turn_add(&plain, (struct turn){.act = TURN_SHOW,
                                   .at_ms = moment_in(random, timeline->joins[0]),
                                   .session = draw_session(timeline, random)});
    tab_emit(life, timeline, &plain, (struct sim_beat){.viewer = viewer}, random);
    ASSERT(sim_life_certain(life, timeline));
    return false;
}

void sim_life_fini(struct sim_life *life)
{
    free(life->beats);
    *life = (struct sim_life){.beats = NULL};
}
