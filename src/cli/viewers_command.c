/* viewers_command.c -- novabeat viewers import|export FILE.
 *
 * Importing writes to the record store and so holds the data folder's lock: not while a server
 * runs.  Exporting only reads and may run beside one. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/viewers.h"
#include "core/ids.h"
#include "live/store.h"

#define FAULTS_SHOWN_MAX 20

struct job {
    const struct settings *settings;
    const char *path; /* "-": stdin or stdout */
    uint64_t faults;
    char why[512];
};

__attribute__((format(printf, 2, 3))) static int complain(int code, const char *format, ...)
{
    va_list arguments;
    fprintf(stderr, "novabeat viewers: ");
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return code;
}

static void show_fault(void *ctx, const struct viewers_fault *fault)
{
    struct job *job = ctx;
    if (++job->faults <= FAULTS_SHOWN_MAX) {
        complain(0, "%s, line %" PRIu64 ": %s", job->path, fault->line, fault->text);
    } else if (job->faults == FAULTS_SHOWN_MAX + 1) {
        complain(0, "%s: more bad lines are not shown", job->path);
    }
}

static struct viewers_options options_of(struct job *job)
{
    enum viewers_format format = viewers_format_of(job->path);
    switch (job->settings->format) {
    case SETTING_FORMAT_AUTO:
        break;
    case SETTING_FORMAT_CSV:
        format = VIEWERS_CSV;
        break;
    case SETTING_FORMAT_NDJSON:
        format = VIEWERS_NDJSON;
        break;
    }
    return (struct viewers_options){.format = format,
                                    .event = slice_str(job->settings->event),
                                    .skip_bad = job->settings->skip_bad,
                                    .bad = show_fault,
                                    .ctx = job};
}

static enum err open_records(struct job *job, bool create, struct records_link **link)
{
    char journal[STORE_PATH_BYTES];
    char where[STORE_PATH_BYTES];
    store_paths(job->settings->data, job->settings->records, journal, where);
    return records_open(where, create, link, job->why, sizeof job->why);
}

/* Says how it ended. */
static int report(const struct job *job, enum err err, const struct viewers_result *result,
                  const char *verb)
{
    if (err != ERR_NONE) {
        const char *why = result->first.text[0] != '\0' ? result->first.text : err_text(err);
        if (result->first.line == 0 || job->faults == 0) {
            complain(0, "%s: %s", job->path, why);
        }
        if (result->bad > 0) {
            complain(0, "%" PRIu64 " lines are bad", result->bad);
        }
        return complain(EXIT_FAILED, "%" PRIu64 " profiles were %s", result->profiles, verb);
    }
    fprintf(stderr, "%" PRIu64 " %s %s, data folder %s", result->profiles,
            result->profiles == 1 ? "profile" : "profiles", verb, job->settings->data);
    if (result->bad > 0) {
        fprintf(stderr, ", %" PRIu64 " bad lines left out", result->bad);
    }
    fputc('\n', stderr);
    return EXIT_WELL;
}

static int import(struct job *job)
{
    struct records_link *link = NULL;
    struct viewers_result result = {0};
    struct viewers_options options = options_of(job);
    int lock_fd = -1;
    int code = EXIT_FAILED;
    bool standard = strcmp(job->path, "-") == 0;
    FILE *in = standard ? stdin : fopen(job->path, "rb");
    if (in == NULL) {
        return complain(EXIT_FAILED, "%s: %s", job->path, strerror(errno));
    }
    if (mkdir(job->settings->data, 0750) != 0 && errno != EEXIST) {
        complain(0, "data: %s: %s", job->settings->data, strerror(errno));
    } else if (store_lock(job->settings->data, &lock_fd, job->why, sizeof job->why) != ERR_NONE) {
        complain(0, "%s", job->why);
        complain(0, "importing needs the folder for itself: stop the server, or PUT the profiles");
    } else if (open_records(job, true, &link) != ERR_NONE) {
        complain(0, "%s", job->why);
    } else {
        enum err err = viewers_import(link, in, &options, &result);
        code = report(job, err, &result, "imported");
    }
    records_close(link);
    if (lock_fd >= 0) {
        close(lock_fd);
    }
    if (!standard) {
        fclose(in);
    }
    return code;
}

static int export(struct job *job)
{
    struct records_link *link = NULL;
    struct viewers_result result = {0};
    struct viewers_options options = options_of(job);
    bool standard = strcmp(job->path, "-") == 0;
    /* Before the file, which opening empties. */
    if (open_records(job, false, &link) != ERR_NONE) {
        return complain(EXIT_FAILED, "%s: %s", job->settings->data, job->why);
    }
    FILE *out = standard ? stdout : fopen(job->path, "wb");
    int code = EXIT_FAILED;
    if (out == NULL) {
        complain(0, "%s: %s", job->path, strerror(errno));
    } else {
        enum err err = viewers_export(link, out, &options, &result);
        code = report(job, err, &result, "exported");
        if (!standard && fclose(out) != 0) {
            code = complain(EXIT_FAILED, "%s: %s", job->path, strerror(errno));
        }
    }
    records_close(link);
    return code;
}

int command_viewers(const struct settings *settings, int argc, char **argv)
{
    if (argc != 2) {
        return complain(EXIT_USAGE,
                        "say import FILE or export FILE (- for standard input, output)");
    }
    if (settings->event[0] != '\0' && !id_event_valid(slice_str(settings->event))) {
        return complain(EXIT_USAGE, "event: 1 to 64 characters of A-Z a-z 0-9 . _ ~ -");
    }
    struct job job = {.settings = settings, .path = argv[1]};
    if (strcmp(argv[0], "import") == 0) {
        return import(&job);
    }
    if (strcmp(argv[0], "export") == 0) {
        return export(&job);
    }
    return complain(EXIT_USAGE, "%.40s is neither import nor export", argv[0]);
}
