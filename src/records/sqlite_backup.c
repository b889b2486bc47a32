/* sqlite_backup.c -- a copy of the store as of one moment, while others read and write.
 *
 * VACUUM INTO reads in one transaction and writes a compact file.  It does not sync that file: we
 * do.  Source: https://www.sqlite.org/lang_vacuum.html#vacuum_with_an_into_clause */
#include "records/sqlite.h"

#include "base/assert.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static enum err io_failed(struct sqlite_link *link, enum err err, const char *doing,
                          const char *path)
{
    err = errno == ENOSPC || errno == EDQUOT ? ERR_NOSPACE : err;
    return records_fail(&link->link, err, "%s %s: %s", doing, path, strerror(errno));
}

static enum err sync_file(struct sqlite_link *link, const char *path)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        return io_failed(link, ERR_IO, "opening", path);
    }
    enum err err = fsync(fd) == 0 ? ERR_NONE : io_failed(link, ERR_SYNC, "syncing", path);
    close(fd);
    return err;
}

static enum err copy_into(struct sqlite_link *link, const char *path)
{
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(link->db, "VACUUM INTO ?1", -1, &stmt, NULL) != SQLITE_OK) {
        return sqlite_fail(link, "making a backup");
    }
    sqlite_bind_slice(stmt, 1, slice_str(path));
    enum err err = sqlite_run(link, stmt);
    sqlite3_finalize(stmt);
    return err;
}

enum err sqlite_backup(struct records_link *base, const char *path)
{
    struct sqlite_link *link = sqlite_link_of(base);
    ASSERT(link->read_depth == 0); /* not from a callback */
    /* Made here and empty, because SQLite would take an empty file of whatever kind, and because
     * only its owner is to read it. */
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return io_failed(link, errno == EEXIST ? ERR_INVALID : ERR_IO, "creating", path);
    }
    close(fd);
    enum err err = copy_into(link, path);
    if (err == ERR_NONE) {
        err = sync_file(link, path);
    }
    if (err == ERR_NONE) {
        err = sqlite_sync_folder(link, path);
    }
    if (err != ERR_NONE) {
        unlink(path);
    }
    return err;
}
