#!/usr/bin/env python3
"""A trusted back end sends many heartbeats in one request, as NDJSON.

Goal: good lines count, bad ones are named by their line number and a reason, and one bad line
spoils no other.
"""
import json

from harness import Server, run


def test_good_lines(server):
    """Every good line counts, with its groups, country and session"""
    lines = [{"event": "batch", "session": "talk", "viewer": f"viewer-{number}",
              "country": "HK" if number % 2 else "US", "groups": ["staff", "press"]}
             for number in range(500)]
    answer = server.batch(lines)
    assert answer.status == 200, answer
    assert answer.json["accepted"] == 500 and answer.json["rejected"] == [], answer
    for session in (None, "talk"):
        assert server.active("batch", session)[0] == 500
        live = server.live("batch", session)
        assert live["countByUserGroup"] == {"staff": 500, "press": 500}, live
        assert live["countByViewingCountry"] == {"HK": 250, "US": 250}, live


def test_bad_lines(server):
    """Bad lines are named with their number; the good ones around them count"""
    lines = [
        '{"event":"mixed","viewer":"ada"}',
        '{"event":"mixed","viewer":"bob"',
        '{"event":"mi xed","viewer":"cleo"}',
        '{"event":"mixed","viewer":""}',
        '{"event":"mixed"}',
        '{"viewer":"dan"}',
        '["mixed","ada"]',
        '{"event":"mixed","viewer":"eve","session":"a/b"}',
        '{"event":"mixed","viewer":7}',
        '{"event":"mixed","viewer":"' + "x" * 129 + '"}',
        '{"event":"mixed","viewer":"fay","groups":"staff"}',
        '{"event":"mixed","viewer":"gus","hidden":"yes"}',
        '{"event":"mixed","viewer":"hal"} {"event":"mixed","viewer":"ian"}',
        '{"event":"mixed","viewer":"zoe"}',
    ]
    answer = server.request("POST", "/analytics/heartbeats", "\n".join(lines) + "\n")
    assert answer.status == 200, answer
    assert answer.json["accepted"] == 2, answer
    assert [entry["line"] for entry in answer.json["rejected"]] == list(range(2, 14)), answer
    assert all(entry["reason"] for entry in answer.json["rejected"]), answer
    assert server.attended("mixed") == 2


def test_flags_and_repeats(server):
    """hidden and leaving work as in a single heartbeat; a viewer counts once"""
    answer = server.batch([{"event": "flags", "viewer": "ada"},
                           {"event": "flags", "viewer": "ada", "hidden": True},
                           {"event": "flags", "viewer": "ghost", "leaving": True},
                           {"event": "flags", "viewer": "bob", "session": "s"}])
    assert answer.json["accepted"] == 4, answer
    assert server.active("flags")[0] == 2
    assert server.attended("flags") == 2
    assert server.active("flags", "s")[0] == 1


def test_line_ends(server):
    """The last line needs no line end; CRLF and empty lines do no harm"""
    body = b'{"event":"ends","viewer":"ada"}\r\n\n{"event":"ends","viewer":"bob"}'
    answer = server.request("POST", "/analytics/heartbeats", body)
    assert answer.status == 200 and answer.json["accepted"] == 2, answer
    assert answer.json["rejected"] == [], answer
    assert server.attended("ends") == 2


def test_nothing(server):
    """An empty batch accepts nothing and is no error that harms"""
    answer = server.request("POST", "/analytics/heartbeats", b"")
    assert answer.status in (200, 400), answer
    if answer.status == 200:
        assert answer.json == {"accepted": 0, "rejected": []}, answer
    server.healthy()


def test_many_events(server):
    """One batch may hold many events"""
    answer = server.batch([{"event": f"many-{number % 20}", "viewer": f"viewer-{number}"}
                           for number in range(400)])
    assert answer.json["accepted"] == 400, answer
    for number in range(20):
        assert server.attended(f"many-{number}") == 20


def test_acknowledged_in_order(server):
    """Batches and single heartbeats on one pipelined connection are answered in order"""
    with server.connect() as connection:
        for number in range(50):
            connection.send("POST", "/analytics/heartbeats",
                            json.dumps({"event": "pipe", "viewer": f"batch-{number}"}) + "\n")
            connection.send("POST", "/analytics/events/pipe/heartbeat",
                            {"viewerId": f"single-{number}"})
        for number in range(50):
            assert connection.receive().json["accepted"] == 1
            assert "intervalMs" in connection.receive().json
    assert server.attended("pipe") == 100


if __name__ == "__main__":
    run(test_good_lines, test_bad_lines, test_flags_and_repeats, test_line_ends, test_nothing,
        test_many_events, test_acknowledged_in_order, server=Server())
