/* test_api_key.c -- API keys: their form, their hash, finding one, and roles. */
#include "tap.h"

#include "identity/api_key.h"

#include <ctype.h>
#include <sodium.h>

static void test_form(void **state)
{
    (void)state;
    char text[API_KEY_TEXT_BYTES], other_text[API_KEY_TEXT_BYTES];
    unsigned char hash[API_KEY_HASH], secret[64];
    size_t secret_bytes;
    struct api_key key = {.roles = ROLE_READ}, other = {.roles = ROLE_READ};
    for (int i = 0; i < 200; i++) {
        memset(text, 'x', sizeof text);
        api_key_make(&key, text);
        assert_int_equal(strlen(text), 59);
        assert_memory_equal(text, "nb_", 3);
        assert_memory_equal(text + 3, key.id, API_KEY_ID);
        for (int at = 0; at < API_KEY_ID; at++) {
            assert_true(isalnum((unsigned char)key.id[at]));
        }
        assert_int_equal(text[15], '_');
        assert_int_equal(sodium_base642bin(secret, sizeof secret, text + 16, 43, NULL,
                                           &secret_bytes, NULL,
                                           sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                         0);
        assert_int_equal(secret_bytes, 32);
        crypto_generichash(hash, sizeof hash, (const unsigned char *)text, strlen(text), NULL, 0);
        assert_memory_equal(hash, key.hash, API_KEY_HASH);
        assert_true(api_key_shaped(slice_str(text)));
        api_key_make(&other, other_text);
        assert_memory_not_equal(key.id, other.id, API_KEY_ID);
        assert_memory_not_equal(text + 16, other_text + 16, 43);
    }
    assert_int_equal(key.roles, ROLE_READ); /* left alone */
}

static void test_shape(void **state)
{
    (void)state;
    char text[API_KEY_TEXT_BYTES];
    struct api_key key;
    api_key_make(&key, text);
    assert_false(api_key_shaped(SLICE_EMPTY));
    assert_false(api_key_shaped(SLICE_LIT("nb_")));
    assert_false(api_key_shaped(slice_of(text, strlen(text) - 1)));
    assert_false(api_key_shaped(slice_of(text, sizeof text)));
    text[0] = 'N';
    assert_false(api_key_shaped(slice_str(text)));
}

#define KEYS 500

static void test_find(void **state)
{
    (void)state;
    static struct api_key keys[KEYS];
    static char texts[KEYS][API_KEY_TEXT_BYTES];
    for (int i = 0; i < KEYS; i++) {
        api_key_make(&keys[i], texts[i]);
        keys[i].roles = (unsigned)i;
    }
    api_keys_sort(keys, KEYS);
    for (int i = 1; i < KEYS; i++) {
        assert_true(memcmp(keys[i - 1].id, keys[i].id, API_KEY_ID) < 0);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        const struct api_key *found = api_key_find(keys, KEYS, slice_str(texts[i]));
        assert_non_null(found);
        assert_int_equal(found->roles, i);
        assert_null(api_key_find(keys, 0, slice_str(texts[i])));
        assert_null(api_key_find(NULL, 0, slice_str(texts[i])));
    }
    /* Each byte matters, also the two bits of the last one that base64url does not need. */
    for (unsigned at = 0; at < API_KEY_TEXT_BYTES - 1; at++) {
        for (int bit = 0; bit < 8; bit++) {
            texts[7][at] = (char)(texts[7][at] ^ (1 << bit));
            assert_null(api_key_find(keys, KEYS, slice_str(texts[7])));
            texts[7][at] = (char)(texts[7][at] ^ (1 << bit));
        }
    }
    assert_non_null(api_key_find(keys, KEYS, slice_str(texts[7])));
    /* One key's secret under another one's id. */
    char mixed[API_KEY_TEXT_BYTES];
    memcpy(mixed, texts[1], sizeof mixed);
    memcpy(mixed + 16, texts[2] + 16, 43);
    assert_null(api_key_find(keys, KEYS, slice_str(mixed)));
    assert_null(api_key_find(keys, KEYS, SLICE_EMPTY));
    assert_null(api_key_find(keys, KEYS, slice_of(texts[0], 58)));
    assert_null(api_key_find(keys, KEYS, slice_of(texts[0], 60)));
    /* A hash of nothing but zeros stands for an unknown id: no key has that. */
    struct api_key zero = {.roles = ROLE_ADMIN};
    memset(zero.id, 'A', sizeof zero.id);
    assert_null(api_key_find(
        &zero, 1, SLICE_LIT("nb_AAAAAAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")));
}

static void roles(const char *text, unsigned expected)
{
    unsigned found = 99;
    if (expected == 0) {
        assert_false(api_roles_parse(slice_str(text), &found));
        assert_int_equal(found, 99);
        return;
    }
    assert_true(api_roles_parse(slice_str(text), &found));
    assert_int_equal(found, expected);
}

static void test_roles(void **state)
{
    (void)state;
    char text[API_ROLES_TEXT_BYTES];
    roles("read", ROLE_READ);
    roles("ingest", ROLE_INGEST);
    roles("admin", ROLE_ADMIN);
    roles("ingest,read", ROLE_READ | ROLE_INGEST);
    roles("read,ingest,admin", ROLE_READ | ROLE_INGEST | ROLE_ADMIN);
    roles("read,read", ROLE_READ);
    roles("", 0);
    roles(",", 0);
    roles("read,", 0);
    roles(",read", 0);
    roles("read ,ingest", 0);
    roles("Read", 0);
    roles("rea", 0);
    roles("readx", 0);
    roles("read,write", 0);
    assert_false(api_roles_parse(SLICE_LIT("read\0"), &(unsigned){0}));
    assert_string_equal(api_roles_text(0, text), "");
    for (unsigned bits = 1; bits < 8; bits++) {
        roles(api_roles_text(bits, text), bits);
    }
    assert_string_equal(api_roles_text(7, text), "read,ingest,admin");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_form),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_roles),
    };
    return tap_run(tests);
}
