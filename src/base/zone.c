/* zone.c -- see zone.h.
 *
 * A zone is a list of moments at which the offset changes, and perhaps a rule for what comes after
 * the last of them (daylight saving time of every year, in the words of POSIX's TZ variable).  All
 * of a file is checked when it is opened, so that looking up needs no checks.
 *
 * The file (RFC 8536, section 3): a header of 44 bytes and a block of 32-bit times, which is passed
 * over; then the same with 64-bit times, which is read; then the rule between two line feeds.  A
 * block's arrays follow one another without padding, all numbers are big endian:
 *
 *     times[timecnt]      8 bytes: seconds since the epoch, ascending
 *     indexes[timecnt]    1 byte: the type that holds from that time on
 *     types[typecnt]      4 bytes seconds east of UTC, 1 byte is_dst, 1 byte index into the names
 *     names[charcnt]      abbreviations, each ended by a zero
 *     leaps[leapcnt]      12 bytes (8 in the first block): not for us, see parse_block
 *     isstd[isstdcnt], isut[isutcnt]    1 byte each: of no use to a reader */
#include "base/zone.h"

#include "base/assert.h"
#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY_S    86400
#define MINUTE_S 60
#define HOUR_S   3600
/* Europe/London's file, one of the largest, has 3,664 bytes. */
#define FILE_BYTES_MAX (256 * 1024)
#define NAME_BYTES_MAX 64
#define HEADER_BYTES   44
/* RFC 8536, 3.2: what an offset should be between, so that any reader can use it. */
#define OFFSET_S_MIN (-25 * HOUR_S + 1)
#define OFFSET_S_MAX (26 * HOUR_S - 1)
#define FIXED_S_MAX  (18 * HOUR_S)

/* A day of every year and the time on it at which the offset changes. */
struct change {
    enum { DAY_OF_MONTH, DAY_WITHOUT_LEAP, DAY_OF_YEAR } kind; /* Mm.w.d, Jn, n */
    int month, week, weekday;                                  /* weekday: 0 is Sunday */
    int day;
    int32_t time_s; /* of the wall clock before the change, from that day's midnight */
};

struct rule {
    bool is_there, has_dst;
    int32_t std_s, dst_s; /* seconds east of UTC */
    struct change to_dst, to_std;
};

struct zone {
    bool is_utc;
    int32_t first_s; /* before the first change, and without any */
    struct rule rule;
    size_t count;
    int64_t *times_s;   /* ascending */
    int32_t *offsets_s; /* from that time on */
};

/* ---- days and years (proleptic Gregorian) ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static bool is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* From the epoch to the 1st of January. */
static int64_t days_before_year(int64_t year)
{
    int64_t y = year - 1;
    int64_t leaps = floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);
    return 365 * y + leaps - 719162; /* which 1970 makes */
}

static int64_t year_of(int64_t days)
{
    int64_t year = 1970 + floor_div(days * 400, 146097); /* days in 400 years */
    while (days_before_year(year) > days) {
        year--;
    }
    while (days_before_year(year + 1) <= days) {
        year++;
    }
    return year;
}

/* Days of the year before the month (1 to 13) begins. */
static int days_before_month(int64_t year, int month)
{
    static const int days[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
    return days[month - 1] + (month > 2 && is_leap(year));
}

/* ---- the rule ---- */

/* The day of the year, from 0. */
static int change_day(const struct change *change, int64_t year)
{
    switch (change->kind) {
    case DAY_OF_YEAR:
        return change->day;
    case DAY_WITHOUT_LEAP: /* 1 to 365; the 29th of February has no number */
        return change->day - 1 + (change->day > 59 && is_leap(year));
    case DAY_OF_MONTH:
        break;
    }
    int first = days_before_month(year, change->month);
    int length = days_before_month(year, change->month + 1) - first;
    int64_t first_weekday = (days_before_year(year) + first + 4) % 7; /* the epoch: Thursday */
    first_weekday += first_weekday < 0 ? 7 : 0;
    int day = (change->weekday - (int)first_weekday + 7) % 7 + (change->week - 1) * 7;
    return first + (day < length ? day : day - 7); /* week 5: the last one, perhaps the fourth */
}

static int64_t change_time_s(const struct change *change, int64_t year, int32_t offset_before_s)
{
    int64_t day = days_before_year(year) + change_day(change, year);
    return day * DAY_S + change->time_s - offset_before_s;
}

/* The last change before or at that moment decides.  Those of three years are looked at, because a
 * time on a change's day may be up to a week away from it.  On a tie the later one wins: daylight
 * saving time all the year is written as an end at the moment of the next start (RFC 8536, 3.3.1).
 */
static int32_t rule_offset_s(const struct rule *rule, int64_t time_s)
{
    if (!rule->has_dst) {
        return rule->std_s;
    }
    int64_t year = year_of(floor_div(time_s + rule->std_s, DAY_S));
    int64_t latest_s = INT64_MIN;
    int32_t offset_s = rule->std_s;
    for (int64_t y = year - 1; y <= year + 1; y++) {
        int64_t start_s = change_time_s(&rule->to_dst, y, rule->std_s);
        int64_t end_s = change_time_s(&rule->to_std, y, rule->dst_s);
        if (start_s <= time_s && start_s >= latest_s) {
            latest_s = start_s;
            offset_s = rule->dst_s;
        }
        if (end_s <= time_s && end_s >= latest_s) {
            latest_s = end_s;
            offset_s = rule->std_s;
        }
    }
    return offset_s;
}

/* ---- reading a rule: POSIX, 8.3, "TZ"; RFC 8536, 3.3.1 ---- */

static bool take(struct slice *text, char byte)
{
    if (text->len == 0 || text->ptr[0] != byte) {
        return false;
    }
    *text = slice_of(text->ptr + 1, text->len - 1);
    return true;
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

static bool is_letter(char byte)
{
    return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

static bool take_number(struct slice *text, int min, int max, int *number)
{
    int n = 0;
    size_t i = 0;
    for (; i < text->len && i < 4 && is_digit(text->ptr[i]); i++) {
        n = n * 10 + (text->ptr[i] - '0');
    }
    *text = slice_of(text->ptr + i, text->len - i);
    *number = n;
    return i > 0 && n >= min && n <= max;
}

/* "EST", or in angle brackets with digits and signs: "<+0330>".  At least three characters. */
static bool take_name(struct slice *text)
{
    bool quoted = take(text, '<');
    size_t i = 0;
    while (i < text->len &&
           (is_letter(text->ptr[i]) ||
            (quoted && (is_digit(text->ptr[i]) || text->ptr[i] == '+' || text->ptr[i] == '-')))) {
        i++;
    }
    *text = slice_of(text->ptr + i, text->len - i);
    return i >= 3 && (!quoted || take(text, '>'));
}

/* [+-]hh[:mm[:ss]] */
static bool take_time(struct slice *text, int hours_max, int32_t *time_s)
{
    bool negative = take(text, '-');
    int hours, minutes = 0, seconds = 0;
    if (!negative) {
        (void)take(text, '+');
    }
    if (!take_number(text, 0, hours_max, &hours) ||
        (take(text, ':') && (!take_number(text, 0, 59, &minutes) ||
                             (take(text, ':') && !take_number(text, 0, 59, &seconds))))) {
        return false;
    }
    *time_s = hours * HOUR_S + minutes * MINUTE_S + seconds;
    *time_s = negative ? -*time_s : *time_s;
    return true;
}

/* ",M3.2.0/2" */
static bool take_change(struct slice *text, struct change *change)
{
    *change = (struct change){.kind = DAY_OF_YEAR, .time_s = 2 * HOUR_S};
    if (!take(text, ',')) {
        return false;
    }
    bool good;
    if (take(text, 'M')) {
        change->kind = DAY_OF_MONTH;
        good = take_number(text, 1, 12, &change->month) && take(text, '.') &&
               take_number(text, 1, 5, &change->week) && take(text, '.') &&
               take_number(text, 0, 6, &change->weekday);
    } else if (take(text, 'J')) {
        change->kind = DAY_WITHOUT_LEAP;
        good = take_number(text, 1, 365, &change->day);
    } else {
        good = take_number(text, 0, 365, &change->day);
    }
    /* A week, not a day: the extension of version 3, which hurts no older file. */
    return good && (!take(text, '/') || take_time(text, 167, &change->time_s));
}

static bool parse_rule(struct slice text, struct rule *rule)
{
    /* POSIX counts hours to the west. */
    int32_t west_s;
    if (!take_name(&text) || !take_time(&text, 24, &west_s)) {
        return false;
    }
    rule->is_there = true;
    rule->std_s = -west_s;
    if (text.len == 0) {
        return true;
    }
    rule->has_dst = true;
    rule->dst_s = rule->std_s + HOUR_S;
    if (!take_name(&text)) {
        return false;
    }
    if (text.len > 0 && text.ptr[0] != ',') {
        if (!take_time(&text, 24, &west_s)) {
            return false;
        }
        rule->dst_s = -west_s;
    }
    return take_change(&text, &rule->to_dst) && take_change(&text, &rule->to_std) && text.len == 0;
}

/* ---- reading a file ---- */

struct block {
    char version;
    uint32_t isut, isstd, leaps, times, types, chars;
    size_t bytes; /* of its arrays */
};

static uint64_t big_endian(const char *at, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++) {
        number = number << 8 | (unsigned char)at[i];
    }
    return number;
}

/* Cuts a header off the front of *file.  False unless the arrays that it tells of are there too. */
static bool take_header(struct slice *file, int time_bytes, struct block *block)
{
    const char *at = file->ptr;
    if (file->len < HEADER_BYTES || memcmp(at, "TZif", 4) != 0) {
        return false;
    }
    block->version = at[4];
    uint32_t *const counts[] = {&block->isut,  &block->isstd, &block->leaps,
                                &block->times, &block->types, &block->chars};
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
        *counts[i] = (uint32_t)big_endian(at + 20 + 4 * i, 4);
        if (*counts[i] > FILE_BYTES_MAX) {
            return false; /* so that no sum below overflows */
        }
    }
    block->bytes = (size_t)block->times * (unsigned)(time_bytes + 1) + (size_t)block->types * 6 +
                   block->chars + (size_t)block->leaps * (unsigned)(time_bytes + 4) + block->isstd +
                   block->isut;
    *file = slice_of(at + HEADER_BYTES, file->len - HEADER_BYTES);
    return block->bytes <= file->len;
}

static bool take_types(const char *at, const struct block *block, int32_t offsets_s[256])
{
    for (uint32_t i = 0; i < block->types; i++, at += 6) {
        offsets_s[i] = (int32_t)(uint32_t)big_endian(at, 4);
        if (offsets_s[i] < OFFSET_S_MIN || offsets_s[i] > OFFSET_S_MAX ||
            (unsigned char)at[4] > 1 || (unsigned char)at[5] >= block->chars) {
            return false;
        }
    }
    return true;
}

static bool parse_block(const char *at, const struct block *block, struct zone *zone)
{
    int32_t offsets_s[256];
    const char *indexes = at + (size_t)block->times * 8;
    const char *types = indexes + block->times;
    /* A file with leap seconds ("right/…") counts other seconds than the epoch's. */
    if (block->types == 0 || block->types > 256 || block->chars == 0 || block->leaps > 0 ||
        (block->isstd != 0 && block->isstd != block->types) ||
        (block->isut != 0 && block->isut != block->types) || !take_types(types, block, offsets_s)) {
        return false;
    }
    zone->first_s = offsets_s[0];
    zone->times_s = memory_alloc((block->times + 1) * sizeof *zone->times_s);
    zone->offsets_s = memory_alloc((block->times + 1) * sizeof *zone->offsets_s);
    for (; zone->count < block->times; zone->count++) {
        size_t i = zone->count;
        unsigned type = (unsigned char)indexes[i];
        zone->times_s[i] = (int64_t)big_endian(at + 8 * i, 8);
        if (type >= block->types || (i > 0 && zone->times_s[i] <= zone->times_s[i - 1])) {
            return false;
        }
        zone->offsets_s[i] = offsets_s[type];
    }
    return true;
}

static bool parse_file(struct slice file, struct zone *zone)
{
    struct block block;
    if (!take_header(&file, 4, &block) || block.version < '2') {
        return false; /* version 1 knows no time after 2037 */
    }
    file = slice_of(file.ptr + block.bytes, file.len - block.bytes);
    if (!take_header(&file, 8, &block) || block.version < '2' ||
        !parse_block(file.ptr, &block, zone)) {
        return false;
    }
    file = slice_of(file.ptr + block.bytes, file.len - block.bytes);
    if (!take(&file, '\n')) {
        return false;
    }
    const char *end = memchr(file.ptr, '\n', file.len);
    if (end == NULL) {
        return false;
    }
    struct slice rule = slice_of(file.ptr, (size_t)(end - file.ptr));
    return rule.len == 0 || parse_rule(rule, &zone->rule);
}

/* The whole file; *bytes is the caller's to free. */
static enum err read_file(const char *path, char **bytes, size_t *len)
{
    /* Non-blocking: what stands there might be a pipe. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) {
        return errno == ENOENT || errno == ENOTDIR ? ERR_NOT_FOUND : ERR_IO;
    }
    struct stat stat;
    enum err err = ERR_NONE;
    if (fstat(fd, &stat) != 0) {
        err = ERR_IO;
    } else if (!S_ISREG(stat.st_mode)) {
        err = ERR_NOT_FOUND; /* "Asia" is a folder */
    } else if (stat.st_size <= 0 || stat.st_size > FILE_BYTES_MAX) {
        err = ERR_DAMAGED;
    }
    if (err == ERR_NONE) {
        *bytes = memory_alloc((size_t)stat.st_size);
        ssize_t got = pread(fd, *bytes, (size_t)stat.st_size, 0);
        if (got < 0) {
            free(*bytes);
            err = ERR_IO;
        }
        *len = (size_t)got; /* shorter, if it was cut meanwhile: then it is damaged */
    }
    close(fd);
    return err;
}

/* ---- names ---- */

/* "+08:00", "-0330" */
static bool parse_fixed(struct slice name, int32_t *offset_s)
{
    char digits[4];
    size_t count = 0;
    for (size_t i = 1; i < name.len; i++) {
        if (name.ptr[i] == ':' && i == 3 && name.len == 6) {
            continue;
        }
        if (!is_digit(name.ptr[i]) || count == sizeof digits) {
            return false;
        }
        digits[count++] = name.ptr[i];
    }
    if (count != sizeof digits || digits[2] > '5') {
        return false;
    }
    int32_t hours = (digits[0] - '0') * 10 + (digits[1] - '0');
    int32_t minutes = (digits[2] - '0') * 10 + (digits[3] - '0');
    *offset_s = hours * HOUR_S + minutes * MINUTE_S;
    bool good = *offset_s <= FIXED_S_MAX;
    *offset_s = name.ptr[0] == '-' ? -*offset_s : *offset_s;
    return good;
}

static bool name_valid(struct slice name)
{
    char before = '/'; /* neither at the start, nor at the end, nor two of them */
    for (size_t i = 0; i < name.len; i++) {
        char byte = name.ptr[i];
        bool inner = is_letter(byte) || is_digit(byte) || byte == '+' || byte == '-' || byte == '_';
        if (!inner && (byte != '/' || before == '/')) {
            return false;
        }
        before = byte;
    }
    return name.len <= NAME_BYTES_MAX && before != '/';
}

static enum err open_named(struct slice name, struct zone *zone)
{
    char path[4096];
    char *bytes = NULL;
    size_t len = 0;
    const char *folder = getenv("TZDIR");
    if (folder == NULL || folder[0] == '\0') {
        folder = "/usr/share/zoneinfo";
    }
    int path_len = snprintf(path, sizeof path, "%s/%.*s", folder, SLICE_ARG(name));
    if (path_len < 0 || (size_t)path_len >= sizeof path) {
        return ERR_IO;
    }
    enum err err = read_file(path, &bytes, &len);
    if (err != ERR_NONE) {
        return err;
    }
    bool whole = parse_file(slice_of(bytes, len), zone);
    free(bytes);
    return whole ? ERR_NONE : ERR_DAMAGED;
}

/* ---- the contract ---- */

enum err zone_open(struct slice name, struct zone **zone_out)
{
    enum err err = ERR_NONE;
    struct zone *zone = memory_zalloc(sizeof *zone);
    if (slice_equal(name, SLICE_LIT("UTC")) || slice_equal(name, SLICE_LIT("Z"))) {
        zone->is_utc = true;
    } else if (name.len > 0 && (name.ptr[0] == '+' || name.ptr[0] == '-')) {
        err = parse_fixed(name, &zone->first_s) ? ERR_NONE : ERR_INVALID;
    } else {
        err = name_valid(name) ? open_named(name, zone) : ERR_INVALID;
    }
    if (err != ERR_NONE) {
        zone_close(zone);
        return err;
    }
    *zone_out = zone;
    return ERR_NONE;
}

void zone_close(struct zone *zone)
{
    if (zone != NULL) {
        free(zone->times_s);
        free(zone->offsets_s);
        free(zone);
    }
}

static int32_t offset_at(const struct zone *zone, int64_t time_s)
{
    size_t low = 0, high = zone->count; /* those below `low` are not after it */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (zone->times_s[middle] <= time_s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == zone->count && zone->rule.is_there) {
        return rule_offset_s(&zone->rule, time_s);
    }
    return low == 0 ? zone->first_s : zone->offsets_s[low - 1];
}

int32_t zone_offset_s(const struct zone *zone, int64_t ms)
{
    return offset_at(zone, floor_div(ms, 1000));
}

static char *put_digits(char *at, int64_t number, int count)
{
    for (int i = count - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + count;
}

static char *put_offset(char *at, const struct zone *zone, int32_t minutes)
{
    if (zone->is_utc) {
        *at = 'Z';
        return at + 1;
    }
    *at = minutes < 0 ? '-' : '+';
    minutes = minutes < 0 ? -minutes : minutes;
    at = put_digits(at + 1, minutes / 60, 2);
    *at = ':';
    return put_digits(at + 1, minutes % 60, 2);
}

struct slice zone_format(const struct zone *zone, int64_t ms, char text[ZONE_TEXT_BYTES])
{
    const int64_t day_ms = DAY_S * 1000LL;
    const int64_t min_ms = days_before_year(0) * day_ms;
    const int64_t max_ms = days_before_year(10000) * day_ms - 1;
    /* ISO 8601 has no seconds in an offset, which local times of the 19th century need: the offset
     * is cut to minutes and the time is told by that, so that the text still means this moment. */
    int32_t minutes = zone_offset_s(zone, ms) / MINUTE_S;
    ms = ms < min_ms - day_ms * 2 ? min_ms - day_ms * 2 : ms; /* before the sum could overflow */
    ms = ms > max_ms + day_ms * 2 ? max_ms + day_ms * 2 : ms;
    int64_t local_ms = ms + (int64_t)minutes * MINUTE_S * 1000;
    local_ms = local_ms < min_ms ? min_ms : local_ms > max_ms ? max_ms : local_ms;
    int64_t days = floor_div(local_ms, day_ms);
    int64_t of_day_ms = local_ms - days * day_ms;
    int64_t year = year_of(days);
    int day = (int)(days - days_before_year(year)), month = 1;
    while (days_before_month(year, month + 1) <= day) {
        month++;
    }
    char *at = put_digits(text, year, 4);
    *at++ = '-';
    at = put_digits(at, month, 2);
    *at++ = '-';
    at = put_digits(at, day - days_before_month(year, month) + 1, 2);
    *at++ = 'T';
    at = put_digits(at, of_day_ms / (HOUR_S * 1000), 2);
    *at++ = ':';
    at = put_digits(at, of_day_ms / (MINUTE_S * 1000) % 60, 2);
    *at++ = ':';
    at = put_digits(at, of_day_ms / 1000 % 60, 2);
    *at++ = '.';
    at = put_digits(at, of_day_ms % 1000, 3);
    at = put_offset(at, zone, minutes);
    ASSERT(at <= text + ZONE_TEXT_BYTES);
    return slice_of(text, (size_t)(at - text));
}
