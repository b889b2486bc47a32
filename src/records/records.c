/* records.c -- finds the backend by the scheme of `where` and passes every call on to it. */
#include "records/backend.h"

#include "records/profile_source.h"
#include "base/assert.h"

#include <stdarg.h>
#include <stdio.h>

/* The text after the scheme, or NULL when `where` has another one. */
static const char *after_scheme(const char *where, const char *scheme)
{
    size_t len = strlen(scheme);
    return strncmp(where, scheme, len) == 0 ? where + len : NULL;
}

static bool is_postgres(const char *where)
{
    return where != NULL && (after_scheme(where, "postgresql://") != NULL ||
                             after_scheme(where, "postgres://") != NULL);
}

enum err records_open(const char *where, bool create, struct records_link **link, char *why,
                      size_t why_bytes)
{
    char unused[RECORDS_WHY_BYTES];
    if (why == NULL) {
        why = unused;
        why_bytes = sizeof unused;
    }
    ASSERT(why_bytes > 0);
    why[0] = '\0';
    *link = NULL;
    if (is_postgres(where)) {
        return records_postgres_open(where, create, link, why, why_bytes);
    }
    const char *path = after_scheme(where, "sqlite:");
    if (path == NULL && strstr(where, "://") != NULL) {
        snprintf(why, why_bytes,
                 "\"%s\" is no record store that is known; say sqlite:PATH or postgresql://…",
                 where);
        return ERR_INVALID;
    }
    path = path == NULL ? where : path;
    if (path[0] == '\0') {
        snprintf(why, why_bytes, "the record store's path is empty");
        return ERR_INVALID;
    }
    return records_sqlite_open(path, create, link, why, why_bytes);
}

void records_close(struct records_link *link)
{
    if (link != NULL) {
        if (link->source != NULL) {
            link->source->close(link->source);
        }
        link->backend->close(link);
    }
}

void records_label(const char *where, char *label, size_t bytes)
{
    ASSERT(bytes > 0);
    if (!is_postgres(where)) {
        snprintf(label, bytes, "%s", where);
        return;
    }
    /* The authority ends at the first slash; what stands before its last @ may be a secret, and so
     * may every parameter. */
    const char *host = strstr(where, "://") + 3;
    const size_t len = strcspn(host, "/?");
    size_t name = strcspn(host, ":@/?"), after = 0;
    for (size_t i = 0; i < len; i++) {
        after = host[i] == '@' ? i + 1 : after;
    }
    name = after == 0 ? 0 : name < after - 1 ? name : after - 1;
    const char *rest = host + after;
    snprintf(label, bytes, "postgresql://%.*s%s%.*s", (int)name, host, after == 0 ? "" : "@",
             (int)strcspn(rest, "?"), rest);
}

const char *records_why(const struct records_link *link)
{
    return link->why;
}

enum err records_fail(struct records_link *link, enum err err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(link->why, sizeof link->why, format, arguments);
    va_end(arguments);
    return err;
}

enum err records_commit(struct records_link *link, struct changes *changes)
{
    return link->backend->commit(link, changes);
}

enum err records_profiles_put(struct records_link *link, const struct profile *profiles,
                              size_t count)
{
    if (link->source != NULL) {
        return records_fail(link, ERR_INVALID, "profiles come from the platform's database");
    }
    return link->backend->profiles_put(link, profiles, count);
}

enum err records_profile_delete(struct records_link *link, struct slice event, struct slice viewer)
{
    return link->backend->profile_delete(link, event, viewer);
}

enum err records_wipe(struct records_link *link)
{
    return link->backend->wipe(link);
}

enum err records_covered(struct records_link *link, uint64_t *covered_seq)
{
    return link->backend->covered(link, covered_seq);
}

enum err records_live_events(struct records_link *link, records_event_fn *fn, void *ctx)
{
    return link->backend->live_events(link, fn, ctx);
}

enum err records_event_load(struct records_link *link, const struct engine_config *cfg,
                            struct slice event, struct event **out)
{
    return link->backend->event_load(link, cfg, event, out);
}

enum err records_profiles_get(struct records_link *link, struct profile_lookup *lookups,
                              size_t count)
{
    return link->source != NULL ? link->source->get_many(link->source, link, lookups, count)
                                : link->backend->profiles_get(link, lookups, count);
}

enum err records_profile_get(struct records_link *link, struct slice event, struct slice viewer,
                             records_profile_fn *fn, void *ctx)
{
    if (link->source != NULL) {
        enum err err = link->source->get(link->source, link, event, viewer, fn, ctx);
        return err == ERR_INVALID ? ERR_DATABASE : err;
    }
    return link->backend->profile_get(link, event, viewer, fn, ctx);
}

enum err records_profiles_each(struct records_link *link, struct slice event,
                               struct slice after_event, struct slice after_viewer, uint64_t limit,
                               records_profile_fn *fn, void *ctx)
{
    if (link->source != NULL) {
        return records_fail(link, ERR_INVALID,
                            "profiles come from the platform's database and are not listed");
    }
    return link->backend->profiles_each(link, event, after_event, after_viewer, limit, fn, ctx);
}

enum err records_profiles_count(struct records_link *link, struct slice event, uint64_t *count)
{
    return link->source != NULL ? link->source->count(link->source, link, event, count)
                                : link->backend->profiles_count(link, event, count);
}

enum err records_events_each(struct records_link *link, struct slice after, uint64_t limit,
                             records_event_fn *fn, void *ctx)
{
    return link->backend->events_each(link, after, limit, fn, ctx);
}

enum err records_audiences(struct records_link *link, struct slice event, struct slice session,
                           bool sessions, records_audience_fn *fn, void *ctx)
{
    ASSERT(!sessions || session.len == 0);
    return link->backend->audiences(link, event, session, sessions, fn, ctx);
}

enum err records_frames(struct records_link *link, struct slice event, struct slice session,
                        int64_t from_ms, int64_t to_ms, uint64_t limit, records_frame_fn *fn,
                        void *ctx)
{
    return link->backend->frames(link, event, session, from_ms, to_ms, limit, fn, ctx);
}

enum err records_viewings(struct records_link *link, struct slice event, struct slice viewer,
                          int64_t viewer_no, uint64_t limit, records_viewing_fn *fn, void *ctx)
{
    return link->backend->viewings(link, event, viewer, viewer_no, limit, fn, ctx);
}

enum err records_check(struct records_link *link, records_finding_fn *fn, void *ctx)
{
    return link->backend->check(link, fn, ctx);
}

enum err records_profiles_from(struct records_link *link,
                               const struct records_profile_source *source)
{
    ASSERT(link->source == NULL); /* once per link */
    if (is_postgres(source->database)) {
        return postgres_source_open(link, source, &link->source);
    }
    if (link->backend->profiles_from == NULL) {
        return records_fail(link, ERR_INVALID,
                            "with records in PostgreSQL the profiles' database is one of "
                            "PostgreSQL too: postgresql://…");
    }
    return link->backend->profiles_from(link, source);
}

enum err records_members_each(struct records_link *link, const struct records_members_query *query,
                              uint32_t *next, records_member_fn *fn, void *ctx)
{
    return link->source != NULL && (query->want & MEMBERS_WANT_NAME) != 0
               ? profile_source_members(link->source, link, query, next, fn, ctx)
               : link->backend->members_each(link, query, next, fn, ctx);
}

enum err records_directory_put(struct records_link *link, const struct directory_entry *entries,
                               size_t count)
{
    return link->backend->directory_put(link, entries, count);
}

enum err records_directory_get(struct records_link *link, struct slice event, struct slice session,
                               records_directory_fn *fn, void *ctx)
{
    return link->backend->directory_get(link, event, session, fn, ctx);
}

enum err records_directory_sessions(struct records_link *link, struct slice event,
                                    struct slice after, uint64_t limit, records_directory_fn *fn,
                                    void *ctx)
{
    return link->backend->directory_sessions(link, event, after, limit, fn, ctx);
}

enum err records_directory_events(struct records_link *link, struct slice after, uint64_t limit,
                                  records_directory_fn *fn, void *ctx)
{
    return link->backend->directory_events(link, after, limit, fn, ctx);
}

enum err records_directory_delete(struct records_link *link, struct slice event,
                                  struct slice session)
{
    return link->backend->directory_delete(link, event, session);
}

enum err records_key_put(struct records_link *link, const struct api_key_row *key)
{
    return link->backend->key_put(link, key);
}

enum err records_key_delete(struct records_link *link, const char id[API_KEY_ID_BYTES])
{
    return link->backend->key_delete(link, id);
}

enum err records_keys_each(struct records_link *link, records_key_fn *fn, void *ctx)
{
    return link->backend->keys_each(link, fn, ctx);
}

enum err records_keys_version(struct records_link *link, uint64_t *version)
{
    return link->backend->keys_version(link, version);
}

enum err records_retain(struct records_link *link, const struct records_retention *retention,
                        uint32_t rows_max, bool *more)
{
    return link->backend->retain(link, retention, rows_max, more);
}

enum err records_idle_events(struct records_link *link, int64_t before_ms, bool people,
                             uint64_t limit, records_event_fn *fn, void *ctx)
{
    return link->backend->idle_events(link, before_ms, people, limit, fn, ctx);
}

enum err records_backup(struct records_link *link, const char *path)
{
    return link->backend->backup(link, path);
}
