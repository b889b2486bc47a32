/* people.h -- events full of viewers in a store, and beside it what the store must say of them.
 *
 * The reference keeps everything in arrays: ids, rows, earlier viewings, sums.  It stands where the
 * engine stands: it makes the changes of each commit and takes back what records_commit answers. */
#ifndef NOVABEAT_TESTS_PEOPLE_H
#define NOVABEAT_TESTS_PEOPLE_H

#include "store.h"

#include "core/country.h"

#define PEOPLE_AUDIENCES    4 /* the event itself and three sessions */
#define PEOPLE_MAX          5000
#define PEOPLE_VIEWINGS_MAX 4 /* of one member, with the latest */
#define PEOPLE_START_MS     1700000000000
#define PEOPLE_SETS         3

/* Of the journal, which all events share. */
static uint64_t people_seq;

struct people_member {
    uint32_t viewer_no;
    uint16_t set_no;
    bool empty;
    country_t country;
    int64_t expiry_ms;
    struct records_viewing_span viewings[PEOPLE_VIEWINGS_MAX]; /* the last one is the latest */
    uint32_t viewings_count;
};

struct people_audience {
    char session[8];
    struct people_member *members;
    uint32_t members_count;
    uint32_t attended, peak;
    uint64_t logins;
    int64_t total_ms;
};

struct people {
    char event[16];
    char (*ids)[40];   /* of each viewer */
    char (*names)[80]; /* of its profile; empty: none */
    struct people_audience audiences[PEOPLE_AUDIENCES];
    uint64_t *seed;
    bool may_fail; /* commits that erase: once each */
    enum err failed;
    int fails;
};

static inline uint64_t people_pick(struct people *people, uint64_t below)
{
    return tap_random(people->seed) % below;
}

static inline void people_init(struct people *people, const char *event, uint64_t *seed)
{
    *people = (struct people){.seed = seed,
                              .ids = calloc(PEOPLE_MAX, sizeof *people->ids),
                              .names = calloc(PEOPLE_MAX, sizeof *people->names)};
    strcpy(people->event, event);
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        if (i > 0) {
            snprintf(people->audiences[i].session, sizeof people->audiences[i].session, "S%d", i);
        }
        people->audiences[i].members = calloc(PEOPLE_MAX, sizeof(struct people_member));
    }
}

static inline void people_fini(struct people *people)
{
    free(people->ids);
    free(people->names);
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        free(people->audiences[i].members);
    }
}

/* The set's groups, packed; 0 is the empty one. */
static inline struct slice people_set(uint16_t set_no)
{
    static const char *const sets[PEOPLE_SETS] = {"", "\5press", "\4crew\5press"};
    return slice_str(sets[set_no]);
}

/* Another UUID for each viewer: what the files are searched for. */
static inline void people_new_id(struct people *people, uint32_t viewer_no)
{
    uint64_t a = tap_random(people->seed), b = tap_random(people->seed);
    snprintf(people->ids[viewer_no], sizeof people->ids[0], "%08x-%04x-%04x-%04x-%012llx",
             (unsigned)(a >> 32), (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xffff,
             (unsigned)(b >> 48), (unsigned long long)b & 0xffffffffffff);
}

static inline void people_audience_row(struct people *people, struct people_audience *audience,
                                       struct audience_row *row)
{
    *row = (struct audience_row){
        .event = slice_str(people->event),
        .session = slice_str(audience->session),
        .seq = people_seq,
        .as_of_ms = PEOPLE_START_MS + 7200000,
        .members = audience->members_count,
        .attended = audience->attended,
        .logins = audience->logins,
        .total_ms = audience->total_ms,
        .peak_count = audience->peak,
        .peak_ms = PEOPLE_START_MS + 5,
        .frame_length_ms = 300000,
    };
}

static inline void people_new_member(struct people *people, struct people_audience *audience,
                                     uint32_t viewer_no)
{
    struct people_member *member = &audience->members[audience->members_count++];
    int64_t at_ms = PEOPLE_START_MS + (int64_t)people_pick(people, 3600000);
    *member = (struct people_member){
        .viewer_no = viewer_no,
        .set_no = (uint16_t)people_pick(people, PEOPLE_SETS),
        .country = (country_t)people_pick(people, 36 * 36),
        .viewings_count = 1 + (uint32_t)people_pick(people, PEOPLE_VIEWINGS_MAX),
    };
    for (uint32_t i = 0; i < member->viewings_count; i++) {
        member->viewings[i].start_ms = at_ms;
        at_ms += (int64_t)people_pick(people, 600000);
        member->viewings[i].end_ms = at_ms;
        audience->total_ms += at_ms - member->viewings[i].start_ms;
        at_ms += 150001 + (int64_t)people_pick(people, 600000);
    }
    member->expiry_ms = member->viewings[member->viewings_count - 1].end_ms + 65000;
    audience->attended++;
    audience->logins += member->viewings_count;
    audience->peak = audience->members_count / 2;
}

static inline void people_add_rows(struct people *people, struct people_audience *audience,
                                   uint32_t first, struct changes *changes)
{
    for (uint32_t i = first; i < audience->members_count; i++) {
        const struct people_member *member = &audience->members[i];
        const struct records_viewing_span *latest = &member->viewings[member->viewings_count - 1];
        const bool own = audience == &people->audiences[0];
        for (uint32_t j = 0; j + 1 < member->viewings_count; j++) {
            *changes_add_viewing(changes) =
                (struct viewing_row){i, member->viewings[j].start_ms, member->viewings[j].end_ms};
        }
        *changes_add_member(changes) = (struct member_row){
            .member_no = i,
            .viewer_no = member->viewer_no,
            .created = true,
            .viewer = own ? slice_str(people->ids[member->viewer_no]) : SLICE_EMPTY,
            .groups = own ? member->set_no : 0,
            .lease_groups = member->set_no,
            .country = member->country,
            .profile_due_ms = own ? PEOPLE_START_MS : 0,
            .start_ms = latest->start_ms,
            .end_ms = latest->end_ms,
            .expiry_ms = member->expiry_ms,
            .counted_frame_ms = -1,
        };
    }
}

/* `count` new viewers, each in the event and in some of the sessions; one commit. */
static inline void people_arrive(struct people *people, struct store *store, uint32_t count)
{
    struct changes changes;
    uint32_t first[PEOPLE_AUDIENCES];
    changes_init(&changes);
    changes.covered_seq = ++people_seq;
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        first[i] = people->audiences[i].members_count;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint32_t viewer_no = people->audiences[0].members_count;
        people_new_id(people, viewer_no);
        people_new_member(people, &people->audiences[0], viewer_no);
        for (int j = 1; j < PEOPLE_AUDIENCES; j++) {
            if (people_pick(people, 2) == 0) {
                people_new_member(people, &people->audiences[j], viewer_no);
            }
        }
    }
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        people_audience_row(people, &people->audiences[i], &changes_add(&changes)->audience);
        for (uint16_t j = 1; i == 0 && first[0] == 0 && j < PEOPLE_SETS; j++) {
            *changes_add_groups(&changes) = (struct groups_row){j, people_set(j)};
        }
        people_add_rows(people, &people->audiences[i], first[i], &changes);
    }
    store_must(store, records_commit(store->link, &changes));
    changes_fini(&changes);
}

/* What the engine does when it erases a viewer: counts neither it nor its latest viewing. */
static inline void people_uncount(struct people *people, uint32_t viewer_no)
{
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        struct people_audience *audience = &people->audiences[i];
        for (uint32_t j = 0; j < audience->members_count; j++) {
            struct people_member *member = &audience->members[j];
            if (member->viewer_no == viewer_no && !member->empty) {
                const struct records_viewing_span *latest =
                    &member->viewings[member->viewings_count - 1];
                audience->attended--;
                audience->logins--;
                audience->total_ms -= latest->end_ms - latest->start_ms;
                member->empty = true;
            }
        }
    }
}

/* The earlier viewings of these viewers in one audience: what records_commit must answer. */
static inline struct erased_row people_earlier(struct people *people, int i,
                                               const uint32_t *viewers, size_t count)
{
    struct erased_row sum = {0};
    struct people_audience *audience = &people->audiences[i];
    for (uint32_t j = 0; j < audience->members_count; j++) {
        const struct people_member *member = &audience->members[j];
        for (size_t k = 0; k < count; k++) {
            for (uint32_t n = 0; member->viewer_no == viewers[k] && n + 1 < member->viewings_count;
                 n++) {
                sum.viewings++;
                sum.total_ms += member->viewings[n].end_ms - member->viewings[n].start_ms;
            }
        }
    }
    return sum;
}

/* Erases them in one commit and holds the answer against the reference. */
static inline void people_erase(struct people *people, struct store *store, const uint32_t *viewers,
                                size_t count)
{
    struct changes changes;
    changes_init(&changes);
    changes.covered_seq = ++people_seq;
    for (size_t i = 0; i < count; i++) {
        people_uncount(people, viewers[i]);
        *changes_add_erasure(&changes) = (struct erasure_row){
            slice_str(people->event), slice_str(people->ids[viewers[i]]), viewers[i]};
    }
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        people_audience_row(people, &people->audiences[i], &changes_add(&changes)->audience);
    }
    /* What failed may be made again; until then nothing of it is to be seen. */
    for (int tries = 0; (people->failed = records_commit(store->link, &changes)) != ERR_NONE;
         tries++) {
        people->fails++;
        assert_int_equal(changes.erased_count, 0);
        if (!people->may_fail || tries > 0) {
            store_must(store, people->failed);
        }
    }
    size_t told = 0;
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        struct erased_row want = people_earlier(people, i, viewers, count);
        struct people_audience *audience = &people->audiences[i];
        for (size_t j = 0; j < changes.erased_count; j++) {
            const struct erased_row *is = &changes.erased[j];
            if (slice_equal(is->session, slice_str(audience->session))) {
                assert_true(slice_equal(is->event, slice_str(people->event)));
                assert_int_equal(is->viewings, want.viewings);
                assert_int_equal(is->total_ms, want.total_ms);
                want.viewings = 0;
                audience->logins -= is->viewings;
                audience->total_ms -= is->total_ms;
                told++;
            }
        }
        assert_int_equal(want.viewings, 0);
    }
    assert_int_equal(told, changes.erased_count);
    changes_fini(&changes);
}

/* Profiles of viewers first to last - 1, in random order, with names of random length; some twice.
 */
static inline void people_profiles(struct people *people, struct store *store, uint32_t first,
                                   uint32_t last)
{
    struct profile profiles[40];
    size_t count = 0;
    for (uint32_t n = 0; n < last - first; n++) {
        uint32_t viewer_no = first + (uint32_t)people_pick(people, last - first);
        char *name = people->names[viewer_no];
        bool waits = false; /* a name that is still to be put must not change under it */
        for (size_t i = 0; i < count; i++) {
            waits |= profiles[i].name.ptr == name;
        }
        if (!waits && (name[0] == '\0' || people_pick(people, 2) == 0)) {
            /* Eight and one bytes, then whole characters of three. */
            snprintf(name, sizeof people->names[0], "%.8s %.*s", people->ids[viewer_no],
                     3 * (int)people_pick(people, 20), "……………………………………………………");
        }
        profiles[count++] =
            (struct profile){slice_str(people->event), slice_str(people->ids[viewer_no]),
                             slice_str(name), people_set(1)};
        if (count == 40 || n + 1 == last - first) {
            store_must(store, records_profiles_put(store->link, profiles, count));
            count = 0;
        }
    }
}

/* ---- what the store says ---- */

struct people_reading {
    struct people *people;
    struct people_audience *audience;
    uint32_t at; /* the next member that is to come, if it is not empty */
    unsigned want;
};

static inline enum err people_read_member(void *ctx, const struct records_member *is)
{
    struct people_reading *reading = ctx;
    while (reading->audience->members[reading->at].empty) {
        reading->at++;
    }
    const struct people_member *want = &reading->audience->members[reading->at];
    assert_int_equal(is->member_no, reading->at);
    assert_int_equal(is->country, want->country);
    assert_int_equal(is->expiry_ms, want->expiry_ms);
    assert_int_equal(is->viewings_count, want->viewings_count);
    assert_memory_equal(is->viewings, want->viewings,
                        want->viewings_count * sizeof want->viewings[0]);
    struct slice viewer = SLICE_EMPTY, groups = SLICE_EMPTY, name = SLICE_EMPTY;
    if (reading->want & MEMBERS_WANT_VIEWER) {
        viewer = slice_str(reading->people->ids[want->viewer_no]);
        groups = people_set(reading->people->audiences[0].members[want->viewer_no].set_no);
    }
    if (reading->want & MEMBERS_WANT_NAME) {
        name = slice_str(reading->people->names[want->viewer_no]);
    }
    assert_true(slice_equal(is->viewer, viewer));
    assert_true(slice_equal(is->groups, groups));
    assert_true(slice_equal(is->name, name));
    reading->at++;
    return ERR_NONE;
}

/* All members in pages of this size (0: in one). */
static inline void people_compare_members(struct people *people, struct store *store, int i,
                                          unsigned want, uint32_t page)
{
    struct people_audience *audience = &people->audiences[i];
    struct people_reading reading = {people, audience, 0, want};
    struct records_members_query query = {slice_str(people->event), slice_str(audience->session), 0,
                                          page, want};
    while (query.first != UINT32_MAX) {
        uint32_t next;
        store_must(store,
                   records_members_each(store->link, &query, &next, people_read_member, &reading));
        if (next != UINT32_MAX) {
            assert_int_equal(next, query.first + page);
        }
        query.first = next;
    }
    while (reading.at < audience->members_count && audience->members[reading.at].empty) {
        reading.at++;
    }
    assert_int_equal(reading.at, audience->members_count);
}

static inline enum err people_read_audience(void *ctx, const struct audience_row *row)
{
    struct people_reading *reading = ctx;
    const struct people_audience *want = &reading->people->audiences[reading->at++];
    assert_true(slice_equal(row->session, slice_str(want->session)));
    assert_int_equal(row->members, want->members_count);
    assert_int_equal(row->attended, want->attended);
    assert_int_equal(row->logins, want->logins);
    assert_int_equal(row->total_ms, want->total_ms);
    assert_int_equal(row->peak_count, want->peak);
    return ERR_NONE;
}

static inline void people_compare(struct people *people, struct store *store)
{
    struct people_reading reading = {.people = people};
    store_must(store, records_audiences(store->link, slice_str(people->event), SLICE_EMPTY, true,
                                        people_read_audience, &reading));
    assert_int_equal(reading.at, PEOPLE_AUDIENCES);
    for (int i = 0; i < PEOPLE_AUDIENCES; i++) {
        people_compare_members(people, store, i, (unsigned)i, 0);
    }
}

#endif
