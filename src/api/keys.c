/* keys.c -- API keys: made, listed, revoked.
 *
 * A key is shown once, in the answer that makes it; only its hash is stored.  A change is in force
 * when it is answered: the work that makes it has the table read anew.  Where that fails, a key
 * that was made is deleted again; where that fails too it is the caller's all the same, and in
 * force as soon as the keys can be read: the server looks for changes of them every second. */
#include "api/internal.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/ids.h"

#define KEYS_MAX       1000
#define KEYS_BYTES_MAX ((size_t)4 << 20)

static void put_roles(struct buffer *out, unsigned roles)
{
    static const unsigned all[] = {ROLE_READ, ROLE_INGEST, ROLE_ADMIN};
    char before = '[', text[API_ROLES_TEXT_BYTES];
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if ((roles & all[i]) != 0) {
            buffer_put_char(out, before);
            buffer_put_json_string(out, slice_str(api_roles_text(all[i], text)));
            before = ',';
        }
    }
    buffer_put_char(out, ']');
}

/* "id":…,"roles":…,…: all of a key but the key itself. */
static void put_row(struct buffer *out, const struct api_key_row *row)
{
    buffer_put_lit(out, "\"id\":");
    buffer_put_json_string(out, slice_of(row->id, sizeof row->id));
    buffer_put_lit(out, ",\"roles\":");
    put_roles(out, row->roles);
    if (row->event.len > 0) {
        buffer_put_lit(out, ",\"eventId\":");
        buffer_put_json_string(out, row->event);
    }
    buffer_put_lit(out, ",\"name\":");
    buffer_put_json_string(out, row->name);
    buffer_put_lit(out, ",\"createdMs\":");
    buffer_put_i64(out, row->created_ms);
}

/* ---- POST ---- */

/* The arena of a question that makes a key. */
struct making {
    struct api *api;
    struct api_key_row row;
    char text[API_KEY_TEXT_BYTES];
    char name[NAME_BYTES_MAX], event[EVENT_ID_BYTES_MAX];
    uint32_t count; /* keys that there are */
    bool full;
    bool stored; /* the work may run again after it was busy */
};

static enum err count_key(void *ctx, const struct api_key_row *row)
{
    struct making *making = ctx;
    (void)row;
    making->count++;
    return ERR_NONE;
}

static enum err work_make(struct records_link *link, struct live_query *query)
{
    struct making *making = query->arg;
    enum err err = ERR_NONE;
    if (!making->stored) {
        making->count = 0;
        err = records_keys_each(link, count_key, making);
        making->full = err == ERR_NONE && making->count >= KEYS_MAX;
        if (making->full) {
            return ERR_INVALID;
        }
        if (err == ERR_NONE) {
            err = records_key_put(link, &making->row);
        }
        making->stored = err == ERR_NONE;
    }
    if (err != ERR_NONE) {
        return err;
    }
    err = auth_keys_load(making->api, link);
    if (err == ERR_NONE) {
        return ERR_NONE;
    }
    enum err deleted = records_key_delete(link, making->row.id);
    if (deleted == ERR_NONE || deleted == ERR_NOT_FOUND) {
        making->stored = false;
        return err;
    }
    return ERR_NONE; /* it is there to stay: who asked for it must know it */
}

static void write_made(struct buffer *out, const struct question *question)
{
    const struct making *making = question->arena;
    buffer_put_char(out, '{');
    put_row(out, &making->row);
    buffer_put_lit(out, ",\"key\":");
    buffer_put_json_string(out, slice_str(making->text));
    buffer_put_char(out, '}');
}

static bool explain_full(const struct question *question, struct problem *problem)
{
    const struct making *making = question->arena;
    *problem = (struct problem){409, NULL, "there are 1000 API keys: revoke one first"};
    return making->full;
}

static void making_free(void *arena)
{
    struct making *making = arena;
    sodium_memzero(making->text, sizeof making->text);
    free(making);
}

#define ROLES_RULE "must be one or more of read, ingest, admin"

/* The bits of the roles that an array names; 0: it names something else, or nothing. */
static unsigned roles_of_array(const struct json_value *array)
{
    unsigned roles = 0;
    struct json_value item;
    for (struct slice rest = array->raw; json_array_next(&rest, &item);) {
        char room[API_ROLES_TEXT_BYTES];
        struct slice text;
        unsigned role;
        if (item.kind != JSON_IS_STRING || !json_text(&item, room, sizeof room, &text) ||
            memchr(text.ptr, ',', text.len) != NULL || !api_roles_parse(text, &role)) {
            return 0;
        }
        roles |= role;
    }
    return roles;
}

/* NULL, or the member that is wrong; *rule is then what it must be. */
static const char *take_roles(const struct json_value *role, const struct json_value *roles,
                              struct making *making, const char **rule)
{
    char room[API_ROLES_TEXT_BYTES];
    struct slice text;
    *rule = ROLES_RULE;
    if (roles->kind == JSON_IS_ARRAY) {
        making->row.roles = roles_of_array(roles);
        return making->row.roles == 0 ? "roles" : NULL;
    }
    if (role->kind == JSON_IS_STRING) {
        bool good =
            json_text(role, room, sizeof room, &text) && api_roles_parse(text, &making->row.roles);
        return good ? NULL : "role";
    }
    *rule = "is missing: one or more of read, ingest, admin";
    return "roles";
}

enum { ROLE, ROLES, EVENT_ID, NAME, FIELDS };

static const char *take_members(const struct json_value *values, struct making *making,
                                const char **rule)
{
    const char *field = take_roles(&values[ROLE], &values[ROLES], making, rule);
    if (field != NULL) {
        return field;
    }
    if (values[EVENT_ID].kind == JSON_IS_STRING) {
        *rule = EVENT_RULE;
        if (!json_text(&values[EVENT_ID], making->event, sizeof making->event,
                       &making->row.event) ||
            !id_event_valid(making->row.event)) {
            return "eventId";
        }
    }
    if (values[NAME].kind == JSON_IS_STRING) {
        *rule = "must be at most 256 bytes of UTF-8 without control characters";
        if (!json_text(&values[NAME], making->name, sizeof making->name, &making->row.name) ||
            !name_valid(making->row.name)) {
            return "name";
        }
    }
    return NULL;
}

void keys_post(struct call *call)
{
    static const struct json_field fields[FIELDS] = {
        [ROLE] = JSON_FIELD("role", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
        [ROLES] = JSON_FIELD("roles", JSON_IS_ARRAY | JSON_IS_NULL, JSON_OPTIONAL),
        [EVENT_ID] = JSON_FIELD("eventId", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
        [NAME] = JSON_FIELD("name", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
    };
    struct json_value values[FIELDS];
    struct json_fault fault;
    char detail[JSON_FAULT_TEXT_BYTES];
    if (json_object_read(call->exchange->request.body, fields, FIELDS, values, &fault) != JSON_OK) {
        json_fault_text(&fault, detail);
        call_problem(call, 400, fault.field, detail);
        return;
    }
    struct making *making = memory_zalloc(sizeof *making);
    const char *rule, *field = take_members(values, making, &rule);
    if (field != NULL) {
        free(making);
        snprintf(detail, sizeof detail, "\"%s\" %s", field, rule);
        call_problem(call, 400, field, detail);
        return;
    }
    struct api_key key;
    api_key_make(&key, making->text);
    static_assert(sizeof key.id == sizeof making->row.id &&
                      sizeof key.hash == sizeof making->row.hash,
                  "a key is stored as it is");
    memcpy(making->row.id, key.id, sizeof key.id);
    memcpy(making->row.hash, key.hash, sizeof key.hash);
    making->row.created_ms = clock_wall_us() / 1000;
    making->api = call->worker->api;
    struct question *question = question_new(call, LIVE_WRITE, write_made);
    question->arena = question->query.arg = making;
    question->fini = making_free;
    question->query.work = work_make;
    question->status = 201;
    question->explain = explain_full;
    question_ask(call, question);
}

/* ---- GET ---- */

struct listed {
    struct api_key_row row; /* its slices lie below */
    char event[EVENT_ID_BYTES_MAX], name[NAME_BYTES_MAX];
};

/* The arena of a question that lists. */
struct listing {
    struct listed *keys;
    uint32_t count, max;
    uint32_t limit;
    bool after;
    char after_id[API_KEY_ID_BYTES];
};

static void listing_free(void *arena)
{
    struct listing *listing = arena;
    free(listing->keys);
    free(listing);
}

static enum err read_key(void *ctx, const struct api_key_row *row)
{
    struct listing *listing = ctx;
    listing->keys =
        memory_grow(listing->keys, &listing->max, listing->count + 1, sizeof *listing->keys);
    struct listed *key = &listing->keys[listing->count++];
    key->row = *row;
    if (row->event.len > sizeof key->event || row->name.len > sizeof key->name) {
        return ERR_DAMAGED;
    }
    /* The array moves as it grows: the slices are given their place when it is whole. */
    if (row->event.len > 0) {
        memcpy(key->event, row->event.ptr, row->event.len);
    }
    if (row->name.len > 0) {
        memcpy(key->name, row->name.ptr, row->name.len);
    }
    return ERR_NONE;
}

static int key_order(const void *a, const void *b)
{
    return memcmp(((const struct listed *)a)->row.id, ((const struct listed *)b)->row.id,
                  API_KEY_ID_BYTES);
}

static enum err work_list(struct records_link *link, struct live_query *query)
{
    struct listing *listing = query->arg;
    listing->count = 0;
    enum err err = records_keys_each(link, read_key, listing);
    if (err == ERR_NONE && listing->count > 1) {
        qsort(listing->keys, listing->count, sizeof *listing->keys, key_order);
    }
    return err;
}

static void write_list(struct buffer *out, const struct question *question)
{
    const struct listing *listing = question->arena;
    uint32_t at = 0, rows = 0;
    while (listing->after && at < listing->count &&
           memcmp(listing->keys[at].row.id, listing->after_id, API_KEY_ID_BYTES) <= 0) {
        at++;
    }
    buffer_put_lit(out, "{\"keys\":[");
    for (; at < listing->count && rows < listing->limit; at++, rows++) {
        const struct listed *key = &listing->keys[at];
        struct api_key_row row = key->row;
        row.event = slice_of(key->event, row.event.len);
        row.name = slice_of(key->name, row.name.len);
        buffer_put(out, rows > 0 ? SLICE_LIT(",{") : SLICE_LIT("{"));
        put_row(out, &row);
        buffer_put_char(out, '}');
    }
    buffer_put_char(out, ']');
    if (at < listing->count) {
        buffer_put_lit(out, ",\"next\":");
        buffer_put_json_string(out, slice_of(listing->keys[at - 1].row.id, API_KEY_ID_BYTES));
    }
    buffer_put_char(out, '}');
}

static bool key_id_valid(struct slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))) {
            return false;
        }
    }
    return id.len == API_KEY_ID_BYTES;
}

void keys_list(struct call *call)
{
    struct parameter cursor;
    uint32_t limit;
    if (!page_parameters(call, &limit, &cursor)) {
        return;
    }
    if (cursor.given && !key_id_valid(cursor.value)) {
        call_bad_cursor(call);
        return;
    }
    struct listing *listing = memory_zalloc(sizeof *listing);
    listing->limit = limit;
    listing->after = cursor.given;
    if (listing->after) {
        memcpy(listing->after_id, cursor.value.ptr, API_KEY_ID_BYTES);
    }
    struct question *question = question_new(call, LIVE_READ, write_list);
    question->arena = question->query.arg = listing;
    question->fini = listing_free;
    question->query.work = work_list;
    question_ask(call, question);
}

/* ---- DELETE ---- */

/* The arena of a question that revokes. */
struct revoking {
    struct api *api;
    bool deleted; /* the work may run again after it was busy */
    char id[API_KEY_ID_BYTES];
};

static enum err work_revoke(struct records_link *link, struct live_query *query)
{
    struct revoking *revoking = query->arg;
    enum err err = revoking->deleted ? ERR_NONE : records_key_delete(link, revoking->id);
    revoking->deleted = err == ERR_NONE;
    return err == ERR_NONE ? auth_keys_load(revoking->api, link) : err;
}

#define NO_KEY "there is no API key with this id"

static bool explain_no_key(const struct question *question, struct problem *problem)
{
    *problem = (struct problem){404, "keyId", NO_KEY};
    return question->query.status == LIVE_NOT_FOUND;
}

void keys_delete(struct call *call)
{
    if (!key_id_valid(call->key_id)) {
        call_problem(call, 404, "keyId", NO_KEY);
        return;
    }
    struct revoking *revoking = memory_zalloc(sizeof *revoking);
    revoking->api = call->worker->api;
    memcpy(revoking->id, call->key_id.ptr, sizeof revoking->id);
    struct question *question = question_new(call, LIVE_WRITE, NULL);
    question->arena = question->query.arg = revoking;
    question->query.work = work_revoke;
    question->status = 204;
    question->explain = explain_no_key;
    question_ask(call, question);
}
