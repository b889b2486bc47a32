/* country_db.h -- from an address to a country, by a MaxMind DB file.
 *
 * Records may have `country.iso_code` (GeoIP2, GeoLite2; then `registered_country.iso_code`) or a
 * flat `country_code`.  The file is read once, checked as a whole and turned into a table of our
 * own (mmdb.h), 8 bytes a node: nothing of the file stays open or mapped.  A file that is cut short
 * or hostile gives a clear error when it is read, and no look-up can fail later, whatever becomes
 * of the file.
 * Source: https://maxmind.github.io/MaxMind-DB/
 * Threads: any may look up; country_db_reload_changed by one at a time, while others look up. */
#ifndef NOVABEAT_IDENTITY_COUNTRY_DB_H
#define NOVABEAT_IDENTITY_COUNTRY_DB_H

#include "base/err.h"
#include "base/network.h"

struct country_db;

/* ERR_NOT_FOUND, ERR_IO, ERR_DAMAGED: why names the file and what is wrong. */
enum err country_db_open(const char *path, struct country_db **db, char *why,
                         size_t why_bytes) WARN_UNUSED;
void country_db_close(struct country_db *db);
/* Reads the file again when it has changed (its mtime, size or inode).  On an error the old one
 * stays in use; the same fault of the same file is told once. */
enum err country_db_reload_changed(struct country_db *db, bool *changed, char *why,
                                   size_t why_bytes) WARN_UNUSED;
/* Two letters A-Z; false: the file does not know the address. */
bool country_db_find(struct country_db *db, const struct address *address, char country[2]);
/* "DBIP-Country (build 2026-01-01)": for the log. */
void country_db_describe(struct country_db *db, char *text, size_t bytes);

#endif
