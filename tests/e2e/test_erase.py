#!/usr/bin/env python3
"""A viewer who is erased, and an event that is purged, are nowhere any more.

Goal: their ids are searched for in every answer of the API, every table of the record store and
every byte of every file of the data folder, with the server running and after restarts; the figures
are those of an audience that they are no longer in, and the peak is what it was; who comes back is
somebody new.
"""
# timeout: 300
import os
import random
import sqlite3
import threading
import time

import openapi
from harness import Server, event_path, quote, rounds, run, seed, wait_until

UUID = "7c9e6679-7425-40de-944b-e07fc1f90ae7"
SCRIPT = "\u1f40\u03b2\u03b5\u03bb\u03cc\u03c2-\U0001f989-\u05d2\u05dc\u05d9\u05d5\u05df"
NAME = "Erasmus Forgettable \u2020"
PURGED = "purged-5f0e2c"
OFTEN = {"frame": "1s", "records_flush": "200ms", "records_interval": "400ms"}
SHORT = {**OFTEN, "alive_window": "1s", "hidden_window": "1s", "leaving_window": "500ms",
         "viewing_gap": "1s"}  # so that a viewer has several viewings


# ---- the search ----

def in_files(folder, *texts):
    """Where in the files' bytes a text stands."""
    found = []
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            try:
                with open(path, "rb") as file:
                    data = file.read()
            except FileNotFoundError:
                continue  # a covered segment that has just gone
            found += [(path, text) for text in texts if text.encode("utf-8") in data]
    return found


def in_tables(folder, *texts):
    """In which table's row a text stands."""
    path = os.path.join(folder, "records.db")
    database = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
    found = []
    try:
        tables = database.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")
        for (table,) in tables.fetchall():
            try:
                rows = database.execute(f'SELECT * FROM "{table}"').fetchall()
            except sqlite3.OperationalError:
                continue  # a virtual table of the server's own connection
            found += [(table, text) for row in rows for value in row for text in texts
                      if isinstance(value, str) and text in value]
    finally:
        database.close()
    return found


def in_answers(server, events, viewers, *texts):
    """Which answer of the API holds a text: every GET of the document, and the reports."""
    document = openapi.Document(server.get_json("/openapi.json"))
    found, asked = [], 0

    def look(path, answer):
        nonlocal asked
        asked += 1
        body = answer.body.decode("utf-8")
        assert "\\u" not in body, "texts come as UTF-8"
        found.extend((path, text) for text in texts if text in body)

    for path, method, _ in document.operations():
        if method != "get":
            continue
        for event in events:
            for viewer in viewers if "{viewerId}" in path else ("",):
                target = (path.replace("{eventId}", event).replace("{sessionId}", "talk")
                          .replace("{viewerId}", quote(viewer)))
                look(target, server.get(target))
    for event in events:
        for body in ({}, {"format": "csv"}, {"sessionId": "talk"}):
            look("report", server.request("POST", event_path(event) + "/heartbeat-report", body))
    assert asked > 30, asked
    return found


def nowhere(server, events, viewers, *texts):
    found = in_answers(server, events, viewers, *texts)
    assert not found, found
    found = in_tables(server.data, *texts)
    assert not found, found
    found = in_files(server.data, *texts)
    assert not found, found


# ---- viewers ----

def recent(stats, overview):
    return stats if stats["timestamp"] >= overview["timestamp"] else None


def audience(server, event, session=None):
    """The figures that an erasure changes, and the peak, which it does not."""
    overview = server.overview(event)
    row = overview
    if session is not None:
        row = next(other for other in row["sessions"] if other["sessionId"] == session)
    peak = server.peak(event, session)
    # Statistics are shared for a second: those of before the erasure are waited out.
    stats = wait_until(lambda: recent(server.get_json(
        event_path(event, session) + "/viewers/viewing-stats"), overview), "statistics of now")
    report = server.request("POST", event_path(event) + "/heartbeat-report",
                            {} if session is None else {"sessionId": session}).json["viewers"]
    assert stats["viewers"] == len(report) == row["attended"], (stats, report, row)
    assert stats["viewings"] == row["logins"] and stats["totalMs"] == row["totalViewingMs"], \
        (stats, row)
    assert sum(line["totalMs"] for line in report) == row["totalViewingMs"], (report, row)
    return {"attended": row["attended"], "logins": row["logins"], "total": row["totalViewingMs"],
            "peak": peak}


def viewings(server, event, viewer, session=None):
    rows = [row for row in server.viewer(event, viewer)["viewings"]
            if row.get("sessionId") == session]
    return len(rows), sum(row["endedMs"] - row["startedMs"] for row in rows)


def attend(server, event, viewers, times=2):
    """Each viewer watches the event, twice, with a pause between that ends a viewing."""
    for number in range(times):
        if number:
            time.sleep(1.2)
        for _ in range(3):
            for viewer in viewers:
                server.beat_ok(event, viewer, "talk")
            time.sleep(0.05)
    server.beat_ok(event, viewers[0], "other")


def stored(server, event, viewers):
    """The record store has them: else the search of its tables would prove nothing."""
    wait_until(lambda: len(in_tables(server.data, *viewers)) >= len(viewers), f"{event} is stored")


def erase(server, event, viewer):
    return server.request("DELETE", f"{event_path(event)}/viewers/{quote(viewer)}")


def test_erase():
    """An erased viewer is nowhere, running, restarted and killed; the figures are without it"""
    with Server(**SHORT) as server:
        stay = ["stay-1", "stay-2", "stay-3"]
        for event in ("E", "F"):
            for viewer in (UUID, SCRIPT, stay[0]):
                server.put_profile(event, viewer, name=NAME if viewer != stay[0] else "Stays",
                                   groups=["g"])
            attend(server, event, [UUID, SCRIPT] + stay)
        stored(server, "E", (UUID, SCRIPT))
        assert in_files(server.data, UUID), "the search finds nothing at all"
        assert in_answers(server, ("E",), (UUID,), UUID, NAME), "nor in the answers"

        before = {session: audience(server, "E", session) for session in (None, "talk", "other")}
        theirs = {session: [viewings(server, "E", viewer, session) for viewer in (UUID, SCRIPT)]
                  for session in before}
        assert theirs["talk"][0][0] == 2 and theirs["other"][0][0] == 1, theirs
        untouched = audience(server, "F")
        stays = server.viewer("E", stay[0])["viewings"]
        for viewer in (UUID, SCRIPT):
            answer = erase(server, "E", viewer)
            assert answer.status == 204 and answer.body == b"", answer
            assert server.get(f"{event_path('E')}/viewers/{quote(viewer)}").status == 404
            assert erase(server, "E", viewer).status == 404
        for session, figures in before.items():
            gone = [row for row in theirs[session] if row[0]]
            now = audience(server, "E", session)
            assert now == {"attended": figures["attended"] - len(gone),
                           "logins": figures["logins"] - sum(row[0] for row in gone),
                           "total": figures["total"] - sum(row[1] for row in gone),
                           "peak": figures["peak"]}, (session, figures, now)
        assert server.viewer("E", stay[0])["viewings"] == stays
        # Another event keeps its own people until they are erased there.
        assert server.viewer("F", UUID)["name"] == NAME and audience(server, "F") == untouched
        for viewer in (UUID, SCRIPT):
            assert erase(server, "F", viewer).status == 204
        nowhere(server, ("E", "F"), (stay[0],), UUID, SCRIPT, NAME)
        after = {session: audience(server, "E", session) for session in before}
        for stop in (server.terminate, server.kill):
            assert stop() in (0, -9)
            assert not in_files(server.data, UUID, SCRIPT, NAME)
            server.start()
            nowhere(server, ("E", "F"), (stay[0],), UUID, SCRIPT, NAME)
            now = {session: audience(server, "E", session) for session in before}
            assert now == after, (now, after)

        # Who comes back is somebody new.
        server.beat_ok("E", UUID, "talk")
        back = server.viewer("E", UUID)
        assert back["name"] == "" and back["groups"] == [], back
        assert len(back["viewings"]) == 2, back
        assert audience(server, "E", "talk")["attended"] == after["talk"]["attended"] + 1
        assert server.terminate() == 0
        server.start()
        assert len(server.viewer("E", UUID)["viewings"]) == 2
        assert audience(server, "E", "talk")["attended"] == after["talk"]["attended"] + 1


def test_killed_after_the_answer():
    """kill -9 right after the answer: the erasure holds, and nobody else is touched"""
    with Server(**OFTEN) as server:
        for viewer in (UUID, "stay"):
            server.put_profile("E", viewer, name="N", groups=["g"])
        attend(server, "E", [UUID, "stay"], times=1)
        assert server.active("E", "other")[0] == 1
        assert server.live("E", "talk")["countByUserGroup"] == {"g": 2}
        assert erase(server, "E", UUID).status == 204
        assert server.active("E")[0] == 1 and server.active("E", "other")[0] == 0
        live = server.live("E", "talk")
        assert live["countByUserGroup"] == {"g": 1} and live["viewerCount"] == 1, live
        assert live["countByViewingCountry"] == {"ZZ": 1}, live
        server.kill()
        assert not in_files(server.data, UUID), in_files(server.data, UUID)
        server.start()
        nowhere(server, ("E",), ("stay",), UUID)
        assert server.attended("E") == 1 and server.attended("E", "talk") == 1
        assert server.viewer("E", "stay")["viewings"]


def test_killed_before_the_answer():
    """kill -9 in the middle of an erasure: afterwards it goes on, or can be asked for again"""
    chosen = random.Random(seed())
    done = 0
    with Server(**OFTEN) as server:
        for number in range(rounds(12)):
            viewer = f"{number}-{UUID}"
            server.put_profile("E", viewer, name=NAME, groups=["g"])
            attend(server, "E", [viewer, "stay"], times=1)
            with server.connect() as connection:
                connection.send("DELETE", f"{event_path('E')}/viewers/{viewer}")
                time.sleep(chosen.uniform(0, 0.015))
                server.kill()
            server.start()
            path = f"{event_path('E')}/viewers/{viewer}"
            if server.attended("E") == 1:
                # The journal had it: it goes on by itself, and the viewer is counted in nothing.
                wait_until(lambda: server.get(path).status == 404, "the erasure is done")
                done += 1
            else:
                assert server.attended("E") == server.attended("E", "talk") == 2
                there = server.viewer("E", viewer)
                assert there["name"] in (NAME, ""), (number, there)  # the profile goes first
                server.beat_ok("E", viewer, "talk")
                assert audience(server, "E", "talk")["attended"] == 2
                assert erase(server, "E", viewer).status == 204
            nowhere(server, ("E",), ("stay",), viewer, NAME)
            assert audience(server, "E", "talk")["attended"] == 1
        print(f"# {done} erasures were in force when the process was killed")


def test_many_at_once():
    """Erasures from many connections at one time are all done, and take one another's passes"""
    viewers = [f"{number}-{UUID}" for number in range(40)]
    with Server(**OFTEN) as server:
        attend(server, "E", viewers + ["stay"], times=1)
        statuses = []

        def erase_some(part):
            with server.connect() as connection:
                for viewer in viewers[part::8]:
                    connection.send("DELETE", f"{event_path('E')}/viewers/{viewer}")
                    statuses.append(connection.receive().status)

        threads = [threading.Thread(target=erase_some, args=(part,)) for part in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [204] * 40, statuses
        nowhere(server, ("E",), ("stay",), UUID)
        for session in (None, "talk"):
            assert audience(server, "E", session)["attended"] == 1
        assert server.active("E")[0] == 1


def test_profile_alone():
    """A viewer of whom only a profile is known, or only one heartbeat, is erased like any other"""
    with Server(**OFTEN) as server:
        server.put_profile("E", SCRIPT, name=NAME, groups=["g"])
        assert in_tables(server.data, SCRIPT)
        assert erase(server, "E", SCRIPT).status == 204
        nowhere(server, ("E",), (), SCRIPT, NAME)
        server.beat_ok("G", UUID)
        assert erase(server, "G", UUID).status == 204
        nowhere(server, ("G",), (), UUID)
        for event, viewer in (("E", UUID), ("none", UUID), ("G", SCRIPT)):
            answer = erase(server, event, viewer)
            assert answer.status == 404 and answer.json["field"] == "viewerId", answer
        assert server.attended("G") == 0 and server.active("G")[0] == 0


def test_asleep():
    """A viewer of an event that has left memory is erased from the record store, and so is an event"""
    with Server(**SHORT, event_idle="1s") as server:
        for event in ("E", PURGED):
            attend(server, event, [UUID, SCRIPT, "stay"], times=1)
        wait_until(lambda: server.metrics()["novabeat_events"] == 0, "the events leave memory",
                   seconds=60, pause=0.2)
        assert in_files(server.data, UUID)
        assert server.request("DELETE", event_path(PURGED)).status == 204
        assert server.attended(PURGED) == 0
        assert erase(server, "E", SCRIPT).status == 204
        assert erase(server, "E", UUID).status == 204
        wait_until(lambda: not in_tables(server.data, UUID), "the purged rows are gone", seconds=90,
                   pause=0.2)
        wait_until(lambda: not in_files(server.data, UUID, PURGED), "the purged bytes are gone",
                   seconds=30, pause=0.2)
        nowhere(server, ("E",), ("stay",), UUID, SCRIPT)
        assert audience(server, "E")["attended"] == 1
        server.kill()
        server.start()
        nowhere(server, ("E",), ("stay",), UUID, SCRIPT, PURGED)
        assert audience(server, "E")["attended"] == 1


def test_under_load():
    """Erasures while others and the erased ones beat: no count is lost, no erased one stays"""
    with Server(**OFTEN) as server:
        ended = threading.Event()
        refused = []

        def beats(viewers):
            with server.connect() as connection:
                while not ended.is_set():
                    for viewer in viewers:
                        answer = connection.request("POST", event_path("E") + "/heartbeat",
                                                    {"viewerId": viewer})
                        if answer.status != 200:
                            refused.append((viewer, answer.status))

        others = [f"other-{number}" for number in range(50)]
        threads = [threading.Thread(target=beats, args=(others[part::2],)) for part in (0, 1)]
        for thread in threads:
            thread.start()
        try:
            for number in range(20):
                viewer = f"gone-{number}-{UUID}"
                server.beat_ok("E", viewer)
                assert erase(server, "E", viewer).status == 204, number
            # One who beats on while erased: refused meanwhile, or new afterwards; never both.
            beating = threading.Thread(target=beats, args=([SCRIPT],))
            beating.start()
            threads.append(beating)
            for _ in range(5):
                wait_until(lambda: server.get(f"{event_path('E')}/viewers/{quote(SCRIPT)}").status
                           == 200, "the viewer is there")
                assert erase(server, "E", SCRIPT).status in (204, 404)
        finally:
            ended.set()
            for thread in threads:
                thread.join()
        assert all(status == 503 and viewer == SCRIPT for viewer, status in refused), refused[:9]
        assert erase(server, "E", SCRIPT).status in (204, 404)
        nowhere(server, ("E",), ("other-1",), UUID, SCRIPT)
        assert audience(server, "E")["attended"] == server.active("E")[0] == 50
        assert server.terminate() == 0
        server.start()
        assert server.attended("E") == 50
        nowhere(server, ("E",), ("other-1",), UUID, SCRIPT)


# ---- events ----

def test_purge():
    """A purged event is nowhere, and neither are its people; others stay; its name can come again"""
    with Server(**OFTEN) as server:
        server.request("PUT", event_path(PURGED), {"title": NAME,
                                                   "sessions": [{"sessionId": "declared-77aa"}]})
        for event in (PURGED, "stays"):
            server.put_profile(event, f"{event}-{UUID}", name=f"{event} {NAME}", groups=["g"])
            attend(server, event, [f"{event}-{UUID}", f"{event}-2"], times=1)
        stored(server, PURGED, (f"{PURGED}-{UUID}",))
        texts = (PURGED, "declared-77aa")
        before = audience(server, "stays")
        answer = server.request("DELETE", event_path(PURGED))
        assert answer.status == 204 and answer.body == b"", answer
        assert server.active(PURGED)[0] == 0 and server.attended(PURGED) == 0
        assert server.overview(PURGED)["sessions"] == []
        assert server.get_json(event_path(PURGED) + "/viewers")["viewers"] == []
        assert server.request("DELETE", event_path(PURGED)).status in (204, 404)
        for path in ("", "/sessions/declared-77aa", "/viewers/" + f"{PURGED}-{UUID}"):
            assert server.get(event_path(PURGED) + path).status == 404, path
        assert PURGED not in server.get("/analytics/events").body.decode()
        assert audience(server, "stays") == before
        # The rows go in the background, in small steps.
        wait_until(lambda: not in_tables(server.data, *texts), "the rows are gone", seconds=90,
                   pause=0.2)
        wait_until(lambda: not in_files(server.data, *texts),
                   "the bytes are gone", seconds=30, pause=0.2)
        server.kill()
        server.start()
        assert not in_files(server.data, *texts), in_files(server.data, *texts)
        assert server.attended(PURGED) == 0 and audience(server, "stays") == before

        server.beat_ok(PURGED, "new", "talk")
        assert server.attended(PURGED) == 1 and server.peak(PURGED)[0] == 1
        assert server.get_json(event_path(PURGED)) == {"eventId": PURGED, "sessions": []}
        assert server.terminate() == 0
        server.start()
        assert server.attended(PURGED) == 1 and audience(server, "stays") == before


def test_purge_of_the_unknown(server):
    """An event that nobody knows cannot be purged, or is as good as purged"""
    answer = server.request("DELETE", event_path("never-heard-of"))
    assert answer.status in (204, 404), answer
    server.healthy()


if __name__ == "__main__":
    run(test_erase, test_killed_after_the_answer, test_killed_before_the_answer, test_many_at_once,
        test_profile_alone, test_asleep, test_under_load, test_purge, test_purge_of_the_unknown,
        server=Server())
