/* viewers_line.c -- see viewers_line.h.  Both formats end in the same check of ids and groups. */
#include "records/viewers_line.h"

#include "base/json.h"
#include "base/memory.h"
#include "core/groups.h"
#include "core/ids.h"

#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

void viewers_reader_init(struct viewers_reader *reader, FILE *in,
                         const struct viewers_options *options)
{
    *reader = (struct viewers_reader){.options = options, .in = in};
    csv_reader_init(&reader->csv, in);
    reader->line = memory_alloc(VIEWERS_LINE_BYTES_MAX);
}

void viewers_reader_fini(struct viewers_reader *reader)
{
    csv_reader_fini(&reader->csv);
    free(reader->line);
}

static enum viewers_line bad(struct viewers_reader *reader, uint64_t line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static enum viewers_line bad(struct viewers_reader *reader, uint64_t line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    reader->fault.line = line;
    vsnprintf(reader->fault.text, sizeof reader->fault.text, format, arguments);
    va_end(arguments);
    return VIEWERS_LINE_BAD;
}

/* ---- what both formats have in common ---- */

/* Group ids in one line, repeats included: as many are too many. */
#define GROUPS_SEEN_MAX 1024

/* Checks what a line says, and lends it as a profile.  The texts must live as long. */
static enum viewers_line check(struct viewers_reader *reader, uint64_t line,
                               const struct slice text[VIEWERS_FIELDS], struct slice *groups,
                               size_t groups_count)
{
    struct slice only = reader->options->event;
    struct slice event = text[VIEWERS_EVENT].len == 0 ? only : text[VIEWERS_EVENT];
    size_t len = 0;
    if (event.len == 0) {
        return bad(reader, line, "\"event\" is missing");
    }
    if (!id_event_valid(event)) {
        return bad(reader, line, "\"event\" must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -");
    }
    if (only.len > 0 && !slice_equal(event, only)) {
        return bad(reader, line, "\"event\" is %.*s, but only %.*s is wanted", SLICE_ARG(event),
                   SLICE_ARG(only));
    }
    if (text[VIEWERS_VIEWER].len == 0) {
        return bad(reader, line, "\"viewer\" is missing");
    }
    if (!id_viewer_valid(text[VIEWERS_VIEWER])) {
        return bad(reader, line,
                   "\"viewer\" must be 1 to 128 bytes of UTF-8 without control characters");
    }
    if (!name_valid(text[VIEWERS_NAME])) {
        return bad(reader, line,
                   "\"name\" must be at most 256 bytes of UTF-8 without control characters");
    }
    enum groups_outcome packed = groups_count == GROUPS_SEEN_MAX
                                     ? GROUPS_TOO_MANY
                                     : groups_pack(groups, groups_count, reader->groups, &len);
    switch (packed) {
    case GROUPS_TOO_MANY:
        return bad(reader, line, "\"groups\" are more than %d", GROUPS_PER_VIEWER_MAX);
    case GROUPS_INVALID_ID:
        return bad(reader, line,
                   "\"groups\" has an id that is not 1 to 64 bytes of UTF-8 without control "
                   "characters");
    case GROUPS_OK:
        break;
    }
    reader->profile = (struct profile){event, text[VIEWERS_VIEWER], text[VIEWERS_NAME],
                                       slice_of(reader->groups, len)};
    return VIEWERS_LINE_PROFILE;
}

/* ---- CSV ---- */

static int field_of_column(struct slice column)
{
    static const struct {
        const char *name;
        enum viewers_field field;
    } names[] = {
        {"event", VIEWERS_EVENT},     {"eventId", VIEWERS_EVENT}, {"viewer", VIEWERS_VIEWER},
        {"viewerId", VIEWERS_VIEWER}, {"name", VIEWERS_NAME},     {"groups", VIEWERS_GROUPS},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i].name) == column.len &&
            strncasecmp(names[i].name, column.ptr, column.len) == 0) {
            return (int)names[i].field;
        }
    }
    return -1;
}

static enum viewers_line read_header(struct viewers_reader *reader)
{
    const struct csv_reader *csv = &reader->csv;
    for (int i = 0; i < VIEWERS_FIELDS; i++) {
        reader->columns[i] = -1;
    }
    for (size_t i = 0; i < csv->cells_count; i++) {
        struct slice column = csv->cells[i];
        int field = field_of_column(column);
        /* Column by column, because a misspelt one would silently lose all it holds. */
        if (field < 0) {
            bad(reader, csv->line,
                "the header has a column \"%.*s\"; known are event, viewer, name, groups",
                (int)(column.len < 64 ? column.len : 64), column.ptr);
            return VIEWERS_LINE_HEADER;
        }
        if (reader->columns[field] >= 0) {
            bad(reader, csv->line, "the header has the column \"%.*s\" twice", SLICE_ARG(column));
            return VIEWERS_LINE_HEADER;
        }
        reader->columns[field] = (int)i;
    }
    if (reader->columns[VIEWERS_VIEWER] < 0) {
        bad(reader, csv->line, "the header has no column \"viewer\"");
        return VIEWERS_LINE_HEADER;
    }
    if (reader->columns[VIEWERS_EVENT] < 0 && reader->options->event.len == 0) {
        bad(reader, csv->line, "the header has no column \"event\", and no event is given");
        return VIEWERS_LINE_HEADER;
    }
    reader->columns_count = csv->cells_count;
    return VIEWERS_LINE_PROFILE;
}

/* The ids between the semicolons of a cell, unescaped into group_ids; empty ones do not count. */
static size_t split_groups(struct viewers_reader *reader, struct slice cell, struct slice *ids)
{
    size_t count = 0;
    char *start = reader->group_ids, *out = start;
    for (size_t i = 0; i <= cell.len && count < GROUPS_SEEN_MAX; i++) {
        bool end = i == cell.len || cell.ptr[i] == ';';
        if (end && out > start) {
            ids[count++] = slice_of(start, (size_t)(out - start));
            start = out;
        }
        if (!end) {
            i += cell.ptr[i] == '\\' && i + 1 < cell.len &&
                 (cell.ptr[i + 1] == ';' || cell.ptr[i + 1] == '\\');
            *out++ = cell.ptr[i];
        }
    }
    return count;
}

static enum viewers_line next_csv(struct viewers_reader *reader)
{
    struct csv_reader *csv = &reader->csv;
    enum csv_outcome outcome = csv_next(csv);
    switch (outcome) {
    case CSV_END:
        if (reader->columns_count > 0) {
            return VIEWERS_LINE_END;
        }
        bad(reader, csv->line, "the file has no header");
        return VIEWERS_LINE_HEADER;
    case CSV_FAILED:
        return VIEWERS_LINE_FAILED;
    case CSV_QUOTE:
    case CSV_AFTER_QUOTE:
    case CSV_CUT:
    case CSV_TOO_LONG:
    case CSV_TOO_MANY:
        bad(reader, csv->line, "%s", csv_outcome_text(outcome));
        return reader->columns_count == 0 ? VIEWERS_LINE_HEADER : VIEWERS_LINE_BAD;
    case CSV_RECORD:
        break;
    }
    if (reader->columns_count == 0) {
        enum viewers_line header = read_header(reader);
        return header == VIEWERS_LINE_PROFILE ? next_csv(reader) : header;
    }
    if (csv->cells_count != reader->columns_count) {
        return bad(reader, csv->line, "the line has %zu cells, the header %zu", csv->cells_count,
                   reader->columns_count);
    }
    struct slice text[VIEWERS_FIELDS] = {{0}};
    struct slice ids[GROUPS_SEEN_MAX];
    for (int i = 0; i < VIEWERS_FIELDS; i++) {
        if (reader->columns[i] >= 0) {
            text[i] = csv_unguard(csv->cells[reader->columns[i]]);
        }
    }
    size_t count = split_groups(reader, text[VIEWERS_GROUPS], ids);
    return check(reader, csv->line, text, ids, count);
}

/* ---- NDJSON ---- */

/* Reads a line without its end.  END: no more. */
static enum viewers_line read_line(struct viewers_reader *reader, struct slice *line)
{
    size_t len = 0;
    int byte;
    bool any = false;
    while ((byte = getc_unlocked(reader->in)) != EOF) {
        any = true;
        if (byte == '\n') {
            break;
        }
        if (len < VIEWERS_LINE_BYTES_MAX) {
            reader->line[len] = (char)byte;
        }
        len++;
    }
    if (ferror(reader->in)) {
        return VIEWERS_LINE_FAILED;
    }
    if (!any) {
        return VIEWERS_LINE_END;
    }
    reader->lines_read++;
    if (len > VIEWERS_LINE_BYTES_MAX) {
        return bad(reader, reader->lines_read, "the line is too long");
    }
    static const char mark[] = "\xef\xbb\xbf";
    bool marked = reader->lines_read == 1 && len >= 3 && memcmp(reader->line, mark, 3) == 0;
    *line = marked ? slice_of(reader->line + 3, len - 3) : slice_of(reader->line, len);
    if (line->len > 0 && line->ptr[line->len - 1] == '\r') {
        line->len--;
    }
    return VIEWERS_LINE_PROFILE;
}

/* The ids of a JSON array; false when an item is no string. */
static bool read_groups(struct viewers_reader *reader, struct slice array, struct slice *ids,
                        size_t *count)
{
    struct json_value item;
    size_t used = 0;
    for (*count = 0; *count < GROUPS_SEEN_MAX && json_array_next(&array, &item); ++*count) {
        /* All the texts of a line take no more room than the line. */
        if (item.kind != JSON_IS_STRING ||
            !json_text(&item, reader->group_ids + used, sizeof reader->group_ids - used,
                       &ids[*count])) {
            return false;
        }
        used += item.escaped ? ids[*count].len : 0;
    }
    return true;
}

static enum viewers_line next_ndjson(struct viewers_reader *reader)
{
    static const struct json_field fields[VIEWERS_FIELDS] = {
        [VIEWERS_EVENT] = JSON_FIELD("event", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
        [VIEWERS_VIEWER] = JSON_FIELD("viewer", JSON_IS_STRING, JSON_REQUIRED),
        [VIEWERS_NAME] = JSON_FIELD("name", JSON_IS_STRING | JSON_IS_NULL, JSON_OPTIONAL),
        [VIEWERS_GROUPS] = JSON_FIELD("groups", JSON_IS_ARRAY | JSON_IS_NULL, JSON_OPTIONAL),
    };
    struct slice line;
    do {
        enum viewers_line outcome = read_line(reader, &line);
        if (outcome != VIEWERS_LINE_PROFILE) {
            return outcome;
        }
    } while (line.len == 0);

    struct json_value values[VIEWERS_FIELDS];
    struct json_fault fault;
    if (json_object_read(line, fields, VIEWERS_FIELDS, values, &fault) != JSON_OK) {
        char text[JSON_FAULT_TEXT_BYTES];
        json_fault_text(&fault, text);
        return bad(reader, reader->lines_read, "%s", text);
    }
    struct slice text[VIEWERS_FIELDS] = {{0}};
    char *const scratch[] = {reader->event, reader->viewer, reader->name};
    const size_t room[] = {sizeof reader->event, sizeof reader->viewer, sizeof reader->name};
    for (int i = VIEWERS_EVENT; i <= VIEWERS_NAME; i++) {
        if (values[i].kind == JSON_IS_STRING &&
            !json_text(&values[i], scratch[i], room[i], &text[i])) {
            return bad(reader, reader->lines_read, "\"%s\" is too long", fields[i].name.ptr);
        }
    }
    struct slice ids[GROUPS_SEEN_MAX];
    size_t count = 0;
    if (values[VIEWERS_GROUPS].kind == JSON_IS_ARRAY &&
        !read_groups(reader, values[VIEWERS_GROUPS].raw, ids, &count)) {
        return bad(reader, reader->lines_read, "\"groups\" must be an array of strings");
    }
    return check(reader, reader->lines_read, text, ids, count);
}

enum viewers_line viewers_reader_next(struct viewers_reader *reader)
{
    switch (reader->options->format) {
    case VIEWERS_CSV:
        return next_csv(reader);
    case VIEWERS_NDJSON:
        return next_ndjson(reader);
    }
    __builtin_unreachable();
}

/* ---- writing ---- */

void viewers_put_header(struct buffer *out, enum viewers_format format)
{
    if (format == VIEWERS_CSV) {
        buffer_put_lit(out, "event,viewer,name,groups");
        csv_put_end(out);
    }
}

/* Semicolons and backslashes in an id are escaped, so that the list can be split again. */
static struct slice join_groups(struct slice packed, char joined[2 * GROUPS_PACKED_BYTES_MAX])
{
    struct slice id;
    size_t len = 0;
    while (groups_next(&packed, &id)) {
        if (len > 0) {
            joined[len++] = ';';
        }
        for (size_t i = 0; i < id.len; i++) {
            if (id.ptr[i] == ';' || id.ptr[i] == '\\') {
                joined[len++] = '\\';
            }
            joined[len++] = id.ptr[i];
        }
    }
    return slice_of(joined, len);
}

static void put_csv(struct buffer *out, const struct profile *profile)
{
    char joined[2 * GROUPS_PACKED_BYTES_MAX];
    csv_put_cell(out, profile->event);
    buffer_put_char(out, ',');
    csv_put_cell(out, profile->viewer);
    buffer_put_char(out, ',');
    csv_put_cell(out, profile->name);
    buffer_put_char(out, ',');
    csv_put_cell(out, join_groups(profile->groups, joined));
    csv_put_end(out);
}

static void put_ndjson(struct buffer *out, const struct profile *profile)
{
    buffer_put_lit(out, "{\"event\":");
    buffer_put_json_string(out, profile->event);
    buffer_put_lit(out, ",\"viewer\":");
    buffer_put_json_string(out, profile->viewer);
    buffer_put_lit(out, ",\"name\":");
    buffer_put_json_string(out, profile->name);
    buffer_put_lit(out, ",\"groups\":[");
    struct slice rest = profile->groups, id;
    for (bool first = true; groups_next(&rest, &id); first = false) {
        if (!first) {
            buffer_put_char(out, ',');
        }
        buffer_put_json_string(out, id);
    }
    buffer_put_lit(out, "]}\n");
}

void viewers_put_profile(struct buffer *out, enum viewers_format format,
                         const struct profile *profile)
{
    switch (format) {
    case VIEWERS_CSV:
        put_csv(out, profile);
        break;
    case VIEWERS_NDJSON:
        put_ndjson(out, profile);
        break;
    }
}
