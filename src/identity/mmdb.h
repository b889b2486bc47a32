/* mmdb.h -- a MaxMind DB file turned into a table that knows nothing but countries.
 *
 * Model: the file is read once, as a whole.  Every node of its search tree is checked, every data
 * record that a node names is decoded, and what stays is the tree with a country in each leaf: 8
 * bytes a node.  Whatever a hostile file holds is met here, in time that grows with its size; a
 * look-up follows at most 128 numbers of our own and cannot fail.
 *
 * Why not libmaxminddb: it maps the file (cut short by somebody else, it kills the process), and
 * that of Debian 12 (1.7.1) overflows the stack on deeply nested data and follows pointers without
 * a bound on the work.  The tests compare with it: the same answers for all sound files.
 *
 * Pure; any thread.  Source: https://maxmind.github.io/MaxMind-DB/ (format 2.0). */
#ifndef NOVABEAT_IDENTITY_MMDB_H
#define NOVABEAT_IDENTITY_MMDB_H

#include "base/network.h"
#include "base/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a file may ask us to hold.  The npm country database has 7.8 MB and 1.3 million nodes. */
#define MMDB_FILE_BYTES_MAX ((size_t)1 << 30)
#define MMDB_NODES_MAX      ((uint32_t)1 << 26)
#define MMDB_TYPE_BYTES     64

struct mmdb {
    uint32_t (*nodes)[2]; /* by bit: a node's number, or the top bit and a country */
    uint32_t nodes_count;
    uint32_t ipv4;              /* where IPv4 addresses begin: a node, or a leaf for all of them */
    unsigned bits;              /* of the addresses in the tree: 32 or 128 */
    int64_t build_epoch_s;      /* 0: unknown */
    char type[MMDB_TYPE_BYTES]; /* printable ASCII, cut */
};

/* False: why says in words what is wrong with the file (not its name); the table is empty. */
bool mmdb_read(struct slice file, struct mmdb *mmdb, char *why, size_t why_bytes);
void mmdb_free(struct mmdb *mmdb);

/* Two letters A-Z; false: the file does not know the address' country. */
bool mmdb_find(const struct mmdb *mmdb, const struct address *address, char country[2]);

#endif
