/* sqlite_wipe.c -- what is deleted is to be gone from the bytes of the file, too.
 *
 * PRAGMA secure_delete overwrites a row where it was deleted.  That is not all: when a page is
 * split, rows are copied to another page, and what stood between the row pointers and the rows of
 * the old one may stay there as it was (measured: 17 of 10,000 deleted ids were still to be found
 * in a table that had been filled in random order, with secure_delete always on).  So every page of
 * a B-tree that goes into the file is cleaned on its way: the gap between its row pointers and its
 * rows, and its free blocks, become zero.  Nobody reads these bytes.
 *
 * This is done where all pages come by: a VFS whose files are those of the usual one but for the
 * writing of pages into the database file.  (Not in the WAL, whose frames have checksums: it is
 * emptied after an erasure.)
 * Source: https://www.sqlite.org/fileformat2.html#b_tree_pages, sections 1.6 and 1.5. */
#include "records/sqlite.h"

#include "base/assert.h"
#include "base/log.h"

#include <pthread.h>
#include <stdio.h>

#define PAGE_BYTES_MIN 512
#define PAGE_BYTES_MAX 65536

/* ---- pages ---- */

static uint32_t be16(const unsigned char *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* Cleans the page if it is one of a B-tree.  Other pages begin with the number of a page, which is
 * below 2^25 in files up to PAGES_CLEANED_MAX: so their first byte is 0 or 1. */
#define PAGES_CLEANED_MAX (1 << 25)
static void clean_page(unsigned char *page, uint32_t bytes, bool first)
{
    const uint32_t header = first ? 100 : 0;
    const unsigned char kind = page[header];
    if (kind != 2 && kind != 5 && kind != 10 && kind != 13) {
        return;
    }
    const uint32_t pointers = header + (kind < 10 ? 12 : 8);
    const uint32_t pointers_end = pointers + 2 * be16(page + header + 3);
    uint32_t rows = be16(page + header + 5);
    rows = rows == 0 ? PAGE_BYTES_MAX : rows;
    if (rows > bytes || pointers_end > rows) {
        return; /* not such a page, or a damaged one */
    }
    memset(page + pointers_end, 0, rows - pointers_end);
    for (uint32_t at = be16(page + header + 1), next; at != 0; at = next) {
        if (at < rows || at + 4 > bytes) {
            return;
        }
        const uint32_t size = be16(page + at + 2);
        next = be16(page + at);
        if (size < 4 || at + size > bytes || (next != 0 && next < at + size)) {
            return;
        }
        memset(page + at + 4, 0, size - 4);
    }
}

/* ---- the VFS ---- */

static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *below;
    const sqlite3_io_methods *file_methods; /* of the files below, all the same */
    sqlite3_io_methods methods;             /* and with our write */
    pthread_mutex_t lock;
} wiping = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int write_clean(sqlite3_file *file, const void *in, int bytes, sqlite3_int64 offset)
{
    unsigned char page[PAGE_BYTES_MAX];
    sqlite3_int64 file_bytes = 0;
    bool whole = bytes >= PAGE_BYTES_MIN && bytes <= PAGE_BYTES_MAX && (bytes & (bytes - 1)) == 0 &&
                 offset % bytes == 0;
    if (whole && wiping.file_methods->xFileSize(file, &file_bytes) == SQLITE_OK &&
        file_bytes / bytes < PAGES_CLEANED_MAX && offset / bytes < PAGES_CLEANED_MAX) {
        memcpy(page, in, (size_t)bytes);
        clean_page(page, (uint32_t)bytes, offset == 0);
        in = page;
    }
    return wiping.file_methods->xWrite(file, in, bytes, offset);
}

/* The file is the usual one, only its table of methods is another. */
static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    int code = wiping.below->xOpen(wiping.below, name, file, flags, out);
    if (code != SQLITE_OK || (flags & SQLITE_OPEN_MAIN_DB) == 0) {
        return code;
    }
    pthread_mutex_lock(&wiping.lock);
    if (wiping.file_methods == NULL) {
        wiping.file_methods = file->pMethods;
        wiping.methods = *file->pMethods;
        wiping.methods.xWrite = write_clean;
    }
    if (file->pMethods == wiping.file_methods) {
        file->pMethods = &wiping.methods;
    }
    pthread_mutex_unlock(&wiping.lock);
    return SQLITE_OK;
}

static void register_vfs(void)
{
    wiping.below = sqlite3_vfs_find(NULL);
    ASSERT(wiping.below != NULL);
    wiping.vfs = *wiping.below;
    wiping.vfs.zName = "novabeat";
    wiping.vfs.pNext = NULL;
    wiping.vfs.xOpen = open_file;
    int code = sqlite3_vfs_register(&wiping.vfs, 0);
    ASSERT(code == SQLITE_OK);
}

const char *sqlite_wipe_vfs(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_vfs);
    return wiping.vfs.zName;
}

/* ---- the WAL ---- */

void sqlite_wipe(struct sqlite_link *link)
{
    sqlite3_busy_timeout(link->db, 0); /* readers are not waited for: a commit may be next */
    int code = sqlite3_wal_checkpoint_v2(link->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(link->db, SQLITE_BUSY_MS);
    link->wipe_due = code != SQLITE_OK;
}

void sqlite_rewrite_if_due(struct sqlite_link *link)
{
    sqlite3_stmt *stmt;
    bool due = false;
    if (sqlite3_prepare_v2(link->db, "SELECT 1 FROM meta WHERE name = 'rewrite_due'", -1, &stmt,
                           NULL) == SQLITE_OK) {
        due = sqlite3_step(stmt) == SQLITE_ROW;
        sqlite3_finalize(stmt);
    }
    if (!due) {
        return;
    }
    log_line(LOG_INFO, "records", "the file of an older version is written anew, once");
    if (sqlite3_exec(link->db, "VACUUM; DELETE FROM meta WHERE name = 'rewrite_due'", NULL, NULL,
                     NULL) == SQLITE_OK) {
        sqlite_wipe(link);
    } else {
        /* It is the same store all the same; the next start tries again. */
        log_line(LOG_WARN, "records", "the file of an older version could not be written anew: %s",
                 sqlite3_errmsg(link->db));
    }
}
