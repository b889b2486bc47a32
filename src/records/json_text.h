/* json_text.h -- group lists and tallies as JSON text: how they stand in the database, so that
 * people can read and query them there.
 *
 *     packed list (core/groups.h)   ["backstage","press"]
 *     tally (core/groups.h)         {"HK":50,"US":50}
 *
 * Writing appends to a buffer (ask its outcome at the end).  Reading is strict RFC 8259 for these
 * two shapes, because the text may have passed through other hands: escapes and white space are
 * understood, anything else is refused.  Pure; any thread. */
#ifndef NOVABEAT_RECORDS_JSON_TEXT_H
#define NOVABEAT_RECORDS_JSON_TEXT_H

#include "base/buffer.h"
#include "core/groups.h"

void json_groups_write(struct buffer *out, struct slice packed);
/* False: not an array of valid group ids, or more than fit.  Order and repeats do not matter. */
bool json_groups_read(struct slice json, char out[GROUPS_PACKED_BYTES_MAX], size_t *len);

void json_tally_write(struct buffer *out, struct slice tally);
/* Appends the tally.  False: not an object of keys of 1 to 64 bytes with counts of 32 bits. */
bool json_tally_read(struct slice json, struct buffer *out);

#endif
