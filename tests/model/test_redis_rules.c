/* test_redis_rules.c -- what the Redis scripts promise beside being equal to the engine: their own
 * time, bounds that change nothing, claims, late nodes, one slot per call. */
#include "tap.h"

#include "base/assert.h"
#include "model/model_redis.h"

#include <inttypes.h>

#define START_MS 1637661600000

static struct redis_server server;
static bool there_is_one;

static const struct redis_audience event = {.event = {"E", 1}, .shards = 1};

static struct redis_script_settings settings_usual(void)
{
    return (struct redis_script_settings){.alive_ms = 65000,
                                          .hidden_ms = 125000,
                                          .leaving_ms = 35000,
                                          .gap_ms = 150000,
                                          .frame_ms = 300000,
                                          .keep_ms = 604800000,
                                          .viewers_max = 1000,
                                          .backlog_max = 1000};
}

static int setup(void **state)
{
    (void)state;
    there_is_one = redis_server_start(&server);
    if (there_is_one) {
        struct redis_script_settings settings = settings_usual();
        redis_server_load(&server, &settings);
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (there_is_one) {
        redis_server_stop(&server);
    }
    return 0;
}

static void need_redis(void)
{
    if (!there_is_one) {
        printf("# no redis-server on this machine\n");
        skip();
    }
}

struct number {
    char text[24];
};
static struct slice number(struct number *number, int64_t value)
{
    int len = sprintf(number->text, "%" PRId64, value);
    return slice_of(number->text, (size_t)len);
}

/* A visible heartbeat; now_ms 0: no time is given. */
static redisReply *beat_call(const struct redis_audience *audience, const char *viewer,
                             int64_t frame_ms, int64_t now_ms)
{
    struct number frame, now;
    struct slice args[] = {slice_str(viewer), SLICE_EMPTY, number(&frame, frame_ms),
                           SLICE_LIT("HK\nguests"), number(&now, now_ms)};
    return redis_call(&server, REDIS_SCRIPT_HEARTBEAT, audience, frame_ms, args,
                      now_ms == 0 ? 4 : 5);
}

/* The time at which it counted, or 0 with the reason in *why. */
static int64_t beat(const char *viewer, int64_t now_ms, char why[16])
{
    redisReply *reply = beat_call(&event, viewer, now_ms - now_ms % 300000, now_ms);
    int64_t counted = 0;
    if (reply->type == REDIS_REPLY_INTEGER) {
        counted = reply->integer;
    } else {
        (void)snprintf(why, 16, "%s", reply->element[0]->str);
    }
    freeReplyObject(reply);
    return counted;
}

static void beat_counts(const char *viewer, int64_t now_ms)
{
    char why[16];
    assert_int_equal(beat(viewer, now_ms, why), now_ms);
}

static void beat_is_refused(const char *viewer, int64_t now_ms, const char *because)
{
    char why[16] = "";
    assert_int_equal(beat(viewer, now_ms, why), 0);
    assert_string_equal(why, because);
}

static int64_t figure(const struct redis_audience *audience, size_t at, int64_t now_ms)
{
    struct number now;
    struct slice arg = number(&now, now_ms);
    redisReply *reply = redis_call(&server, REDIS_SCRIPT_FIGURES, audience, 0, &arg, 1);
    int64_t value = reply->element[at]->integer;
    freeReplyObject(reply);
    return value;
}

static void forget_all(void)
{
    freeReplyObject(redis_command(&server, "FLUSHALL"));
}

static void begin_anew(void)
{
    forget_all();
    redis_open_new(&server, &event);
}

static void test_own_time(void **state)
{
    (void)state;
    need_redis();
    begin_anew();
    int64_t before_ms = (int64_t)time(NULL) * 1000;
    redisReply *reply = beat_call(&event, "ada", 0, 0);
    assert_int_equal(reply->type, REDIS_REPLY_ARRAY);
    assert_string_equal(reply->element[0]->str, "FRAME");
    int64_t frame_ms = reply->element[1]->integer, now_ms = reply->element[2]->integer;
    freeReplyObject(reply);
    assert_true(now_ms >= before_ms && now_ms < before_ms + 60000);
    assert_int_equal(frame_ms, now_ms - now_ms % 300000);
    assert_int_equal(figure(&event, 2, now_ms), 0); /* it changed nothing */
    reply = beat_call(&event, "ada", frame_ms, 0);
    if (reply->type == REDIS_REPLY_ARRAY) { /* five minutes were over just then */
        frame_ms = reply->element[1]->integer;
        freeReplyObject(reply);
        reply = beat_call(&event, "ada", frame_ms, 0);
    }
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    assert_true(reply->integer >= now_ms && reply->integer < now_ms + 60000);
    freeReplyObject(reply);
}

static void test_time_never_goes_back(void **state)
{
    (void)state;
    need_redis();
    begin_anew();
    beat_counts("ada", START_MS + 1000);
    redisReply *reply = beat_call(&event, "ben", START_MS, START_MS - 500000);
    assert_int_equal(reply->type, REDIS_REPLY_INTEGER);
    assert_int_equal(reply->integer, START_MS + 1000);
    freeReplyObject(reply);
    assert_int_equal(figure(&event, 0, START_MS - 1), START_MS + 1000);
    assert_int_equal(figure(&event, 1, START_MS - 1), 2);
}

static void test_viewers_are_bounded(void **state)
{
    (void)state;
    need_redis();
    begin_anew();
    struct redis_script_settings settings = settings_usual();
    settings.viewers_max = 2;
    redis_server_load(&server, &settings);
    beat_counts("ada", START_MS);
    beat_counts("ben", START_MS);
    beat_is_refused("cleo", START_MS, "VIEWERS");
    beat_counts("ada", START_MS + 1);
    assert_int_equal(figure(&event, 1, START_MS + 1), 2);
    assert_int_equal(figure(&event, 2, START_MS + 1), 2);
    assert_int_equal(figure(&event, 3, START_MS + 1), 2);
    settings = settings_usual();
    redis_server_load(&server, &settings);
}

static void test_backlog_is_bounded(void **state)
{
    (void)state;
    need_redis();
    begin_anew();
    struct redis_script_settings settings = settings_usual();
    settings.backlog_max = 1;
    redis_server_load(&server, &settings);
    beat_counts("ada", START_MS);
    beat_counts("ben", START_MS);
    beat_counts("ada", START_MS + 150001); /* one viewing is over and waits */
    beat_is_refused("ben", START_MS + 150001, "BACKLOG");
    assert_int_equal(figure(&event, 1, START_MS + 150001), 1);
    assert_int_equal(figure(&event, 3, START_MS + 150001), 3);
    beat_counts("cleo", START_MS + 150001); /* ends none */
    settings = settings_usual();
    redis_server_load(&server, &settings);
}

static void open_is(const char *node, const char *step, int64_t now_ms, const char *word)
{
    struct number now;
    struct slice zero = SLICE_LIT("0");
    struct slice args[] = {slice_str(node),
                           slice_str(step),
                           number(&now, now_ms),
                           SLICE_LIT("5000"),
                           zero,
                           zero,
                           zero,
                           zero,
                           zero};
    redisReply *reply =
        redis_call(&server, REDIS_SCRIPT_OPEN, &event, 0, args, strcmp(step, "done") == 0 ? 9 : 4);
    assert_string_equal(reply->element[0]->str, word);
    freeReplyObject(reply);
}

/* One node at a time opens an audience, and another one follows when it is gone. */
static void test_opening(void **state)
{
    (void)state;
    need_redis();
    forget_all();
    open_is("one", "begin", START_MS, "OK");
    open_is("two", "begin", START_MS + 4999, "BUSY");
    open_is("two", "done", START_MS + 4999, "BUSY");
    beat_is_refused("ada", START_MS, "NEW");
    open_is("one", "rows", START_MS + 4000, "OK");
    open_is("two", "begin", START_MS + 8999, "BUSY");
    open_is("two", "begin", START_MS + 9000, "OK");
    open_is("one", "rows", START_MS + 9001, "BUSY");
    open_is("one", "done", START_MS + 9001, "BUSY");
    open_is("two", "done", START_MS + 9001, "OK");
    open_is("one", "begin", START_MS + 9002, "OPEN");
    beat_counts("ada", START_MS + 9002);
}

/* The fraction of a score comes back whole, at the times for which REDIS.md says so, from the set
 * and from what Redis writes to its files; and a range by whole times does not see it. */
static void test_scores_are_exact(void **state)
{
    (void)state;
    need_redis();
    forget_all();
    static const char script[] =
        "local time = tonumber(ARGV[1]) "
        "for n = 0, 2047 do "
        "  local name = tostring(n) "
        "  redis.call('ZADD', KEYS[1], time + n / 2048, name) "
        "  redis.call('ZADD', KEYS[2], time + n / 2048, 'only') "
        "  for i = 2, 3 do "
        "    if i == 3 then "
        "      redis.call('RESTORE', KEYS[3], 0, redis.call('DUMP', KEYS[2]), 'REPLACE') "
        "    end "
        "    if tonumber(redis.call('ZSCORE', KEYS[i], 'only')) % 1 * 2048 ~= n then "
        "      return n end "
        "  end "
        "end "
        "redis.call('RESTORE', KEYS[3], 0, redis.call('DUMP', KEYS[1]), 'REPLACE') "
        "for n = 0, 2047 do "
        "  local score = redis.call('ZSCORE', KEYS[3], tostring(n)) "
        "  if tonumber(score) ~= time + n / 2048 then return n end "
        "end "
        "return redis.call('ZCOUNT', KEYS[3], time, '+inf') + "
        "  redis.call('ZCOUNT', KEYS[3], time + 1, '+inf')";
    static const char *const times[] = {"1637661623070", "1795507200000", "2199023255551",
                                        "2199023255552", "4398046511103"};
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        redisReply *reply = redis_command(&server, "EVAL %s 3 a b c %s", script, times[i]);
        assert_int_equal(reply->integer, 2048);
        freeReplyObject(reply);
    }
}

static redisReply *sweep(const char *node, int64_t claim_ms, int64_t now_ms)
{
    struct number claim, now;
    struct slice args[] = {slice_str(node), number(&claim, claim_ms), SLICE_EMPTY,
                           SLICE_EMPTY,     SLICE_LIT("100"),         number(&now, now_ms)};
    return redis_call(&server, REDIS_SCRIPT_SWEEP, &event, 0, args, 6);
}

static void test_claims(void **state)
{
    (void)state;
    need_redis();
    begin_anew();
    beat_counts("ada", START_MS);
    freeReplyObject(sweep("one", 5000, START_MS));
    redisReply *reply = sweep("two", 5000, START_MS + 4999);
    assert_string_equal(reply->element[0]->str, "BUSY");
    freeReplyObject(reply);
    reply = sweep("one", 5000, START_MS + 4999);
    assert_int_equal(reply->element[7]->elements, 6);
    freeReplyObject(reply);
    reply = sweep("two", 5000, START_MS + 9999); /* the first one is gone */
    assert_int_equal(reply->element[7]->elements, 6);
    freeReplyObject(reply);
}

static void swept(int64_t next_ms, int64_t next_closed, const char *last)
{
    struct number time_text, closed_text;
    struct slice args[] = {number(&time_text, next_ms), number(&closed_text, next_closed),
                           slice_str(last)};
    freeReplyObject(redis_call(&server, REDIS_SCRIPT_SWEPT, &event, 0, args, 3));
}

static int64_t closed_count(void)
{
    redisReply *reply = redis_command(&server, "LLEN %s", redis_key(&event, REDIS_KEY_CLOSED, 0));
    int64_t count = reply->integer;
    freeReplyObject(reply);
    return count;
}

static void test_late_nodes(void **state)
{
    (void)state;
    need_redis();
    begin_anew();
    char row[3][64];
    for (int i = 0; i < 4; i++) {
        int64_t now_ms = START_MS + i * INT64_C(200000);
        beat_counts("ada", now_ms);
        if (i < 3) {
            (void)snprintf(row[i], sizeof row[i], "%" PRId64 " %" PRId64 " ada", now_ms, now_ms);
        }
    }
    int64_t now_ms = START_MS + 600000;
    redisReply *reply = sweep("one", 0, now_ms);
    assert_int_equal(reply->element[3]->integer, 3);
    assert_string_equal(reply->element[6]->element[2]->str, row[2]);
    freeReplyObject(reply);
    swept(now_ms, 2, row[1]);
    assert_int_equal(closed_count(), 1);
    swept(now_ms, 2, row[1]);   /* its answer was lost */
    swept(START_MS, 1, row[0]); /* a node that slept */
    assert_int_equal(closed_count(), 1);
    /* After a failover another viewing stands where the node saw its third one. */
    swept(now_ms, 3, "1 2 ada");
    assert_int_equal(closed_count(), 1);
    swept(now_ms, 3, row[2]);
    assert_int_equal(closed_count(), 0);
    reply = sweep("one", 0, now_ms);
    assert_int_equal(reply->element[3]->integer, 3);
    assert_int_equal(reply->element[7]->elements, 6); /* of this very ms: once more */
    freeReplyObject(reply);
    swept(now_ms + 1, 3, "");
    /* What was said to be stored is over, whatever the clock says. */
    reply = beat_call(&event, "ben", START_MS + 600000, now_ms);
    assert_int_equal(reply->integer, now_ms + 1);
    freeReplyObject(reply);
}

/* Reading what nobody has seen leaves no key behind. */
static void test_reading_makes_nothing(void **state)
{
    (void)state;
    need_redis();
    forget_all();
    beat_is_refused("ada", START_MS, "NEW");
    assert_int_equal(figure(&event, 1, START_MS), 0);
    freeReplyObject(sweep("one", 5000, START_MS));
    swept(START_MS, 0, "");
    struct number now;
    struct slice args[] = {SLICE_LIT("100"), number(&now, START_MS)};
    freeReplyObject(redis_call(&server, REDIS_SCRIPT_LIVE, &event, 0, args, 2));
    args[0] = SLICE_LIT("ada");
    freeReplyObject(redis_call(&server, REDIS_SCRIPT_LEAVE, &event, 0, args, 2));
    freeReplyObject(redis_call(&server, REDIS_SCRIPT_VIEWER, &event, 0, args, 2));
    redisReply *reply = redis_command(&server, "DBSIZE");
    assert_int_equal(reply->integer, 0);
    freeReplyObject(reply);
}

/* Every script, on a node that refuses keys of two slots. */
static void test_one_slot_a_call(void **state)
{
    (void)state;
    need_redis();
    struct redis_server other = server;
    assert_true(redis_server_start_cluster(&server));
    struct redis_script_settings settings = settings_usual();
    redis_server_load(&server, &settings);
    struct number now;
    for (uint32_t part = 0; part < 6; part++) {
        struct redis_audience audience = {SLICE_LIT("E"), part < 3 ? SLICE_EMPTY : SLICE_LIT("S"),
                                          part % 3, 3};
        redis_open_new(&server, &audience);
        redisReply *reply = beat_call(&audience, "ada", START_MS, START_MS);
        assert_int_equal(reply->integer, START_MS);
        freeReplyObject(reply);
        for (enum redis_script script = REDIS_SCRIPT_LEAVE; script < REDIS_SCRIPTS; script++) {
            struct slice args[] = {SLICE_LIT("1"), number(&now, START_MS), SLICE_LIT("1"),
                                   SLICE_LIT("1"), SLICE_LIT("1")};
            freeReplyObject(redis_call(&server, script, &audience, 0, args, 5));
        }
        assert_int_equal(figure(&audience, 2, START_MS), 1); /* the sweep took the real time */
    }
    redis_server_stop(&server);
    server = other;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_time),
        cmocka_unit_test(test_time_never_goes_back),
        cmocka_unit_test(test_viewers_are_bounded),
        cmocka_unit_test(test_backlog_is_bounded),
        cmocka_unit_test(test_opening),
        cmocka_unit_test(test_scores_are_exact),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_late_nodes),
        cmocka_unit_test(test_reading_makes_nothing),
        cmocka_unit_test(test_one_slot_a_call),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
