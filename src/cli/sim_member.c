#include "cli/sim_member.h"

#include "base/assert.h"

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t most(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

void sim_member_init(struct sim_member *member)
{
    *member = (struct sim_member){
        .sure = SIM_NO_STRETCH,
        .maybe = SIM_NO_STRETCH,
        .sure_before = SIM_NO_STRETCH,
        .maybe_before = SIM_NO_STRETCH,
    };
}

struct sim_range sim_window_range(const struct sim_windows *windows, int64_t window_ms)
{
    int64_t drift = window_ms * windows->drift_permille / 1000;
    /* The server compares whole milliseconds: floor(T) - floor(t) is less than T - t + 1 and more
     * than T - t - 1.  So "at most the window" is certain up to the window, and impossible from one
     * millisecond after it. */
    return (struct sim_range){window_ms - drift, window_ms + drift + 1};
}

static bool is_stretch(struct sim_stretch stretch)
{
    return stretch.from <= stretch.to;
}

/* The lease of a heartbeat that was counted at some moment of `at`. */
static void presence_renew(struct sim_member *member, struct sim_range at, struct sim_range window,
                           enum sim_outcome outcome, struct sim_member_step *step)
{
    if (member->maybe_joined && at.lo <= member->maybe.to) {
        member->maybe.to = most(member->maybe.to, at.hi + window.hi);
    } else {
        if (is_stretch(member->maybe)) {
            step->maybe_closed = true;
            step->maybe = member->maybe;
            member->maybe_before = member->maybe;
        }
        member->maybe = (struct sim_stretch){at.lo, at.hi + window.hi};
    }
    if (outcome == SIM_UNCERTAIN) {
        /* If it came, it may have replaced a longer lease. */
        member->sure.to = least(member->sure.to, at.lo + window.lo);
        return;
    }
    if (is_stretch(member->sure) && at.hi <= member->sure.to) {
        member->sure.to = at.lo + window.lo;
        return;
    }
    if (is_stretch(member->sure)) {
        step->sure_closed = true;
        step->sure = member->sure;
        member->sure_before = member->sure;
    }
    member->sure = (struct sim_stretch){at.hi, at.lo + window.lo};
}

static void presence_leave(struct sim_member *member, struct sim_range at, struct sim_range window,
                           enum sim_outcome outcome)
{
    if (is_stretch(member->sure)) {
        member->sure.to = least(member->sure.to, at.lo + window.lo);
    }
    if (outcome == SIM_COUNTED && is_stretch(member->maybe)) {
        member->maybe.to = least(member->maybe.to, at.hi + window.hi);
    }
}

/* How long after the end of the latest viewing. */
static struct sim_range distance(const struct sim_member *member, struct sim_range at)
{
    return (struct sim_range){at.lo - member->latest.end.hi, at.hi - member->latest.end.lo};
}

static void viewing_counted(struct sim_member *member, struct sim_range at, struct sim_range gap,
                            struct sim_member_step *step)
{
    struct sim_range since = distance(member, at);
    bool surely_same = since.hi <= gap.lo;
    bool surely_new = since.lo >= gap.hi;
    if (!member->maybe_joined || (surely_new && member->sure_joined)) {
        if (member->maybe_joined) {
            step->viewing_closed = true;
            step->viewing = member->latest;
        }
        member->latest = (struct sim_span){at, at};
        member->viewings.lo++;
        member->viewings.hi++;
        return;
    }
    /* Either it continues the latest viewing, or that one is over, or (when nothing was ever
     * acknowledged) there is none. */
    member->viewings.lo = most(member->viewings.lo, 1);
    if (!surely_same) {
        member->viewings.hi++;
        member->unclear = true;
    }
    if (!surely_same || !member->sure_joined) {
        member->latest.start.hi = at.hi;
    }
    member->latest.end = at;
}

static void viewing_uncertain(struct sim_member *member, struct sim_range at, struct sim_range gap)
{
    if (!member->maybe_joined) {
        member->latest = (struct sim_span){at, at};
        member->viewings.hi++;
        return;
    }
    if (distance(member, at).hi > gap.lo) {
        member->viewings.hi++;
        member->unclear = true;
        member->latest.start.hi = at.hi;
    }
    member->latest.end.hi = at.hi;
}

static void viewing_leave(struct sim_member *member, struct sim_range at, struct sim_range gap,
                          enum sim_outcome outcome)
{
    if (!member->maybe_joined || distance(member, at).lo >= gap.hi) {
        return;
    }
    bool surely =
        outcome == SIM_COUNTED && member->sure_joined && distance(member, at).hi <= gap.lo;
    member->latest.end.lo = surely ? at.lo : member->latest.end.lo;
    member->latest.end.hi = at.hi;
}

struct sim_member_step sim_member_beat(struct sim_member *member, const struct sim_windows *windows,
                                       enum sim_beat_kind kind, struct sim_range at,
                                       enum sim_outcome outcome)
{
    ASSERT(at.lo <= at.hi);
    struct sim_member_step step = {.sure_closed = false};
    struct sim_range gap = sim_window_range(windows, windows->gap_ms);
    if (kind == SIM_LEAVING) {
        viewing_leave(member, at, gap, outcome);
        presence_leave(member, at, sim_window_range(windows, windows->leaving_ms), outcome);
        return step;
    }
    int64_t window_ms = kind == SIM_HIDDEN ? windows->hidden_ms : windows->alive_ms;
    if (outcome == SIM_COUNTED) {
        viewing_counted(member, at, gap, &step);
    } else {
        viewing_uncertain(member, at, gap);
    }
    presence_renew(member, at, sim_window_range(windows, window_ms), outcome, &step);
    member->maybe_joined = true;
    member->sure_joined = member->sure_joined || outcome == SIM_COUNTED;
    ASSERT(member->viewings.lo <= member->viewings.hi);
    return step;
}

static bool covers(struct sim_stretch stretch, struct sim_range at)
{
    return is_stretch(stretch) && stretch.from <= at.lo && at.hi <= stretch.to;
}

static bool touches(struct sim_stretch stretch, struct sim_range at)
{
    return is_stretch(stretch) && stretch.from <= at.hi && at.lo <= stretch.to;
}

struct sim_range sim_member_alive(const struct sim_member *member, struct sim_range at)
{
    bool sure = covers(member->sure, at) || covers(member->sure_before, at);
    bool maybe = sure || touches(member->maybe, at) || touches(member->maybe_before, at);
    return (struct sim_range){sure, maybe};
}
