#!/usr/bin/env python3
"""The counts and what the record store says about viewings, while heartbeats come in.

Goal: registered profiles, logins, attendance and who was there in a range; viewing times, retention
and how many were watching at any past moment: right after a heartbeat is acknowledged they are
those of the naive model, for the time that the answer carries, also after stops and kills.  Bad
parameters are refused by name, and many readers are served from one computation.
"""
# timeout: 240
import random
import threading
import time

import figures as ask
from harness import Server, event_path, latest_viewing, quote, rounds, run, seed, wait_until
from model import Beat, Event, Settings, compare_counts, compare_report, compare_times
from test_model import Play, flags


def compare_all(server, play):
    for session in [None] + play.event.sessions():
        compare_counts(server, play.event_id, play.event, session)
        compare_times(server, play.event_id, play.event, session)
    session = play.choice.choice([None] + play.event.sessions())
    newest = play.event.audience(session).beats
    if newest:
        at = play.choice.choice(newest).time
        compare_report(server, play.event_id, play.event, session, play.choice.choice((1, 3, None)))
        compare_report(server, play.event_id, play.event, session, start=at)
        compare_report(server, play.event_id, play.event, session, 2, end=at)
    # An answer is given again for a second: no heartbeat may come in the same ms as its time, or
    # the model would not know which of them was first.
    time.sleep(0.003)


def test_random_play():
    """Random heartbeats: every figure equals the model's, also across stops and kills"""
    start = seed()
    with Server(**flags()) as server:
        for number in range(rounds(4)):
            choice = random.Random(start + number)
            play = Play(server, f"times-{number}", choice, 4 + number * 6, number % 4)
            # Their groups stay as they are: a report shows the newest ones.
            play.put_profiles()
            for step in range(120):
                play.beat()
                if step % 17 == 0:
                    compare_all(server, play)
                pause = choice.random()
                if pause < 0.05:
                    time.sleep(choice.uniform(0.2, 1.5))
                    compare_all(server, play)
                elif pause < 0.3:
                    time.sleep(choice.uniform(0.0, 0.03))
                if choice.random() < 0.015:
                    server.kill() if choice.random() < 0.5 else server.terminate()
                    server.start()
                    compare_all(server, play)
            compare_all(server, play)


def test_nobody(server):
    """An event that nobody has seen has figures, too: zeros and empty lists"""
    for session in (None, "talk"):
        for what in ("total-login-count", "all-time-active-count"):
            assert server.count(what, "void", session)[0] == 0
        assert ask.seen(server, "void", session, 0)["count"] == 0
        assert ask.concurrent(server, "void", session)["points"] == []
        stats = ask.viewing_stats(server, "void", session)
        assert stats["startMs"] is None and stats["retention"] == [], stats
        for name in ("viewers", "viewings", "totalMs", "averageMs", "medianMs", "p90Ms"):
            assert stats[name] == 0, stats
        assert len(stats["histogram"]) == 12 and stats["histogram"][-1]["toMs"] is None, stats
    assert server.count("count", "void")[0] == 0
    points = ask.concurrent(server, "void", None, 1000, 3000, 1000)["points"]
    assert points == [{"timestamp": at, "count": 0} for at in (1000, 2000, 3000)], points


def test_profiles(server):
    """viewers/count is the number of profiles, whoever came"""
    server.beat_ok("people", "stranger")
    assert server.count("count", "people")[0] == 0
    for number in range(7):
        answer = server.put_profile("people", f"p{number % 5}", name="N")
        assert answer.status in (200, 201, 204), answer
    wait_until(lambda: server.count("count", "people")[0] == 5, "five profiles are counted", 5)
    assert server.count("count", "other-people")[0] == 0


def test_declared_start(server):
    """The retention curve begins at the session's declared start, else at the first viewing"""
    declared = server.active("stage")[1] - 150000
    event = Event(Settings())
    for session, start in (("early", declared), (None, declared + 60000), ("late", None),
                           ("ahead", declared + 3600000)):
        if start is not None:
            answer = server.request("PUT", event_path("stage", session), {"startMs": start})
            assert answer.status in (200, 201, 204), answer
    for viewer, session in (("ada", "early"), ("bob", "late"), ("cleo", "ahead")):
        server.beat_ok("stage", viewer, session)
        viewing = latest_viewing(server.viewer("stage", viewer))
        event.add(Beat(viewing["endedMs"], viewer), session)
    time.sleep(0.003)
    for session, start in (("early", declared), (None, declared + 60000), ("late", None),
                           ("ahead", declared + 3600000)):
        compare_times(server, "stage", event, session, start)
    shown = ask.viewing_stats(server, "stage", "early")["retention"]
    assert [minute["viewers"] for minute in shown] == [0, 0, 1], shown
    assert ask.viewing_stats(server, "stage", "ahead")["retention"] == []


def test_future(server):
    """A range that lies ahead is empty, and one without an end reaches to now"""
    server.beat_ok("ahead", "ada")
    now = server.active("ahead")[1]
    answer = ask.concurrent(server, "ahead", None, now + 3600000)
    assert answer["points"] == [], answer
    answer = ask.concurrent(server, "ahead", None, now - 5000, now + 3600000, 1000)
    times = [point["timestamp"] for point in answer["points"]]
    assert times == list(range(now - 5000, answer["timestamp"] + 1, 1000)), answer
    assert [point["count"] for point in answer["points"] if point["timestamp"] < now] == [0] * 5
    assert ask.seen(server, "ahead", None, now + 3600000)["count"] == 0
    assert ask.seen(server, "ahead", None, None, now - 5000)["count"] == 0
    assert ask.seen(server, "ahead", None, now - 5000)["count"] == 1


BAD_NUMBERS = ("", "x", "-1", "1.5", "1e3", "%20", "0x10", str((1 << 53) + 1), "9" * 40, "1%00",
               "%GG")


def test_bad_parameters(server):
    """Bad parameters: 400, and the field is named"""
    for session in (None, "talk"):
        base = event_path("bad", session) + "/viewers/"
        cases = [(f"{base}{what}?{name}={value}", name)
                 for what, names in (("concurrent", ("from", "to", "step")),
                                     ("all-time-active-count", ("from", "to")))
                 for name in names for value in BAD_NUMBERS]
        cases += [(base + "concurrent?from=2&to=1", "to"), (base + "concurrent?step=0", "step"),
                  (base + "concurrent?from=0&to=10000&step=1", "step"),
                  (base + "concurrent?from=0", "step"),
                  (base + "all-time-active-count?from=2&to=1", "to")]
        for path, field in cases:
            answer = server.get(path)
            assert answer.status == 400 and answer.json["field"] == field, (path, answer)
            assert answer.headers["content-type"] == "application/problem+json", answer.headers
        answer = server.get(base + "concurrent?from=0&to=9999&step=1")
        assert answer.status == 200 and len(answer.json["points"]) == 10000, answer
    for what in ("viewing-stats", "concurrent", "count", "total-login-count"):
        answer = server.get(f"/analytics/events/{quote('a b')}/viewers/{what}")
        assert answer.status == 400 and answer.json["field"] == "eventId", answer
        answer = server.request("POST", f"/analytics/events/bad/viewers/{what}", {})
        assert answer.status == 405, answer


def test_many_readers(server):
    """Two hundred readers at once get one computation, all of them an answer"""
    for number in range(50):
        server.beat_ok("crowd", f"v{number}", "talk" if number % 2 else None)
    before = server.metrics()["novabeat_queries_total"]
    paths = [event_path("crowd") + "/viewers/viewing-stats",
             event_path("crowd", "talk") + "/viewers/viewing-stats",
             event_path("crowd") + "/viewers/concurrent?step=1000",
             event_path("crowd") + "/viewers/concurrent?from=0&to=9&step=0"]
    readers = 200
    answers = []
    gate = threading.Barrier(readers)
    connections = [server.connect() for _ in range(readers)]

    def read(number):
        gate.wait()
        answers.append((number % 4, connections[number].request("GET", paths[number % 4])))

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for connection in connections:
        connection.close()
    asked = server.metrics()["novabeat_queries_total"] - before
    assert len(answers) == readers, len(answers)
    for kind, answer in answers:
        assert answer.status == (400 if kind == 3 else 200), answer
        if kind < 2:
            assert answer.json["viewers"] == (50, 25)[kind], answer
    # Each of the four workers may compute each of the three once a second, of which this takes few.
    assert asked <= 3 * 4 * 4, f"{asked} queries for {readers} readers"


if __name__ == "__main__":
    run(test_random_play, test_nobody, test_profiles, test_declared_start, test_future,
        test_bad_parameters, test_many_readers, server=Server(io_threads=4))
