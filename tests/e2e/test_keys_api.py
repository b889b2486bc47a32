#!/usr/bin/env python3
"""API keys over HTTP: made, listed, revoked; in force when it is answered, and over a kill.

Goal: the key is shown once and stored nowhere; a revoked one opens nothing from the answer on; a key
for one event opens no other; what a key may do is what its roles say.
"""
# timeout: 120
import os
import re

from harness import Server, event_path, run

KEYS = "/analytics/keys"


def make(server, **members):
    answer = server.request("POST", KEYS, members)
    assert answer.status == 201, answer
    assert answer.headers["cache-control"] == "no-store", answer.headers
    return answer.json


def status(server, key, method="GET", path="/analytics/events", body=None):
    return server.request(method, path, body, {"Authorization": "Bearer " + key}).status


def files(folder):
    for place, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(place, name), "rb") as file:
                yield os.path.join(place, name), file.read()


def test_made_and_revoked(server):
    """A key opens what its roles say from the answer on, and nothing once it is revoked"""
    made = make(server, role="read", name="dashboard \u2665")
    assert made["roles"] == ["read"] and made["name"] == "dashboard \u2665", made
    assert re.fullmatch(r"nb_" + made["id"] + r"_[A-Za-z0-9_-]{43}", made["key"]), made
    key = made["key"]
    assert status(server, key) == 200
    assert status(server, key, "PUT", event_path("E"), {}) == 403
    assert status(server, key, "POST", "/analytics/heartbeats", b"x") == 403
    assert status(server, key, "GET", KEYS) == 403
    assert status(server, key, "DELETE", f"{KEYS}/{made['id']}") == 403
    flipped = key[:-1] + ("A" if key[-1] != "A" else "B")
    assert status(server, flipped) == 401
    assert server.request("DELETE", f"{KEYS}/{made['id']}").status == 204
    assert status(server, key) == 401
    answer = server.request("DELETE", f"{KEYS}/{made['id']}")
    assert answer.status == 404 and answer.json["field"] == "keyId", answer


def test_one_event(server):
    """A key for one event opens no other, and not what is of all events"""
    key = make(server, roles=["read", "ingest", "admin"], eventId="E")["key"]
    assert status(server, key, "PUT", event_path("E"), {}) == 200
    assert status(server, key, "GET", event_path("E")) == 200
    assert status(server, key, "GET", event_path("F")) == 403
    assert status(server, key, "DELETE", event_path("F")) == 403
    for path in ("/analytics/events", KEYS, "/metrics"):
        assert status(server, key, "GET", path) == 403, path
    assert status(server, key, "POST", KEYS, {"role": "admin"}) == 403, "it made itself a larger one"


def test_list(server):
    """The list says all but the key, page by page"""
    made = {}
    for number in range(7):
        row = make(server, roles=["ingest"], eventId=f"list-{number}", name=f"n {number}")
        del row["key"]
        made[row["id"]] = row
    listed, cursor = [], ""
    while cursor is not None:
        page = server.get_json(f"{KEYS}?limit=2" + (f"&cursor={cursor}" if cursor else ""))
        listed += page["keys"]
        cursor = page.get("next")
    assert [row["id"] for row in listed] == sorted(row["id"] for row in listed), listed
    for row in made.values():
        assert row in listed, (row, listed)
        assert server.request("DELETE", f"{KEYS}/{row['id']}").status == 204
    text = server.get(KEYS).body.decode()
    assert "nb_" not in text and "hash" not in text, text


def test_kept_and_hidden():
    """Keys and their ends outlive kill -9; no file and no log holds a key's secret"""
    with Server(auth="jwt") as server:
        kept, gone = make(server, role="read"), make(server, role="read")
        assert server.request("DELETE", f"{KEYS}/{gone['id']}").status == 204
        server.kill()
        server.start()
        assert status(server, kept["key"]) == 200
        assert status(server, gone["key"]) == 401
        for row in (kept, gone):
            secret = row["key"].split("_", 2)[2].encode()
            for path, data in files(server.data):
                assert secret not in data, path
            assert secret.decode() not in server.log_text()
        assert any(kept["id"].encode() in data for _, data in files(server.data)), \
            "the search finds nothing at all"


def test_open_server():
    """Under --auth none keys can be made beforehand, and everything stays open"""
    with Server() as server:
        made = make(server, role="ingest")
        assert status(server, made["key"], "GET", KEYS) == 200
        assert server.get("/analytics/events").status == 200


if __name__ == "__main__":
    run(test_made_and_revoked, test_one_event, test_list, test_kept_and_hidden, test_open_server,
        server=Server(auth="jwt"))
