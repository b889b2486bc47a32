/* err.h -- failures: what the world did to us (disk, peer, database, input file).
 *
 * One list gives the enum, the names for logs and the words for people.  Outcomes (full,
 * duplicate, …) are enums of their modules; bugs are ASSERTs. */
#ifndef NOVABEAT_BASE_ERR_H
#define NOVABEAT_BASE_ERR_H

#define ERR_LIST(X)                                                                                \
    X(ERR_NONE, "no error")                                                                        \
    X(ERR_IO, "input or output failed")                                                            \
    X(ERR_NOSPACE, "the disk is full")                                                             \
    X(ERR_SYNC, "the disk did not confirm a write (fsync failed)")                                 \
    X(ERR_DAMAGED, "stored data is damaged")                                                       \
    X(ERR_VERSION, "stored data is of another version")                                            \
    X(ERR_LOCKED, "another process holds the data folder")                                         \
    X(ERR_DATABASE, "the database failed")                                                         \
    X(ERR_BUSY, "the database is busy")                                                            \
    X(ERR_INVALID, "the input is invalid")                                                         \
    X(ERR_NOT_FOUND, "not found")                                                                  \
    X(ERR_MEMORY, "out of memory")                                                                 \
    X(ERR_FULL, "a bound was reached")                                                             \
    X(ERR_STOPPED, "the server is stopping")

enum err {
#define ERR_ENUM(name, text) name,
    ERR_LIST(ERR_ENUM)
#undef ERR_ENUM
};

/* "ERR_NOSPACE"; and "the disk is full".  Static strings, any thread. */
const char *err_name(enum err err);
const char *err_text(enum err err);

#define WARN_UNUSED __attribute__((warn_unused_result))

#endif
