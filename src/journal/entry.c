/* entry.c -- docs/JOURNAL.md, section 4, as code. */
#include "journal/entry.h"

#include "base/assert.h"
#include "base/limits.h"
#include "core/country.h"
#include "core/groups.h"
#include "core/ids.h"
#include "journal/bytes.h"

enum heartbeat_offset {
    HEARTBEAT_KIND_AT = 0,
    HEARTBEAT_FLAGS_AT = 1,
    HEARTBEAT_COUNTRY_AT = 2,
    HEARTBEAT_EVENT_LEN_AT = 4,
    HEARTBEAT_SESSION_LEN_AT = 5,
    HEARTBEAT_VIEWER_LEN_AT = 6,
    HEARTBEAT_GROUPS_LEN_AT = 7,
    HEARTBEAT_TEXTS_AT = 9,
};

enum profile_offset {
    PROFILE_KIND_AT = 0,
    PROFILE_EVENT_LEN_AT = 1,
    PROFILE_VIEWER_LEN_AT = 2,
    PROFILE_GROUPS_LEN_AT = 3,
    PROFILE_TEXTS_AT = 5,
};

enum settings_offset {
    SETTINGS_KIND_AT = 0,
    SETTINGS_VALUES_AT = 1,
    SETTINGS_VALUES = 5,
    SETTINGS_BYTES = SETTINGS_VALUES_AT + SETTINGS_VALUES * 8,
};

enum time_offset {
    TIME_KIND_AT = 0,
    TIME_LATER_AT = 1,
    TIME_BYTES = 5,
};

enum erase_offset {
    ERASE_KIND_AT = 0,
    ERASE_EVENT_LEN_AT = 1,
    ERASE_VIEWER_LEN_AT = 2,
    ERASE_TEXTS_AT = 3,
};

enum purge_offset {
    PURGE_KIND_AT = 0,
    PURGE_EVENT_LEN_AT = 1,
    PURGE_KEEP_AT = 2,
    PURGE_TEXT_AT = 3,
};

#define FLAGS_KNOWN (HEARTBEAT_HIDDEN | HEARTBEAT_LEAVING | HEARTBEAT_GROUPS | HEARTBEAT_PROFILE)

static_assert(HEARTBEAT_TEXTS_AT + EVENT_ID_BYTES_MAX + SESSION_ID_BYTES_MAX + VIEWER_ID_BYTES_MAX +
                      GROUPS_PACKED_BYTES_MAX <=
                  JOURNAL_ENTRY_BYTES_MAX,
              "the largest entry keeps its bound");
static_assert(GROUPS_PACKED_BYTES_MAX <= UINT16_MAX, "a length of groups fits two bytes");

/* ---- encoding ---- */

static char *put_text(char *out, struct slice text)
{
    if (text.len > 0) {
        memcpy(out, text.ptr, text.len);
    }
    return out + text.len;
}

size_t entry_heartbeat_bytes(const struct heartbeat *heartbeat)
{
    return HEARTBEAT_TEXTS_AT + heartbeat->event.len + heartbeat->session.len +
           heartbeat->viewer.len + heartbeat->groups.len;
}

size_t entry_heartbeat_encode(const struct heartbeat *heartbeat, char *out)
{
    ASSERT(heartbeat->event.len >= 1 && heartbeat->event.len <= EVENT_ID_BYTES_MAX);
    ASSERT(heartbeat->session.len <= SESSION_ID_BYTES_MAX);
    ASSERT(heartbeat->viewer.len >= 1 && heartbeat->viewer.len <= VIEWER_ID_BYTES_MAX);
    ASSERT(heartbeat->groups.len <= GROUPS_PACKED_BYTES_MAX);
    ASSERT((heartbeat->flags & ~FLAGS_KNOWN) == 0);
    out[HEARTBEAT_KIND_AT] = ENTRY_HEARTBEAT;
    out[HEARTBEAT_FLAGS_AT] = (char)heartbeat->flags;
    country_text(heartbeat->country, out + HEARTBEAT_COUNTRY_AT);
    out[HEARTBEAT_EVENT_LEN_AT] = (char)heartbeat->event.len;
    out[HEARTBEAT_SESSION_LEN_AT] = (char)heartbeat->session.len;
    out[HEARTBEAT_VIEWER_LEN_AT] = (char)heartbeat->viewer.len;
    put_u16(out + HEARTBEAT_GROUPS_LEN_AT, (uint16_t)heartbeat->groups.len);
    char *at = put_text(out + HEARTBEAT_TEXTS_AT, heartbeat->event);
    at = put_text(at, heartbeat->session);
    at = put_text(at, heartbeat->viewer);
    at = put_text(at, heartbeat->groups);
    return (size_t)(at - out);
}

static size_t profile_encode(const struct heartbeat *profile, char *out)
{
    ASSERT(profile->event.len >= 1 && profile->event.len <= EVENT_ID_BYTES_MAX);
    ASSERT(profile->viewer.len >= 1 && profile->viewer.len <= VIEWER_ID_BYTES_MAX);
    ASSERT(profile->groups.len <= GROUPS_PACKED_BYTES_MAX);
    out[PROFILE_KIND_AT] = ENTRY_PROFILE;
    out[PROFILE_EVENT_LEN_AT] = (char)profile->event.len;
    out[PROFILE_VIEWER_LEN_AT] = (char)profile->viewer.len;
    put_u16(out + PROFILE_GROUPS_LEN_AT, (uint16_t)profile->groups.len);
    char *at = put_text(out + PROFILE_TEXTS_AT, profile->event);
    at = put_text(at, profile->viewer);
    at = put_text(at, profile->groups);
    return (size_t)(at - out);
}

static bool settings_valid(const struct entry_settings *settings)
{
    return settings->alive_window_ms >= 0 && settings->hidden_window_ms >= 0 &&
           settings->leaving_window_ms >= 0 && settings->viewing_gap_ms >= 0 &&
           settings->frame_ms >= 1;
}

static size_t settings_encode(const struct entry_settings *settings, char *out)
{
    ASSERT(settings_valid(settings));
    const int64_t values[SETTINGS_VALUES] = {settings->alive_window_ms, settings->hidden_window_ms,
                                             settings->leaving_window_ms, settings->viewing_gap_ms,
                                             settings->frame_ms};
    out[SETTINGS_KIND_AT] = ENTRY_SETTINGS;
    for (int i = 0; i < SETTINGS_VALUES; i++) {
        put_u64(out + SETTINGS_VALUES_AT + i * 8, (uint64_t)values[i]);
    }
    return SETTINGS_BYTES;
}

static size_t time_encode(uint32_t later_ms, char *out)
{
    ASSERT(later_ms > 0);
    out[TIME_KIND_AT] = ENTRY_TIME;
    put_u32(out + TIME_LATER_AT, later_ms);
    return TIME_BYTES;
}

static size_t erase_encode(const struct heartbeat *erased, char *out)
{
    ASSERT(erased->event.len >= 1 && erased->event.len <= EVENT_ID_BYTES_MAX);
    ASSERT(erased->viewer.len >= 1 && erased->viewer.len <= VIEWER_ID_BYTES_MAX);
    out[ERASE_KIND_AT] = ENTRY_ERASE;
    out[ERASE_EVENT_LEN_AT] = (char)erased->event.len;
    out[ERASE_VIEWER_LEN_AT] = (char)erased->viewer.len;
    char *at = put_text(out + ERASE_TEXTS_AT, erased->event);
    at = put_text(at, erased->viewer);
    return (size_t)(at - out);
}

static size_t purge_encode(struct slice event, bool keep_statistics, char *out)
{
    ASSERT(event.len >= 1 && event.len <= EVENT_ID_BYTES_MAX);
    out[PURGE_KIND_AT] = ENTRY_PURGE;
    out[PURGE_EVENT_LEN_AT] = (char)event.len;
    out[PURGE_KEEP_AT] = keep_statistics;
    return (size_t)(put_text(out + PURGE_TEXT_AT, event) - out);
}

size_t entry_bytes(const struct entry *entry)
{
    switch (entry->kind) {
    case ENTRY_HEARTBEAT:
        return entry_heartbeat_bytes(&entry->heartbeat);
    case ENTRY_PROFILE:
        return PROFILE_TEXTS_AT + entry->heartbeat.event.len + entry->heartbeat.viewer.len +
               entry->heartbeat.groups.len;
    case ENTRY_SETTINGS:
        return SETTINGS_BYTES;
    case ENTRY_TIME:
        return TIME_BYTES;
    case ENTRY_ERASE:
        return ERASE_TEXTS_AT + entry->heartbeat.event.len + entry->heartbeat.viewer.len;
    case ENTRY_PURGE:
        return PURGE_TEXT_AT + entry->heartbeat.event.len;
    }
    ASSERT(!"a kind of entry");
    return 0;
}

size_t entry_encode(const struct entry *entry, char *out)
{
    switch (entry->kind) {
    case ENTRY_HEARTBEAT:
        return entry_heartbeat_encode(&entry->heartbeat, out);
    case ENTRY_PROFILE:
        return profile_encode(&entry->heartbeat, out);
    case ENTRY_SETTINGS:
        return settings_encode(&entry->settings, out);
    case ENTRY_TIME:
        return time_encode(entry->later_ms, out);
    case ENTRY_ERASE:
        return erase_encode(&entry->heartbeat, out);
    case ENTRY_PURGE:
        return purge_encode(entry->heartbeat.event, entry->keep_statistics, out);
    }
    ASSERT(!"a kind of entry");
    return 0;
}

/* ---- decoding: of bytes from the disk, so everything is checked ---- */

/* The next `len` bytes of *rest, which has them. */
static struct slice take(struct slice *rest, size_t len)
{
    ASSERT(len <= rest->len);
    struct slice taken = slice_of(rest->ptr, len);
    rest->ptr += len;
    rest->len -= len;
    return taken;
}

static enum err heartbeat_decode(struct slice *rest, struct heartbeat *heartbeat)
{
    if (rest->len < HEARTBEAT_TEXTS_AT) {
        return ERR_DAMAGED;
    }
    const char *head = take(rest, HEARTBEAT_TEXTS_AT).ptr;
    size_t event_len = (unsigned char)head[HEARTBEAT_EVENT_LEN_AT];
    size_t session_len = (unsigned char)head[HEARTBEAT_SESSION_LEN_AT];
    size_t viewer_len = (unsigned char)head[HEARTBEAT_VIEWER_LEN_AT];
    size_t groups_len = get_u16(head + HEARTBEAT_GROUPS_LEN_AT);
    if (rest->len < event_len + session_len + viewer_len + groups_len) {
        return ERR_DAMAGED;
    }
    heartbeat->flags = (uint8_t)head[HEARTBEAT_FLAGS_AT];
    heartbeat->event = take(rest, event_len);
    heartbeat->session = take(rest, session_len);
    heartbeat->viewer = take(rest, viewer_len);
    heartbeat->groups = take(rest, groups_len);

    /* country_pack takes lower case too; on disk there is one way to write a country. */
    char canonical[2];
    if (!country_pack(slice_of(head + HEARTBEAT_COUNTRY_AT, 2), &heartbeat->country)) {
        return ERR_DAMAGED;
    }
    country_text(heartbeat->country, canonical);
    bool valid = memcmp(canonical, head + HEARTBEAT_COUNTRY_AT, 2) == 0 &&
                 (heartbeat->flags & ~FLAGS_KNOWN) == 0 && id_event_valid(heartbeat->event) &&
                 (session_len == 0 || id_session_valid(heartbeat->session)) &&
                 id_viewer_valid(heartbeat->viewer) && groups_valid(heartbeat->groups);
    return valid ? ERR_NONE : ERR_DAMAGED;
}

static enum err profile_decode(struct slice *rest, struct heartbeat *profile)
{
    if (rest->len < PROFILE_TEXTS_AT) {
        return ERR_DAMAGED;
    }
    const char *head = take(rest, PROFILE_TEXTS_AT).ptr;
    size_t event_len = (unsigned char)head[PROFILE_EVENT_LEN_AT];
    size_t viewer_len = (unsigned char)head[PROFILE_VIEWER_LEN_AT];
    size_t groups_len = get_u16(head + PROFILE_GROUPS_LEN_AT);
    if (rest->len < event_len + viewer_len + groups_len) {
        return ERR_DAMAGED;
    }
    profile->event = take(rest, event_len);
    profile->viewer = take(rest, viewer_len);
    profile->groups = take(rest, groups_len);
    bool valid = id_event_valid(profile->event) && id_viewer_valid(profile->viewer) &&
                 groups_valid(profile->groups);
    return valid ? ERR_NONE : ERR_DAMAGED;
}

static enum err settings_decode(struct slice *rest, struct entry_settings *settings)
{
    if (rest->len < SETTINGS_BYTES) {
        return ERR_DAMAGED;
    }
    const char *at = take(rest, SETTINGS_BYTES).ptr + SETTINGS_VALUES_AT;
    settings->alive_window_ms = (int64_t)get_u64(at);
    settings->hidden_window_ms = (int64_t)get_u64(at + 8);
    settings->leaving_window_ms = (int64_t)get_u64(at + 16);
    settings->viewing_gap_ms = (int64_t)get_u64(at + 24);
    settings->frame_ms = (int64_t)get_u64(at + 32);
    return settings_valid(settings) ? ERR_NONE : ERR_DAMAGED;
}

static enum err time_decode(struct slice *rest, uint32_t *later_ms)
{
    if (rest->len < TIME_BYTES) {
        return ERR_DAMAGED;
    }
    *later_ms = get_u32(take(rest, TIME_BYTES).ptr + TIME_LATER_AT);
    return *later_ms > 0 ? ERR_NONE : ERR_DAMAGED;
}

static enum err erase_decode(struct slice *rest, struct heartbeat *erased)
{
    if (rest->len < ERASE_TEXTS_AT) {
        return ERR_DAMAGED;
    }
    const char *head = take(rest, ERASE_TEXTS_AT).ptr;
    size_t event_len = (unsigned char)head[ERASE_EVENT_LEN_AT];
    size_t viewer_len = (unsigned char)head[ERASE_VIEWER_LEN_AT];
    if (rest->len < event_len + viewer_len) {
        return ERR_DAMAGED;
    }
    erased->event = take(rest, event_len);
    erased->viewer = take(rest, viewer_len);
    bool valid = id_event_valid(erased->event) && id_viewer_valid(erased->viewer);
    return valid ? ERR_NONE : ERR_DAMAGED;
}

static enum err purge_decode(struct slice *rest, struct slice *event, bool *keep_statistics)
{
    if (rest->len < PURGE_TEXT_AT) {
        return ERR_DAMAGED;
    }
    const char *head = take(rest, PURGE_TEXT_AT).ptr;
    size_t event_len = (unsigned char)head[PURGE_EVENT_LEN_AT];
    unsigned char keep = (unsigned char)head[PURGE_KEEP_AT];
    if (rest->len < event_len) {
        return ERR_DAMAGED;
    }
    *event = take(rest, event_len);
    *keep_statistics = keep == 1;
    return keep <= 1 && id_event_valid(*event) ? ERR_NONE : ERR_DAMAGED;
}

enum err entry_next(struct slice *rest, struct entry *entry)
{
    if (rest->len == 0) {
        return ERR_NOT_FOUND;
    }
    struct slice after = *rest;
    enum err err;
    switch ((unsigned char)rest->ptr[0]) {
    case 0:
        return ERR_DAMAGED; /* zeros are what damage looks like; no kind will ever be 0 */
    case ENTRY_HEARTBEAT:
        *entry = (struct entry){.kind = ENTRY_HEARTBEAT};
        err = heartbeat_decode(&after, &entry->heartbeat);
        break;
    case ENTRY_PROFILE:
        *entry = (struct entry){.kind = ENTRY_PROFILE};
        err = profile_decode(&after, &entry->heartbeat);
        break;
    case ENTRY_SETTINGS:
        *entry = (struct entry){.kind = ENTRY_SETTINGS};
        err = settings_decode(&after, &entry->settings);
        break;
    case ENTRY_TIME:
        *entry = (struct entry){.kind = ENTRY_TIME};
        err = time_decode(&after, &entry->later_ms);
        break;
    case ENTRY_ERASE:
        *entry = (struct entry){.kind = ENTRY_ERASE};
        err = erase_decode(&after, &entry->heartbeat);
        break;
    case ENTRY_PURGE:
        *entry = (struct entry){.kind = ENTRY_PURGE};
        err = purge_decode(&after, &entry->heartbeat.event, &entry->keep_statistics);
        break;
    default:
        return ERR_VERSION;
    }
    if (err == ERR_NONE) {
        *rest = after;
    }
    return err;
}
