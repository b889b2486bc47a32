/* batch.c -- POST /analytics/heartbeats: many heartbeats as NDJSON, from a trusted back end.
 *
 * Each line is a heartbeat of its own: good ones are counted, bad ones are named with their number
 * and a reason, and no line spoils another.
 *
 * Memory: one block per batch holds its heartbeats and what of them had to be unescaped or packed;
 * all other text stays in the request's body.  Refused lines take a second block, of at most
 * REFUSALS_MAX.  All that one worker's batches take is bounded: 503 above it. */
#include "api/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/memory.h"
#include "core/country.h"
#include "core/groups.h"
#include "core/ids.h"

#define REFUSALS_MAX 1000
/* What the batches of one worker may take together (a batch alone may take more). */
#define BATCHES_BYTES_MAX ((uint64_t)256 << 20)
/* The shortest line that is a heartbeat. */
#define LINE_BYTES_MIN (sizeof "{\"event\":\"a\",\"viewer\":\"b\"}" - 1)

struct refusal {
    uint32_t line;
    char reason[JSON_FAULT_TEXT_BYTES];
};

struct batch {
    uint64_t bytes; /* of this block */
    struct live_beat *beats;
    uint32_t *lines; /* lines[i] is where beats[i] came from, from 1 on */
    uint32_t count, count_max;
    char *text; /* as large as the body */
    size_t text_used;
    /* Lines that are wrong in themselves, in order: the first ones, and how many there are. */
    struct refusal *refusals;
    uint32_t refusals_count, refusals_max;
    uint64_t refused;
};

struct batch_state {
    struct live_heartbeats heartbeats;
    struct batch *batch;
};
static_assert(sizeof(struct batch_state) <= HTTP_USER_BYTES, "a batch's state fits its exchange");

enum { EVENT_ID, SESSION_ID, VIEWER_ID, COUNTRY, GROUPS, HIDDEN, LEAVING, FIELDS };

static const struct json_field fields[FIELDS] = {
    [EVENT_ID] = JSON_FIELD("event", JSON_IS_STRING, JSON_REQUIRED),
    [SESSION_ID] = JSON_FIELD("session", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [VIEWER_ID] = JSON_FIELD("viewer", JSON_IS_STRING, JSON_REQUIRED),
    [COUNTRY] = JSON_FIELD("country", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    [GROUPS] = JSON_FIELD("groups", JSON_IS_ARRAY | JSON_IS_NULL, JSON_OPTIONAL),
    [HIDDEN] = JSON_FIELD("hidden", JSON_IS_BOOL | JSON_IS_NULL, JSON_OPTIONAL),
    [LEAVING] = JSON_FIELD("leaving", JSON_IS_BOOL | JSON_IS_NULL, JSON_OPTIONAL),
};

/* How many lines can be heartbeats. */
static size_t beats_max(struct slice body)
{
    size_t lines = 1;
    for (size_t i = 0; i < body.len; i++) {
        lines += body.ptr[i] == '\n';
    }
    size_t count_max = body.len / LINE_BYTES_MIN + 1;
    return lines < count_max ? lines : count_max;
}

/* NULL: the batches under way take too much already. */
static struct batch *batch_new(struct api_worker *worker, struct slice body)
{
    size_t count_max = beats_max(body);
    size_t bytes =
        sizeof(struct batch) + count_max * (sizeof(struct live_beat) + sizeof(uint32_t)) + body.len;
    if (worker->batch_bytes > 0 && worker->batch_bytes + bytes > BATCHES_BYTES_MAX) {
        return NULL;
    }
    worker->batch_bytes += bytes;
    struct batch *batch = memory_alloc(bytes);
    *batch = (struct batch){.bytes = bytes, .count_max = (uint32_t)count_max};
    static_assert(sizeof *batch % alignof(struct live_beat) == 0, "beats follow the batch");
    batch->beats = (struct live_beat *)(void *)(batch + 1);
    batch->lines = (uint32_t *)(void *)(batch->beats + count_max);
    batch->text = (char *)(batch->lines + count_max);
    return batch;
}

static void batch_free(struct api_worker *worker, struct batch *batch)
{
    ASSERT(worker->batch_bytes >= batch->bytes);
    worker->batch_bytes -= batch->bytes;
    free(batch->refusals);
    free(batch);
}

/* ---- reading ---- */

/* All texts and packed groups of a body together are never longer than the body. */
static struct slice text_of(struct batch *batch, const struct json_value *value)
{
    struct slice text;
    char *room = batch->text + batch->text_used;
    bool fits = json_text(value, room, value->raw.len, &text);
    ASSERT(fits);
    if (text.ptr == room) {
        batch->text_used += text.len;
    }
    return text;
}

static const char *take_groups(struct batch *batch, const struct json_value *value,
                               struct heartbeat *heartbeat)
{
    char packed[GROUPS_PACKED_BYTES_MAX];
    size_t len;
    const char *rule = groups_read(value, packed, &len);
    if (rule == NULL) {
        ASSERT(len <= value->raw.len); /* "a", is longer than its length byte and a */
        heartbeat->groups = slice_of(batch->text + batch->text_used, len);
        memcpy(batch->text + batch->text_used, packed, len);
        batch->text_used += len;
        heartbeat->flags |= HEARTBEAT_GROUPS;
    }
    return rule;
}

/* The members of a line into a heartbeat.  NULL, or the member that is wrong; *rule is then what
 * it must be. */
static const char *take_members(struct batch *batch, const struct json_value *values,
                                struct heartbeat *heartbeat, const char **rule)
{
    heartbeat->event = text_of(batch, &values[EVENT_ID]);
    if (!id_event_valid(heartbeat->event)) {
        *rule = EVENT_RULE;
        return "event";
    }
    heartbeat->viewer = text_of(batch, &values[VIEWER_ID]);
    if (!id_viewer_valid(heartbeat->viewer)) {
        *rule = VIEWER_RULE;
        return "viewer";
    }
    if (values[SESSION_ID].kind == JSON_IS_STRING) {
        heartbeat->session = text_of(batch, &values[SESSION_ID]);
        if (!id_session_valid(heartbeat->session)) {
            *rule = SESSION_RULE;
            return "session";
        }
    }
    if (values[COUNTRY].kind == JSON_IS_STRING &&
        !country_pack(text_of(batch, &values[COUNTRY]), &heartbeat->country)) {
        *rule = "must be two of A-Z 0-9, as in ISO 3166-1 alpha-2";
        return "country";
    }
    if (values[GROUPS].kind == JSON_IS_ARRAY) {
        *rule = take_groups(batch, &values[GROUPS], heartbeat);
        if (*rule != NULL) {
            return "groups";
        }
    }
    heartbeat->flags |= (uint8_t)((values[HIDDEN].truth ? HEARTBEAT_HIDDEN : 0) |
                                  (values[LEAVING].truth ? HEARTBEAT_LEAVING : 0));
    return NULL;
}

/* False: reason says what is wrong, by its field. */
static bool read_line(struct batch *batch, struct slice line, struct heartbeat *heartbeat,
                      char reason[JSON_FAULT_TEXT_BYTES])
{
    struct json_value values[FIELDS];
    struct json_fault fault;
    if (json_object_read(line, fields, FIELDS, values, &fault) != JSON_OK) {
        json_fault_text(&fault, reason);
        return false;
    }
    const char *rule;
    const char *field = take_members(batch, values, heartbeat, &rule);
    if (field != NULL) {
        snprintf(reason, JSON_FAULT_TEXT_BYTES, "\"%s\" %s", field, rule);
        return false;
    }
    return true;
}

static void refuse(struct batch *batch, uint32_t line, const char *reason)
{
    batch->refused++;
    if (batch->refusals_count == REFUSALS_MAX) {
        return;
    }
    batch->refusals = memory_grow(batch->refusals, &batch->refusals_max, batch->refusals_count + 1,
                                  sizeof *batch->refusals);
    struct refusal *refusal = &batch->refusals[batch->refusals_count++];
    refusal->line = line;
    memcpy(refusal->reason, reason, sizeof refusal->reason);
}

static bool is_blank(struct slice line)
{
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] != ' ' && line.ptr[i] != '\t' && line.ptr[i] != '\r') {
            return false;
        }
    }
    return true;
}

/* only: the event that the API key is for; empty: any. */
static void read_lines(struct batch *batch, struct slice body, struct slice only)
{
    char reason[JSON_FAULT_TEXT_BYTES];
    for (uint32_t number = 1; body.len > 0; number++) {
        const char *feed = memchr(body.ptr, '\n', body.len);
        size_t len = feed == NULL ? body.len : (size_t)(feed - body.ptr);
        struct slice line = slice_of(body.ptr, len);
        size_t step = feed == NULL ? len : len + 1;
        body = slice_of(body.ptr + step, body.len - step);
        if (is_blank(line)) {
            continue;
        }
        struct heartbeat heartbeat = {0};
        bool good = read_line(batch, line, &heartbeat, reason);
        if (good && only.len > 0 && !slice_equal(heartbeat.event, only)) {
            snprintf(reason, sizeof reason, "\"event\": the API key is for another event");
            good = false;
        }
        if (!good) {
            refuse(batch, number, reason);
            continue;
        }
        ASSERT(batch->count < batch->count_max);
        batch->lines[batch->count] = number;
        batch->beats[batch->count++] = (struct live_beat){.heartbeat = heartbeat};
    }
}

/* ---- answering ---- */

static void put_refusal(struct buffer *out, uint32_t *written, uint32_t line, const char *reason)
{
    if (*written == REFUSALS_MAX) {
        return;
    }
    if ((*written)++ > 0) {
        buffer_put_char(out, ',');
    }
    buffer_put_lit(out, "{\"line\":");
    buffer_put_u64(out, line);
    buffer_put_lit(out, ",\"reason\":");
    buffer_put_json_string(out, slice_str(reason));
    buffer_put_char(out, '}');
}

/* Lines that were wrong and lines that live/ refused, merged by their numbers. */
static void write_answer(struct buffer *out, const struct batch *batch, uint64_t accepted)
{
    uint64_t refused = batch->refused + batch->count - accepted;
    uint32_t written = 0, wrong = 0;
    buffer_reset(out);
    buffer_put_lit(out, "{\"accepted\":");
    buffer_put_u64(out, accepted);
    buffer_put_lit(out, ",\"rejected\":[");
    for (uint32_t i = 0; i < batch->count && written < REFUSALS_MAX; i++) {
        if (batch->beats[i].status == LIVE_OK) {
            continue;
        }
        for (; wrong < batch->refusals_count && batch->refusals[wrong].line < batch->lines[i];
             wrong++) {
            put_refusal(out, &written, batch->refusals[wrong].line, batch->refusals[wrong].reason);
        }
        put_refusal(out, &written, batch->lines[i], live_status_text(batch->beats[i].status));
    }
    for (; wrong < batch->refusals_count; wrong++) {
        put_refusal(out, &written, batch->refusals[wrong].line, batch->refusals[wrong].reason);
    }
    buffer_put_char(out, ']');
    if (refused > written) {
        buffer_put_lit(out, ",\"rejectedCount\":");
        buffer_put_u64(out, refused);
    }
    buffer_put_char(out, '}');
}

static bool is_unavailable(enum live_status status)
{
    return status == LIVE_BUSY || status == LIVE_NO_SPACE || status == LIVE_RECORDS_AWAY ||
           status == LIVE_ERASING;
}

static void finish(struct http_exchange *exchange, struct batch *batch)
{
    struct api_worker *worker = exchange->worker_ctx;
    uint64_t accepted = 0;
    enum live_status unavailable = LIVE_OK;
    for (uint32_t i = 0; i < batch->count; i++) {
        enum live_status status = batch->beats[i].status;
        accepted += status == LIVE_OK;
        unavailable = is_unavailable(status) ? status : unavailable;
    }
    uint64_t refused = atomic_load_explicit(&worker->lines_refused, memory_order_relaxed);
    atomic_store_explicit(&worker->lines_refused,
                          refused + batch->refused + batch->count - accepted, memory_order_relaxed);
    write_answer(&worker->answer, batch, accepted);
    batch_free(worker, batch);
    if (accepted == 0 && unavailable != LIVE_OK) {
        /* Nothing was counted and it will pass: the whole batch may be sent again. */
        respond_live_problem(exchange, unavailable, slice_str(worker->api->retry_after));
        return;
    }
    respond_answer(exchange);
}

static void batch_done(struct live_request *request)
{
    struct batch_state *state = (struct batch_state *)(void *)request;
    struct http_exchange *exchange = exchange_of(state);
    worker_returned(exchange->worker_ctx);
    finish(exchange, state->batch);
}

void batch_post(struct call *call)
{
    static_assert(offsetof(struct batch_state, heartbeats) == 0 &&
                      offsetof(struct live_heartbeats, request) == 0,
                  "a request is where its state begins");
    struct batch_state *state = (struct batch_state *)(void *)call->exchange->user;
    struct slice body = call->exchange->request.body;
    struct batch *batch = batch_new(call->worker, body);
    if (batch == NULL) {
        respond_live_problem(call->exchange, LIVE_BUSY, slice_str(call->worker->api->retry_after));
        return;
    }
    read_lines(batch, body, call->key_event);
    if (batch->count == 0) {
        finish(call->exchange, batch);
        return;
    }
    state->batch = batch;
    state->heartbeats.request.kind = LIVE_HEARTBEATS;
    state->heartbeats.request.done = batch_done;
    state->heartbeats.beats = batch->beats;
    state->heartbeats.count = batch->count;
    if (!call_submit(call, &state->heartbeats.request)) {
        batch_free(call->worker, batch);
    }
}
