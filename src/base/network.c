/* network.c -- see network.h. */
#include "base/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "base/duration.h"

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
#define MAPPED_BITS 96

static bool is_mapped(const struct address *address)
{
    return memcmp(address->bytes, mapped_prefix, sizeof mapped_prefix) == 0;
}

static struct address map_v4(const void *four_bytes)
{
    struct address address;
    memcpy(address.bytes, mapped_prefix, sizeof mapped_prefix);
    memcpy(address.bytes + sizeof mapped_prefix, four_bytes, 4);
    return address;
}

bool address_parse(struct slice text, struct address *address)
{
    char copy[INET6_ADDRSTRLEN];
    uint8_t v4[4];
    if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    if (inet_pton(AF_INET, copy, v4) == 1) {
        *address = map_v4(v4);
        return true;
    }
    struct address v6;
    if (inet_pton(AF_INET6, copy, v6.bytes) != 1) {
        return false;
    }
    *address = v6;
    return true;
}

bool address_of_socket(const struct sockaddr_storage *socket, struct address *address)
{
    if (socket->ss_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, socket, sizeof v4);
        *address = map_v4(&v4.sin_addr);
        return true;
    }
    if (socket->ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, socket, sizeof v6);
        memcpy(address->bytes, &v6.sin6_addr, sizeof address->bytes);
        return true;
    }
    return false;
}

bool address_is_loopback(const struct address *address)
{
    static const uint8_t v6[16] = {[15] = 1};
    return memcmp(address->bytes, v6, sizeof v6) == 0 ||
           (is_mapped(address) && address->bytes[12] == 127);
}

/* Bit 0 is the first, most significant one. */
static bool bit(const struct address *address, unsigned index)
{
    return (address->bytes[index / 8] >> (7 - index % 8) & 1) != 0;
}

bool network_parse(struct slice text, struct network *network)
{
    const char *slash = text.len == 0 ? NULL : memchr(text.ptr, '/', text.len);
    struct slice host = slice_of(text.ptr, slash == NULL ? text.len : (size_t)(slash - text.ptr));
    struct network parsed = {.prefix_bits = 128};
    if (!address_parse(host, &parsed.address)) {
        return false;
    }
    if (slash != NULL) {
        bool v4 = memchr(host.ptr, ':', host.len) == NULL;
        uint64_t bits;
        struct slice digits = slice_of(slash + 1, text.len - host.len - 1);
        if (!integer_parse(digits, &bits) || bits > (v4 ? 32 : 128)) {
            return false;
        }
        parsed.prefix_bits = (unsigned)bits + (v4 ? MAPPED_BITS : 0);
    }
    for (unsigned i = parsed.prefix_bits; i < 128; i++) {
        if (bit(&parsed.address, i)) {
            return false;
        }
    }
    *network = parsed;
    return true;
}

bool network_contains(const struct network *network, const struct address *address)
{
    size_t whole = network->prefix_bits / 8;
    unsigned rest = network->prefix_bits % 8;
    if (memcmp(network->address.bytes, address->bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || (network->address.bytes[whole] ^ address->bytes[whole]) >> (8 - rest) == 0;
}
