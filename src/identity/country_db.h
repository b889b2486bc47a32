/* country_db.h -- from an address to a country, by a MaxMind DB file (libmaxminddb).
 *
 * Records may have `country.iso_code` (GeoIP2, GeoLite2; then `registered_country.iso_code`) or a
 * flat `country_code`.  The whole file is checked before it is used and cannot change under the
 * server (a file that is cut short while it is mapped would kill it): a file that is cut short or
 * hostile gives a clear error and cannot fault the server later.
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
/* Reads the file again when it has changed; on an error the old one stays in use. */
enum err country_db_reload_changed(struct country_db *db, bool *changed, char *why,
                                   size_t why_bytes) WARN_UNUSED;
/* Two letters A-Z; false: the file does not know the address. */
bool country_db_find(struct country_db *db, const struct address *address, char country[2]);
/* "DBIP-Country (build 2026-01-01)": for the log. */
void country_db_describe(struct country_db *db, char *text, size_t bytes);

#endif
