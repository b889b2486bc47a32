/* profile_source.h -- profiles from the platform's own database: what does not depend on which
 * database that is; private to this folder.
 *
 * A source belongs to one link and is asked instead of the link's own table.  Its queries are the
 * operator's (records_profiles_from in records.h). */
#ifndef NOVABEAT_RECORDS_PROFILE_SOURCE_H
#define NOVABEAT_RECORDS_PROFILE_SOURCE_H

#include "records/records.h"

struct profile_source {
    /* One profile, for fn; ERR_NOT_FOUND; ERR_INVALID: there is one, but it cannot be used.  Words
     * go to the link. */
    enum err (*get)(struct profile_source *source, struct records_link *link, struct slice event,
                    struct slice viewer, records_profile_fn *fn, void *ctx);
    /* Many; those that cannot be used are `broken`, and logged. */
    enum err (*get_many)(struct profile_source *source, struct records_link *link,
                         struct profile_lookup *lookups, size_t count);
    enum err (*count)(struct profile_source *source, struct records_link *link, struct slice event,
                      uint64_t *count);
    void (*close)(struct profile_source *source);
};

/* Opens one in PostgreSQL: from->database is postgresql://… */
enum err postgres_source_open(struct records_link *link, const struct records_profile_source *from,
                              struct profile_source **source) WARN_UNUSED;

/* ---- rows ---- */

/* What is wrong with a name, or with groups (a JSON array of strings, or text with commas); NULL:
 * nothing, and packed holds the groups. */
const char *profile_source_name(struct slice name);
const char *profile_source_groups(struct slice text, char packed[GROUPS_PACKED_BYTES_MAX],
                                  size_t *len);
/* The groups to be packed, one by one; more than these are too many anyway. */
#define PROFILE_SOURCE_GROUPS_MAX 256
const char *profile_source_pack(struct slice *ids, size_t count,
                                char packed[GROUPS_PACKED_BYTES_MAX], size_t *len);

/* ---- what a profile goes into ---- */

/* For `get`: ctx is the lookup. */
enum err profile_source_found(void *ctx, const struct profile *profile);
/* One lookup by `get`: ERR_NOT_FOUND and ERR_INVALID become ERR_NONE. */
enum err profile_source_look_up(struct profile_source *source, struct records_link *link,
                                struct profile_lookup *lookup) WARN_UNUSED;

/* Members whose names come from a source: members_each of the link's backend, asked without names.
 */
enum err profile_source_members(struct profile_source *source, struct records_link *link,
                                const struct records_members_query *query, uint32_t *next,
                                records_member_fn *fn, void *ctx) WARN_UNUSED;

#endif
