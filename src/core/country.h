/* country.h -- a viewing country in two bytes.
 *
 * Two characters of A-Z or 0-9 as in ISO 3166-1 alpha-2 and what content delivery networks add to
 * it ("T1" for Tor, "XX").  "ZZ" is "not known" and packs to 0.  Pure; any thread. */
#ifndef NOVABEAT_CORE_COUNTRY_H
#define NOVABEAT_CORE_COUNTRY_H

#include "core/heartbeat.h"

#define COUNTRY_COUNT (36 * 36) /* packed countries are less than this */

/* The packed country; lower case is taken as upper case.  False, with *country = 0, when the text
 * is no country. */
bool country_pack(struct slice text, country_t *country);

/* Writes the two characters, no NUL. */
void country_text(country_t country, char text[2]);

#endif
