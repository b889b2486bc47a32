/* json_text.c -- see json_text.h.  Reading: base/json.h says whether the text is JSON at all, so
 * that what walks over it afterwards can rely on the syntax. */
#define _GNU_SOURCE /* memrchr */
#include "records/json_text.h"

#include "base/json.h"

void json_groups_write(struct buffer *out, struct slice packed)
{
    buffer_put_char(out, '[');
    struct slice id;
    for (bool first = true; groups_next(&packed, &id); first = false) {
        if (!first) {
            buffer_put_char(out, ',');
        }
        buffer_put_json_string(out, id);
    }
    buffer_put_char(out, ']');
}

void json_tally_write(struct buffer *out, struct slice tally)
{
    buffer_put_char(out, '{');
    struct slice key;
    uint32_t count;
    for (bool first = true; tally_next(&tally, &key, &count); first = false) {
        if (!first) {
            buffer_put_char(out, ',');
        }
        buffer_put_json_string(out, key);
        buffer_put_char(out, ':');
        buffer_put_u64(out, count);
    }
    buffer_put_char(out, '}');
}

/* ---- reading ---- */

static struct slice after_space(struct slice text)
{
    while (text.len > 0 && strchr(" \t\n\r", text.ptr[0]) != NULL) {
        text = slice_of(text.ptr + 1, text.len - 1);
    }
    return text;
}

/* Takes the byte if it is next, white space aside. */
static bool take(struct slice *rest, char byte)
{
    *rest = after_space(*rest);
    if (rest->len == 0 || rest->ptr[0] != byte) {
        return false;
    }
    *rest = slice_of(rest->ptr + 1, rest->len - 1);
    return true;
}

bool json_groups_read(struct slice json, char out[GROUPS_PACKED_BYTES_MAX], size_t *len)
{
    char text[GROUPS_PER_VIEWER_MAX][GROUP_ID_BYTES_MAX];
    struct slice ids[GROUPS_PER_VIEWER_MAX];
    struct json_value item;
    size_t count = 0;
    if (!json_valid(json, NULL) || !take(&json, '[')) {
        return false;
    }
    json.len = (size_t)((const char *)memrchr(json.ptr, ']', json.len) - json.ptr);
    while (json_array_next(&json, &item)) {
        if (count == GROUPS_PER_VIEWER_MAX || item.kind != JSON_IS_STRING ||
            !json_text(&item, text[count], sizeof text[count], &ids[count])) {
            return false;
        }
        count++;
    }
    return groups_pack(ids, count, out, len) == GROUPS_OK;
}

/* Takes a member's name, without its quotes. */
static struct json_value take_name(struct slice *rest)
{
    struct json_value name = {.kind = JSON_IS_STRING};
    take(rest, '"');
    while (rest->ptr[name.raw.len] != '"') {
        bool escape = rest->ptr[name.raw.len] == '\\';
        name.escaped |= escape;
        name.raw.len += escape ? 2 : 1;
    }
    name.raw.ptr = rest->ptr;
    *rest = slice_of(rest->ptr + name.raw.len + 1, rest->len - name.raw.len - 1);
    return name;
}

/* Takes a number without sign, point and exponent, of 32 bits. */
static bool take_count(struct slice *rest, uint32_t *count)
{
    struct json_value number = {.kind = JSON_IS_NUMBER};
    int64_t value;
    *rest = after_space(*rest);
    while (rest->ptr[number.raw.len] >= '0' && rest->ptr[number.raw.len] <= '9') {
        number.raw.len++;
    }
    number.raw.ptr = rest->ptr;
    *rest = slice_of(rest->ptr + number.raw.len, rest->len - number.raw.len);
    if (number.raw.len == 0 || !json_i64(&number, &value) || value > UINT32_MAX) {
        return false;
    }
    *count = (uint32_t)value;
    return true;
}

bool json_tally_read(struct slice json, struct buffer *out)
{
    if (!json_valid(json, NULL) || !take(&json, '{')) {
        return false;
    }
    if (take(&json, '}')) {
        return true;
    }
    do {
        char scratch[GROUP_ID_BYTES_MAX];
        struct json_value name = take_name(&json);
        struct slice key;
        uint32_t count;
        if (!json_text(&name, scratch, sizeof scratch, &key) || key.len == 0 ||
            key.len > GROUP_ID_BYTES_MAX || !take(&json, ':') || !take_count(&json, &count)) {
            return false;
        }
        char *room = buffer_room(out, tally_entry_bytes(key.len));
        if (room == NULL) {
            return false;
        }
        buffer_used(out, tally_put(room, key, count));
    } while (take(&json, ','));
    return take(&json, '}'); /* else a number went on: 1.5, 1e3 */
}
