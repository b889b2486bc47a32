/* redis_scripts.c -- names of keys; settings put into the scripts' text. */
#include "live/redis_scripts.h"

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/memory.h"

#include <stdio.h>
#include <string.h>

static_assert(2 + 2 + 10 + sizeof "#Session#ViewingSessionStart" + 20 <= 80,
              "braces, shard, suffix and frame fit beside the ids");

uint32_t redis_shard(struct slice viewer, uint32_t shards)
{
    ASSERT(shards > 0 && shards <= REDIS_SHARDS_MAX);
    return crc32c(0, viewer.ptr, viewer.len) % shards;
}

size_t redis_key_text(char out[REDIS_KEY_BYTES_MAX], const struct redis_audience *audience,
                      enum redis_key key, int64_t frame_ms)
{
    static const char *const of_event[] = {
#define REDIS_KEY_EVENT(name, event, session) event,
        REDIS_KEY_LIST(REDIS_KEY_EVENT)
#undef REDIS_KEY_EVENT
    };
    static const char *const of_session[] = {
#define REDIS_KEY_SESSION(name, event, session) session,
        REDIS_KEY_LIST(REDIS_KEY_SESSION)
#undef REDIS_KEY_SESSION
    };
    struct slice event = audience->event, session = audience->session;
    ASSERT(event.len > 0 && event.len <= EVENT_ID_BYTES_MAX &&
           session.len <= SESSION_ID_BYTES_MAX && key < REDIS_KEYS);
    char shard[16] = "";
    if (audience->shards > 1) {
        ASSERT(audience->shard < audience->shards);
        (void)snprintf(shard, sizeof shard, ":%u", audience->shard);
    }
    const char *suffix = session.len == 0 ? of_event[key] : of_session[key];
    int len = snprintf(out, REDIS_KEY_BYTES_MAX, "{%.*s%s%.*s%s}%s", (int)event.len, event.ptr,
                       session.len == 0 ? "" : "#", (int)session.len,
                       session.len == 0 ? "" : session.ptr, shard, suffix);
    if (key == REDIS_KEY_STATISTICS) {
        len += snprintf(out + len, REDIS_KEY_BYTES_MAX - (size_t)len, "%lld", (long long)frame_ms);
    }
    ASSERT(len > 0 && len < REDIS_KEY_BYTES_MAX);
    return (size_t)len;
}

const struct redis_script_keys *redis_script_keys(enum redis_script script)
{
    static const struct redis_script_keys keys[] = {
#define REDIS_SCRIPT_KEYS(name, file, count, ...) {count, {__VA_ARGS__}},
        REDIS_SCRIPT_LIST(REDIS_SCRIPT_KEYS)
#undef REDIS_SCRIPT_KEYS
    };
    ASSERT(script < REDIS_SCRIPTS);
    return &keys[script];
}

static const char *text_of(enum redis_script script)
{
    static const char *const files[] = {
#define REDIS_SCRIPT_FILE(name, file, count, ...) file,
        REDIS_SCRIPT_LIST(REDIS_SCRIPT_FILE)
#undef REDIS_SCRIPT_FILE
    };
    ASSERT(script < REDIS_SCRIPTS);
    const struct redis_script_file *at = redis_script_files;
    while (at->name != NULL && strcmp(at->name, files[script]) != 0) {
        at++;
    }
    ASSERT(at->name != NULL);
    return at->text;
}

static int64_t value_of(struct slice name, const struct redis_script_settings *settings)
{
    const struct {
        struct slice name;
        int64_t value;
    } values[] = {
        {SLICE_LIT("alive_ms"), settings->alive_ms},
        {SLICE_LIT("hidden_ms"), settings->hidden_ms},
        {SLICE_LIT("leaving_ms"), settings->leaving_ms},
        {SLICE_LIT("gap_ms"), settings->gap_ms},
        {SLICE_LIT("frame_ms"), settings->frame_ms},
        {SLICE_LIT("keep_ms"), settings->keep_ms},
        {SLICE_LIT("viewers_max"), settings->viewers_max},
        {SLICE_LIT("backlog_max"), settings->backlog_max},
    };
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        if (slice_equal(values[i].name, name)) {
            return values[i].value;
        }
    }
    ASSERT(!"a script asks for a setting that there is not");
    return 0;
}

char *redis_script_text(enum redis_script script, const struct redis_script_settings *settings)
{
    const char *from = text_of(script);
    /* A number is at most 20 bytes, and a name in its marks at least 5. */
    size_t size = strlen(from) * 4 + 1, len = 0;
    char *out = memory_alloc(size);
    for (const char *mark; (mark = strchr(from, '@')) != NULL;) {
        const char *end = strchr(mark + 1, '@');
        ASSERT(end != NULL);
        memcpy(out + len, from, (size_t)(mark - from));
        len += (size_t)(mark - from);
        int64_t value = value_of(slice_of(mark + 1, (size_t)(end - mark - 1)), settings);
        len += (size_t)snprintf(out + len, size - len, "%lld", (long long)value);
        from = end + 1;
    }
    memcpy(out + len, from, strlen(from) + 1);
    return out;
}
