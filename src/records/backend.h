/* backend.h -- what a record store must be able to do; private to this folder.
 *
 * Each function of records.h has its slot here, with the same contract.  A backend puts a struct
 * records_link first in its own link. */
#ifndef NOVABEAT_RECORDS_BACKEND_H
#define NOVABEAT_RECORDS_BACKEND_H

#include "records/records.h"

#define RECORDS_WHY_BYTES 512

struct records_backend {
    void (*close)(struct records_link *link);
    enum err (*commit)(struct records_link *link, struct changes *changes);
    enum err (*profiles_from)(struct records_link *link, /* what records.c does not open */
                              const struct records_profile_source *source);
    enum err (*profiles_put)(struct records_link *link, const struct profile *profiles,
                             size_t count);
    enum err (*profile_delete)(struct records_link *link, struct slice event, struct slice viewer);
    enum err (*wipe)(struct records_link *link);
    enum err (*covered)(struct records_link *link, uint64_t *covered_seq);
    enum err (*live_events)(struct records_link *link, records_event_fn *fn, void *ctx);
    enum err (*event_load)(struct records_link *link, const struct engine_config *cfg,
                           struct slice event, struct event **out);
    enum err (*profiles_get)(struct records_link *link, struct profile_lookup *lookups,
                             size_t count);
    enum err (*profile_get)(struct records_link *link, struct slice event, struct slice viewer,
                            records_profile_fn *fn, void *ctx);
    enum err (*profiles_each)(struct records_link *link, struct slice event,
                              struct slice after_event, struct slice after_viewer, uint64_t limit,
                              records_profile_fn *fn, void *ctx);
    enum err (*profiles_count)(struct records_link *link, struct slice event, uint64_t *count);
    enum err (*events_each)(struct records_link *link, struct slice after, uint64_t limit,
                            records_event_fn *fn, void *ctx);
    enum err (*audiences)(struct records_link *link, struct slice event, struct slice session,
                          bool sessions, records_audience_fn *fn, void *ctx);
    enum err (*frames)(struct records_link *link, struct slice event, struct slice session,
                       int64_t from_ms, int64_t to_ms, uint64_t limit, records_frame_fn *fn,
                       void *ctx);
    enum err (*members_each)(struct records_link *link, const struct records_members_query *query,
                             uint32_t *next, records_member_fn *fn, void *ctx);
    enum err (*directory_put)(struct records_link *link, const struct directory_entry *entries,
                              size_t count);
    enum err (*directory_get)(struct records_link *link, struct slice event, struct slice session,
                              records_directory_fn *fn, void *ctx);
    enum err (*directory_sessions)(struct records_link *link, struct slice event,
                                   struct slice after, uint64_t limit, records_directory_fn *fn,
                                   void *ctx);
    enum err (*directory_events)(struct records_link *link, struct slice after, uint64_t limit,
                                 records_directory_fn *fn, void *ctx);
    enum err (*directory_delete)(struct records_link *link, struct slice event,
                                 struct slice session);
    enum err (*key_put)(struct records_link *link, const struct api_key_row *key);
    enum err (*key_delete)(struct records_link *link, const char id[API_KEY_ID_BYTES]);
    enum err (*keys_each)(struct records_link *link, records_key_fn *fn, void *ctx);
    enum err (*keys_version)(struct records_link *link, uint64_t *version);
    enum err (*retain)(struct records_link *link, const struct records_retention *retention,
                       uint32_t rows_max, bool *more);
    enum err (*idle_events)(struct records_link *link, int64_t before_ms, bool people,
                            uint64_t limit, records_event_fn *fn, void *ctx);
    enum err (*backup)(struct records_link *link, const char *path);
    enum err (*viewings)(struct records_link *link, struct slice event, struct slice viewer,
                         int64_t viewer_no, uint64_t limit, records_viewing_fn *fn, void *ctx);
    enum err (*check)(struct records_link *link, records_finding_fn *fn, void *ctx);
};

struct profile_source;

struct records_link {
    const struct records_backend *backend;
    struct profile_source *source; /* profiles from elsewhere (profile_source.h); or NULL */
    char why[RECORDS_WHY_BYTES];   /* of the last failure */
};

/* Notes the words of a failure (later text is cut) and returns err. */
enum err records_fail(struct records_link *link, enum err err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The backends.  path: what follows the scheme. */
enum err records_sqlite_open(const char *path, bool create, struct records_link **link, char *why,
                             size_t why_bytes) WARN_UNUSED;
/* uri: all of it. */
enum err records_postgres_open(const char *uri, bool create, struct records_link **link, char *why,
                               size_t why_bytes) WARN_UNUSED;

#endif
