#!/usr/bin/env python3
"""The directory: events and sessions that are declared, seen, or both, and profiles in bulk.

Goal: what an organiser says is kept over a kill, listed in order with what was only seen, and in
force at once; imported profiles count at the next heartbeat; pages neither lose nor repeat a row.
"""
# timeout: 120
import json
import os
import shutil
import sqlite3
import tempfile

from harness import Server, event_path, quote, run, wait_until


def pages(server, path, rows, limit):
    """All rows of a list, page by page."""
    found, cursor = [], None
    while True:
        query = f"?limit={limit}" + (f"&cursor={quote(cursor)}" if cursor else "")
        page = server.get_json(path + query)
        assert len(page[rows]) <= limit, page
        found += page[rows]
        cursor = page.get("next")
        if cursor is None:
            return found
        assert len(page[rows]) == limit, page


def ndjson(profiles):
    return "".join(json.dumps(profile, ensure_ascii=False) + "\n" for profile in profiles)


def load(server, event, body, kind="application/x-ndjson"):
    return server.request("POST", event_path(event) + "/viewers", body, {"Content-Type": kind})


def test_declared_and_seen(server):
    """Events are listed in order, declared or seen, from the moment that they are"""
    for number in range(0, 20, 2):
        answer = server.request("PUT", event_path(f"list-{number:02}"), {"title": f"T {number}"})
        assert answer.status == 200, answer
        server.beat_ok(f"list-{number + 1:02}", "ada", "s")
    server.beat_ok("list-00", "ada")
    for limit in (1, 3, 7, 1000):
        listed = [row for row in pages(server, "/analytics/events", "events", limit)
                  if row["eventId"].startswith("list-")]
        assert listed == [{"eventId": f"list-{number:02}",
                           **({"title": f"T {number}"} if number % 2 == 0 else {})}
                          for number in range(20)], listed
    assert server.get_json(event_path("list-01")) == {"eventId": "list-01", "sessions": []}
    assert server.get(event_path("list-99")).status == 404


def test_sessions(server):
    """Sessions are listed in order, declared or seen; taking back a declaration keeps the figures"""
    server.beat_ok("talks", "ada", "c")
    server.request("PUT", event_path("talks"), {"sessions": [
        {"sessionId": name, "title": name.upper()} for name in ("a", "b", "c")]})
    server.beat_ok("talks", "ada", "d")
    rows = [{"sessionId": name, **({"title": name.upper()} if name != "d" else {})}
            for name in "abcd"]
    for limit in (1, 2, 3, 4, 5):
        assert pages(server, event_path("talks") + "/sessions", "sessions", limit) == rows
    assert server.get_json(event_path("talks"))["sessions"] == rows[:3]
    for name, status in (("c", 204), ("c", 404), ("d", 404), ("b", 204)):
        assert server.request("DELETE", event_path("talks", name)).status == status, name
    assert server.active("talks", "c")[0] == 1, "the figures went with the declaration"
    assert server.get_json(event_path("talks", "c")) == {"eventId": "talks", "sessionId": "c"}
    assert server.get(event_path("talks", "b")).status == 404
    rows = [{"sessionId": "a", "title": "A"}, {"sessionId": "c"}, {"sessionId": "d"}]
    assert pages(server, event_path("talks") + "/sessions", "sessions", 2) == rows


def test_any_script(server):
    """Titles of any script come back as they were sent"""
    for title in ("\u05e9\u05dc\u05d5\u05dd \u202e\u202c", "\U0001f989\u200d\u2b1b", "\"\\/,;'=1+1",
                  "\u0645\u0631\u062d\u0628\u0627", "\u65e5" * 85, "\ufeff", " "):
        sent = {"title": title, "startMs": 1 << 53}
        assert server.request("PUT", event_path("script", "s"), sent).status == 200
        assert server.get_json(event_path("script", "s")) == {
            "eventId": "script", "sessionId": "s", **sent}


def test_import(server):
    """An import of 2,500 profiles is in force at once, and lists page by page"""
    server.beat_ok("import", "viewer-00007")
    assert server.live("import")["countByUserGroup"] == {}
    profiles = [{"viewer": f"viewer-{number:05}", "name": f"N\u00e9 {number}",
                 "groups": [f"g{number % 3}", "all"]} for number in range(2500)]
    lines = ndjson(profiles[:1000]) + '{"viewer":7}\n' + ndjson(profiles[1000:])
    answer = load(server, "import", lines)
    assert answer.status == 200 and answer.json["accepted"] == 2500, answer
    assert [row["line"] for row in answer.json["rejected"]] == [1001], answer
    server.beat_ok("import", "viewer-00008")
    assert server.live("import")["countByUserGroup"]["g2"] == 1
    # Also for who was there before: the profile is looked up again at the next heartbeat.
    wait_until(lambda: server.beat_ok("import", "viewer-00007") and
               server.live("import")["countByUserGroup"] == {"g2": 1, "g1": 1, "all": 2},
               "the imported groups count", seconds=5)
    for limit in (999, 1000, 7):
        listed = pages(server, event_path("import") + "/viewers", "viewers", limit)
        assert listed == [{"viewerId": profile["viewer"], "name": profile["name"],
                           "groups": sorted(profile["groups"])} for profile in profiles], limit
    assert server.get_json(event_path("import") + "/viewers/count")["count"] == 2500


def test_import_csv(server):
    """CSV as the command takes it: quotes, escaped groups, guarded cells, any script"""
    body = ("\ufeffviewer,name,groups\r\n\"a,\"\"b\",Ada,press;back\\;stage\r\n"
            "'=x,'+1,\r\n\u05d0\u202e,\U0001f989,\"multi\"\r\n")
    answer = load(server, "csv", body, "text/csv; header=present")
    assert answer.status == 200 and answer.json == {"accepted": 3, "rejected": []}, answer
    assert pages(server, event_path("csv") + "/viewers", "viewers", 1) == [
        {"viewerId": "=x", "name": "+1", "groups": []},
        {"viewerId": 'a,"b', "name": "Ada", "groups": ["back;stage", "press"]},
        {"viewerId": "\u05d0\u202e", "name": "\U0001f989", "groups": ["multi"]}]


def test_kept():
    """What was declared and imported is on the disk when it is answered: kill -9 takes nothing"""
    with Server() as server:
        for number in range(10):
            assert server.request("PUT", event_path("kept", f"s{number}"),
                                  {"title": f"S {number}"}).status == 200
            assert load(server, "kept", ndjson([{"viewer": f"v{number}"}])).status == 200
        server.kill()
        server.start()
        assert len(server.get_json(event_path("kept"))["sessions"]) == 10
        assert len(pages(server, event_path("kept") + "/viewers", "viewers", 3)) == 10
        answer = server.request("DELETE", event_path("kept", "s3"))
        assert answer.status == 204
        server.kill()
        server.start()
        assert len(server.get_json(event_path("kept"))["sessions"]) == 9


def test_only_declared():
    """events = declared: an event counts from its declaration on, and no more when it is purged"""
    with Server(events="declared") as server:
        assert server.beat("mine", "ada").status == 404
        assert server.request("PUT", event_path("mine"), {"title": "Mine"}).status == 200
        wait_until(lambda: server.beat("mine", "ada").status == 200, "the event is let in", seconds=5)
        assert server.active("mine")[0] == 1
        assert server.request("DELETE", event_path("mine")).status == 204
        wait_until(lambda: server.beat("mine", "ada").status == 404, "the event is refused",
                   seconds=5)
        assert server.active("mine")[0] == 0


def test_profiles_elsewhere():
    """With profiles from the platform's own database none are put, imported or listed: 409"""
    folder = tempfile.mkdtemp(prefix="novabeat-platform-")
    try:
        path = os.path.join(folder, "users.db")
        database = sqlite3.connect(path)
        database.execute("CREATE TABLE users (event TEXT, id TEXT, name TEXT, groups TEXT)")
        database.execute("INSERT INTO users VALUES ('E', 'ada', 'Ada', '[\"press\"]')")
        database.commit()
        database.close()
        query = "SELECT name, groups FROM users WHERE event = :event AND id = :viewer"
        with Server(profiles_database=path, profiles_query=query) as server:
            server.beat_ok("E", "ada")
            assert server.live("E")["countByUserGroup"] == {"press": 1}
            assert server.viewer("E", "ada")["name"] == "Ada"
            for answer in (server.put_profile("E", "ada", name="Eve"),
                           load(server, "E", ndjson([{"viewer": "ada", "name": "Eve"}])),
                           server.get(event_path("E") + "/viewers")):
                assert answer.status == 409 and "own database" in answer.json["detail"], answer
                assert answer.headers["content-type"] == "application/problem+json", answer
            assert server.viewer("E", "ada")["name"] == "Ada"
            # What is erased here stays where it is kept.
            assert server.request("DELETE", event_path("E") + "/viewers/ada").status == 204
            assert server.attended("E") == 0 and server.viewer("E", "ada")["viewings"] == []
    finally:
        shutil.rmtree(folder)


def test_declared_start(server):
    """The retention curve counts from the declared start"""
    answer = server.request("PUT", event_path("start", "s"), {"startMs": 1700000000000})
    assert answer.status == 200, answer
    stats = server.get_json(event_path("start", "s") + "/viewers/viewing-stats")
    assert stats["startMs"] == 1700000000000, stats


def test_beside_heartbeats(server):
    """A large import keeps no heartbeat from its acknowledgement"""
    lines = ndjson([{"viewer": f"bulk-{number:06}", "groups": ["g"]} for number in range(20000)])
    with server.connect() as connection:
        connection.send("POST", event_path("bulk") + "/viewers", lines,
                        {"Content-Type": "application/x-ndjson"})
        beats = 0
        while b"\r\n\r\n" not in connection.pending:
            server.beat_ok("bulk", "ada")
            beats += 1
            connection.socket.settimeout(0.001)
            try:
                connection.read_more()
            except TimeoutError:
                pass
        connection.socket.settimeout(30)
        answer = connection.receive()
    assert answer.status == 200 and answer.json["accepted"] == 20000, answer
    assert beats > 1, "no heartbeat was acknowledged meanwhile"


if __name__ == "__main__":
    run(test_declared_and_seen, test_sessions, test_any_script, test_import, test_import_csv,
        test_kept, test_only_declared, test_profiles_elsewhere,
        test_declared_start, test_beside_heartbeats, server=Server())
