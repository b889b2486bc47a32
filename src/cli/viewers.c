/* viewers.c -- see viewers.h.  Import reads the file twice: to check it, then to store it. */
#include "cli/viewers.h"

#include "base/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>

/* Text of one batch: it is stored early when it grows beyond this. */
#define BATCH_TEXT_BYTES (64 * 1024 * 1024)
/* Profiles read from the store at once; between, the store may move its WAL on. */
#define EXPORT_BATCH 10000
#define EXPORT_BYTES (EXPORT_BATCH * (size_t)(8 * 1024))

enum viewers_format viewers_format_of(const char *path)
{
    const char *dot = strrchr(path, '.');
    bool ndjson =
        dot != NULL && (strcasecmp(dot, ".ndjson") == 0 || strcasecmp(dot, ".jsonl") == 0);
    return ndjson ? VIEWERS_NDJSON : VIEWERS_CSV;
}

static enum err fail(struct viewers_result *result, enum err err, const char *text)
{
    result->first.line = 0;
    snprintf(result->first.text, sizeof result->first.text, "%s", text);
    return err;
}

/* ---- import ---- */

/* Profiles that wait to be stored.  Their text lies one behind the other; slices are made of it
 * when the batch is full, because it moves as it grows. */
struct batch {
    struct profile *profiles; /* ptr NULL until then; only the lengths hold */
    size_t count;
    struct buffer text;
};

static void batch_add(struct batch *batch, const struct profile *profile)
{
    const struct slice parts[] = {profile->event, profile->viewer, profile->name, profile->groups};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        buffer_put(&batch->text, parts[i]);
    }
    batch->profiles[batch->count++] = *profile;
}

static bool batch_full(const struct batch *batch)
{
    return batch->count == VIEWERS_BATCH || buffer_slice(&batch->text).len >= BATCH_TEXT_BYTES;
}

static enum err batch_store(struct batch *batch, struct records_link *link,
                            struct viewers_result *result)
{
    const char *at = buffer_slice(&batch->text).ptr;
    for (size_t i = 0; i < batch->count; i++) {
        struct profile *profile = &batch->profiles[i];
        struct slice *const parts[] = {&profile->event, &profile->viewer, &profile->name,
                                       &profile->groups};
        for (size_t j = 0; j < sizeof parts / sizeof parts[0]; j++) {
            parts[j]->ptr = at;
            at += parts[j]->len;
        }
    }
    if (batch->count == 0) {
        return ERR_NONE;
    }
    if (buffer_outcome(&batch->text) == BUFFER_FULL) {
        return fail(result, ERR_MEMORY, err_text(ERR_MEMORY));
    }
    enum err err = records_profiles_put(link, batch->profiles, batch->count);
    if (err != ERR_NONE) {
        return fail(result, err, records_why(link));
    }
    result->profiles += batch->count;
    batch->count = 0;
    buffer_reset(&batch->text);
    return ERR_NONE;
}

/* Goes through the file; batch NULL: only looks. */
static enum err read_all(struct records_link *link, struct viewers_reader *reader,
                         struct batch *batch, struct viewers_result *result)
{
    for (;;) {
        enum err err = ERR_NONE;
        switch (viewers_reader_next(reader)) {
        case VIEWERS_LINE_PROFILE:
            if (batch != NULL) {
                batch_add(batch, &reader->profile);
                err = batch_full(batch) ? batch_store(batch, link, result) : ERR_NONE;
            }
            break;
        case VIEWERS_LINE_BAD:
            if (batch == NULL) {
                if (result->bad++ == 0) {
                    result->first = reader->fault;
                }
                if (reader->options->bad != NULL) {
                    reader->options->bad(reader->options->ctx, &reader->fault);
                }
            }
            break;
        case VIEWERS_LINE_HEADER:
            result->first = reader->fault;
            return ERR_INVALID;
        case VIEWERS_LINE_END:
            return batch != NULL ? batch_store(batch, link, result) : ERR_NONE;
        case VIEWERS_LINE_FAILED:
            return fail(result, ERR_IO, "the file cannot be read");
        }
        if (err != ERR_NONE) {
            return err;
        }
    }
}

static enum err pass(struct records_link *link, FILE *in, const struct viewers_options *options,
                     struct batch *batch, struct viewers_result *result)
{
    struct viewers_reader *reader = memory_alloc(sizeof *reader);
    viewers_reader_init(reader, in, options);
    enum err err = read_all(link, reader, batch, result);
    viewers_reader_fini(reader);
    free(reader);
    return err;
}

/* A copy that can be read twice; NULL: errno. */
static FILE *spool(FILE *in)
{
    char bytes[64 * 1024];
    size_t len;
    FILE *copy = tmpfile();
    while (copy != NULL && (len = fread(bytes, 1, sizeof bytes, in)) > 0) {
        if (fwrite(bytes, 1, len, copy) != len) {
            break;
        }
    }
    if (copy != NULL && (ferror(in) || ferror(copy) || fflush(copy) != 0)) {
        fclose(copy);
        copy = NULL;
    }
    if (copy != NULL) {
        rewind(copy);
    }
    return copy;
}

static enum err check_then_store(struct records_link *link, FILE *in,
                                 const struct viewers_options *options,
                                 struct viewers_result *result)
{
    off_t start = ftello(in);
    enum err err = pass(link, in, options, NULL, result);
    if (err == ERR_NONE && result->bad > 0 && !options->skip_bad) {
        err = ERR_INVALID;
    }
    if (err != ERR_NONE) {
        return err;
    }
    if (fseeko(in, start, SEEK_SET) != 0) {
        return fail(result, ERR_IO, "the file cannot be read again");
    }
    struct batch batch = {.profiles = memory_alloc(VIEWERS_BATCH * sizeof *batch.profiles)};
    buffer_init(&batch.text, 2 * (size_t)BATCH_TEXT_BYTES);
    err = pass(link, in, options, &batch, result);
    buffer_fini(&batch.text);
    free(batch.profiles);
    return err;
}

enum err viewers_import(struct records_link *link, FILE *in, const struct viewers_options *options,
                        struct viewers_result *result)
{
    *result = (struct viewers_result){0};
    if (fseeko(in, 0, SEEK_CUR) == 0) {
        return check_then_store(link, in, options, result);
    }
    FILE *copy = spool(in);
    if (copy == NULL) {
        return fail(result, errno == ENOSPC ? ERR_NOSPACE : ERR_IO,
                    "the file cannot be copied to a temporary one");
    }
    enum err err = check_then_store(link, copy, options, result);
    fclose(copy);
    return err;
}

/* ---- export ---- */

struct exporting {
    const struct viewers_options *options;
    struct viewers_result *result;
    struct buffer out;
    uint64_t count; /* in this batch */
    size_t event_len, viewer_len;
    char event[EVENT_ID_BYTES_MAX], viewer[VIEWER_ID_BYTES_MAX]; /* of the last one */
};

static enum err put_profile(void *ctx, const struct profile *profile)
{
    struct exporting *exporting = ctx;
    viewers_put_profile(&exporting->out, exporting->options->format, profile);
    exporting->count++;
    exporting->event_len = profile->event.len;
    exporting->viewer_len = profile->viewer.len;
    memcpy(exporting->event, profile->event.ptr, profile->event.len);
    memcpy(exporting->viewer, profile->viewer.ptr, profile->viewer.len);
    return buffer_outcome(&exporting->out) == BUFFER_OK ? ERR_NONE : ERR_MEMORY;
}

static enum err export_all(struct records_link *link, FILE *out, struct exporting *exporting)
{
    const struct viewers_options *options = exporting->options;
    viewers_put_header(&exporting->out, options->format);
    do {
        exporting->count = 0;
        enum err err = records_profiles_each(link, options->event,
                                             slice_of(exporting->event, exporting->event_len),
                                             slice_of(exporting->viewer, exporting->viewer_len),
                                             EXPORT_BATCH, put_profile, exporting);
        if (err != ERR_NONE) {
            return fail(exporting->result, err,
                        err == ERR_MEMORY ? err_text(err) : records_why(link));
        }
        struct slice text = buffer_slice(&exporting->out);
        if (text.len > 0 && fwrite(text.ptr, 1, text.len, out) != text.len) {
            break; /* told below */
        }
        exporting->result->profiles += exporting->count;
        buffer_reset(&exporting->out);
    } while (exporting->count == EXPORT_BATCH);
    if (fflush(out) != 0 || ferror(out)) {
        return fail(exporting->result, errno == ENOSPC ? ERR_NOSPACE : ERR_IO,
                    "the file cannot be written");
    }
    return ERR_NONE;
}

enum err viewers_export(struct records_link *link, FILE *out, const struct viewers_options *options,
                        struct viewers_result *result)
{
    *result = (struct viewers_result){0};
    struct exporting exporting = {.options = options, .result = result};
    buffer_init(&exporting.out, EXPORT_BYTES);
    enum err err = export_all(link, out, &exporting);
    buffer_fini(&exporting.out);
    return err;
}
