/* test_keys.c -- API keys: made, shown once, listed, revoked. */
#include "worked.h"

#define KEYS "/analytics/keys"

static char made_id[API_KEY_ID_BYTES + 1], made_key[128];

static const char *text_of(const json_t *object, const char *member)
{
    const char *text = json_string_value(json_object_get(object, member));
    return text == NULL ? "" : text;
}

static json_t *answer_of(int status)
{
    assert_int_equal(fake.answer.status, status);
    json_t *answer = json_loads(fake.answer.body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(answer);
    return answer;
}

static void test_make(void **state)
{
    (void)state;
    fake_request(HTTP_POST, KEYS,
                 "{\"roles\":[\"ingest\",\"read\"],\"eventId\":\"E\",\"name\":\"CI \\u00e9\"}");
    worked_do(LIVE_WRITE);
    json_t *answer = answer_of(201);
    snprintf(made_id, sizeof made_id, "%s", text_of(answer, "id"));
    snprintf(made_key, sizeof made_key, "%s", text_of(answer, "key"));
    assert_int_equal(strlen(made_id), API_KEY_ID_BYTES);
    assert_int_equal(strncmp(made_key, "nb_", 3), 0);
    assert_int_equal(strncmp(made_key + 3, made_id, API_KEY_ID_BYTES), 0);
    assert_string_equal(text_of(answer, "eventId"), "E");
    assert_string_equal(text_of(answer, "name"), "CI \xc3\xa9");
    assert_int_equal(json_array_size(json_object_get(answer, "roles")), 2);
    assert_true(json_integer_value(json_object_get(answer, "createdMs")) > 1600000000000);
    json_decref(answer);
    assert_int_equal(store_number(&worked, "SELECT count(*) FROM api_key"), 1);
    fake_request(HTTP_POST, KEYS, "{\"role\":\"admin\",\"eventId\":null,\"name\":null}");
    worked_do(LIVE_WRITE);
    answer = answer_of(201);
    assert_null(json_object_get(answer, "eventId"));
    json_decref(answer);
}

/* The key is shown once, and its hash never. */
static void test_list(void **state)
{
    (void)state;
    fake_request(HTTP_GET, KEYS, "");
    worked_do(LIVE_READ);
    json_t *answer = answer_of(200);
    json_t *keys = json_object_get(answer, "keys");
    assert_int_equal(json_array_size(keys), 2);
    assert_true(
        strcmp(text_of(json_array_get(keys, 0), "id"), text_of(json_array_get(keys, 1), "id")) < 0);
    assert_null(strstr(fake.answer.body, made_key));
    assert_null(strstr(fake.answer.body, "hash"));
    json_decref(answer);
    char path[64];
    fake_request(HTTP_GET, KEYS "?limit=1", "");
    worked_do(LIVE_READ);
    answer = answer_of(200);
    snprintf(path, sizeof path, KEYS "?limit=1&cursor=%s", text_of(answer, "next"));
    json_decref(answer);
    fake_request(HTTP_GET, path, "");
    worked_do(LIVE_READ);
    answer = answer_of(200);
    assert_int_equal(json_array_size(json_object_get(answer, "keys")), 1);
    assert_null(json_object_get(answer, "next"));
    json_decref(answer);
    fake_request(HTTP_GET, KEYS "?cursor=short", "");
    assert_problem(400, "cursor");
}

static void test_revoke(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof path, KEYS "/%s", made_id);
    fake_request(HTTP_DELETE, path, "");
    worked_do(LIVE_WRITE);
    assert_int_equal(fake.answer.status, 204);
    assert_int_equal(store_number(&worked, "SELECT count(*) FROM api_key"), 1);
    fake_request(HTTP_DELETE, path, "");
    worked_do(LIVE_WRITE);
    assert_problem(404, "keyId");
    fake_request(HTTP_DELETE, KEYS "/x", "");
    assert_problem(404, "keyId");
    fake_request(HTTP_DELETE, KEYS "/%00", "");
    assert_problem(400, "keyId");
}

static void test_bad_keys(void **state)
{
    (void)state;
    static const struct {
        const char *body, *field;
    } cases[] = {
        {"{}", "roles"},
        {"{\"roles\":null}", "roles"},
        {"{\"roles\":[]}", "roles"},
        {"{\"roles\":\"read\"}", "roles"},
        {"{\"roles\":[\"read\",\"boss\"]}", "roles"},
        {"{\"roles\":[\"read,admin\"]}", "roles"},
        {"{\"roles\":[7]}", "roles"},
        {"{\"role\":\"\"}", "role"},
        {"{\"role\":\"Read\"}", "role"},
        {"{\"role\":\"read\",\"eventId\":\"a b\"}", "eventId"},
        {"{\"role\":\"read\",\"eventId\":\"\"}", "eventId"},
        {"{\"role\":\"read\",\"name\":\"\\n\"}", "name"},
        {"{\"role\":\"read\",\"name\":7}", "name"},
        {"", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        fake_request(HTTP_POST, KEYS, cases[i].body);
        assert_problem(400, cases[i].field);
    }
}

/* The keys cannot be read once this one is stored: then it must not stay, since nobody knows it; if
 * it cannot be deleted either, who asked for it knows it. */
static void test_not_in_force(void **state)
{
    (void)state;
    int64_t keys = store_number(&worked, "SELECT count(*) FROM api_key");
    store_sql(&worked, "CREATE TRIGGER damage AFTER INSERT ON api_key BEGIN "
                       "UPDATE api_key SET hash = x'00' WHERE id = new.id; END");
    fake_request(HTTP_POST, KEYS, "{\"role\":\"read\"}");
    worked_do(LIVE_WRITE);
    assert_problem(503, "");
    assert_int_equal(store_number(&worked, "SELECT count(*) FROM api_key"), keys);
    store_sql(&worked, "CREATE TRIGGER keep BEFORE DELETE ON api_key BEGIN "
                       "SELECT raise(ABORT, 'not now'); END");
    fake_request(HTTP_POST, KEYS, "{\"role\":\"read\"}");
    worked_do(LIVE_WRITE);
    json_t *answer = answer_of(201);
    assert_true(strlen(text_of(answer, "key")) > 0);
    json_decref(answer);
    store_sql(&worked, "DROP TRIGGER damage; DROP TRIGGER keep;"
                       "DELETE FROM api_key WHERE hash = x'00'");
    assert_int_equal(store_number(&worked, "SELECT count(*) FROM api_key"), keys);
}

static void test_full(void **state)
{
    (void)state;
    struct api_key_row row = {.roles = 1};
    for (int i = (int)store_number(&worked, "SELECT count(*) FROM api_key"); i < 1000; i++) {
        char id[16];
        snprintf(id, sizeof id, "key%09u", (unsigned)i);
        memcpy(row.id, id, sizeof row.id);
        store_must(&worked, records_key_put(worked.link, &row));
    }
    fake_request(HTTP_POST, KEYS, "{\"role\":\"read\"}");
    worked_do(LIVE_WRITE);
    assert_problem(409, "");
    assert_int_equal(store_number(&worked, "SELECT count(*) FROM api_key"), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_make),         cmocka_unit_test(test_list),
        cmocka_unit_test(test_revoke),       cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_not_in_force), cmocka_unit_test(test_full),
    };
    return worked_test(tests);
}
