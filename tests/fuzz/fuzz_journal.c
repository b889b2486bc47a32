/* fuzz_journal.c -- any bytes as a journal: a segment file, a valid record's payload, entries.
 *
 * The first byte chooses how the rest is used:
 *   bit 0: 0: the rest are entries; 1: the rest is a segment's file, looked at by scan and repair
 *   bit 1: the segment's CRCs are made right first, so that the rules behind them are reached
 * Found: an entry that does not encode to what it was; a record given that is not in the file; what
 * repair leaves and does not scan as whole; and whatever the sanitizers find. */
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "journal/bytes.h"
#include "journal/entry.h"
#include "journal/format.h"
#include "journal/internal.h"

#define INPUT_BYTES_MAX (1u << 18)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- a folder with one segment, and a second file that takes what repair keeps ---- */

struct tiny_disk {
    char *bytes;
    size_t len;
    bool renamed;
    char name[SEGMENT_NAME_BYTES];
};

static int folder_open(void *ctx, const char *path, bool create)
{
    (void)ctx, (void)path, (void)create;
    return 0;
}

static int folder_list(void *ctx, int folder, file_name_fn *name, void *arg)
{
    struct tiny_disk *disk = ctx;
    (void)folder;
    if (!disk->renamed) {
        name(arg, disk->name);
    }
    return 0;
}

static int folder_sync(void *ctx, int folder)
{
    (void)ctx, (void)folder;
    return 0;
}

static int rename_in(void *ctx, int folder, const char *from, const char *to)
{
    struct tiny_disk *disk = ctx;
    (void)folder, (void)from, (void)to;
    disk->renamed = true;
    return 0;
}

static int unlink_in(void *ctx, int folder, const char *name)
{
    (void)ctx, (void)folder, (void)name;
    return 0;
}

static int open_in(void *ctx, int folder, const char *name, enum file_mode mode)
{
    (void)ctx, (void)folder, (void)name;
    return mode == FILE_CREATE ? 2 : 1;
}

static void close_fd(void *ctx, int fd)
{
    (void)ctx, (void)fd;
}

static int64_t size_of(void *ctx, int fd)
{
    struct tiny_disk *disk = ctx;
    (void)fd;
    return (int64_t)disk->len;
}

static int64_t write_parts(void *ctx, int fd, const struct iovec *parts, int count)
{
    (void)ctx;
    ASSERT(fd == 2 && count == 1);
    return (int64_t)parts[0].iov_len;
}

static int64_t write_at(void *ctx, int fd, const void *bytes, uint64_t len, uint64_t offset)
{
    (void)ctx, (void)fd, (void)bytes, (void)len, (void)offset;
    return -EIO;
}

static int64_t read_at(void *ctx, int fd, void *bytes, uint64_t len, uint64_t offset)
{
    struct tiny_disk *disk = ctx;
    ASSERT(fd == 1 && offset + len <= disk->len);
    memcpy(bytes, disk->bytes + offset, len);
    return (int64_t)len;
}

static int truncate_to(void *ctx, int fd, uint64_t len)
{
    struct tiny_disk *disk = ctx;
    ASSERT(fd == 1 && len <= disk->len);
    disk->len = len;
    return 0;
}

static int sync_data(void *ctx, int fd)
{
    (void)ctx, (void)fd;
    return 0;
}

/* ---- the checks ---- */

static void entries_check(struct slice rest)
{
    static char again[JOURNAL_ENTRY_BYTES_MAX];
    struct entry entry;
    const char *from = rest.ptr;
    while (entry_next(&rest, &entry) == ERR_NONE) {
        size_t taken = (size_t)(rest.ptr - from);
        ASSERT(entry_bytes(&entry) == taken && taken <= sizeof again);
        ASSERT(entry_encode(&entry, again) == taken);
        ASSERT(memcmp(again, from, taken) == 0);
        from = rest.ptr;
    }
}

struct position {
    const struct tiny_disk *disk;
    size_t offset;
    uint64_t seq;
};

/* A record given is the one that stands where the last one ended. */
static enum err record_check(void *ctx, uint64_t seq, int64_t time_ms, struct slice payload)
{
    struct position *position = ctx;
    const char *at = position->disk->bytes + position->offset;
    ASSERT(seq == position->seq && get_u64(at + 8) == seq);
    ASSERT((int64_t)get_u64(at + 16) == time_ms && get_u32(at) == payload.len);
    ASSERT(memcmp(at + RECORD_HEADER_BYTES, payload.ptr, payload.len) == 0);
    position->offset += RECORD_HEADER_BYTES + payload.len;
    position->seq++;
    entries_check(payload);
    return ERR_NONE;
}

static void crcs_make_right(struct tiny_disk *disk)
{
    if (disk->len < SEGMENT_HEADER_BYTES) {
        return;
    }
    segment_header_encode(1, 0, disk->bytes);
    for (size_t at = SEGMENT_HEADER_BYTES; at + RECORD_HEADER_BYTES < disk->len;) {
        struct record_header header;
        if (!record_header_decode(disk->bytes + at, &header) ||
            header.payload_bytes > disk->len - at - RECORD_HEADER_BYTES) {
            at++;
            continue;
        }
        record_header_encode(&header, disk->bytes + at + RECORD_HEADER_BYTES, disk->bytes + at);
        at += RECORD_HEADER_BYTES + header.payload_bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > INPUT_BYTES_MAX) {
        return 0;
    }
    /* A copy of the exact size, so that the sanitizer sees a read behind it. */
    struct tiny_disk disk = {.len = size - 1, .bytes = malloc(size)};
    memcpy(disk.bytes, data + 1, size - 1);
    segment_name(1, disk.name);
    if ((data[0] & 1) == 0) {
        entries_check(slice_of(disk.bytes, disk.len));
        free(disk.bytes);
        return 0;
    }
    if ((data[0] & 2) != 0) {
        crcs_make_right(&disk);
    }
    const struct file_ops ops = {&disk,     folder_open, folder_list, folder_sync, rename_in,
                                 unlink_in, open_in,     close_fd,    size_of,     write_parts,
                                 write_at,  read_at,     truncate_to, sync_data};
    struct journal_report report;
    struct position position = {.disk = &disk, .offset = SEGMENT_HEADER_BYTES, .seq = 1};
    enum err err = journal_scan_on(&ops, "x", 0, record_check, &position, &report);
    ASSERT(err == ERR_NONE || err == ERR_DAMAGED || err == ERR_VERSION);
    ASSERT(report.records == position.seq - 1);
    uint64_t records = report.records;

    err = journal_repair_on(&ops, "x", &report);
    ASSERT(err == ERR_NONE || err == ERR_VERSION);
    if (err == ERR_NONE) {
        ASSERT(journal_scan_on(&ops, "x", 0, NULL, NULL, &report) == ERR_NONE);
        ASSERT(report.records == records && report.text[0] == '\0');
    }
    free(disk.bytes);
    return 0;
}
