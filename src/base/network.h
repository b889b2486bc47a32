/* network.h -- addresses and networks of the Internet, as people and headers write them.
 *
 * Both families are one: an IPv4 address is kept in its IPv6-mapped form, ::ffff:a.b.c.d (RFC 4291,
 * 2.5.5.2), so that a peer on a dual-stack socket compares like any other.
 * Pure; any thread; no memory. */
#ifndef NOVABEAT_BASE_NETWORK_H
#define NOVABEAT_BASE_NETWORK_H

#include <stdint.h>
#include <sys/socket.h>

#include "base/slice.h"

struct address {
    uint8_t bytes[16];
};

struct network {
    struct address address; /* bits after the prefix are 0 */
    unsigned prefix_bits;   /* 0 to 128; an IPv4 prefix counts the 96 mapped bits too */
};

/* "192.0.2.1", "2001:db8::1"; nothing around it, no port, no zone. */
bool address_parse(struct slice text, struct address *address);

/* Of a socket; false for families other than IPv4 and IPv6. */
bool address_of_socket(const struct sockaddr_storage *socket, struct address *address);

/* 127.0.0.0/8 and ::1. */
bool address_is_loopback(const struct address *address);

/* "10.0.0.0/8", "2001:db8::/32", or one address.  Bits set after the prefix are refused: they are
 * a slip ("10.1.0.0/8"). */
bool network_parse(struct slice text, struct network *network);

bool network_contains(const struct network *network, const struct address *address);

#endif
