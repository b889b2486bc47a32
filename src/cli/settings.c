/* settings.c -- reads the sources of settings, in order, into struct settings.
 *
 * Every value, wherever it comes from, goes through `set`, which knows its source for the error. */
#include "cli/settings.h"

#include <errno.h>
#include <ini.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/duration.h"
#include "base/utf8.h"
#include "cli/settings_table.h"

#define CONFIG_BYTES_MAX ((size_t)1 << 20)

enum source_kind { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENVIRONMENT, SOURCE_FLAG };

struct reading {
    struct settings *settings;
    enum command command;
    char *why; /* SETTINGS_WHY_BYTES */
    bool failed;
    /* Where the value at hand comes from. */
    enum source_kind source;
    unsigned line; /* of the config file */
};

/* ---- errors ---- */

/* "NAME (where): reason"; only the first one is kept. */
__attribute__((format(printf, 3, 4))) static bool refuse(struct reading *reading, const char *name,
                                                         const char *format, ...)
{
    if (reading->failed) {
        return false;
    }
    reading->failed = true;
    char where[SETTINGS_WHY_BYTES / 2] = "";
    char reason[SETTINGS_WHY_BYTES];
    if (reading->source == SOURCE_FILE) {
        snprintf(where, sizeof where, " (%.200s, line %u)", reading->settings->config,
                 reading->line);
    } else if (reading->source == SOURCE_ENVIRONMENT) {
        snprintf(where, sizeof where, " (environment)");
    }
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    int len = snprintf(reading->why, SETTINGS_WHY_BYTES, "%.80s%s: %s", name, where, reason);
    ASSERT(len > 0);
    /* One line, whatever the value was. */
    for (char *at = reading->why; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20) {
            *at = '?';
        }
    }
    return false;
}

/* ---- values ---- */

const struct setting *settings_find(const char *name, size_t len)
{
    for (size_t i = 0; i < settings_count; i++) {
        if (slice_equal(slice_of(name, len), slice_str(settings_table[i].name))) {
            return &settings_table[i];
        }
    }
    return NULL;
}

static void *field_of(struct settings *settings, const struct setting *setting)
{
    return (char *)settings + setting->offset;
}

uint64_t settings_number(const struct settings *settings, const struct setting *setting)
{
    /* Durations are never negative, so both of the wide kinds read alike. */
    ASSERT(setting->kind == SETTING_DURATION || setting->kind == SETTING_INTEGER ||
           setting->kind == SETTING_BYTES);
    uint64_t number;
    memcpy(&number, (const char *)settings + setting->offset, sizeof number);
    return number;
}

const char *settings_range(const struct setting *setting, char text[SETTING_RANGE_BYTES])
{
    char low[DURATION_TEXT_BYTES];
    char high[DURATION_TEXT_BYTES];
    text[0] = '\0';
    switch (setting->kind) {
    case SETTING_DURATION:
        snprintf(text, SETTING_RANGE_BYTES, "%s to %s",
                 duration_format((int64_t)setting->lowest, low),
                 duration_format((int64_t)setting->highest, high));
        break;
    case SETTING_INTEGER:
        snprintf(text, SETTING_RANGE_BYTES, "%" PRIu64 " to %" PRIu64, setting->lowest,
                 setting->highest);
        break;
    case SETTING_BYTES:
        snprintf(text, SETTING_RANGE_BYTES, "%s to %s", bytes_format(setting->lowest, low),
                 bytes_format(setting->highest, high));
        break;
    case SETTING_CHOICE:
        for (const char *at = setting->choices; *at != '\0'; at++) {
            size_t len = strlen(text);
            snprintf(text + len, SETTING_RANGE_BYTES - len, *at == '|' ? " or " : "%c", *at);
        }
        break;
    case SETTING_FLAG:
        snprintf(text, SETTING_RANGE_BYTES, "true or false");
        break;
    case SETTING_TEXT:
        break;
    }
    return text;
}

static bool set_number(struct reading *reading, const struct setting *setting, const char *text)
{
    char range[SETTING_RANGE_BYTES];
    struct slice slice = slice_str(text);
    uint64_t number = 0;
    int64_t ms = 0;
    bool parsed;
    const char *expected;
    if (setting->kind == SETTING_DURATION) {
        parsed = duration_parse(slice, &ms);
        number = (uint64_t)ms;
        expected = "a duration; write 65s, 500ms or 5m";
    } else if (setting->kind == SETTING_BYTES) {
        parsed = bytes_parse(slice, &number);
        expected = "a size; write 4096, 64k, 256m or 8g";
    } else {
        parsed = integer_parse(slice, &number);
        expected = "a whole number";
    }
    settings_range(setting, range);
    if (!parsed) {
        return refuse(reading, setting->name, "%.60s is not %s (%s)", text, expected, range);
    }
    if (number < setting->lowest || number > setting->highest) {
        return refuse(reading, setting->name, "%.60s is out of range (%s)", text, range);
    }
    memcpy(field_of(reading->settings, setting), &number, sizeof number);
    return true;
}

static bool set_choice(struct reading *reading, const struct setting *setting, const char *text)
{
    char range[SETTING_RANGE_BYTES];
    unsigned index = 0;
    for (const char *at = setting->choices;; index++) {
        size_t len = strcspn(at, "|");
        if (slice_equal(slice_of(at, len), slice_str(text))) {
            static_assert(sizeof(enum settings_auth) == sizeof index, "an enum is an unsigned");
            memcpy(field_of(reading->settings, setting), &index, sizeof index);
            return true;
        }
        if (at[len] == '\0') {
            return refuse(reading, setting->name, "%.60s is not %s", text,
                          settings_range(setting, range));
        }
        at += len + 1;
    }
}

static bool set_flag(struct reading *reading, const struct setting *setting, const char *text)
{
    bool truth = strcmp(text, "true") == 0;
    if (!truth && strcmp(text, "false") != 0) {
        return refuse(reading, setting->name, "%.60s is neither true nor false", text);
    }
    memcpy(field_of(reading->settings, setting), &truth, sizeof truth);
    return true;
}

static bool set_text(struct reading *reading, const struct setting *setting, const char *text)
{
    char why[SETTINGS_WHY_BYTES / 2];
    struct settings *settings = reading->settings;
    if (strlen(text) >= SETTINGS_TEXT_BYTES) {
        return refuse(reading, setting->name, "the text is longer than %d bytes",
                      SETTINGS_TEXT_BYTES - 1);
    }
    if (!utf8_no_controls(slice_str(text))) {
        return refuse(reading, setting->name, "the text is not valid UTF-8 without controls");
    }
    if (reading->source == SOURCE_FILE) {
        size_t len = strlen(text);
        if (strstr(text, " #") != NULL) { /* else it would be part of the value, unseen */
            return refuse(reading, setting->name, "a comment stands on a line of its own");
        }
        if (len >= 2 && text[0] == '"' && text[len - 1] == '"') {
            return refuse(reading, setting->name,
                          "the quotes would be part of the text: leave "
                          "them out");
        }
    }
    if (setting->take != NULL && !setting->take(settings, text, why, sizeof why)) {
        return refuse(reading, setting->name, "%s", why);
    }
    if (reading->source == SOURCE_FILE) { /* libinih takes its buffer back */
        if (settings->owned_count == SETTINGS_OWNED_MAX) {
            return refuse(reading, setting->name, "the file sets more than %d texts",
                          SETTINGS_OWNED_MAX);
        }
        char *copy = strdup(text);
        if (copy == NULL) {
            return refuse(reading, setting->name, "out of memory");
        }
        settings->owned[settings->owned_count++] = copy;
        text = copy;
    }
    memcpy(field_of(settings, setting), &text, sizeof text);
    return true;
}

static uint64_t *given_word(struct settings *settings, const struct setting *setting, uint64_t *bit)
{
    size_t place = (size_t)(setting - settings_table);
    ASSERT(place < 64 * sizeof settings->given / sizeof settings->given[0]);
    *bit = (uint64_t)1 << (place % 64);
    return &settings->given[place / 64];
}

bool settings_given(const struct settings *settings, const char *name)
{
    const struct setting *setting = settings_find(name, strlen(name));
    ASSERT(setting != NULL);
    uint64_t bit;
    return (*given_word((struct settings *)settings, setting, &bit) & bit) != 0;
}

static bool set(struct reading *reading, const struct setting *setting, const char *text)
{
    if (reading->source != SOURCE_DEFAULT) {
        uint64_t bit;
        *given_word(reading->settings, setting, &bit) |= bit;
    }
    switch (setting->kind) {
    case SETTING_DURATION:
    case SETTING_INTEGER:
    case SETTING_BYTES:
        return set_number(reading, setting, text);
    case SETTING_CHOICE:
        return set_choice(reading, setting, text);
    case SETTING_TEXT:
        return set_text(reading, setting, text);
    case SETTING_FLAG:
        return set_flag(reading, setting, text);
    }
    ASSERT(!"a kind of the list");
    return false;
}

/* ---- names that are not there ---- */

/* Levenshtein's distance between two short words. */
static size_t distance(const char *a, const char *b)
{
    enum { WORD_MAX = 40 };
    size_t row[WORD_MAX + 1];
    size_t b_len = strlen(b);
    if (strlen(a) > WORD_MAX || b_len > WORD_MAX) {
        return SIZE_MAX;
    }
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
            size_t shorter = (row[j - 1] < row[j] ? row[j - 1] : row[j]) + 1;
            diagonal = row[j];
            row[j] = replaced < shorter ? replaced : shorter;
        }
    }
    return row[b_len];
}

/* Near enough to be a slip of the fingers. */
static bool is_near(const char *name, size_t d)
{
    return d <= 3 && d * 2 < strlen(name);
}

static const char *nearest_setting(const char *name)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < settings_count; i++) {
        size_t d = distance(name, settings_table[i].name);
        if (d < least) {
            least = d;
            nearest = settings_table[i].name;
        }
    }
    return is_near(name, least) ? nearest : NULL;
}

#define ENVIRONMENT_PREFIX "NOVABEAT_"

const char *settings_variable(const char *name, char out[SETTING_VARIABLE_BYTES])
{
    int len = snprintf(out, SETTING_VARIABLE_BYTES, ENVIRONMENT_PREFIX "%s", name);
    ASSERT(len > 0 && len < SETTING_VARIABLE_BYTES);
    for (char *at = out; *at != '\0'; at++) {
        if (*at == '-') {
            *at = '_';
        } else if (*at >= 'a' && *at <= 'z') {
            *at = (char)(*at - 'a' + 'A');
        }
    }
    return out;
}

/* A setting's name out of what follows the prefix, in place. */
static void to_setting_name(char *name)
{
    for (; *name != '\0'; name++) {
        if (*name == '_') {
            *name = '-';
        } else if (*name >= 'A' && *name <= 'Z') {
            *name = (char)(*name - 'A' + 'a');
        }
    }
}

/* written: the name as it stands in the source; name: as a setting's. */
static bool refuse_unknown(struct reading *reading, const char *written, const char *name)
{
    char variable[SETTING_VARIABLE_BYTES];
    const char *nearest = nearest_setting(name);
    if (nearest == NULL) {
        return refuse(reading, written, "there is no such setting");
    }
    if (reading->source == SOURCE_ENVIRONMENT) {
        nearest = settings_variable(nearest, variable);
    }
    return refuse(reading, written, "there is no such setting; did you mean %s%s?",
                  reading->source == SOURCE_FLAG ? "--" : "", nearest);
}

static bool belongs(const struct reading *reading, const struct setting *setting)
{
    return (setting->commands & COMMAND_BIT(reading->command)) != 0;
}

/* ---- the config file ---- */

struct config_text {
    struct reading *reading;
    struct slice rest;
};

/* libinih asks for the file line by line: the only way to know the line of a value.  Leading spaces
 * are dropped, else it would take an indented line as more of the value before. */
static char *config_next_line(char *out, int out_bytes, void *ctx)
{
    struct config_text *text = ctx;
    struct reading *reading = text->reading;
    if (text->rest.len == 0 || reading->failed) {
        return NULL;
    }
    reading->line++;
    const char *newline = memchr(text->rest.ptr, '\n', text->rest.len);
    size_t len = newline == NULL ? text->rest.len : (size_t)(newline - text->rest.ptr) + 1;
    struct slice line = slice_of(text->rest.ptr, len);
    text->rest = slice_of(text->rest.ptr + len, text->rest.len - len);
    while (line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t')) {
        line = slice_of(line.ptr + 1, line.len - 1);
    }
    if (line.len + 1 > (size_t)out_bytes) {
        refuse(reading, "config", "the line is longer than %d bytes", out_bytes - 2);
        return NULL;
    }
    memcpy(out, line.ptr, line.len);
    out[line.len] = '\0';
    return out;
}

static int config_value(void *ctx, const char *section, const char *name, const char *value)
{
    struct config_text *text = ctx;
    struct reading *reading = text->reading;
    (void)section;
    const struct setting *setting = settings_find(name, strlen(name));
    if (setting == NULL) {
        refuse_unknown(reading, name, name);
    } else if (strcmp(name, "config") == 0) {
        refuse(reading, name, "a config file cannot name another one");
    } else if (belongs(reading, setting)) {
        set(reading, setting, value);
    }
    return 1;
}

/* The whole file; the caller frees. */
static char *config_read(struct reading *reading, size_t *len)
{
    const char *path = reading->settings->config;
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        refuse(reading, "config", "%.200s cannot be opened: %s", path, strerror(errno));
        return NULL;
    }
    char *bytes = malloc(CONFIG_BYTES_MAX + 1);
    if (bytes == NULL) {
        refuse(reading, "config", "out of memory");
    } else {
        *len = fread(bytes, 1, CONFIG_BYTES_MAX + 1, file);
        if (ferror(file)) {
            refuse(reading, "config", "%.200s cannot be read: %s", path, strerror(errno));
        } else if (*len > CONFIG_BYTES_MAX) {
            refuse(reading, "config", "%.200s is larger than %zu bytes", path, CONFIG_BYTES_MAX);
        } else if (memchr(bytes, '\0', *len) != NULL || !utf8_valid(slice_of(bytes, *len))) {
            refuse(reading, "config", "%.200s is not a text in UTF-8", path);
        }
    }
    fclose(file);
    if (reading->failed) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

static void read_file(struct reading *reading)
{
    size_t len;
    char *bytes = config_read(reading, &len);
    if (bytes == NULL) {
        return;
    }
    struct config_text text = {reading, slice_of(bytes, len)};
    reading->source = SOURCE_FILE;
    reading->line = 0;
    int line = ini_parse_stream(config_next_line, &text, config_value, &text);
    if (line != 0 && !reading->failed) {
        reading->line = line > 0 ? (unsigned)line : 0;
        refuse(reading, "config", "the line is not \"name = value\"");
    }
    free(bytes);
}

/* ---- the environment ---- */

/* Variables of this name belong to Novabeat's build and tests; a server that they start inherits
 * them.  (NOVABEAT_SEED is a setting, of simulate.) */
static bool is_of_tests(struct slice name)
{
    static const struct slice names[] = {
        {"NOVABEAT_BUILD", 14},
        {"NOVABEAT_TESTS", 14},
        {"NOVABEAT_ROUNDS", 15},
        {"NOVABEAT_PRIVATE_MOUNTS", 23},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (slice_equal(name, names[i])) {
            return true;
        }
    }
    return false;
}

/* Kubernetes sets these for each service in the namespace, and a service is likely to bear our
 * name: NOVABEAT_SERVICE_HOST, NOVABEAT_PORT, NOVABEAT_PORT_8080_TCP_ADDR, … */
static bool is_of_kubernetes(struct slice name)
{
    return slice_has_prefix(name, SLICE_LIT(ENVIRONMENT_PREFIX "SERVICE_")) ||
           slice_has_prefix(name, SLICE_LIT(ENVIRONMENT_PREFIX "PORT_")) ||
           slice_equal(name, SLICE_LIT(ENVIRONMENT_PREFIX "PORT"));
}

static void read_variable(struct reading *reading, const char *variable)
{
    static const struct slice prefix = {ENVIRONMENT_PREFIX, sizeof ENVIRONMENT_PREFIX - 1};
    const char *equals = strchr(variable, '=');
    if (equals == NULL || !slice_has_prefix(slice_str(variable), prefix)) {
        return;
    }
    struct slice written = slice_of(variable, (size_t)(equals - variable));
    char name[128];
    char copy[128];
    size_t len = written.len < sizeof copy ? written.len : sizeof copy - 1;
    memcpy(copy, written.ptr, len);
    copy[len] = '\0';
    memcpy(name, copy + prefix.len, len - prefix.len + 1);
    to_setting_name(name);
    /* NOVABEAT_alive-window, too, would turn into a setting's name. */
    bool shell_name = strspn(copy, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == written.len;
    const struct setting *setting = shell_name ? settings_find(name, strlen(name)) : NULL;
    if (setting == NULL) {
        if (!is_of_tests(written) && !is_of_kubernetes(written)) {
            refuse_unknown(reading, copy, name);
        }
    } else if (belongs(reading, setting)) {
        set(reading, setting, equals + 1);
    }
}

/* ---- the flags ---- */

/* One flag at argv[*at], and its value if that is the next argument. */
static void read_flag(struct reading *reading, int argc, char **argv, int *at)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t len = equals == NULL ? strlen(name) : (size_t)(equals - name);
    const struct setting *setting = settings_find(name, len);
    char written[128];
    snprintf(written, sizeof written, "--%.*s", (int)(len < 100 ? len : 100), name);
    if (setting == NULL) {
        refuse_unknown(reading, written, written + 2);
        return;
    }
    if (!belongs(reading, setting)) {
        refuse(reading, written, "novabeat %s has no such setting", command_name(reading->command));
        return;
    }
    if (equals != NULL) {
        set(reading, setting, equals + 1);
    } else if (setting->kind == SETTING_FLAG) {
        set(reading, setting, "true");
    } else if (*at + 1 == argc || strncmp(argv[*at + 1], "--", 2) == 0) {
        refuse(reading, written, "a value is missing");
    } else {
        set(reading, setting, argv[++*at]);
    }
}

/* Moves the positional arguments to the front. */
static void read_flags(struct reading *reading, int *argc, char **argv)
{
    int kept = 0;
    bool flags = true;
    reading->source = SOURCE_FLAG;
    for (int at = 0; at < *argc && !reading->failed; at++) {
        const char *argument = argv[at];
        if (!flags || argument[0] != '-' || argument[1] == '\0') { /* "-" is a file: stdin */
            argv[kept++] = argv[at];
        } else if (strcmp(argument, "--") == 0) {
            flags = false;
        } else if (argument[1] != '-') {
            refuse(reading, argument, "flags are written --name");
        } else {
            read_flag(reading, *argc, argv, &at);
        }
    }
    *argc = kept;
}

/* The config file's name comes before the file, so it is looked for ahead of all else. */
static void find_config(struct reading *reading, int argc, char **argv,
                        const char *const *environment)
{
    static const char variable[] = ENVIRONMENT_PREFIX "CONFIG=";
    for (const char *const *at = environment; *at != NULL; at++) {
        if (strncmp(*at, variable, sizeof variable - 1) == 0) {
            reading->settings->config = *at + sizeof variable - 1;
        }
    }
    for (int at = 0; at < argc && strcmp(argv[at], "--") != 0; at++) {
        if (strncmp(argv[at], "--config=", 9) == 0) {
            reading->settings->config = argv[at] + 9;
        } else if (strcmp(argv[at], "--config") == 0 && at + 1 < argc) {
            reading->settings->config = argv[++at];
        }
    }
}

/* ---- all of it ---- */

void settings_init(struct settings *settings)
{
    char why[SETTINGS_WHY_BYTES];
    *settings = (struct settings){0};
    struct reading reading = {.settings = settings, .why = why, .source = SOURCE_DEFAULT};
    for (size_t i = 0; i < settings_count; i++) {
        ASSERT(set(&reading, &settings_table[i], settings_table[i].initial));
    }
}

void settings_fini(struct settings *settings)
{
    for (size_t i = 0; i < settings->owned_count; i++) {
        free(settings->owned[i]);
    }
    *settings = (struct settings){0};
}

static void check_relations(struct reading *reading)
{
    for (size_t i = 0; i < settings_relations_count; i++) {
        const struct setting_relation *relation = &settings_relations[i];
        const struct setting *lesser = settings_find(relation->lesser, strlen(relation->lesser));
        const struct setting *greater = settings_find(relation->greater, strlen(relation->greater));
        ASSERT(lesser != NULL && greater != NULL && lesser->kind == greater->kind);
        uint64_t low = settings_number(reading->settings, lesser);
        uint64_t high = settings_number(reading->settings, greater);
        if (low > high && belongs(reading, lesser) && belongs(reading, greater)) {
            char low_text[DURATION_TEXT_BYTES];
            char high_text[DURATION_TEXT_BYTES];
            bool duration = lesser->kind == SETTING_DURATION;
            refuse(reading, lesser->name, "%s is more than %s (%s): %s",
                   duration ? duration_format((int64_t)low, low_text) : bytes_format(low, low_text),
                   greater->name,
                   duration ? duration_format((int64_t)high, high_text)
                            : bytes_format(high, high_text),
                   relation->because);
        }
    }
    if (!reading->failed && !settings_take_serve(reading->settings, reading->command, reading->why,
                                                 SETTINGS_WHY_BYTES)) {
        reading->failed = true;
    }
}

enum settings_outcome settings_read(struct settings *settings, enum command command, int *argc,
                                    char **argv, const char *const *environment,
                                    char why[SETTINGS_WHY_BYTES])
{
    settings_init(settings);
    why[0] = '\0';
    struct reading reading = {
        .settings = settings, .command = command, .why = why, .source = SOURCE_DEFAULT};
    for (int at = 0; at < *argc && strcmp(argv[at], "--") != 0; at++) {
        /* Help comes even when some source is broken: it is how people find out. */
        if (strcmp(argv[at], "--help") == 0 || strcmp(argv[at], "-h") == 0) {
            return SETTINGS_HELP;
        }
    }
    find_config(&reading, *argc, argv, environment);
    if (settings->config[0] != '\0') {
        read_file(&reading);
    }
    reading.source = SOURCE_ENVIRONMENT;
    for (const char *const *at = environment; *at != NULL && !reading.failed; at++) {
        read_variable(&reading, *at);
    }
    if (!reading.failed) {
        read_flags(&reading, argc, argv);
    }
    reading.source = SOURCE_DEFAULT;
    if (!reading.failed) {
        check_relations(&reading);
    }
    return reading.failed ? SETTINGS_WRONG : SETTINGS_OK;
}

/* ---- commands ---- */

static const char *const command_names[] = {
#define COMMAND_NAME(id, name, arguments, summary) name,
    COMMAND_LIST(COMMAND_NAME)
#undef COMMAND_NAME
};

const char *command_name(enum command command)
{
    ASSERT(command < COMMANDS);
    return command_names[command];
}

bool command_find(const char *name, enum command *command)
{
    for (unsigned i = 0; i < COMMANDS; i++) {
        if (strcmp(name, command_names[i]) == 0) {
            *command = (enum command)i;
            return true;
        }
    }
    return false;
}

const char *command_nearest(const char *name)
{
    const char *nearest = NULL;
    size_t least = SIZE_MAX;
    for (unsigned i = 0; i < COMMANDS; i++) {
        size_t d = distance(name, command_names[i]);
        if (d < least) {
            least = d;
            nearest = command_names[i];
        }
    }
    return is_near(name, least) ? nearest : NULL;
}
