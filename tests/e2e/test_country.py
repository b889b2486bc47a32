#!/usr/bin/env python3
"""The country of a viewer comes from the client's address where no header says it.

Goal: addresses of both families are found in a MaxMind DB file, through trusted proxies only; a
hostile, missing or spoiled file gives a clear error, at the start or while serving; the pinned
database of scripts/setup country works; and no address is ever stored.
"""
import glob
import ipaddress
import os
import shutil
import tempfile

from harness import TOP, VECTORS, Server, Skip, command, run, wait_until

GOOD = os.path.join(VECTORS, "mmdb", "good", "GeoIP2-Country-Test.mmdb")
OTHER = os.path.join(VECTORS, "mmdb", "good", "GeoLite2-Country-Test.mmdb")
HOSTILE = os.path.join(VECTORS, "mmdb", "hostile", "*.mmdb")
PINNED = os.path.join(TOP, "build", "country-db", "country.mmdb")
BEHIND_PROXY = {"trusted_proxies": "127.0.0.0/8"}


def needed(path):
    if not os.path.exists(path):
        raise Skip(f"no {path}")
    return path


def from_address(address, **headers):
    return {"X-Forwarded-For": address, **{name.replace("_", "-"): value
                                           for name, value in headers.items()}}


def check(server, event, countries):
    """One viewer from each address; as many in each country as expected."""
    expected = {}
    for address, country in countries.items():
        server.beat_ok(event, f"from {address}", headers=from_address(address))
        expected[country] = expected.get(country, 0) + 1
    live = server.live(event)
    assert live["countByViewingCountry"] == expected, (live, expected)


def test_addresses():
    """Addresses of both families, written in every way, have their countries"""
    with Server(country_db=needed(GOOD), **BEHIND_PROXY) as server:
        check(server, "world", {
            "2.125.160.216": "GB", "89.160.20.112": "SE", "::ffff:89.160.20.113": "SE",
            "81.2.69.160": "GB", "2001:218::1": "JP", "2001:0218:0:0::2": "JP",
            "127.0.0.1": "ZZ", "10.1.2.3": "ZZ", "::1": "ZZ", "2001:db8::1": "ZZ"})


def test_header_wins():
    """A country header of the proxy wins; where it says nothing, the address decides"""
    with Server(country_db=needed(GOOD), **BEHIND_PROXY) as server:
        address = "89.160.20.112"
        server.beat_ok("E", "ada", headers=from_address(address, CF_IPCountry="HK"))
        server.beat_ok("E", "bob", headers=from_address(address, CF_IPCountry="XX"))
        server.beat_ok("E", "cleo", headers=from_address(address, CF_IPCountry="nonsense"))
        server.beat_ok("E", "dan", headers=from_address(address))
        live = server.live("E")
        assert live["countByViewingCountry"] == {"HK": 1, "SE": 3}, live


def test_strangers_cannot_choose():
    """Who is no trusted proxy cannot choose an address or a country by a header"""
    with Server(country_db=needed(GOOD), trusted_proxies="") as server:
        server.beat_ok("E", "ada", headers=from_address("89.160.20.112", CF_IPCountry="HK"))
        live = server.live("E")
        assert live["countByViewingCountry"] == {"ZZ": 1}, live
    with Server(country_db=needed(GOOD), **BEHIND_PROXY) as server:
        # What the client wrote itself stands to the left of what the proxy saw.
        server.beat_ok("E", "ada", headers=from_address("2001:218::1, 89.160.20.112"))
        server.beat_ok("E", "bob", headers=from_address("rubbish, 89.160.20.112, 127.0.0.9"))
        live = server.live("E")
        assert live["countByViewingCountry"] == {"SE": 2}, live


def test_hostile_files():
    """No hostile file is served with: each gives one clear line that names it"""
    files = sorted(glob.glob(HOSTILE))
    if not files:
        raise Skip(f"no {HOSTILE}")
    with tempfile.TemporaryDirectory(prefix="novabeat-e2e-") as folder:
        fifo = os.path.join(folder, "fifo.mmdb")
        os.mkfifo(fifo)
        empty = os.path.join(folder, "empty.mmdb")
        with open(empty, "wb"):
            pass
        missing = os.path.join(folder, "missing.mmdb")
        other = os.path.join(folder, "folder.mmdb")
        os.mkdir(other)
        for path in files + [fifo, empty, missing, other]:
            done = command("serve", "--listen", "127.0.0.1:0", "--data",
                           os.path.join(folder, "data"), "--auth", "none", "--country-db", path,
                           status=1)
            lines = [line for line in done.stderr.splitlines() if path in line]
            assert len(lines) == 1 and "country-db: country database" in lines[0], done.stderr


def test_file_changes_while_serving():
    """A new file is taken up, a spoiled one is refused and the old one stays in use"""
    with tempfile.TemporaryDirectory(prefix="novabeat-e2e-") as folder:
        path = os.path.join(folder, "country.mmdb")
        shutil.copy(needed(GOOD), path)
        with Server(country_db=path, **BEHIND_PROXY) as server:
            check(server, "before", {"89.160.20.112": "SE"})
            os.truncate(path, 4000)
            wait_until(lambda: "countries stay as they were" in server.log_text(),
                       "the spoiled file is noticed")
            check(server, "spoiled", {"89.160.20.112": "SE", "2001:218::1": "JP"})
            new = os.path.join(folder, "new.mmdb")
            shutil.copy(needed(OTHER), new)
            os.rename(new, path)
            wait_until(lambda: "countries: GeoLite2-Country" in server.log_text(),
                       "the new file is taken up")
            check(server, "after", {"89.160.20.112": "SE", "10.0.0.1": "ZZ"})
            os.unlink(path)
            wait_until(lambda: "No such file" in server.log_text(), "the loss is noticed")
            check(server, "gone", {"89.160.20.112": "SE"})
            server.healthy()


def test_pinned_database():
    """The pinned database knows well-known addresses of both families"""
    with Server(country_db=needed(PINNED), **BEHIND_PROXY) as server:
        check(server, "world", {
            "8.8.8.8": "US", "2001:4860:4860::8888": "US",          # Google's resolvers
            "193.0.6.139": "NL", "2001:67c:2e8:22::c100:68b": "NL",  # the RIPE NCC
            "200.160.2.3": "BR",                                    # NIC.br
            "133.11.0.1": "JP",                                     # the University of Tokyo
            "130.133.0.1": "DE", "2001:638::1": "DE",               # the FU Berlin, the DFN
            "10.0.0.1": "ZZ", "fe80::1": "ZZ"})


def test_addresses_are_not_stored():
    """No file of the data folder and no log line holds an address"""
    addresses = ["89.160.20.112", "2001:218:1234:5678:9abc:def0:1357:2468"]
    with tempfile.TemporaryDirectory(prefix="novabeat-e2e-") as folder:
        data = os.path.join(folder, "data")
        with Server(data=data, country_db=needed(GOOD), log_level="debug", **BEHIND_PROXY) as server:
            for number, address in enumerate(addresses):
                server.beat_ok("E", f"viewer {number}", headers=from_address(address))
                server.beat("E", "", headers=from_address(address))  # refused
            assert server.live("E")["countByViewingCountry"] == {"SE": 1, "JP": 1}
            assert server.terminate() == 0
            said = server.log_text().encode()
        files = [path for path in glob.glob(os.path.join(data, "**"), recursive=True)
                 if os.path.isfile(path)]
        assert files
        stored = {"the log": said}
        for path in files:
            with open(path, "rb") as file:
                stored[path] = file.read()
        assert any(b"viewer 0" in content for content in stored.values()), "nothing was stored"
        # Four bytes may stand somewhere by chance, sixteen do not.
        needles = [address.encode() for address in addresses]
        needles.append(ipaddress.ip_address(addresses[1]).packed)
        needles.append(b"\xff\xff" + ipaddress.ip_address(addresses[0]).packed)
        for name, content in stored.items():
            for needle in needles:
                assert needle not in content, f"{needle!r} stands in {name}"


if __name__ == "__main__":
    run(test_addresses, test_header_wins, test_strangers_cannot_choose, test_hostile_files,
        test_file_changes_while_serving, test_pinned_database, test_addresses_are_not_stored)
