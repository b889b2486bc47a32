/* fuzz_json.c -- any bytes: the JSON reader's two ways in agree, and what it gives can be read. */
#include "base/json.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/utf8.h"

#define ANY_KIND                                                                                   \
    (JSON_IS_NULL | JSON_IS_BOOL | JSON_IS_NUMBER | JSON_IS_STRING | JSON_IS_ARRAY | JSON_IS_OBJECT)

static const struct json_field fields[] = {
    JSON_FIELD("ts", ANY_KIND, JSON_OPTIONAL),
    JSON_FIELD("viewer", ANY_KIND, JSON_OPTIONAL),
    JSON_FIELD("groups", ANY_KIND, JSON_OPTIONAL),
};
#define FIELDS (sizeof fields / sizeof fields[0])

static void read_value(const struct json_value *value)
{
    struct slice text;
    int64_t whole;
    struct json_value item;
    if (value->kind == JSON_IS_STRING) {
        char *scratch = malloc(value->raw.len + 1);
        ASSERT(json_text(value, scratch, value->raw.len, &text));
        ASSERT(utf8_valid(text));
        free(scratch);
    } else if (value->kind == JSON_IS_NUMBER) {
        (void)json_i64(value, &whole);
    } else if (value->kind == JSON_IS_ARRAY) {
        for (struct slice rest = value->raw; json_array_next(&rest, &item);) {
            read_value(&item);
        }
    } else if (value->kind == JSON_IS_OBJECT) {
        ASSERT(json_valid(value->raw, NULL));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    struct slice text = slice_of((const char *)bytes, len);
    struct json_value values[FIELDS];
    struct json_fault fault;
    char words[JSON_FAULT_TEXT_BYTES];
    bool valid = json_valid(text, &fault);
    ASSERT(valid || fault.offset <= len);
    enum json_outcome outcome = json_object_read(text, fields, FIELDS, values, &fault);
    ASSERT(outcome != JSON_OK || valid);
    if (outcome == JSON_OK) {
        for (size_t i = 0; i < FIELDS; i++) {
            read_value(&values[i]);
        }
    } else {
        ASSERT(outcome == fault.outcome && fault.offset <= len);
        ASSERT(!valid || outcome == JSON_NOT_OBJECT);
        json_fault_text(&fault, words);
    }
    return 0;
}
