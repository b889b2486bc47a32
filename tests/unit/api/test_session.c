/* test_session.c -- which session a path or Referer means. */
#include "api/internal.h"

#include "tap.h"

#define S64 "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
#define A16 "%61%61%61%61%61%61%61%61%61%61%61%61%61%61%61%61"

static const struct {
    const char *text, *pattern;
    enum session_outcome outcome;
    const char *session;
} cases[] = {
    {"", "/sessions/", SESSION_NONE, ""},
    {"/", "/sessions/", SESSION_NONE, ""},
    {"/events/E", "/sessions/", SESSION_NONE, ""},
    {"/events/E/sessions", "/sessions/", SESSION_NONE, ""},
    {"/events/E/sessions/", "/sessions/", SESSION_NONE, ""},
    {"/events/E/sessions//chat", "/sessions/", SESSION_NONE, ""},
    {"/events/E/sessions/?tab=1", "/sessions/", SESSION_NONE, ""},
    {"/events/E/sessions/S", "/sessions/", SESSION_FOUND, "S"},
    {"/sessions/S", "/sessions/", SESSION_FOUND, "S"},
    {"/events/E/sessions/S/", "/sessions/", SESSION_FOUND, "S"},
    {"/events/E/sessions/S/chat?tab=1#top", "/sessions/", SESSION_FOUND, "S"},
    {"/events/E/sessions/S?tab=1", "/sessions/", SESSION_FOUND, "S"},
    {"/events/E/sessions/S#top", "/sessions/", SESSION_FOUND, "S"},
    {"https://live.example/events/E/sessions/a.b_c~d-9?x=/sessions/T", "/sessions/", SESSION_FOUND,
     "a.b_c~d-9"},
    {"/sessions/A/sessions/B", "/sessions/", SESSION_FOUND, "A"},
    {"/Sessions/A", "/sessions/", SESSION_NONE, ""},
    {"/events/E/sessions/%53%2D1", "/sessions/", SESSION_FOUND, "S-1"},
    {"/events/E/sessions/%53%2d1/chat", "/sessions/", SESSION_FOUND, "S-1"},
    {"/sessions/" S64, "/sessions/", SESSION_FOUND, S64},
    {"/sessions/" A16 A16 A16 A16, "/sessions/", SESSION_FOUND,
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    {"/sessions/" A16 A16 A16 A16 "a", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/" S64 "s", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/" S64 S64 S64 S64, "/sessions/", SESSION_INVALID, ""},
    {"/sessions/a%20b", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/a b", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/a%2Fb", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/a+b", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/%", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/%4", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/%zz", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/a%00", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/\xc3\xa9", "/sessions/", SESSION_INVALID, ""},
    {"/sessions/%c3%a9", "/sessions/", SESSION_INVALID, ""},
    {"/watch?talk=S", "?talk=", SESSION_FOUND, "S"},
    {"/t/S", "/t/", SESSION_FOUND, "S"},
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        /* A copy of exactly this size, so that ASan sees a read beyond it. */
        size_t len = strlen(cases[i].text);
        char *text = malloc(len > 0 ? len : 1);
        char room[SESSION_ID_BYTES_MAX];
        struct slice session = SLICE_EMPTY;
        memcpy(text, cases[i].text, len);
        enum session_outcome outcome =
            session_find(slice_of(text, len), slice_str(cases[i].pattern), room, &session);
        if (outcome != cases[i].outcome || !slice_equal(session, slice_str(cases[i].session))) {
            fail_msg("%s: outcome %d, session \"%.*s\"", cases[i].text, outcome,
                     SLICE_ARG(session));
        }
        free(text);
    }
}

/* Nothing is copied that need not be. */
static void test_borrows(void **state)
{
    (void)state;
    char room[SESSION_ID_BYTES_MAX];
    struct slice text = SLICE_LIT("/sessions/S/x"), session;
    assert_int_equal(session_find(text, SLICE_LIT("/sessions/"), room, &session), SESSION_FOUND);
    assert_ptr_equal(session.ptr, text.ptr + 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_borrows),
    };
    return tap_run(tests);
}
