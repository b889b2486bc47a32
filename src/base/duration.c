/* duration.c -- see duration.h. */
#include "base/duration.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"

struct unit {
    struct slice name;
    uint64_t size;
};

/* Largest first: formatting takes the first that divides. */
static const struct unit duration_units[] = {
    {{"d", 1}, 86400000}, {{"h", 1}, 3600000}, {{"m", 1}, 60000}, {{"s", 1}, 1000}, {{"ms", 2}, 1}};
static const struct unit bytes_units[] = {
    {{"t", 1}, (uint64_t)1 << 40}, {{"g", 1}, 1 << 30}, {{"m", 1}, 1 << 20}, {{"k", 1}, 1 << 10}};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* The digits at the front of *text, which is left with what follows them. */
static bool take_number(struct slice *text, uint64_t *number)
{
    size_t i = 0;
    uint64_t value = 0;
    for (; i < text->len && text->ptr[i] >= '0' && text->ptr[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text->ptr[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (i == 0) {
        return false;
    }
    *text = slice_of(text->ptr + i, text->len - i);
    *number = value;
    return true;
}

static bool scale(uint64_t number, uint64_t size, uint64_t max, uint64_t *out)
{
    if (number > max / size) {
        return false;
    }
    *out = number * size;
    return true;
}

bool duration_parse(struct slice text, int64_t *ms)
{
    uint64_t number;
    if (!take_number(&text, &number)) {
        return false;
    }
    if (number == 0 && text.len == 0) {
        *ms = 0;
        return true;
    }
    for (size_t i = 0; i < COUNT(duration_units); i++) {
        uint64_t value;
        if (slice_equal(text, duration_units[i].name)) {
            if (!scale(number, duration_units[i].size, DURATION_MS_MAX, &value)) {
                return false;
            }
            *ms = (int64_t)value;
            return true;
        }
    }
    return false;
}

bool bytes_parse(struct slice text, uint64_t *bytes)
{
    uint64_t number;
    if (!take_number(&text, &number)) {
        return false;
    }
    if (text.len == 0) {
        *bytes = number;
        return true;
    }
    for (size_t i = 0; i < COUNT(bytes_units) && text.len == 1; i++) {
        if ((text.ptr[0] | 0x20) == bytes_units[i].name.ptr[0]) {
            return scale(number, bytes_units[i].size, UINT64_MAX, bytes);
        }
    }
    return false;
}

bool integer_parse(struct slice text, uint64_t *number)
{
    uint64_t value;
    if (!take_number(&text, &value) || text.len != 0) {
        return false;
    }
    *number = value;
    return true;
}

/* With the first unit that divides it; with none of them as it is. */
static const char *format(uint64_t value, const struct unit *units, size_t count,
                          char text[DURATION_TEXT_BYTES])
{
    for (size_t i = 0; i < count; i++) {
        if (value != 0 && value % units[i].size == 0) {
            snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64 "%s", value / units[i].size,
                     units[i].name.ptr);
            return text;
        }
    }
    snprintf(text, DURATION_TEXT_BYTES, "%" PRIu64, value);
    return text;
}

const char *duration_format(int64_t ms, char text[DURATION_TEXT_BYTES])
{
    ASSERT(ms >= 0 && ms <= DURATION_MS_MAX);
    return format((uint64_t)ms, duration_units, COUNT(duration_units), text);
}

const char *bytes_format(uint64_t bytes, char text[DURATION_TEXT_BYTES])
{
    return format(bytes, bytes_units, COUNT(bytes_units), text);
}
