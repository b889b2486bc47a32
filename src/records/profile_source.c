/* profile_source.c -- profiles from the platform's own database: their rows, and who asks for them.
 */
#include "records/profile_source.h"

#include "records/backend.h"
#include "records/json_text.h"
#include "base/log.h"
#include "core/ids.h"

/* ---- rows ---- */

const char *profile_source_name(struct slice name)
{
    if (name.len > NAME_BYTES_MAX) {
        return "is longer than 256 bytes";
    }
    return name_valid(name) ? NULL : "is not UTF-8 or has control characters";
}

static struct slice trimmed(struct slice text)
{
    while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t')) {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    while (text.len > 0 && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t')) {
        text.len--;
    }
    return text;
}

const char *profile_source_pack(struct slice *ids, size_t count,
                                char packed[GROUPS_PACKED_BYTES_MAX], size_t *len)
{
    switch (groups_pack(ids, count, packed, len)) {
    case GROUPS_OK:
        return NULL;
    case GROUPS_TOO_MANY:
        return "has more than 32 groups";
    case GROUPS_INVALID_ID:
        break;
    }
    return "has a group that is longer than 64 bytes, not UTF-8 or with control characters";
}

static const char *split_groups(struct slice text, char packed[GROUPS_PACKED_BYTES_MAX],
                                size_t *len)
{
    struct slice ids[PROFILE_SOURCE_GROUPS_MAX];
    size_t count = 0;
    while (text.len > 0) {
        const char *comma = memchr(text.ptr, ',', text.len);
        size_t bytes = comma == NULL ? text.len : (size_t)(comma - text.ptr);
        struct slice id = trimmed(slice_of(text.ptr, bytes));
        text = comma == NULL ? SLICE_EMPTY : slice_of(comma + 1, text.len - bytes - 1);
        if (id.len == 0) {
            continue;
        }
        if (count == PROFILE_SOURCE_GROUPS_MAX) {
            return "has too many groups";
        }
        ids[count++] = id;
    }
    return profile_source_pack(ids, count, packed, len);
}

const char *profile_source_groups(struct slice text, char packed[GROUPS_PACKED_BYTES_MAX],
                                  size_t *len)
{
    *len = 0;
    struct slice bare = trimmed(text);
    if (bare.len == 0 || bare.ptr[0] != '[') {
        return split_groups(text, packed, len);
    }
    return json_groups_read(bare, packed, len)
               ? NULL
               : "is no JSON array of at most 32 groups of at most 64 bytes of UTF-8";
}

/* ---- who asks ---- */

enum err profile_source_found(void *ctx, const struct profile *profile)
{
    struct profile_lookup *lookup = ctx;
    lookup->found = true;
    lookup->groups_len = profile->groups.len;
    if (profile->groups.len > 0) {
        memcpy(lookup->groups, profile->groups.ptr, profile->groups.len);
    }
    return ERR_NONE;
}

enum err profile_source_look_up(struct profile_source *source, struct records_link *link,
                                struct profile_lookup *lookup)
{
    lookup->found = lookup->broken = false;
    lookup->groups_len = 0;
    enum err err =
        source->get(source, link, lookup->event, lookup->viewer, profile_source_found, lookup);
    if (err == ERR_INVALID) {
        lookup->broken = true;
        LOG_EVERY(10000, LOG_WARN, "records", "%s", records_why(link));
    }
    return err == ERR_INVALID || err == ERR_NOT_FOUND ? ERR_NONE : err;
}

struct naming {
    struct profile_source *source;
    struct records_link *link;
    const struct records_members_query *query;
    records_member_fn *fn;
    void *ctx;
    char name[NAME_BYTES_MAX];
    size_t name_len;
};

static enum err copy_name(void *ctx, const struct profile *profile)
{
    struct naming *naming = ctx;
    naming->name_len = profile->name.len;
    if (profile->name.len > 0) {
        memcpy(naming->name, profile->name.ptr, profile->name.len);
    }
    return ERR_NONE;
}

static enum err name_member(void *ctx, const struct records_member *member)
{
    struct naming *naming = ctx;
    struct records_member named = *member;
    naming->name_len = 0;
    enum err err = naming->source->get(naming->source, naming->link, naming->query->event,
                                       member->viewer, copy_name, naming);
    if (err == ERR_INVALID) { /* one broken row is no reason not to report the rest */
        LOG_EVERY(10000, LOG_WARN, "records", "%s", records_why(naming->link));
    }
    if (err != ERR_NONE && err != ERR_NOT_FOUND && err != ERR_INVALID) {
        return err;
    }
    named.name = slice_of(naming->name, naming->name_len);
    if ((naming->query->want & MEMBERS_WANT_VIEWER) == 0) {
        named.viewer = named.groups = SLICE_EMPTY;
    }
    return naming->fn(naming->ctx, &named);
}

enum err profile_source_members(struct profile_source *source, struct records_link *link,
                                const struct records_members_query *query, uint32_t *next,
                                records_member_fn *fn, void *ctx)
{
    struct naming naming = {.source = source, .link = link, .query = query, .fn = fn, .ctx = ctx};
    struct records_members_query asked = *query;
    asked.want = MEMBERS_WANT_VIEWER;
    return link->backend->members_each(link, &asked, next, name_member, &naming);
}
