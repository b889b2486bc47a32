/* json.c -- see json.h.
 *
 * Every read_… function takes the address of the first byte of its thing and returns the address
 * after its last, or NULL after noting a fault.  Text ends at reader->end, and nothing is read from
 * there on.  Grammar: RFC 8259. */
#include "base/json.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/utf8.h"

struct reader {
    const char *start, *end;
    struct json_fault *fault;
};

static_assert(JSON_DEPTH_MAX <= 64, "the open containers are the bits of one word");

/* ---- faults ---- */

__attribute__((cold, noinline)) static const char *fail(const struct reader *reader,
                                                        enum json_outcome outcome, const char *at)
{
    ASSERT(at >= reader->start && at <= reader->end);
    *reader->fault =
        (struct json_fault){.outcome = outcome, .offset = (size_t)(at - reader->start)};
    return NULL;
}

/* The text ends here, or something that cannot be here is here. */
static const char *fail_unexpected(const struct reader *reader, const char *at)
{
    return fail(reader, at == reader->end ? JSON_CUT : JSON_SYNTAX, at);
}

/* ---- whitespace, literals, numbers ---- */

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static inline const char *skip_space(const struct reader *reader, const char *at)
{
    while (at < reader->end && is_space(*at)) {
        at++;
    }
    return at;
}

static bool is_digit(char byte)
{
    return (unsigned char)(byte - '0') <= 9;
}

static const char *skip_digits(const struct reader *reader, const char *at)
{
    while (at < reader->end && is_digit(*at)) {
        at++;
    }
    return at;
}

static const char *read_literal(const struct reader *reader, const char *at, struct slice literal)
{
    size_t left = (size_t)(reader->end - at);
    if (left >= literal.len && memcmp(at, literal.ptr, literal.len) == 0) {
        return at + literal.len;
    }
    size_t i = 0;
    while (i < left && at[i] == literal.ptr[i]) {
        i++;
    }
    return fail_unexpected(reader, at + i);
}

/* Section 6: [ minus ] int [ frac ] [ exp ]. */
static const char *read_number(const struct reader *reader, const char *at)
{
    if (*at == '-') {
        at++;
    }
    const char *digits = at;
    at = skip_digits(reader, at);
    if (at == digits) {
        return fail_unexpected(reader, at);
    }
    if (*digits == '0' && at - digits > 1) {
        return fail(reader, JSON_SYNTAX, digits + 1); /* a leading zero */
    }
    if (at < reader->end && *at == '.') {
        digits = ++at;
        at = skip_digits(reader, at);
        if (at == digits) {
            return fail_unexpected(reader, at);
        }
    }
    if (at < reader->end && (*at == 'e' || *at == 'E')) {
        at++;
        if (at < reader->end && (*at == '+' || *at == '-')) {
            at++;
        }
        digits = at;
        at = skip_digits(reader, at);
        if (at == digits) {
            return fail_unexpected(reader, at);
        }
    }
    return at;
}

/* ---- strings ---- */

#define EACH_BYTE(byte) (0x0101010101010101u * (byte))

/* The bytes at the front of these eight that stand for themselves in a string, 0 to 8: U+0020 to
 * U+007F without the quote and the backslash.  Each sum below has its top bit set in the bytes that
 * are fine: the seven bits are >= 0x20, differ from '"', differ from '\'.  No sum carries into the
 * next byte, so the answer is exact in every one. */
static inline size_t plain_prefix_8(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    uint64_t low = word & EACH_BYTE(0x7F);
    uint64_t plain = (low + EACH_BYTE(0x60)) & ((low ^ EACH_BYTE('"')) + EACH_BYTE(0x7F)) &
                     ((low ^ EACH_BYTE('\\')) + EACH_BYTE(0x7F)) & ~word;
    uint64_t other = ~plain & EACH_BYTE(0x80);
    if (other == 0) {
        return 8;
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return (size_t)__builtin_ctzll(other) / 8;
#else
    return (size_t)__builtin_clzll(other) / 8;
#endif
}

static inline bool is_plain(char byte)
{
    unsigned char code = (unsigned char)byte;
    return code >= 0x20 && code < 0x80 && code != '"' && code != '\\';
}

/* The first byte from `at` on that does not stand for itself, or the end. */
static inline const char *skip_plain(const struct reader *reader, const char *at)
{
    while (reader->end - at >= 8) {
        size_t plain = plain_prefix_8(at);
        at += plain;
        if (plain < 8) {
            return at;
        }
    }
    while (at < reader->end && is_plain(*at)) {
        at++;
    }
    return at;
}

static int hex_digit(char byte)
{
    if (is_digit(byte)) {
        return byte - '0';
    }
    char lower = (char)(byte | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* The four digits after "\u". */
static const char *read_hex_4(const struct reader *reader, const char *at, uint32_t *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++, at++) {
        if (at == reader->end) {
            return fail(reader, JSON_CUT, at);
        }
        int digit = hex_digit(*at);
        if (digit < 0) {
            return fail(reader, JSON_ESCAPE, at);
        }
        *unit = *unit << 4 | (uint32_t)digit;
    }
    return at;
}

/* After "\u": a code point of one unit, or of two that are a surrogate pair. */
static const char *read_unicode(const struct reader *reader, const char *at, uint32_t *code)
{
    const char *first = at;
    at = read_hex_4(reader, at, code);
    if (at == NULL || *code < 0xD800 || *code > 0xDFFF) {
        return at;
    }
    if (*code >= 0xDC00) {
        return fail(reader, JSON_SURROGATE, first);
    }
    for (int i = 0; i < 2; i++, at++) {
        if (at == reader->end) {
            return fail(reader, JSON_CUT, at);
        }
        if (*at != "\\u"[i]) {
            return fail(reader, JSON_SURROGATE, first);
        }
    }
    uint32_t low;
    at = read_hex_4(reader, at, &low);
    if (at == NULL) {
        return NULL;
    }
    if (low < 0xDC00 || low > 0xDFFF) {
        return fail(reader, JSON_SURROGATE, first);
    }
    *code = 0x10000 + ((*code - 0xD800) << 10) + (low - 0xDC00);
    return at;
}

/* From the backslash on; section 7. */
static const char *read_escape(const struct reader *reader, const char *at, uint32_t *code)
{
    at++;
    if (at == reader->end) {
        return fail(reader, JSON_CUT, at);
    }
    switch (*at) {
    case '"':
    case '\\':
    case '/':
        *code = (uint32_t)*at;
        return at + 1;
    case 'b':
        *code = '\b';
        return at + 1;
    case 'f':
        *code = '\f';
        return at + 1;
    case 'n':
        *code = '\n';
        return at + 1;
    case 'r':
        *code = '\r';
        return at + 1;
    case 't':
        *code = '\t';
        return at + 1;
    case 'u':
        return read_unicode(reader, at + 1, code);
    default:
        return fail(reader, JSON_ESCAPE, at);
    }
}

/* From the opening quote to after the closing one; *raw is what is between them. */
static inline const char *read_string(const struct reader *reader, const char *at,
                                      struct slice *raw, bool *escaped)
{
    const char *first = ++at;
    *escaped = false;
    for (;;) {
        at = skip_plain(reader, at);
        if (at == reader->end) {
            return fail(reader, JSON_CUT, at);
        }
        unsigned char byte = (unsigned char)*at;
        if (byte == '"') {
            *raw = slice_of(first, (size_t)(at - first));
            return at + 1;
        }
        if (byte == '\\') {
            uint32_t code;
            *escaped = true;
            at = read_escape(reader, at, &code);
            if (at == NULL) {
                return NULL;
            }
        } else if (byte < 0x20) {
            return fail(reader, JSON_CONTROL, at);
        } else {
            size_t step = utf8_sequence(at, (size_t)(reader->end - at));
            if (step == 0) {
                return fail(reader, JSON_UTF8, at);
            }
            at += step;
        }
    }
}

/* ---- values ---- */

/* A literal, number or string; `at` is not the end. */
static inline const char *read_scalar(const struct reader *reader, const char *at,
                                      struct json_value *value)
{
    const char *first = at;
    value->escaped = false;
    value->truth = false;
    switch (*at) {
    case '"':
        value->kind = JSON_IS_STRING;
        return read_string(reader, at, &value->raw, &value->escaped);
    case 't':
        value->kind = JSON_IS_BOOL;
        value->truth = true;
        at = read_literal(reader, at, SLICE_LIT("true"));
        break;
    case 'f':
        value->kind = JSON_IS_BOOL;
        at = read_literal(reader, at, SLICE_LIT("false"));
        break;
    case 'n':
        value->kind = JSON_IS_NULL;
        at = read_literal(reader, at, SLICE_LIT("null"));
        break;
    default:
        value->kind = JSON_IS_NUMBER;
        at = read_number(reader, at);
        break;
    }
    if (at != NULL) {
        value->raw = slice_of(first, (size_t)(at - first));
    }
    return at;
}

/* A member's name and its colon. */
static inline const char *read_name(const struct reader *reader, const char *at, struct slice *name,
                                    bool *escaped)
{
    if (at == reader->end || *at != '"') {
        return fail_unexpected(reader, at);
    }
    at = read_string(reader, at, name, escaped);
    if (at == NULL) {
        return NULL;
    }
    at = skip_space(reader, at);
    if (at == reader->end || *at != ':') {
        return fail_unexpected(reader, at);
    }
    return at + 1;
}

static bool is_open(char byte)
{
    return byte == '[' || byte == '{';
}

/* An array or object with all in it, from its opening bracket; `depth` containers are open around
 * it.  `expect` is what may come next, in bits. */
static const char *read_container(const struct reader *reader, const char *at, unsigned depth)
{
    enum { COMMA = 1, CLOSE = 2, NAME = 4, VALUE = 8 };
    const unsigned outside = depth;
    uint64_t objects = 0; /* bit d: the container with d around it is an object */
    unsigned expect = VALUE;
    do {
        at = skip_space(reader, at);
        if (at == reader->end) {
            return fail(reader, JSON_CUT, at);
        }
        bool in_object = depth > outside && (objects >> (depth - 1) & 1) != 0;
        if ((expect & CLOSE) != 0 && *at == (in_object ? '}' : ']')) {
            at++;
            depth--;
            expect = COMMA | CLOSE;
        } else if ((expect & COMMA) != 0) {
            if (*at != ',') {
                return fail(reader, JSON_SYNTAX, at);
            }
            at++;
            expect = in_object ? NAME : VALUE;
        } else if ((expect & NAME) != 0) {
            struct slice name;
            bool escaped;
            at = read_name(reader, at, &name, &escaped);
            expect = VALUE;
        } else if (is_open(*at)) {
            if (depth == JSON_DEPTH_MAX) {
                return fail(reader, JSON_DEPTH, at);
            }
            uint64_t bit = (uint64_t)1 << depth;
            objects = *at == '{' ? objects | bit : objects & ~bit;
            expect = CLOSE | (*at == '{' ? NAME : VALUE);
            at++;
            depth++;
        } else {
            struct json_value item;
            at = read_scalar(reader, at, &item);
            expect = COMMA | CLOSE;
        }
    } while (at != NULL && depth > outside);
    return at;
}

/* Any value; `depth` containers are open around it. */
static inline const char *read_value(const struct reader *reader, const char *at, unsigned depth,
                                     struct json_value *value)
{
    if (at == reader->end) {
        return fail(reader, JSON_CUT, at);
    }
    if (!is_open(*at)) {
        return read_scalar(reader, at, value);
    }
    const char *first = at;
    bool array = *at == '[';
    at = read_container(reader, at, depth);
    if (at != NULL) {
        *value = (struct json_value){.kind = array ? JSON_IS_ARRAY : JSON_IS_OBJECT};
        value->raw = array ? slice_of(first + 1, (size_t)(at - first) - 2)
                           : slice_of(first, (size_t)(at - first));
    }
    return at;
}

bool json_valid(struct slice text, struct json_fault *fault)
{
    struct json_fault unused;
    struct reader reader = {text.ptr, text.ptr + text.len, fault != NULL ? fault : &unused};
    if (text.len == 0) {
        *reader.fault = (struct json_fault){.outcome = JSON_CUT};
        return false;
    }
    struct json_value value;
    const char *at = read_value(&reader, skip_space(&reader, text.ptr), 0, &value);
    if (at == NULL) {
        return false;
    }
    at = skip_space(&reader, at);
    if (at != reader.end) {
        fail(&reader, JSON_SYNTAX, at);
        return false;
    }
    return true;
}

/* ---- objects ---- */

#define NOT_WANTED SIZE_MAX

/* A name with escapes: RFC 8259, section 8.3 wants names compared as text, not as written. */
static bool name_equal_escaped(struct slice raw, struct slice name)
{
    const struct json_value string = {.kind = JSON_IS_STRING, .escaped = true, .raw = raw};
    char scratch[64];
    struct slice text;
    ASSERT(name.len <= sizeof scratch);
    return json_text(&string, scratch, sizeof scratch, &text) && slice_equal(text, name);
}

/* The wanted field of this name.  Looks from `guess` on and around: writers keep to one order, so
 * the next name is mostly the next field. */
static inline size_t find_field(const struct json_field *fields, size_t count, size_t guess,
                                struct slice name, bool escaped)
{
    for (size_t i = 0; i < count; i++) {
        size_t field = guess + i < count ? guess + i : guess + i - count;
        if (escaped ? name_equal_escaped(name, fields[field].name)
                    : slice_equal(name, fields[field].name)) {
            return field;
        }
    }
    return NOT_WANTED;
}

/* One member into the value of its field. */
static inline const char *read_member(const struct reader *reader, const char *at,
                                      const struct json_field *fields, size_t count, size_t *guess,
                                      struct json_value *values)
{
    struct slice name;
    bool escaped;
    struct json_value value;
    at = read_name(reader, at, &name, &escaped);
    if (at == NULL) {
        return NULL;
    }
    const char *first = at = skip_space(reader, at);
    size_t field = find_field(fields, count, *guess, name, escaped);
    at = read_value(reader, at, 1, &value);
    if (field == NOT_WANTED) {
        return at;
    }
    if (at == NULL) {
        reader->fault->field = fields[field].name.ptr;
        return NULL;
    }
    if ((value.kind & fields[field].kinds) == 0) {
        fail(reader, JSON_KIND, first);
        reader->fault->field = fields[field].name.ptr;
        reader->fault->kinds = fields[field].kinds;
        return NULL;
    }
    values[field] = value;
    *guess = field + 1;
    return at;
}

/* All members and the closing brace; `at` is after the opening one. */
static const char *read_members(const struct reader *reader, const char *at,
                                const struct json_field *fields, size_t count,
                                struct json_value *values)
{
    size_t guess = 0;
    at = skip_space(reader, at);
    if (at < reader->end && *at == '}') {
        return at + 1;
    }
    for (;;) {
        at = read_member(reader, at, fields, count, &guess, values);
        if (at == NULL) {
            return NULL;
        }
        at = skip_space(reader, at);
        if (at < reader->end && *at == '}') {
            return at + 1;
        }
        if (at == reader->end || *at != ',') {
            return fail_unexpected(reader, at);
        }
        at = skip_space(reader, at + 1);
    }
}

enum json_outcome json_object_read(struct slice text, const struct json_field *fields, size_t count,
                                   struct json_value *values, struct json_fault *fault)
{
    if (text.len == 0) {
        *fault = (struct json_fault){.outcome = JSON_CUT};
        return JSON_CUT;
    }
    const struct reader reader = {text.ptr, text.ptr + text.len, fault};
    for (size_t i = 0; i < count; i++) {
        values[i] = (struct json_value){.kind = JSON_ABSENT};
    }
    const char *at = skip_space(&reader, text.ptr);
    if (at == reader.end || *at != '{') {
        fail(&reader, at == reader.end ? JSON_CUT : JSON_NOT_OBJECT, at);
        return fault->outcome;
    }
    at = read_members(&reader, at + 1, fields, count, values);
    if (at == NULL) {
        return fault->outcome;
    }
    at = skip_space(&reader, at);
    if (at != reader.end) {
        fail(&reader, JSON_SYNTAX, at);
        return JSON_SYNTAX;
    }
    for (size_t i = 0; i < count; i++) {
        if (values[i].kind == JSON_ABSENT && fields[i].presence == JSON_REQUIRED) {
            fail(&reader, JSON_MISSING, at);
            fault->field = fields[i].name.ptr;
            return JSON_MISSING;
        }
    }
    return JSON_OK;
}

/* ---- reading what was found ---- */

bool json_array_next(struct slice *rest, struct json_value *item)
{
    struct json_fault fault;
    const struct reader reader = {rest->ptr, rest->ptr + rest->len, &fault};
    const char *at = skip_space(&reader, rest->ptr);
    if (at == reader.end) {
        return false;
    }
    /* The items were validated inside their array; here they have none around them. */
    at = read_value(&reader, at, 0, item);
    ASSERT(at != NULL);
    at = skip_space(&reader, at);
    if (at < reader.end) {
        ASSERT(*at == ',');
        at++;
    }
    *rest = slice_of(at, (size_t)(reader.end - at));
    return true;
}

bool json_text(const struct json_value *string, char *scratch, size_t scratch_bytes,
               struct slice *text)
{
    ASSERT(string->kind == JSON_IS_STRING);
    if (!string->escaped) {
        *text = string->raw;
        return true;
    }
    struct json_fault fault;
    const struct reader reader = {string->raw.ptr, string->raw.ptr + string->raw.len, &fault};
    size_t len = 0;
    for (const char *at = reader.start; at < reader.end;) {
        char character[4];
        const char *from = at;
        size_t step = 1;
        if (*at == '\\') {
            uint32_t code;
            at = read_escape(&reader, at, &code);
            ASSERT(at != NULL);
            step = utf8_encode(code, character);
            from = character;
        } else {
            at++;
        }
        if (step > scratch_bytes - len) {
            return false;
        }
        memcpy(scratch + len, from, step);
        len += step;
    }
    *text = slice_of(scratch, len);
    return true;
}

bool json_i64(const struct json_value *number, int64_t *out)
{
    if (number->kind != JSON_IS_NUMBER) {
        return false;
    }
    struct slice raw = number->raw;
    bool negative = raw.len > 0 && raw.ptr[0] == '-';
    uint64_t limit = negative ? (uint64_t)INT64_MAX + 1 : INT64_MAX;
    uint64_t value = 0;
    for (size_t i = negative; i < raw.len; i++) {
        if (!is_digit(raw.ptr[i])) { /* a point or an exponent */
            return false;
        }
        uint64_t digit = (uint64_t)(raw.ptr[i] - '0');
        if (value > (limit - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    *out = negative ? (int64_t)-value : (int64_t)value;
    return true;
}

/* ---- words ---- */

/* "a string or null", from the bits of the kinds. */
static void kinds_text(unsigned kinds, char *text, size_t bytes)
{
    static const struct {
        unsigned kind;
        const char *name;
    } names[] = {
        {JSON_IS_STRING, "a string"},    {JSON_IS_NUMBER, "a number"},
        {JSON_IS_BOOL, "true or false"}, {JSON_IS_ARRAY, "an array"},
        {JSON_IS_OBJECT, "an object"},   {JSON_IS_NULL, "null"},
    };
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((kinds & names[i].kind) != 0 && len < bytes) {
            len += (size_t)snprintf(text + len, bytes - len, "%s%s", len > 0 ? " or " : "",
                                    names[i].name);
        }
    }
}

void json_fault_text(const struct json_fault *fault, char text[JSON_FAULT_TEXT_BYTES])
{
    static const char *const texts[] = {
#define JSON_OUTCOME_TEXT(name, text) text,
        JSON_OUTCOME_LIST(JSON_OUTCOME_TEXT)
#undef JSON_OUTCOME_TEXT
    };
    const char *words = texts[fault->outcome];
    char kinds[JSON_FAULT_TEXT_BYTES / 2];
    switch (fault->outcome) {
    case JSON_KIND:
        kinds_text(fault->kinds, kinds, sizeof kinds);
        snprintf(text, JSON_FAULT_TEXT_BYTES, "\"%s\" must be %s", fault->field, kinds);
        return;
    case JSON_MISSING:
        snprintf(text, JSON_FAULT_TEXT_BYTES, "\"%s\" %s", fault->field, words);
        return;
    case JSON_OK:
    case JSON_CUT:
    case JSON_SYNTAX:
    case JSON_CONTROL:
    case JSON_ESCAPE:
    case JSON_SURROGATE:
    case JSON_UTF8:
    case JSON_DEPTH:
    case JSON_NOT_OBJECT:
        break;
    }
    if (fault->field != NULL) {
        snprintf(text, JSON_FAULT_TEXT_BYTES, "%s (in \"%s\", at byte %zu)", words, fault->field,
                 fault->offset);
    } else {
        snprintf(text, JSON_FAULT_TEXT_BYTES, "%s (at byte %zu)", words, fault->offset);
    }
}
