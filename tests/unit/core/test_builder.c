/* test_builder.c -- stored rows that contradict each other are refused, each with its reason.
 *
 * Every case starts from rows that are good (test_good says so) and breaks one thing. */
#include "tap.h"

#include "core/country.h"
#include "core/engine.h"

static const struct engine_config cfg = {
    .windows = {65000, 125000, 35000, 150000, 300000},
    .profile_ttl_ms = 600000,
    .event_idle_ms = 600000,
    .events_max = 10,
    .sessions_max = 10,
    .viewers_max = 10,
    .backlog_max = 100,
    .hash_key = {1, 2},
};

#define TIME_MS     1637661623070
#define TALLY_ZZ_2  "\2ZZ\2\0\0\0"
#define TALLY_VIP_1 "\3vip\1\0\0\0"

/* An event with two viewers and one session that both watched. */
struct rows {
    struct groups_row groups;
    struct audience_row own, session;
    struct member_row viewers[2], members[2];
};

static struct rows good(void)
{
    struct audience_row own = {
        .event = SLICE_LIT("E"),
        .seq = 9,
        .as_of_ms = TIME_MS,
        .members = 3, /* the third one is in the journal */
        .attended = 3,
        .logins = 4,
        .total_ms = 60000,
        .peak_count = 2,
        .peak_ms = TIME_MS - 1000,
        .frame_start_ms = TIME_MS / 300000 * 300000,
        .frame_length_ms = 300000,
        .frame_viewers = 2,
        .frame_groups = SLICE_LIT(TALLY_VIP_1),
        .frame_countries = SLICE_LIT(TALLY_ZZ_2),
    };
    struct member_row member = {.start_ms = TIME_MS - 1000,
                                .end_ms = TIME_MS,
                                .expiry_ms = TIME_MS + 65000,
                                .counted_frame_ms = TIME_MS / 300000 * 300000};
    struct rows rows = {.groups = {1, SLICE_LIT("\3vip")},
                        .own = own,
                        .session = own,
                        .viewers = {member, member},
                        .members = {member, member}};
    rows.session.session = SLICE_LIT("S");
    rows.viewers[0].viewer = SLICE_LIT("anna");
    rows.viewers[0].groups = rows.viewers[0].lease_groups = 1;
    rows.viewers[1].viewer = SLICE_LIT("berta");
    rows.viewers[1].member_no = rows.viewers[1].viewer_no = 1;
    rows.members[0].viewer_no = 1; /* berta was there first */
    rows.members[1].member_no = 1;
    return rows;
}

/* ERR_NONE or the refusal; *event is built if all is well. */
static enum err build(const struct rows *rows, struct event **event, const char **why)
{
    struct event_builder *builder = event_builder_new(&cfg, SLICE_LIT("E"));
    *event = NULL;
    enum err err = event_builder_groups(builder, &rows->groups, why);
    if (err == ERR_NONE) {
        err = event_builder_audience(builder, &rows->own, why);
    }
    if (err == ERR_NONE) {
        err = event_builder_audience(builder, &rows->session, why);
    }
    for (int i = 0; err == ERR_NONE && i < 2; i++) {
        err = event_builder_member(builder, SLICE_EMPTY, &rows->viewers[i], why);
    }
    for (int i = 0; err == ERR_NONE && i < 2; i++) {
        err = event_builder_member(builder, rows->session.session, &rows->members[i], why);
    }
    if (err == ERR_NONE) {
        return event_builder_finish(builder, event, why);
    }
    event_builder_free(builder);
    return err;
}

static void refused(const struct rows *rows, const char *want)
{
    struct event *event;
    const char *why = "";
    assert_int_equal(build(rows, &event, &why), ERR_DAMAGED);
    assert_null(event);
    assert_non_null(strstr(why, want));
}

/* Breaks one field of good rows. */
#define REFUSED(want, field, value)                                                                \
    do {                                                                                           \
        struct rows rows = good();                                                                 \
        rows.field = value;                                                                        \
        refused(&rows, want);                                                                      \
    } while (0)

static void test_good(void **state)
{
    (void)state;
    struct rows rows = good();
    struct event *event;
    const char *why = NULL;
    assert_int_equal(build(&rows, &event, &why), ERR_NONE);
    struct engine *engine = engine_new(&cfg);
    engine_begin(engine, 9, TIME_MS);
    assert_true(engine_adopt(engine, event, true));
    engine_check(engine);
    struct figures figures;
    assert_int_equal(engine_figures(engine, SLICE_LIT("E"), SLICE_LIT("S"), &figures), FIGURES_OK);
    assert_int_equal(figures.active, 2);
    assert_int_equal(figures.logins, 4);
    assert_int_equal(figures.peak_count, 2);
    engine_free(engine);
}

static void erase_viewer(struct rows *rows, uint32_t viewer_no)
{
    struct member_row *viewer = &rows->viewers[viewer_no];
    *viewer =
        (struct member_row){.member_no = viewer_no, .viewer_no = viewer_no, .counted_frame_ms = -1};
    for (int i = 0; i < 2; i++) {
        if (rows->members[i].viewer_no == viewer_no) {
            rows->members[i] = *viewer;
            rows->members[i].member_no = (uint32_t)i;
        }
    }
    rows->own.attended--;
    rows->session.attended--;
}

/* An erased viewer: numbers without a name, found by nobody. */
static void test_erased(void **state)
{
    (void)state;
    for (uint32_t erased = 0; erased < 3; erased++) {
        struct rows rows = good();
        rows.own.as_of_ms = rows.session.as_of_ms =
            erased == 2 ? 0 : TIME_MS; /* and is not alive */
        erase_viewer(&rows, erased == 2 ? 0 : erased);
        if (erased == 2) {
            erase_viewer(&rows, 1);
        }
        struct event *event;
        const char *why = NULL;
        assert_int_equal(build(&rows, &event, &why), ERR_NONE);
        struct engine *engine = engine_new(&cfg);
        engine_begin(engine, 9, TIME_MS);
        assert_true(engine_adopt(engine, event, true));
        engine_check(engine);
        struct figures figures;
        assert_int_equal(engine_figures(engine, SLICE_LIT("E"), SLICE_LIT("S"), &figures),
                         FIGURES_OK);
        assert_int_equal(figures.active, erased == 2 ? 0 : 1);
        assert_int_equal(figures.attended, erased == 2 ? 0 : 1);
        const char *names[] = {"anna", "berta", "nobody"};
        for (uint32_t i = 0; i < 3; i++) {
            struct heartbeat heartbeat = {.event = SLICE_LIT("E"),
                                          .session = SLICE_LIT("S"),
                                          .viewer = slice_str(names[i]),
                                          .flags = HEARTBEAT_LEAVING};
            struct place place;
            const struct heartbeat *pointer = &heartbeat;
            engine_place(engine, &pointer, &place, 1);
            bool there = i < 2 && erased != 2 && i != erased;
            assert_int_equal(place.viewer_no, there ? i : UINT32_MAX);
            assert_int_equal(place.member_no, there ? 1 - i : UINT32_MAX);
        }
        engine_free(engine);
    }
}

/* All people went, the statistics were kept; then some came. */
static void test_kept_statistics(void **state)
{
    (void)state;
    struct rows rows = good();
    rows.own.attended = rows.session.attended = 4000000000u;
    rows.own.logins = rows.session.logins = 5000000000u;
    struct event *event;
    const char *why = NULL;
    assert_int_equal(build(&rows, &event, &why), ERR_NONE);
    struct engine *engine = engine_new(&cfg);
    engine_begin(engine, 9, TIME_MS);
    assert_true(engine_adopt(engine, event, true));
    struct figures figures;
    assert_int_equal(engine_figures(engine, SLICE_LIT("E"), SLICE_LIT("S"), &figures), FIGURES_OK);
    /* Three numbers were given, of which two are here: the third would be in the journal. */
    assert_int_equal(figures.attended, 4000000000u - 1);
    assert_int_equal(figures.logins, 5000000000u);
    engine_free(engine);
}

/* A lease that ends at the very ms of the row is alive. */
static void test_lease_ends_now(void **state)
{
    (void)state;
    struct rows rows = good();
    rows.members[0].expiry_ms = TIME_MS;
    rows.members[1].expiry_ms = TIME_MS - 1;
    struct event *event;
    const char *why = NULL;
    assert_int_equal(build(&rows, &event, &why), ERR_NONE);
    struct engine *engine = engine_new(&cfg);
    engine_begin(engine, 9, TIME_MS);
    assert_true(engine_adopt(engine, event, true));
    struct figures figures;
    assert_int_equal(engine_figures(engine, SLICE_LIT("E"), SLICE_LIT("S"), &figures), FIGURES_OK);
    assert_int_equal(figures.active, 1);
    engine_free(engine);
}

static void test_groups(void **state)
{
    (void)state;
    REFUSED("set of groups", groups.set_no, 0);
    REFUSED("set of groups", groups.set_no, 2);
    REFUSED("set of groups", groups.packed, SLICE_EMPTY); /* set 0 again */
    REFUSED("set of groups", groups.packed, SLICE_LIT("\4vip"));
    const char *why = NULL;
    struct event_builder *builder = event_builder_new(&cfg, SLICE_LIT("E"));
    struct groups_row row = {1, SLICE_LIT("\3vip")};
    assert_int_equal(event_builder_groups(builder, &row, &why), ERR_NONE);
    row.set_no = 2;
    assert_int_equal(event_builder_groups(builder, &row, &why), ERR_DAMAGED);
    event_builder_free(builder);
}

static void test_audiences(void **state)
{
    (void)state;
    REFUSED("before its event", own.session, SLICE_LIT("T"));
    REFUSED("twice", session.session, SLICE_EMPTY);
    REFUSED("id is not valid", session.session, SLICE_LIT("S/S"));
    REFUSED("sums", own.logins, 2);
    REFUSED("sums", own.total_ms, -1);
    REFUSED("sums", own.members, VIEWERS_PER_EVENT_MAX + 1);
    REFUSED("times", own.as_of_ms, -1);
    REFUSED("times", own.peak_ms, INT64_MAX);
    REFUSED("times", own.frame_start_ms, INT64_MIN);
    REFUSED("times", own.frame_length_ms, INT64_MAX);
    REFUSED("times", own.frame_length_ms, 0);
    REFUSED("frame", own.frame_groups, SLICE_LIT("\5staff\1\0\0\0"));
    REFUSED("frame", own.frame_groups, SLICE_LIT("\3vip\3\0\0\0")); /* of two viewers */
    REFUSED("frame", own.frame_countries, SLICE_LIT("\3ZZZ\2\0\0\0"));
    REFUSED("frame", own.frame_countries, SLICE_LIT("\2ZZ\3\0\0\0"));
    REFUSED("frame", own.frame_countries, SLICE_LIT("\2ZZ\2\0\0")); /* cut */
    REFUSED("frame", own.frame_viewers, 3);
    const char *why = "";
    struct event_builder *builder = event_builder_new(&cfg, SLICE_LIT("E"));
    struct rows rows = good();
    assert_int_equal(event_builder_groups(builder, &rows.groups, &why), ERR_NONE);
    assert_int_equal(event_builder_audience(builder, &rows.own, &why), ERR_NONE);
    assert_int_equal(event_builder_audience(builder, &rows.session, &why), ERR_NONE);
    assert_int_equal(event_builder_audience(builder, &rows.session, &why), ERR_DAMAGED);
    event_builder_free(builder);
}

static void test_members(void **state)
{
    (void)state;
    REFUSED("out of order", viewers[1].member_no, 2);
    REFUSED("out of order", viewers[1].viewer_no, 0);
    REFUSED("out of order", members[0].member_no, 1);
    REFUSED("out of order", members[0].viewer_no, VIEWERS_PER_EVENT_MAX);
    REFUSED("too many", session.members, 1);
    REFUSED("times", viewers[0].start_ms, TIME_MS + 1);
    REFUSED("times", viewers[0].start_ms, -1);
    REFUSED("times", viewers[0].end_ms, INT64_MAX);
    REFUSED("times", viewers[0].expiry_ms, TIME_MS + INT32_MAX + 1ll);
    REFUSED("times", viewers[0].expiry_ms, TIME_MS + INT32_MIN - 1ll);
    REFUSED("times", viewers[0].expiry_ms, INT64_MIN);
    REFUSED("unknown groups", members[0].lease_groups, 2);
    REFUSED("unknown country", members[0].country, COUNTRY_COUNT);
    REFUSED("valid id", viewers[0].viewer, SLICE_EMPTY);
    REFUSED("valid id", viewers[0].viewer, SLICE_LIT("a\nb"));
    REFUSED("valid id", viewers[0].groups, 2);
    REFUSED("valid id", viewers[0].profile_due_ms, -1);
    REFUSED("not empty", viewers[0].start_ms, 0); /* a time, a lease and a name */
    struct rows erased = good();
    erase_viewer(&erased, 0);
#define REFUSED_ERASED(field, value)                                                               \
    do {                                                                                           \
        struct rows broken = erased;                                                               \
        broken.viewers[0].field = value;                                                           \
        refused(&broken, "not empty");                                                             \
    } while (0)
    REFUSED_ERASED(end_ms, 1);
    REFUSED_ERASED(expiry_ms, 1);
    REFUSED_ERASED(groups, 1);
    REFUSED_ERASED(lease_groups, 1);
    REFUSED_ERASED(country, 1);
    REFUSED_ERASED(viewer, SLICE_LIT("anna"));
    REFUSED("there twice", viewers[1].viewer, SLICE_LIT("anna"));
    REFUSED("twice in a session", members[1].viewer_no, 1);
}

static void test_unknown_audience(void **state)
{
    (void)state;
    const char *why = "";
    struct rows rows = good();
    struct event_builder *builder = event_builder_new(&cfg, SLICE_LIT("E"));
    assert_int_equal(event_builder_member(builder, SLICE_EMPTY, &rows.viewers[0], &why),
                     ERR_DAMAGED);
    event_builder_free(builder);
    builder = event_builder_new(&cfg, SLICE_LIT("E"));
    assert_int_equal(event_builder_groups(builder, &rows.groups, &why), ERR_NONE);
    assert_int_equal(event_builder_audience(builder, &rows.own, &why), ERR_NONE);
    assert_int_equal(event_builder_member(builder, SLICE_LIT("S"), &rows.members[0], &why),
                     ERR_DAMAGED);
    event_builder_free(builder);
    struct event *event;
    builder = event_builder_new(&cfg, SLICE_LIT("E"));
    assert_int_equal(event_builder_finish(builder, &event, &why), ERR_DAMAGED);
    assert_null(event);
    event_builder_free(NULL);
    event_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),    cmocka_unit_test(test_lease_ends_now),
        cmocka_unit_test(test_erased),  cmocka_unit_test(test_kept_statistics),
        cmocka_unit_test(test_groups),  cmocka_unit_test(test_audiences),
        cmocka_unit_test(test_members), cmocka_unit_test(test_unknown_audience),
    };
    return tap_run(tests);
}
