/* profiles.c -- the profiles of an event: a list, and many at once.
 *
 * Import: the body is read and stored piece by piece on the records thread, IMPORT_LINES lines in a
 * transaction, and between two pieces the thread does what else waits for it.  Good lines are
 * stored, bad ones are named, and no line spoils another.
 *
 * Memory: an import holds one piece; a worker has IMPORTS_MAX of them under way, 503 above it. */
#include "api/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "base/assert.h"
#include "base/memory.h"
#include "core/groups.h"
#include "core/ids.h"
#include "records/viewers_line.h"

#define PAGE_BYTES_MAX ((size_t)16 << 20) /* 1000 of the longest profiles, all escaped */

static void put_profile(struct buffer *out, const struct profile *profile)
{
    buffer_put_lit(out, "{\"viewerId\":");
    buffer_put_json_string(out, profile->viewer);
    buffer_put_lit(out, ",\"name\":");
    buffer_put_json_string(out, profile->name);
    buffer_put_lit(out, ",\"groups\":");
    put_groups(out, profile->groups);
    buffer_put_char(out, '}');
}

/* ---- GET …/viewers ---- */

struct profiles_page {
    struct buffer out;
    uint32_t limit, rows;
    bool more;
    size_t after_len, last_len;
    char after[VIEWER_ID_BYTES_MAX], last[VIEWER_ID_BYTES_MAX];
};

static void page_free(void *arena)
{
    struct profiles_page *page = arena;
    buffer_fini(&page->out);
    free(page);
}

static enum err read_profile(void *ctx, const struct profile *profile)
{
    struct profiles_page *page = ctx;
    if (page->rows == page->limit) {
        page->more = true;
        return ERR_NONE;
    }
    if (page->rows++ > 0) {
        buffer_put_char(&page->out, ',');
    }
    put_profile(&page->out, profile);
    page->last_len = profile->viewer.len;
    memcpy(page->last, profile->viewer.ptr, profile->viewer.len);
    return ERR_NONE;
}

static enum err work_list(struct records_link *link, struct live_query *query)
{
    struct profiles_page *page = query->arg;
    buffer_reset(&page->out);
    page->rows = 0;
    page->more = false;
    struct slice after = slice_of(page->after, page->after_len);
    return records_profiles_each(link, query->event, after.len > 0 ? query->event : SLICE_EMPTY,
                                 after, page->limit + 1, read_profile, page);
}

/* A cursor is the last viewer's id in hex: plainly nothing to be made up, and safe in a query as it
 * is. */
static void put_hex(struct buffer *out, const char *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        buffer_put_char(out, digits[(unsigned char)bytes[i] >> 4]);
        buffer_put_char(out, digits[(unsigned char)bytes[i] & 15]);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_hex(struct slice text, char *bytes, size_t bytes_max, size_t *len)
{
    if (text.len % 2 != 0 || text.len / 2 > bytes_max) {
        return false;
    }
    for (size_t i = 0; i < text.len; i += 2) {
        int high = hex_digit(text.ptr[i]), low = hex_digit(text.ptr[i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i / 2] = (char)(high * 16 + low);
    }
    *len = text.len / 2;
    return true;
}

static void write_page(struct buffer *out, const struct question *question)
{
    const struct profiles_page *page = question->arena;
    put_audience(out, question->query.event, SLICE_EMPTY);
    buffer_put_lit(out, ",\"viewers\":[");
    buffer_put(out, buffer_slice(&page->out));
    buffer_put_char(out, ']');
    if (page->more) {
        buffer_put_lit(out, ",\"next\":\"");
        put_hex(out, page->last, page->last_len);
        buffer_put_char(out, '"');
    }
    buffer_put_char(out, '}');
}

bool profiles_explain(const struct question *question, struct problem *problem)
{
    *problem = (struct problem){409, NULL, ELSEWHERE};
    return question->query.status == LIVE_REFUSED;
}

void profiles_list(struct call *call)
{
    struct parameter cursor;
    uint32_t limit;
    if (!page_parameters(call, &limit, &cursor)) {
        return;
    }
    struct profiles_page *page = memory_zalloc(sizeof *page);
    page->limit = limit;
    if (cursor.given &&
        (!take_hex(cursor.value, page->after, sizeof page->after, &page->after_len) ||
         !id_viewer_valid(slice_of(page->after, page->after_len)))) {
        free(page);
        call_bad_cursor(call);
        return;
    }
    buffer_init(&page->out, PAGE_BYTES_MAX);
    struct question *question = question_new(call, LIVE_READ, write_page);
    question->arena = question->query.arg = page;
    question->fini = page_free;
    question->query.work = work_list;
    question->explain = profiles_explain;
    question_ask(call, question);
}

/* ---- POST …/viewers ---- */

#define IMPORT_LINES   1000
#define IMPORTS_MAX    4
#define REFUSALS_MAX   1000
#define TEXT_BYTES_MAX ((size_t)VIEWER_ID_BYTES_MAX + NAME_BYTES_MAX + GROUPS_PACKED_BYTES_MAX)

struct import {
    struct api_worker *worker;
    FILE *in; /* the body */
    struct viewers_options options;
    struct viewers_reader reader;
    /* The piece that is being stored; kept until it is. */
    struct profile profiles[IMPORT_LINES];
    uint32_t count;
    char *text; /* of all its profiles */
    size_t text_used;
    bool ended;
    bool bad_header;
    uint64_t stored, refused;
    struct buffer refusals;
};

static void import_free(void *arena)
{
    struct import *import = arena;
    import->worker->imports--;
    viewers_reader_fini(&import->reader);
    fclose(import->in);
    buffer_fini(&import->refusals);
    free(import->text);
    free(import);
}

static struct slice keep(struct import *import, struct slice text)
{
    char *at = import->text + import->text_used;
    ASSERT(import->text_used + text.len <= IMPORT_LINES * TEXT_BYTES_MAX);
    if (text.len > 0) {
        memcpy(at, text.ptr, text.len);
    }
    import->text_used += text.len;
    return slice_of(at, text.len);
}

static void refuse(struct import *import, const struct viewers_fault *fault)
{
    if (import->refused++ >= REFUSALS_MAX) {
        return;
    }
    struct buffer *out = &import->refusals;
    buffer_put(out, import->refused > 1 ? SLICE_LIT(",{\"line\":") : SLICE_LIT("{\"line\":"));
    buffer_put_u64(out, fault->line);
    buffer_put_lit(out, ",\"reason\":");
    buffer_put_json_string(out, slice_str(fault->text));
    buffer_put_char(out, '}');
}

/* Fills the piece; bad lines count too, so that a body of nothing else keeps nobody waiting. */
static enum err read_piece(struct import *import, struct slice event)
{
    for (uint32_t lines = 0; lines < IMPORT_LINES && !import->ended; lines++) {
        const struct profile *profile = &import->reader.profile;
        switch (viewers_reader_next(&import->reader)) {
        case VIEWERS_LINE_PROFILE:
            import->profiles[import->count++] =
                (struct profile){event, keep(import, profile->viewer), keep(import, profile->name),
                                 keep(import, profile->groups)};
            break;
        case VIEWERS_LINE_BAD:
            refuse(import, &import->reader.fault);
            break;
        case VIEWERS_LINE_HEADER:
            import->bad_header = true;
            return ERR_INVALID;
        case VIEWERS_LINE_END:
            import->ended = true;
            break;
        case VIEWERS_LINE_FAILED:
            return ERR_IO; /* memory cannot fail to be read */
        }
    }
    return ERR_NONE;
}

static enum err work_import(struct records_link *link, struct live_query *query)
{
    struct import *import = query->arg;
    if (import->count == 0) { /* else the same piece once more: the store was busy */
        enum err err = read_piece(import, query->event);
        if (err != ERR_NONE || import->count == 0) {
            return err;
        }
    }
    enum err err = records_profiles_put(link, import->profiles, import->count);
    if (err == ERR_NONE) {
        import->stored += import->count;
        import->count = 0;
        import->text_used = 0;
        query->profiles_changed = true;
    }
    return err;
}

static bool import_go_on(struct question *question)
{
    const struct import *import = question->arena;
    return question->query.status == LIVE_OK && !import->ended &&
           question_again(question, LIVE_WRITE, work_import);
}

static void write_import(struct buffer *out, const struct question *question)
{
    const struct import *import = question->arena;
    buffer_put_lit(out, "{\"accepted\":");
    buffer_put_u64(out, import->stored);
    buffer_put_lit(out, ",\"rejected\":[");
    buffer_put(out, buffer_slice(&import->refusals));
    buffer_put_char(out, ']');
    if (import->refused > REFUSALS_MAX) {
        buffer_put_lit(out, ",\"rejectedCount\":");
        buffer_put_u64(out, import->refused);
    }
    buffer_put_char(out, '}');
}

static bool explain_import(const struct question *question, struct problem *problem)
{
    const struct import *import = question->arena;
    if (import->bad_header) {
        *problem = (struct problem){400, "header",
                                    "the first line must name the columns: viewer, and maybe name, "
                                    "groups and event, each once"};
        return true;
    }
    return profiles_explain(question, problem);
}

/* text/csv, whatever its parameters (RFC 7111 has a header and a charset). */
static bool is_csv(struct slice content_type)
{
    static const char csv[] = "text/csv";
    size_t len = sizeof csv - 1;
    return content_type.len >= len && strncasecmp(content_type.ptr, csv, len) == 0 &&
           (content_type.len == len || content_type.ptr[len] == ';' ||
            content_type.ptr[len] == ' ');
}

void profiles_import(struct call *call)
{
    const struct http_request *request = &call->exchange->request;
    if (call->worker->api->config.profiles_elsewhere) {
        call_problem(call, 409, NULL, ELSEWHERE);
        return;
    }
    if (call->worker->imports == IMPORTS_MAX) {
        respond_live_problem(call->exchange, LIVE_BUSY, SLICE_LIT("Retry-After: 1\r\n"));
        return;
    }
    if (request->body.len == 0) {
        call_problem(call, 400, NULL, "the body is empty: one profile a line is expected");
        return;
    }
    struct question *question = question_new(call, LIVE_WRITE, write_import);
    struct import *import = memory_zalloc(sizeof *import);
    import->worker = call->worker;
    import->in = fmemopen((void *)(uintptr_t)request->body.ptr, request->body.len, "r");
    ASSERT(import->in != NULL); /* as for all memory: without, there is no going on */
    import->options = (struct viewers_options){
        .format = is_csv(request->content_type) ? VIEWERS_CSV : VIEWERS_NDJSON,
        .event = question->query.event,
    };
    import->text = memory_alloc(IMPORT_LINES * TEXT_BYTES_MAX);
    viewers_reader_init(&import->reader, import->in, &import->options);
    /* Each at most: 256 bytes, six times when escaped, and its frame. */
    buffer_init(&import->refusals, (size_t)REFUSALS_MAX * (6 * VIEWERS_FAULT_BYTES + 64));
    call->worker->imports++;
    question->arena = question->query.arg = import;
    question->fini = import_free;
    question->query.work = work_import;
    question->go_on = import_go_on;
    question->explain = explain_import;
    question_ask(call, question);
}
