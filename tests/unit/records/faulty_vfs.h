/* faulty_vfs.h -- SQLite on a file system whose n-th write or sync fails.
 *
 * faulty_install() puts it before the real one; faulty_arm(n, code) lets the n-th call from now on
 * (and, with `lasting`, all after it) fail with the code. */
#ifndef NOVABEAT_TESTS_FAULTY_VFS_H
#define NOVABEAT_TESTS_FAULTY_VFS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>

static struct {
    int left; /* calls until the fault; 0: none is armed */
    int code;
    bool syncs;   /* the fault hits syncs; else writes and truncations */
    bool lasting; /* it stays */
    bool hit;
} faulty;

struct faulty_file {
    sqlite3_file base; /* first */
    sqlite3_file *real;
};

static sqlite3_vfs *faulty_below(void)
{
    static sqlite3_vfs *below;
    if (below == NULL) {
        below = sqlite3_vfs_find(NULL);
    }
    return below;
}

static void faulty_arm(int n, int code, bool syncs, bool lasting)
{
    faulty.left = n;
    faulty.code = code;
    faulty.syncs = syncs;
    faulty.lasting = lasting;
    faulty.hit = false;
}

static bool faulty_fails(bool sync)
{
    if (faulty.left == 0 || faulty.syncs != sync) {
        return false;
    }
    if (faulty.left > 1) {
        faulty.left--;
        return false;
    }
    faulty.hit = true;
    faulty.left = faulty.lasting ? 1 : 0;
    return true;
}

#define FAULTY_REAL(file) (((struct faulty_file *)(file))->real)
/* Passes a method on. */
#define FAULTY_PASS(name, parameters, arguments)                                                   \
    static int faulty_##name parameters                                                            \
    {                                                                                              \
        return FAULTY_REAL(file)->pMethods->name arguments;                                        \
    }
#define FAULTY_THIS FAULTY_REAL(file)

FAULTY_PASS(xClose, (sqlite3_file * file), (FAULTY_THIS))
FAULTY_PASS(xRead, (sqlite3_file * file, void *out, int bytes, sqlite3_int64 offset),
            (FAULTY_THIS, out, bytes, offset))
FAULTY_PASS(xFileSize, (sqlite3_file * file, sqlite3_int64 *bytes), (FAULTY_THIS, bytes))
FAULTY_PASS(xLock, (sqlite3_file * file, int lock), (FAULTY_THIS, lock))
FAULTY_PASS(xUnlock, (sqlite3_file * file, int lock), (FAULTY_THIS, lock))
FAULTY_PASS(xCheckReservedLock, (sqlite3_file * file, int *out), (FAULTY_THIS, out))
FAULTY_PASS(xFileControl, (sqlite3_file * file, int what, void *arg), (FAULTY_THIS, what, arg))
FAULTY_PASS(xSectorSize, (sqlite3_file * file), (FAULTY_THIS))
FAULTY_PASS(xDeviceCharacteristics, (sqlite3_file * file), (FAULTY_THIS))
FAULTY_PASS(xShmMap, (sqlite3_file * file, int page, int bytes, int extend, void volatile **out),
            (FAULTY_THIS, page, bytes, extend, out))
FAULTY_PASS(xShmLock, (sqlite3_file * file, int offset, int count, int flags),
            (FAULTY_THIS, offset, count, flags))
FAULTY_PASS(xShmUnmap, (sqlite3_file * file, int delete), (FAULTY_THIS, delete))

static int faulty_xWrite(sqlite3_file *file, const void *in, int bytes, sqlite3_int64 offset)
{
    return faulty_fails(false)
               ? faulty.code
               : FAULTY_REAL(file)->pMethods->xWrite(FAULTY_REAL(file), in, bytes, offset);
}

static int faulty_xTruncate(sqlite3_file *file, sqlite3_int64 bytes)
{
    return faulty_fails(false) ? faulty.code
                               : FAULTY_REAL(file)->pMethods->xTruncate(FAULTY_REAL(file), bytes);
}

static int faulty_xSync(sqlite3_file *file, int flags)
{
    return faulty_fails(true) ? faulty.code
                              : FAULTY_REAL(file)->pMethods->xSync(FAULTY_REAL(file), flags);
}

static void faulty_xShmBarrier(sqlite3_file *file)
{
    FAULTY_REAL(file)->pMethods->xShmBarrier(FAULTY_REAL(file));
}

static int faulty_xOpen(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
                        int *out_flags)
{
    static const sqlite3_io_methods methods = {
        .iVersion = 2, /* no memory mapping */
        .xClose = faulty_xClose,
        .xRead = faulty_xRead,
        .xWrite = faulty_xWrite,
        .xTruncate = faulty_xTruncate,
        .xSync = faulty_xSync,
        .xFileSize = faulty_xFileSize,
        .xLock = faulty_xLock,
        .xUnlock = faulty_xUnlock,
        .xCheckReservedLock = faulty_xCheckReservedLock,
        .xFileControl = faulty_xFileControl,
        .xSectorSize = faulty_xSectorSize,
        .xDeviceCharacteristics = faulty_xDeviceCharacteristics,
        .xShmMap = faulty_xShmMap,
        .xShmLock = faulty_xShmLock,
        .xShmBarrier = faulty_xShmBarrier,
        .xShmUnmap = faulty_xShmUnmap,
    };
    (void)vfs;
    struct faulty_file *faulty_file = (struct faulty_file *)file;
    faulty_file->real = (sqlite3_file *)(faulty_file + 1);
    int code = faulty_below()->xOpen(faulty_below(), name, faulty_file->real, flags, out_flags);
    file->pMethods = code == SQLITE_OK ? &methods : NULL;
    return code;
}

static void faulty_install(void)
{
    static sqlite3_vfs vfs;
    vfs = *faulty_below();
    vfs.zName = "faulty";
    vfs.pNext = NULL;
    vfs.szOsFile += (int)sizeof(struct faulty_file);
    vfs.xOpen = faulty_xOpen;
    sqlite3_vfs_register(&vfs, 1);
}

#endif
