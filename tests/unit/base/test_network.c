/* test_network.c -- addresses, networks, and who is inside. */
#include "base/network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "tap.h"

static bool inside(const char *network_text, const char *address_text)
{
    struct network network;
    struct address address;
    assert_true(network_parse(slice_str(network_text), &network));
    assert_true(address_parse(slice_str(address_text), &address));
    return network_contains(&network, &address);
}

static void test_contains(void **state)
{
    (void)state;
    assert_true(inside("127.0.0.0/8", "127.255.255.255"));
    assert_false(inside("127.0.0.0/8", "128.0.0.0"));
    assert_false(inside("127.0.0.0/8", "::1"));
    assert_true(inside("::1/128", "::1"));
    assert_true(inside("::1", "::1"));
    assert_false(inside("::1", "::2"));
    assert_true(inside("192.0.2.64/27", "192.0.2.95"));
    assert_false(inside("192.0.2.64/27", "192.0.2.96"));
    assert_false(inside("192.0.2.64/27", "192.0.2.63"));
    assert_true(inside("0.0.0.0/0", "203.0.113.9"));
    assert_false(inside("0.0.0.0/0", "2001:db8::1"));
    assert_true(inside("::/0", "203.0.113.9"));
    assert_true(inside("10.0.0.0/8", "::ffff:10.2.3.4"));
    assert_true(inside("2001:db8::/33", "2001:db8:7fff::1"));
    assert_false(inside("2001:db8::/33", "2001:db8:8000::1"));
    assert_true(inside("192.0.2.1", "192.0.2.1"));
    assert_false(inside("192.0.2.1", "192.0.2.0"));
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "/8",
                                      "10.0.0.0/",
                                      "10.0.0.0/33",
                                      "::/129",
                                      "10.1.0.0/8",
                                      "10.0.0.0/8 ",
                                      " ::1",
                                      "10.0.0/8",
                                      "10.0.0.0/-1",
                                      "localhost",
                                      "10.0.0.0/8/8",
                                      "::1%lo",
                                      "[::1]",
                                      "10.0.0.0:80",
                                      "::2/127x",
                                      "2001:db8::1/64",
                                      "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"};
    struct network network;
    struct address address;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(network_parse(slice_str(bad[i]), &network));
    }
    assert_false(address_parse(SLICE_LIT("127.0.0.1\0"), &address));
    assert_false(address_parse(SLICE_LIT("127.0.0.0/8"), &address));
    assert_false(address_parse(SLICE_EMPTY, &address));
    assert_false(network_parse(SLICE_EMPTY, &network));
}

static void test_sockets(void **state)
{
    (void)state;
    struct sockaddr_storage storage = {0};
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct address address;
    assert_int_equal(inet_pton(AF_INET, "127.1.2.3", &v4.sin_addr), 1);
    memcpy(&storage, &v4, sizeof v4);
    assert_true(address_of_socket(&storage, &address));
    assert_true(address_is_loopback(&address));
    assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", &v6.sin6_addr), 1);
    memcpy(&storage, &v6, sizeof v6);
    assert_true(address_of_socket(&storage, &address));
    assert_true(address_is_loopback(&address));
    assert_int_equal(inet_pton(AF_INET6, "::1:0", &v6.sin6_addr), 1);
    memcpy(&storage, &v6, sizeof v6);
    assert_true(address_of_socket(&storage, &address));
    assert_false(address_is_loopback(&address));
    assert_true(address_parse(SLICE_LIT("::1"), &address));
    assert_true(address_is_loopback(&address));
    storage.ss_family = AF_UNIX;
    assert_false(address_of_socket(&storage, &address));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contains),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_sockets),
    };
    return tap_run(tests);
}
