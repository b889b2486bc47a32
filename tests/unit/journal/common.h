/* common.h -- a folder to work in, and records whose content follows from their number. */
#ifndef NOVABEAT_TESTS_JOURNAL_COMMON_H
#define NOVABEAT_TESTS_JOURNAL_COMMON_H

#include "tap.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "journal/format.h"
#include "journal/journal.h"

#define PAYLOAD_BYTES_MAX 256
#define SEGMENT_SMALL     4096

/* ---- a folder under /tmp ---- */

struct place {
    char top[64];
    char folder[96]; /* does not exist at first */
};

static inline void place_init(struct place *place)
{
    strcpy(place->top, "/tmp/novabeat-journal-XXXXXX");
    assert_non_null(mkdtemp(place->top));
    snprintf(place->folder, sizeof place->folder, "%s/journal", place->top);
}

static inline void folder_empty(const char *folder)
{
    DIR *stream = opendir(folder);
    if (stream == NULL) {
        return;
    }
    for (struct dirent *found; (found = readdir(stream)) != NULL;) {
        if (found->d_name[0] != '.') {
            assert_int_equal(unlinkat(dirfd(stream), found->d_name, 0), 0);
        }
    }
    closedir(stream);
}

static inline void place_fini(struct place *place)
{
    folder_empty(place->folder);
    rmdir(place->folder);
    assert_int_equal(rmdir(place->top), 0);
}

static inline void path_of(const struct place *place, uint64_t first_seq, char path[160])
{
    char name[SEGMENT_NAME_BYTES];
    segment_name(first_seq, name);
    snprintf(path, 160, "%s/%s", place->folder, name);
}

/* The whole file; *len gets its size.  To be freed. */
static inline char *file_read(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    struct stat status;
    assert_int_equal(fstat(fileno(file), &status), 0);
    *len = (size_t)status.st_size;
    char *bytes = malloc(*len + 1);
    assert_int_equal(fread(bytes, 1, *len, file), *len);
    fclose(file);
    return bytes;
}

/* Makes the file these bytes.  Not by truncating it to nothing first: some file systems sync then,
 * and there are thousands of cases. */
static inline void file_write(const char *path, const char *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, 0), len);
    assert_int_equal(ftruncate(fd, (off_t)len), 0);
    close(fd);
}

static inline size_t segments_in(const char *folder)
{
    size_t count = 0;
    uint64_t seq;
    DIR *stream = opendir(folder);
    assert_non_null(stream);
    for (struct dirent *found; (found = readdir(stream)) != NULL;) {
        count += segment_name_parse(found->d_name, &seq);
    }
    closedir(stream);
    return count;
}

/* ---- records that follow from their number ---- */

static inline size_t payload_of(uint64_t seq, char out[PAYLOAD_BYTES_MAX])
{
    uint64_t state = seq;
    size_t len = 1 + tap_random(&state) % PAYLOAD_BYTES_MAX;
    for (size_t i = 0; i < len; i++) {
        out[i] = (char)tap_random(&state);
    }
    return len;
}

static inline int64_t time_of(uint64_t seq)
{
    return 1637661623070 + (int64_t)seq * 7;
}

static inline enum err append_next(struct journal *journal, uint64_t *seq)
{
    char payload[PAYLOAD_BYTES_MAX];
    uint64_t next = journal_appended_seq(journal) + 1;
    size_t len = payload_of(next, payload);
    enum err err = journal_append(journal, time_of(next), slice_of(payload, len), seq);
    if (err == ERR_NONE) {
        assert_int_equal(*seq, next);
    }
    return err;
}

static inline void append_many(struct journal *journal, int count)
{
    for (int i = 0; i < count; i++) {
        uint64_t seq;
        assert_int_equal(append_next(journal, &seq), ERR_NONE);
    }
}

/* Asserts that records come in order from `next` on, each as it was written. */
struct expected {
    uint64_t next;
    uint64_t count;
};

static inline enum err expect_record(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    struct expected *expected = ctx;
    char bytes[PAYLOAD_BYTES_MAX];
    size_t len = payload_of(seq, bytes);
    assert_int_equal(seq, expected->next);
    assert_int_equal(time_ms, time_of(seq));
    assert_true(slice_equal(payload, slice_of(bytes, len)));
    expected->next++;
    expected->count++;
    return ERR_NONE;
}

/* Scans from `from` and asserts that the records from .. last are there, and no others. */
static inline void expect_records(const char *folder, uint64_t from, uint64_t last)
{
    struct journal_report report;
    struct expected expected = {.next = from};
    assert_int_equal(journal_scan(folder, from, expect_record, &expected, &report), ERR_NONE);
    assert_int_equal(expected.next, last + 1);
    assert_int_equal(report.last_seq, last);
    assert_string_equal(report.text, "");
}

static inline struct journal *open_small(const struct place *place, uint64_t floor_seq,
                                         struct journal_report *report)
{
    struct journal_options options = {.folder = place->folder, .segment_bytes = SEGMENT_SMALL};
    struct journal *journal;
    enum err err = journal_open(&options, floor_seq, report, &journal);
    if (err != ERR_NONE) {
        print_error("# open: %s: %s\n", err_name(err), report->text);
    }
    assert_int_equal(err, ERR_NONE);
    assert_int_equal(journal_durable_seq(journal), journal_appended_seq(journal));
    return journal;
}

#endif
