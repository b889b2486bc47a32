/* json.h -- a strict reader of JSON objects that allocates nothing: for heartbeats and traces.
 *
 * Model: the caller names the members it wants in a static table; one call validates the whole text
 * and hands back those members' values as slices of the text.  Members that nobody wants are
 * skipped, but validated like all others.  When a name comes twice, the last one counts.
 *
 *     static const struct json_field fields[] = {
 *         JSON_FIELD("viewer", JSON_IS_STRING, JSON_REQUIRED),
 *         JSON_FIELD("hidden", JSON_IS_BOOL, JSON_OPTIONAL),
 *     };
 *     struct json_value values[2];
 *     if (json_object_read(body, fields, 2, values, &fault) != JSON_OK) { … json_fault_text … }
 *
 * Accepted is exactly RFC 8259, less what it leaves to the reader: strings must be valid UTF-8
 * without lone surrogates in escapes, no byte order mark, containers nest at most JSON_DEPTH_MAX
 * deep.  No recursion: the stack is one word of bits.
 * Memory:  none is taken; values borrow from the text.
 * Threads: pure functions; any thread.
 * Cost:    one pass; a heartbeat of 60 bytes took 50 ns, a trace line of 136 took 100 ns
 * (bench/bench_json.c). */
#ifndef NOVABEAT_BASE_JSON_H
#define NOVABEAT_BASE_JSON_H

#include <stdint.h>

#include "base/limits.h"
#include "base/slice.h"

/* (JSON_STRING and the like are names of jansson, which other files use beside this reader.) */
enum json_kind {
    JSON_ABSENT = 0,
    JSON_IS_NULL = 1,
    JSON_IS_BOOL = 2,
    JSON_IS_NUMBER = 4,
    JSON_IS_STRING = 8,
    JSON_IS_ARRAY = 16,
    JSON_IS_OBJECT = 32,
};

/* What can come of reading, and how it is said to whoever sent it. */
#define JSON_OUTCOME_LIST(X)                                                                       \
    X(JSON_OK, "is fine")                                                                          \
    X(JSON_CUT, "the JSON text ends too early")                                                    \
    X(JSON_SYNTAX, "this is not JSON")                                                             \
    X(JSON_CONTROL, "a control character in a string must be escaped")                             \
    X(JSON_ESCAPE, "a string has a wrong escape")                                                  \
    X(JSON_SURROGATE, "a string has a surrogate without its other half")                           \
    X(JSON_UTF8, "a string is not valid UTF-8")                                                    \
    X(JSON_DEPTH, "the JSON text is nested too deep")                                              \
    X(JSON_NOT_OBJECT, "a JSON object is expected")                                                \
    X(JSON_KIND, "is of the wrong kind")                                                           \
    X(JSON_MISSING, "is missing")

enum json_outcome {
#define JSON_OUTCOME_ENUM(name, text) name,
    JSON_OUTCOME_LIST(JSON_OUTCOME_ENUM)
#undef JSON_OUTCOME_ENUM
};

enum json_presence { JSON_OPTIONAL, JSON_REQUIRED };

/* A wanted member.  The name is a literal (faults hand it on as a C string). */
struct json_field {
    struct slice name;
    uint8_t kinds; /* allowed ones, of enum json_kind, or-ed */
    enum json_presence presence;
};
#define JSON_FIELD(name, kinds, presence)                                                          \
    {                                                                                              \
        {(name), sizeof(name) - 1}, (kinds), (presence)                                            \
    }

struct json_value {
    /* String: what is between the quotes, escapes and all.  Array: what is between the brackets.
     * Object: with its braces.  Number, literal: its text.  Absent: empty. */
    struct slice raw;
    uint8_t kind; /* enum json_kind */
    bool escaped; /* string: raw holds escapes, read it with json_text */
    bool truth;   /* bool */
};

struct json_fault {
    enum json_outcome outcome;
    size_t offset;     /* of the byte that is wrong; the text's length when it ends too early */
    const char *field; /* the wanted member that it is about or in; NULL: none of them */
    uint8_t kinds;     /* JSON_KIND: what would have been allowed */
};

/* Reads one object with nothing but whitespace around it.  values[i] gets the value of fields[i],
 * JSON_ABSENT where the member is not there.  Every occurrence of a wanted member must be of an
 * allowed kind, also one that a later one overrides.
 * On anything but JSON_OK *fault says what and where, and values are meaningless. */
enum json_outcome json_object_read(struct slice text, const struct json_field *fields, size_t count,
                                   struct json_value *values, struct json_fault *fault);

/* Any one JSON text.  *fault (may be NULL) as above. */
bool json_valid(struct slice text, struct json_fault *fault);

/* The next item of an array that json_object_read gave; false at the end.
 *     struct json_value item;
 *     for (struct slice rest = array.raw; json_array_next(&rest, &item);) { … } */
bool json_array_next(struct slice *rest, struct json_value *item);

/* A string's text: raw itself, or unescaped into scratch when it has escapes.  The result is valid
 * UTF-8; it may hold U+0000.  False when it does not fit scratch_bytes (raw.len always suffices).
 */
bool json_text(const struct json_value *string, char *scratch, size_t scratch_bytes,
               struct slice *text);

/* The number when it is written as a whole number (no point, no exponent) and fits; else false. */
bool json_i64(const struct json_value *number, int64_t *out);

/* One sentence for people, without a full stop:  "hidden" must be true or false.  NUL-terminated;
 * cut when it is longer than JSON_FAULT_TEXT_BYTES, which no table of ours makes it. */
#define JSON_FAULT_TEXT_BYTES 160
void json_fault_text(const struct json_fault *fault, char text[JSON_FAULT_TEXT_BYTES]);

#endif
