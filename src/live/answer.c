/* answer.c -- questions: what the engine knows, joined with what only the record store knows.
 *
 * answer_query runs on the engine's thread and answers at once what is in memory.  What needs rows
 * goes on to a reader (answer_read), with what the engine knows but has not stored yet already in
 * the query; the reader first waits until the parts that the engine had handed over by then are
 * stored, so that nothing falls between the two.  Rows that both know are told apart by their key:
 * the engine's are newer. */
#include "base/assert.h"
#include "base/log.h"
#include "base/memory.h"
#include "live/live_state.h"

#include <stdlib.h>

#define ROWS_DEFAULT 1000
#define ROWS_MAX     1000000

/* ---- rows of a query ---- */

static uint32_t limit_of(const struct live_query *query)
{
    uint32_t limit = query->limit == 0 ? ROWS_DEFAULT : query->limit;
    return limit > ROWS_MAX ? ROWS_MAX : limit;
}

static struct slice keep(struct live_query *query, struct slice text)
{
    if (query->text == NULL) {
        query->text = memory_alloc(sizeof *query->text);
        changes_init(query->text);
    }
    return changes_copy(query->text, text);
}

void live_query_fini(struct live_query *query)
{
    free(query->figures);
    free(query->counts);
    free(query->frames);
    free(query->viewings);
    free(query->events);
    query->figures = NULL;
    query->counts = NULL;
    query->frames = NULL;
    query->viewings = NULL;
    query->events = NULL;
    query->rows = query->rows_max = 0;
    if (query->text != NULL) {
        changes_fini(query->text);
        free(query->text);
        query->text = NULL;
    }
}

#define ADD_ROW(query, array)                                                                      \
    ((query)->array = memory_grow((query)->array, &(query)->rows_max, (query)->rows + 1,           \
                                  sizeof *(query)->array),                                         \
     &(query)->array[(query)->rows++])

static void add_figures(void *ctx, const struct figures *figures)
{
    struct live_query *query = ctx;
    struct figures *row = ADD_ROW(query, figures);
    *row = *figures;
    row->session = keep(query, figures->session);
}

static void add_count(void *ctx, bool is_group, struct slice key, uint32_t count)
{
    struct live_query *query = ctx;
    struct live_count *row = ADD_ROW(query, counts);
    *row = (struct live_count){is_group, keep(query, key), count};
}

static void add_frame(void *ctx, const struct frame_row *frame)
{
    struct live_query *query = ctx;
    if (frame->start_ms < query->from_ms || frame->end_ms > query->to_ms) {
        return;
    }
    struct frame_row *row = ADD_ROW(query, frames);
    *row = *frame;
    row->groups = keep(query, frame->groups);
    row->countries = keep(query, frame->countries);
}

static void add_viewing(struct live_query *query, struct slice session, int64_t start_ms,
                        int64_t end_ms)
{
    struct live_viewing *row = ADD_ROW(query, viewings);
    *row = (struct live_viewing){keep(query, session), start_ms, end_ms};
}

static void add_engine_viewing(void *ctx, const struct viewer_viewing *viewing)
{
    struct live_query *query = ctx;
    query->viewer_no = viewing->viewer_no;
    add_viewing(query, viewing->session, viewing->start_ms, viewing->end_ms);
    if (viewing->session.len == 0 && viewing->latest) {
        query->alive = viewing->alive;
        query->country = viewing->country;
    }
}

static void sort_events(struct live_query *query);

/* The first ones in order of id, from however many come in no order: at most two pages are kept.
 * The text stays where it is. */
static void add_event(void *ctx, struct slice event)
{
    struct live_query *query = ctx;
    if (slice_compare(event, query->after) <= 0) {
        return;
    }
    if (query->rows / 2 >= limit_of(query)) {
        sort_events(query); /* cuts */
    }
    *ADD_ROW(query, events) = event;
}

/* The engine's events may go away while the query is with a reader. */
static void keep_events(struct live_query *query)
{
    sort_events(query);
    for (uint32_t i = 0; i < query->rows; i++) {
        query->events[i] = keep(query, query->events[i]);
    }
}

/* ---- on the engine's thread ---- */

void answer_done(struct live_query *query)
{
    struct live_port *port = query->request.port;
    query->request.next = NULL;
    pthread_mutex_lock(&port->answers_lock);
    bool first = port->answers_first == NULL;
    if (first) {
        port->answers_first = &query->request;
    } else {
        port->answers_last->next = &query->request;
    }
    port->answers_last = &query->request;
    pthread_mutex_unlock(&port->answers_lock);
    if (first) {
        port->wake(port->ctx);
    }
}

bool answer_write(struct live *live, struct live_query *query)
{
    query->asked_ms = clock_mono_ms();
    if (!work_put(&live->writes, &query->request, WRITES_MAX)) {
        return false;
    }
    pthread_mutex_lock(&live->part_lock); /* the records thread waits for parts and writing */
    pthread_cond_broadcast(&live->part_changed);
    pthread_mutex_unlock(&live->part_lock);
    return true;
}

void answer_pass_on(struct live *live, struct live_query *query)
{
    query->part = live->parts_collected;
    query->asked_ms = clock_mono_ms();
    if (!work_put(&live->reads, &query->request, READS_MAX)) {
        query->status = LIVE_BUSY;
        answer_done(query);
    }
}

/* Writing is answered by the records thread, behind all that was asked before. */
static void write_later(struct live *live, struct live_query *query)
{
    bool is_put = query->kind == LIVE_PROFILE_PUT;
    if (is_put && live->options.profiles.query != NULL) {
        query->status = LIVE_REFUSED; /* they are the platform's own */
    } else if (erasures_hold(live, query->event, is_put ? query->viewer : SLICE_EMPTY)) {
        query->status = LIVE_ERASING;
    } else if (answer_write(live, query)) {
        return;
    } else {
        query->status = LIVE_BUSY;
    }
    answer_done(query);
}

static enum figures_outcome figures_of(struct live *live, struct live_query *query)
{
    struct figures figures;
    enum figures_outcome outcome =
        engine_figures(live->engine, query->event, query->session, &figures);
    if (outcome == FIGURES_OK) {
        add_figures(query, &figures);
    }
    return outcome;
}

static void viewer_of(struct live *live, struct live_query *query)
{
    struct slice groups;
    query->viewer_no = -1;
    /* An event not in memory has nobody alive, and all its viewings are stored. */
    if (engine_viewer(live->engine, query->event, query->viewer, &query->attended, &groups,
                      add_engine_viewing, query) == FIGURES_OK &&
        query->attended) {
        query->groups = keep(query, groups);
    }
}

void answer_query(struct live *live, struct live_query *query)
{
    enum figures_outcome outcome = FIGURES_NEED_EVENT;
    query->now_ms = engine_now_ms(live->engine);
    query->status = LIVE_OK;
    switch (query->kind) {
    case LIVE_FIGURES:
        outcome = figures_of(live, query);
        break;
    case LIVE_OVERVIEW:
        outcome = engine_overview(live->engine, query->event, add_figures, query);
        break;
    case LIVE_COUNTS:
        outcome = engine_live(live->engine, query->event, query->session, &query->active, add_count,
                              query);
        if (outcome == FIGURES_NEED_EVENT) {
            outcome = FIGURES_OK; /* not in memory: nobody is alive */
        }
        break;
    case LIVE_FRAMES:
        if (engine_frames(live->engine, query->event, query->session, add_frame, query) !=
            FIGURES_OK) {
            query->rows = 0;
        }
        break;
    case LIVE_VIEWER:
        viewer_of(live, query);
        break;
    case LIVE_EVENTS:
        engine_events(live->engine, add_event, query);
        keep_events(query);
        break;
    case LIVE_PROFILE_PUT:
    case LIVE_WRITE:
        write_later(live, query);
        return;
    case LIVE_ERASE:
    case LIVE_PURGE:
        erasures_ask(live, query);
        return;
    case LIVE_READ:
        if (query->fresh) {
            passes_wait(live, query);
            return;
        }
        break;
    case LIVE_PROFILE_GET:
        break;
    }
    if (outcome == FIGURES_OK) {
        answer_done(query);
    } else {
        answer_pass_on(live, query);
    }
}

/* ---- on a reader's thread ---- */

static enum err read_audience(void *ctx, const struct audience_row *row)
{
    struct figures figures = {.session = row->session,
                              .attended = row->attended,
                              .logins = row->logins,
                              .total_ms = row->total_ms,
                              .peak_count = row->peak_count,
                              .peak_ms = row->peak_ms};
    add_figures(ctx, &figures);
    return ERR_NONE;
}

static enum err read_frame(void *ctx, const struct frame_row *frame)
{
    add_frame(ctx, frame);
    return ERR_NONE;
}

static enum err read_viewing(void *ctx, const struct viewing_of_viewer *viewing)
{
    struct live_query *query = ctx;
    if (!query->attended && viewing->session.len == 0) {
        query->country = viewing->country; /* the newest comes last */
    }
    add_viewing(query, viewing->session, viewing->start_ms, viewing->end_ms);
    return ERR_NONE;
}

static enum err read_event(void *ctx, struct slice event)
{
    struct live_query *query = ctx;
    add_event(query, keep(query, event));
    return ERR_NONE;
}

static enum err read_profile(void *ctx, const struct profile *profile)
{
    struct live_query *query = ctx;
    query->has_profile = true;
    query->name = keep(query, profile->name);
    query->groups = keep(query, profile->groups);
    return ERR_NONE;
}

static int frame_order(const void *a, const void *b)
{
    const struct frame_row *left = a, *right = b;
    return left->start_ms < right->start_ms ? -1 : left->start_ms > right->start_ms;
}

static int viewing_order(const void *a, const void *b)
{
    const struct live_viewing *left = a, *right = b;
    if (left->start_ms != right->start_ms) {
        return left->start_ms < right->start_ms ? -1 : 1;
    }
    int order = slice_compare(left->session, right->session);
    if (order != 0) {
        return order;
    }
    return left->end_ms > right->end_ms ? -1 : left->end_ms < right->end_ms; /* newest first */
}

static int event_order(const void *a, const void *b)
{
    return slice_compare(*(const struct slice *)a, *(const struct slice *)b);
}

static void cut_to_limit(struct live_query *query)
{
    if (query->rows > limit_of(query)) {
        query->rows = limit_of(query);
        query->more = true;
    }
}

/* Sorts, and keeps of rows with one key the first. */
static void sort_frames(struct live_query *query)
{
    if (query->rows > 1) {
        qsort(query->frames, query->rows, sizeof *query->frames, frame_order);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < query->rows; i++) {
        if (kept == 0 || query->frames[i].start_ms != query->frames[kept - 1].start_ms) {
            query->frames[kept++] = query->frames[i];
        }
    }
    query->rows = kept;
    cut_to_limit(query);
}

static void sort_viewings(struct live_query *query)
{
    if (query->rows > 1) {
        qsort(query->viewings, query->rows, sizeof *query->viewings, viewing_order);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < query->rows; i++) {
        const struct live_viewing *row = &query->viewings[i];
        if (kept == 0 || row->start_ms != query->viewings[kept - 1].start_ms ||
            !slice_equal(row->session, query->viewings[kept - 1].session)) {
            query->viewings[kept++] = *row;
        }
    }
    query->rows = kept;
    cut_to_limit(query);
}

static void sort_events(struct live_query *query)
{
    if (query->rows > 1) {
        qsort(query->events, query->rows, sizeof *query->events, event_order);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < query->rows; i++) {
        if (kept == 0 || !slice_equal(query->events[i], query->events[kept - 1])) {
            query->events[kept++] = query->events[i];
        }
    }
    query->rows = kept;
    cut_to_limit(query);
}

static enum err read_figures(struct records_link *link, struct live_query *query)
{
    bool overview = query->kind == LIVE_OVERVIEW;
    enum err err =
        records_audiences(link, query->event, query->session, overview, read_audience, query);
    if (err == ERR_NOT_FOUND || (err == ERR_NONE && query->rows == 0)) {
        struct figures none = {.session = query->session};
        query->rows = 0;
        add_figures(query, &none); /* nobody has seen it: zeros */
        return ERR_NONE;
    }
    return err;
}

/* The profile of a viewer that is shown without one when the platform's database fails or has a row
 * that cannot be used: what is known here is known all the same. */
static enum err read_profile_if_any(struct records_link *link, struct live_query *query)
{
    enum err err = records_profile_get(link, query->event, query->viewer, read_profile, query);
    const struct live *live = query->request.port->live;
    if (err != ERR_NONE && err != ERR_NOT_FOUND && live->options.profiles.query != NULL) {
        LOG_EVERY(10000, LOG_WARN, "profiles", "a viewer is shown without its profile: %s",
                  records_why(link));
        err = ERR_NOT_FOUND;
    }
    return err;
}

static enum err read_viewer(struct records_link *link, struct live_query *query)
{
    bool in_memory = query->attended;
    struct slice engine_groups = query->groups;
    uint32_t engine_rows = query->rows;
    enum err err = records_viewings(link, query->event, query->viewer, query->viewer_no,
                                    limit_of(query) + 1, read_viewing, query);
    if (err != ERR_NONE && err != ERR_NOT_FOUND) {
        return err;
    }
    query->attended = in_memory || query->rows > 0;
    bool more = query->rows - engine_rows > limit_of(query); /* before rows that are the same go */
    sort_viewings(query);
    query->more |= more;
    err = read_profile_if_any(link, query);
    if (in_memory) {
        query->groups = engine_groups; /* those that count */
    }
    if (err == ERR_NOT_FOUND) {
        err = query->attended ? ERR_NONE : ERR_NOT_FOUND;
    }
    return err;
}

static enum err read_rows(struct records_link *link, struct live_query *query)
{
    enum err err = ERR_NONE;
    switch (query->kind) {
    case LIVE_FIGURES:
    case LIVE_OVERVIEW:
        return read_figures(link, query);
    case LIVE_FRAMES:
        err = records_frames(link, query->event, query->session, query->from_ms, query->to_ms,
                             limit_of(query) + 1, read_frame, query);
        if (err == ERR_NONE || err == ERR_NOT_FOUND) {
            sort_frames(query);
            return ERR_NONE;
        }
        return err;
    case LIVE_VIEWER:
        return read_viewer(link, query);
    case LIVE_EVENTS:
        err = records_events_each(link, query->after, limit_of(query) + 1, read_event, query);
        if (err == ERR_NONE) {
            sort_events(query);
        }
        return err;
    case LIVE_PROFILE_GET:
        return records_profile_get(link, query->event, query->viewer, read_profile, query);
    case LIVE_READ:
        return query->work(link, query);
    case LIVE_COUNTS:
    case LIVE_PROFILE_PUT:
    case LIVE_ERASE:
    case LIVE_PURGE:
    case LIVE_WRITE:
        break;
    }
    ASSERT(!"a query that no reader answers");
    return err;
}

enum live_status answer_status(enum err err)
{
    switch (err) {
    case ERR_NONE:
        return LIVE_OK;
    case ERR_NOT_FOUND:
        return LIVE_NOT_FOUND;
    case ERR_INVALID:
        return LIVE_REFUSED;
    default:
        return LIVE_RECORDS_AWAY;
    }
}

void answer_read(struct records_link *link, struct live_query *query)
{
    query->status = answer_status(link == NULL ? ERR_DATABASE : read_rows(link, query));
    answer_done(query);
}
