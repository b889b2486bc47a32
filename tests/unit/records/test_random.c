/* test_random.c -- random commits against a reference that keeps everything in arrays.
 *
 * After every commit the store must say what the reference says: through the readers of records.h,
 * and row by row as a loaded event gets them (event_builder_* is replaced below by one that
 * compares).  Commits are sometimes made twice, and sometimes fail for want of room first. */
#include "store.h"

#include "core/country.h"

#define EVENTS       3
#define SESSIONS     3 /* of an event, the event itself included */
#define VIEWERS_MAX  300
#define VIEWINGS_MAX 20000
#define FRAMES_MAX   60
#define GROUPS_MAX   40
#define ROUNDS       100
#define GAP_MS       150000
#define TALLY_BYTES  256
#define FRAME_MS     300000

struct reference_viewing {
    uint32_t member_no;
    int64_t start_ms, end_ms;
};

struct reference_frame {
    struct frame_row row;
    char groups[TALLY_BYTES], countries[TALLY_BYTES];
};

struct reference_audience {
    bool seen;
    char session[16];
    struct audience_row row;
    char groups[TALLY_BYTES], countries[TALLY_BYTES];
    struct member_row members[VIEWERS_MAX];
    uint32_t members_count;
    struct reference_viewing viewings[VIEWINGS_MAX];
    uint32_t viewings_count;
    struct reference_frame frames[FRAMES_MAX];
    uint32_t frames_count;
};

struct reference_event {
    bool live;
    char name[16];
    struct reference_audience audiences[SESSIONS];
    char viewers[VIEWERS_MAX][24];
    char groups[GROUPS_MAX + 1][32]; /* packed; set 0 is empty */
    uint16_t groups_count;
};

static struct {
    struct reference_event events[EVENTS];
    uint64_t seq, covered_seq;
    int64_t now_ms;
    uint64_t seed;
} reference;

static uint64_t pick(uint64_t below)
{
    return tap_random(&reference.seed) % below;
}

/* ---- making changes, and keeping them ---- */

static struct slice random_tally(char out[TALLY_BYTES], bool countries)
{
    size_t len = 0;
    char key[16];
    for (uint64_t i = 0, count = pick(4); i < count; i++) {
        snprintf(key, sizeof key, countries ? "C%llu" : "g\"%llu\"\\", (unsigned long long)i);
        len += tally_put(out + len, slice_str(key), (uint32_t)tap_random(&reference.seed));
    }
    return slice_of(out, len);
}

static void new_groups(struct changes *changes, struct reference_event *event)
{
    if (event->groups_count == GROUPS_MAX) {
        return;
    }
    uint16_t set_no = ++event->groups_count;
    char *packed = event->groups[set_no];
    snprintf(packed + 1, 31, "group \"%u\"", set_no);
    packed[0] = (char)strlen(packed + 1);
    struct groups_row *row = changes_add_groups(changes);
    row->set_no = set_no;
    row->packed = slice_str(packed);
}

/* A heartbeat, as far as rows know of it. */
static void touch(struct changes *changes, struct reference_event *event,
                  struct reference_audience *audience, struct member_row *member)
{
    int64_t at_ms = reference.now_ms + (int64_t)pick(1000);
    at_ms = at_ms < member->end_ms ? member->end_ms : at_ms;
    if (member->created || at_ms - member->end_ms > GAP_MS) {
        if (!member->created) {
            struct reference_viewing *viewing = &audience->viewings[audience->viewings_count++];
            assert_true(audience->viewings_count < VIEWINGS_MAX);
            *viewing =
                (struct reference_viewing){member->member_no, member->start_ms, member->end_ms};
            struct viewing_row *row = changes_add_viewing(changes);
            *row = (struct viewing_row){member->member_no, member->start_ms, member->end_ms};
        }
        member->start_ms = member->end_ms = at_ms;
        audience->row.logins++;
    } else {
        audience->row.total_ms += at_ms - member->end_ms;
        member->end_ms = at_ms;
    }
    member->lease_groups = (uint16_t)pick(event->groups_count + 1u);
    member->groups = audience->session[0] == '\0' ? (uint16_t)pick(event->groups_count + 1u) : 0;
    member->country = (country_t)pick(36 * 36);
    member->profile_due_ms = audience->session[0] == '\0' ? at_ms + 600000 : 0;
    member->expiry_ms = at_ms + (pick(2) ? 65000 : 125000);
    member->counted_frame_ms = pick(8) ? at_ms / FRAME_MS * FRAME_MS : -1;
    *changes_add_member(changes) = *member;
}

static void change_audience(struct changes *changes, struct reference_event *event,
                            struct reference_audience *audience, uint32_t viewers)
{
    struct change *change = changes_add(changes);
    struct reference_audience *own = &event->audiences[0];
    bool is_own = audience == own;
    if (is_own) {
        for (uint64_t i = pick(3); i > 0; i--) {
            new_groups(changes, event);
        }
    }
    for (uint32_t i = 0; i < audience->members_count; i++) {
        audience->members[i].created = false;
        audience->members[i].viewer = SLICE_EMPTY;
        if (pick(3) == 0) {
            touch(changes, event, audience, &audience->members[i]);
        }
    }
    uint32_t room = is_own ? VIEWERS_MAX : own->members_count;
    for (uint32_t i = 0; i < viewers && audience->members_count < room; i++) {
        uint32_t number = audience->members_count++;
        struct member_row *member = &audience->members[number];
        *member = (struct member_row){.member_no = number, .created = true};
        /* Sessions meet the viewers in another order. */
        member->viewer_no = is_own ? number : own->members_count - 1 - number;
        bool there = false;
        for (uint32_t j = 0; !is_own && j < number; j++) {
            there |= audience->members[j].viewer_no == member->viewer_no;
        }
        if (there) {
            audience->members_count--;
            break;
        }
        if (is_own) {
            snprintf(event->viewers[number], sizeof event->viewers[0], "viewer 'ü' %u", number);
            member->viewer = slice_str(event->viewers[number]);
        }
        touch(changes, event, audience, member);
    }
    if (pick(4) == 0 && audience->frames_count < FRAMES_MAX) {
        struct reference_frame *frame = &audience->frames[audience->frames_count];
        int64_t start_ms = (1000 + audience->frames_count++) * (int64_t)FRAME_MS;
        frame->row = (struct frame_row){start_ms, start_ms + FRAME_MS, (uint32_t)pick(1000),
                                        random_tally(frame->groups, false),
                                        random_tally(frame->countries, true)};
        *changes_add_frame(changes) = frame->row;
    }
    struct audience_row *row = &audience->row;
    row->event = slice_str(event->name);
    row->session = slice_str(audience->session);
    row->seq = ++reference.seq;
    row->as_of_ms = reference.now_ms;
    row->members = row->attended = audience->members_count;
    row->peak_count = (uint32_t)pick(audience->members_count + 1u);
    row->peak_ms = reference.now_ms - 1;
    row->frame_start_ms = reference.now_ms / FRAME_MS * FRAME_MS;
    row->frame_length_ms = FRAME_MS;
    row->frame_viewers = (uint32_t)pick(100);
    row->frame_groups = random_tally(audience->groups, false);
    row->frame_countries = random_tally(audience->countries, true);
    row->idle = is_own && pick(4) == 0;
    change->audience = *row;
    audience->seen = true;
    if (is_own) {
        event->live = !row->idle;
    }
}

static void random_changes(struct changes *changes)
{
    changes_reset(changes);
    reference.now_ms += (int64_t)pick(GAP_MS * 2);
    for (int i = 0; i < EVENTS; i++) {
        struct reference_event *event = &reference.events[i];
        if (pick(2) == 0) {
            continue;
        }
        change_audience(changes, event, &event->audiences[0], (uint32_t)pick(20));
        for (int j = 1; j < SESSIONS; j++) {
            if (pick(2) == 0) {
                change_audience(changes, event, &event->audiences[j], (uint32_t)pick(10));
            }
        }
    }
    if (pick(2) == 0) {
        reference.covered_seq = changes->covered_seq = ++reference.seq;
    }
}

/* ---- the builder that compares ---- */

struct event_builder {
    struct reference_event *event;
    uint16_t groups_next;
    int audiences_next;
    uint32_t members_next[SESSIONS];
};

static bool expect_audience(const struct audience_row *is, const struct audience_row *want,
                            bool idle)
{
    return slice_equal(is->event, want->event) && slice_equal(is->session, want->session) &&
           is->seq == want->seq && is->as_of_ms == want->as_of_ms && is->members == want->members &&
           is->attended == want->attended && is->logins == want->logins &&
           is->total_ms == want->total_ms && is->peak_count == want->peak_count &&
           is->peak_ms == want->peak_ms && is->frame_start_ms == want->frame_start_ms &&
           is->frame_length_ms == want->frame_length_ms &&
           is->frame_viewers == want->frame_viewers &&
           slice_equal(is->frame_groups, want->frame_groups) &&
           slice_equal(is->frame_countries, want->frame_countries) && is->idle == idle;
}

struct event_builder *event_builder_new(const struct engine_config *cfg, struct slice event)
{
    (void)cfg;
    struct event_builder *builder = calloc(1, sizeof *builder);
    for (int i = 0; i < EVENTS; i++) {
        if (slice_equal(event, slice_str(reference.events[i].name))) {
            builder->event = &reference.events[i];
        }
    }
    assert_non_null(builder->event);
    builder->groups_next = 1;
    return builder;
}

enum err event_builder_groups(struct event_builder *builder, const struct groups_row *row,
                              const char **why)
{
    *why = "groups";
    assert_int_equal(builder->audiences_next, 0);
    assert_int_equal(row->set_no, builder->groups_next);
    assert_true(slice_equal(row->packed, slice_str(builder->event->groups[row->set_no])));
    builder->groups_next++;
    return ERR_NONE;
}

static struct reference_audience *next_seen(struct event_builder *builder)
{
    while (!builder->event->audiences[builder->audiences_next].seen) {
        builder->audiences_next++;
        assert_true(builder->audiences_next < SESSIONS);
    }
    return &builder->event->audiences[builder->audiences_next++];
}

enum err event_builder_audience(struct event_builder *builder, const struct audience_row *row,
                                const char **why)
{
    *why = "audience";
    struct reference_audience *audience = next_seen(builder);
    assert_true(
        expect_audience(row, &audience->row, row->session.len == 0 && !builder->event->live));
    return ERR_NONE;
}

enum err event_builder_member(struct event_builder *builder, struct slice session,
                              const struct member_row *row, const char **why)
{
    *why = "member";
    int i = 0;
    while (!slice_equal(session, slice_str(builder->event->audiences[i].session))) {
        i++;
        assert_true(i < SESSIONS);
    }
    uint32_t number = builder->members_next[i]++;
    assert_true(number < builder->event->audiences[i].members_count);
    const struct member_row *want = &builder->event->audiences[i].members[number];
    assert_int_equal(row->member_no, want->member_no);
    assert_int_equal(row->viewer_no, want->viewer_no);
    assert_int_equal(row->groups, want->groups);
    assert_int_equal(row->lease_groups, want->lease_groups);
    assert_int_equal(row->country, want->country);
    assert_true(row->profile_due_ms == want->profile_due_ms && row->start_ms == want->start_ms &&
                row->end_ms == want->end_ms && row->expiry_ms == want->expiry_ms &&
                row->counted_frame_ms == want->counted_frame_ms);
    struct slice viewer = i == 0 ? slice_str(builder->event->viewers[number]) : SLICE_EMPTY;
    assert_true(slice_equal(row->viewer, viewer));
    return ERR_NONE;
}

enum err event_builder_finish(struct event_builder *builder, struct event **event, const char **why)
{
    *why = "finish";
    assert_int_equal(builder->groups_next, builder->event->groups_count + 1);
    for (int i = 0; i < SESSIONS; i++) {
        assert_int_equal(builder->members_next[i], builder->event->audiences[i].members_count);
    }
    *event = (struct event *)builder; /* only to be handed out */
    return ERR_NONE;
}

void event_builder_free(struct event_builder *builder)
{
    free(builder);
}

/* ---- the readers compared ---- */

struct reading {
    struct reference_event *event;
    struct reference_audience *audience;
    uint32_t count;
    const struct reference_viewing **viewings;
};

static enum err read_frame(void *ctx, const struct frame_row *row)
{
    struct reading *reading = ctx;
    const struct frame_row *want = &reading->audience->frames[reading->count++].row;
    assert_true(row->start_ms == want->start_ms && row->end_ms == want->end_ms &&
                row->viewers == want->viewers && slice_equal(row->groups, want->groups) &&
                slice_equal(row->countries, want->countries));
    return ERR_NONE;
}

static enum err read_audience(void *ctx, const struct audience_row *row)
{
    struct reading *reading = ctx;
    while (!reading->event->audiences[reading->count].seen) {
        reading->count++;
    }
    struct reference_audience *audience = &reading->event->audiences[reading->count++];
    assert_true(
        expect_audience(row, &audience->row, row->session.len == 0 && !reading->event->live));
    return ERR_NONE;
}

struct viewer_reading {
    struct reference_event *event;
    uint32_t viewer_no;
    uint32_t count;
    int64_t start_ms; /* of the last */
    char session[16];
};

/* The viewing is one of the reference's, and not before the last. */
static enum err read_viewing(void *ctx, const struct viewing_of_viewer *viewing)
{
    struct viewer_reading *reading = ctx;
    int i = 0;
    while (!slice_equal(viewing->session, slice_str(reading->event->audiences[i].session))) {
        i++;
        assert_true(i < SESSIONS);
    }
    struct reference_audience *audience = &reading->event->audiences[i];
    const struct member_row *member = NULL;
    for (uint32_t j = 0; j < audience->members_count; j++) {
        if (audience->members[j].viewer_no == reading->viewer_no) {
            member = &audience->members[j];
        }
    }
    assert_non_null(member);
    bool found = member->start_ms == viewing->start_ms && member->end_ms == viewing->end_ms;
    for (uint32_t j = 0; j < audience->viewings_count && !found; j++) {
        const struct reference_viewing *past = &audience->viewings[j];
        found = past->member_no == member->member_no && past->start_ms == viewing->start_ms &&
                past->end_ms == viewing->end_ms;
    }
    assert_true(found);
    assert_true(viewing->expiry_ms == member->expiry_ms && viewing->country == member->country);
    assert_true(viewing->start_ms > reading->start_ms ||
                (viewing->start_ms == reading->start_ms &&
                 strcmp(audience->session, reading->session) > 0) ||
                reading->count == 0);
    reading->start_ms = viewing->start_ms;
    strcpy(reading->session, audience->session);
    reading->count++;
    return ERR_NONE;
}

static void compare_viewer(struct store *store, struct reference_event *event, uint32_t viewer_no)
{
    struct viewer_reading reading = {.event = event, .viewer_no = viewer_no};
    store_must(store, records_viewings(store->link, slice_str(event->name),
                                       slice_str(event->viewers[viewer_no]), -1, 0, read_viewing,
                                       &reading));
    uint32_t want = 0;
    for (int i = 0; i < SESSIONS; i++) {
        struct reference_audience *audience = &event->audiences[i];
        for (uint32_t j = 0; j < audience->members_count; j++) {
            if (audience->members[j].viewer_no != viewer_no) {
                continue;
            }
            want++;
            for (uint32_t k = 0; k < audience->viewings_count; k++) {
                want += audience->viewings[k].member_no == j;
            }
        }
    }
    assert_int_equal(reading.count, want);
}

static enum err read_name(void *ctx, struct slice event)
{
    char *names = ctx;
    snprintf(names + strlen(names), 16, "%.*s ", SLICE_ARG(event));
    return ERR_NONE;
}

static void compare_event(struct store *store, struct reference_event *event)
{
    struct slice name = slice_str(event->name);
    struct reading reading = {.event = event};
    store_must(store,
               records_audiences(store->link, name, SLICE_EMPTY, true, read_audience, &reading));
    struct event *loaded;
    store_must(store, records_event_load(store->link, NULL, name, &loaded));
    free(loaded);
    for (int i = 0; i < SESSIONS; i++) {
        reading = (struct reading){.event = event, .audience = &event->audiences[i]};
        store_must(store, records_frames(store->link, name, slice_str(reading.audience->session), 0,
                                         INT64_MAX, 0, read_frame, &reading));
        assert_int_equal(reading.count, reading.audience->frames_count);
    }
    if (event->audiences[0].members_count > 0) {
        compare_viewer(store, event, (uint32_t)pick(event->audiences[0].members_count));
    }
}

static void compare(struct store *store)
{
    char stored[64] = "", live[64] = "", want_stored[64] = "", want_live[64] = "";
    for (int i = 0; i < EVENTS; i++) {
        struct reference_event *event = &reference.events[i];
        if (event->audiences[0].seen) {
            compare_event(store, event);
            read_name(want_stored, slice_str(event->name));
        }
        if (event->live) {
            read_name(want_live, slice_str(event->name));
        }
    }
    store_must(store, records_events_each(store->link, SLICE_EMPTY, 0, read_name, stored));
    store_must(store, records_live_events(store->link, read_name, live));
    assert_string_equal(stored, want_stored);
    assert_string_equal(live, want_live);
    uint64_t covered;
    store_must(store, records_covered(store->link, &covered));
    assert_int_equal(covered, reference.covered_seq);
}

/* A commit that finds no room (or, in PostgreSQL, a rule against it) leaves no trace; the same one
 * is made again by the caller. */
static void fail_first(struct store *store, struct changes *changes)
{
    const char *hash = "SELECT coalesce(sum(key + viewer_no + end_ms), 0) FROM attendance";
    char sql[128];
    int64_t before = store_number(store, hash);
    if (store_is_postgres()) {
        snprintf(sql, sizeof sql, "ALTER TABLE %s < 0) NOT VALID",
                 pick(2) ? "attendance ADD CONSTRAINT never CHECK (start_ms"
                         : "audience ADD CONSTRAINT never CHECK (seq");
    } else {
        snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld",
                 (long long)store_number(store, "PRAGMA page_count"));
    }
    store_sql(store, sql);
    if (records_commit(store->link, changes) != ERR_NONE) {
        assert_true(store_number(store, hash) == before);
    }
    store_sql(store, store_is_postgres() ? "ALTER TABLE audience DROP CONSTRAINT IF EXISTS never; "
                                           "ALTER TABLE attendance DROP CONSTRAINT IF EXISTS never"
                                         : "PRAGMA max_page_count = 1000000");
}

static void test_random(void **state)
{
    (void)state;
    struct store store;
    struct changes changes;
    store_open(&store);
    changes_init(&changes);
    memset(&reference, 0, sizeof reference);
    reference.seed = tap_seed();
    reference.now_ms = 1700000000000;
    for (int i = 0; i < EVENTS; i++) {
        snprintf(reference.events[i].name, sizeof reference.events[i].name, "E%d", i);
        for (int j = 1; j < SESSIONS; j++) {
            snprintf(reference.events[i].audiences[j].session, 16, "S%d", j);
        }
    }
    for (int round = 0; round < ROUNDS; round++) {
        random_changes(&changes);
        if (pick(4) == 0) {
            fail_first(&store, &changes);
        }
        store_must(&store, records_commit(store.link, &changes));
        if (pick(3) == 0) {
            store_must(&store, records_commit(store.link, &changes));
        }
        compare(&store);
        if (pick(20) == 0) { /* another process goes on */
            records_close(store.link);
            assert_int_equal(records_open(store.path, false, &store.link, NULL, 0), ERR_NONE);
            compare(&store);
        }
    }
    assert_true(store_number(&store, "SELECT count(*) FROM viewings") ==
                store_number(&store, "SELECT (SELECT count(*) FROM viewing) + count(*) "
                                     "FROM attendance"));
    changes_fini(&changes);
    store_close(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return store_suite(tests);
}
