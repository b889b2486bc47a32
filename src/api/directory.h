/* directory.h -- what the endpoints of events and of sessions share: entries as JSON, lists of what
 * was declared merged with what was only seen, and declarations read from bodies.
 *
 * Model: what is declared lies in the record store; what was seen may so far be in memory alone.
 * So a list is two questions: live/ says what was seen (directory_seen_add), then a reader merges
 * it with the store (directory_merge); both are in order of id, and so is the answer.
 * Threads: a list belongs to whoever has the question. */
#ifndef NOVABEAT_API_DIRECTORY_H
#define NOVABEAT_API_DIRECTORY_H

#include "api/internal.h"

/* Sessions of one declaration. */
#define DECLARED_SESSIONS_MAX ROWS_MAX
#define ENTRIES_BYTES_MAX     ((size_t)4 << 20) /* a page of the longest entries, all escaped */

static_assert(EVENT_ID_BYTES_MAX == SESSION_ID_BYTES_MAX, "a list holds ids of both");

struct entry_id {
    uint8_t len;
    char bytes[SESSION_ID_BYTES_MAX];
};

/* The arena of a question that lists. */
struct directory_list {
    struct buffer out; /* the entries, then what follows them */
    uint32_t limit, rows;
    bool sessions; /* of one event; else events */
    bool more;     /* there are others behind these */
    bool merged;   /* the second question was asked */
    struct entry_id after, last;
    uint32_t seen_count;
    uint32_t seen_at; /* merging: seen[seen_at] is the next one */
    bool seen_more;
    struct entry_id seen[ROWS_MAX];
};

/* With limit and cursor of the query.  NULL: answered. */
struct directory_list *directory_list_new(struct call *call, bool sessions);
void directory_list_free(void *list);
/* In order of id, after list->after; more than the limit are passed over. */
void directory_seen_add(struct directory_list *list, struct slice id);
/* The work of the second question; query->arg is the list. */
enum err directory_merge(struct records_link *link, struct live_query *query);
/* ,"next":"…" when there are more. */
void directory_put_next(struct buffer *out, const struct directory_list *list);

/* ,"title":"…","startMs":… where said */
void directory_put_said(struct buffer *out, struct slice title, int64_t start_ms);

#endif
