/* fields.c -- what is asked of a query's parameters and of members with groups. */
#include "api/internal.h"

#include <stdio.h>

#include "base/duration.h"
#include "core/groups.h"

/* Repeats count here too: what a list says twice is dropped only after all of it was read. */
#define GROUP_ITEMS_MAX 128

static struct parameter *find(struct parameter *wanted, size_t count, struct slice name)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equal(slice_str(wanted[i].name), name)) {
            return &wanted[i];
        }
    }
    return NULL;
}

bool call_parameters(struct call *call, struct parameter *wanted, size_t count)
{
    struct slice name, value;
    for (struct slice rest = call->exchange->request.query;;) {
        enum query_outcome outcome = query_next(&rest, &call->scratch, &name, &value);
        if (outcome == QUERY_END) {
            return true;
        }
        struct parameter *parameter = find(wanted, count, name);
        if (parameter == NULL) {
            continue;
        }
        if (outcome == QUERY_BAD) {
            call_problem(call, 400, parameter->name, "the query's percent-encoding is wrong");
            return false;
        }
        parameter->given = true;
        parameter->value = value;
    }
}

bool parameter_number(struct call *call, const struct parameter *parameter, uint64_t lowest,
                      uint64_t highest, const char *rule, uint64_t *number)
{
    uint64_t given;
    if (!parameter->given) {
        return true;
    }
    if (!integer_parse(parameter->value, &given) || given < lowest || given > highest) {
        char detail[128];
        snprintf(detail, sizeof detail, "\"%s\" must be %s", parameter->name, rule);
        call_problem(call, 400, parameter->name, detail);
        return false;
    }
    *number = given;
    return true;
}

bool page_parameters(struct call *call, uint32_t *limit, struct parameter *cursor)
{
    enum { LIMIT, CURSOR, WANTED };
    struct parameter wanted[WANTED] = {
        [LIMIT] = {.name = "limit"},
        [CURSOR] = {.name = "cursor"},
    };
    uint64_t number = ROWS_MAX;
    if (!call_parameters(call, wanted, WANTED) ||
        !parameter_number(call, &wanted[LIMIT], 1, ROWS_MAX, "1 to 1000", &number)) {
        return false;
    }
    *limit = (uint32_t)number;
    *cursor = wanted[CURSOR];
    return true;
}

void call_bad_cursor(struct call *call)
{
    call_problem(call, 400, "cursor", "\"cursor\" must be what \"next\" said");
}

const char *groups_read(const struct json_value *array, char out[GROUPS_PACKED_BYTES_MAX],
                        size_t *len)
{
    static const char invalid[] =
        "must be an array of strings of 1 to 64 bytes of UTF-8 without control characters";
    static const char too_many[] = "must be at most 32 groups";
    struct slice ids[GROUP_ITEMS_MAX];
    char texts[GROUP_ITEMS_MAX][GROUP_ID_BYTES_MAX]; /* of those with escapes */
    size_t count = 0;
    struct json_value item;
    for (struct slice rest = array->raw; json_array_next(&rest, &item); count++) {
        if (item.kind != JSON_IS_STRING) {
            return invalid;
        }
        if (count == GROUP_ITEMS_MAX) {
            return too_many;
        }
        if (!json_text(&item, texts[count], GROUP_ID_BYTES_MAX, &ids[count])) {
            return invalid;
        }
    }
    switch (groups_pack(ids, count, out, len)) {
    case GROUPS_OK:
        return NULL;
    case GROUPS_TOO_MANY:
        return too_many;
    case GROUPS_INVALID_ID:
        break;
    }
    return invalid;
}
