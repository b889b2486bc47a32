#!/usr/bin/env python3
"""Reports of an event's viewers, as JSON pages and as CSV, and the figures of long events.

Goal: random traces of hours, replayed into a folder and served, give the naive model's rows,
viewing times, histogram, retention curve and past counts, before and after a restart; CSV holds the
same rows as the JSON pages, for many viewers, for hostile names, and for a peer that reads slowly,
without memory growing; bad requests are refused by name; an answer that breaks off is seen to.
"""
# timeout: 300
import json
import os
import random
import re
import shutil
import signal
import socket
import tempfile
import time

import figures as ask
from harness import BINARY, Closed, Server, command, event_path, request_bytes, run, seed
from model import Beat, Event, Settings, compare_counts, compare_report, compare_times

GROUPS = ((), ("staff",), ("press", "staff"), ("vip",), ("\u5a92\u4f53", "vip"))
COUNTRIES = ("HK", "US", "DE", "ZZ")


class Replayed:
    """A data folder that a trace was replayed into, for the length of a test."""

    def __init__(self, lines):
        self.top = tempfile.mkdtemp(prefix="novabeat-reports-")
        self.data = os.path.join(self.top, "data")
        trace = os.path.join(self.top, "trace.ndjson")
        with open(trace, "w", encoding="utf-8") as out:
            for line in lines:
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
        try:
            command("replay", "--data", self.data, trace)
        except BaseException:
            shutil.rmtree(self.top)
            raise
        os.unlink(trace)

    def __enter__(self):
        return self.data

    def __exit__(self, *_):
        shutil.rmtree(self.top)
        return False


# ---- long events, compared with the model ----

def random_trace(choice, event_id, event, end, viewers, sessions):
    """Lines of a trace of some hours that ends then; the model's event gets the same heartbeats."""
    beats = []
    for number in range(viewers):
        groups = choice.choice(GROUPS)
        at = end - choice.randrange(6 * 3600000)
        while at <= end and choice.random() < 0.995:
            beats.append((at, f"viewer-{number}", choice.choice(sessions), groups,
                          choice.choice(COUNTRIES), choice.choices(
                              ("plain", "hidden", "leaving"), (20, 2, 1))[0]))
            at += choice.choices((choice.randrange(60000), choice.randrange(200000),
                                  choice.randrange(3600000)), (12, 3, 0.3))[0]
    beats.sort()
    lines = []
    for at, viewer, session, groups, country, kind in beats:
        event.add(Beat(at, viewer, kind == "hidden", kind == "leaving", groups, country), session)
        lines.append({"ts": at, "event": event_id, "session": session, "viewer": viewer,
                      "groups": list(groups), "country": country, "hidden": kind == "hidden",
                      "leaving": kind == "leaving"})
    return lines


def compare_long(server, event_id, event, choice):
    for session in [None] + event.sessions():
        compare_counts(server, event_id, event, session)
        compare_times(server, event_id, event, session)
        beats = event.audience(session).beats
        first, last = sorted(choice.choice(beats).time for _ in range(2))
        for limit, filters in ((None, {}), (1, {"minimum": 30}), (7, {"start": first}),
                               (3, {"end": last}), (None, {"start": first, "end": last}),
                               (5, {"groups": ("vip", "nobody")}),
                               (2, {"groups": ("staff",), "minimum": 5, "start": first,
                                    "end": last}),
                               (None, {"groups": ("nobody",)}),
                               (4, {"start": first, "end": first})):
            rows = compare_report(server, event_id, event, session, limit, **filters)
            check_csv(server, event_id, session, rows, **filters)


def check_csv(server, event_id, session, rows, **filters):
    body = ask.report_body(session, format="csv", **filters)
    lines = ask.read_csv(ask.ask_report(server, event_id, body))
    assert len(lines) == len(rows), f"{len(lines)} rows as CSV, {len(rows)} as JSON"
    for line, row in zip(lines, rows):
        expected = {
            "viewerId": guarded(row["viewerId"]), "name": guarded(row["name"]),
            "groups": guarded(";".join(re.sub(r"([;\\])", r"\\\1", group)
                                       for group in row["groups"])),
            "country": row["country"], "firstSeen": iso(row["firstSeenMs"]),
            "lastSeen": iso(row["lastSeenMs"]), "viewings": str(row["viewings"]),
            "minutes": f"{(row['totalMs'] + 30) // 60 / 1000:.3f}", "totalMs": str(row["totalMs"]),
            "firstSeenMs": str(row["firstSeenMs"]), "lastSeenMs": str(row["lastSeenMs"])}
        assert line == expected, f"CSV {line}, JSON {row}"


def guarded(text):
    """A cell that a spreadsheet would run gets an apostrophe."""
    return "'" + text if re.match(r"'*[=+\-@\t\r]", text) else text


def iso(ms, offset=0, zone="Z"):
    seconds = time.gmtime(ms // 1000 + offset)
    return time.strftime("%Y-%m-%dT%H:%M:%S", seconds) + f".{ms % 1000:03}{zone}"


def test_long_events():
    """Events of hours: all figures and reports equal the model's, also after a restart"""
    choice = random.Random(seed())
    now = int(time.time() * 1000)
    events = {}
    lines = []
    for number, (viewers, sessions) in enumerate(((40, ()), (25, ("a", "b")), (1, ("a",)))):
        event_id = f"long-{number}"
        events[event_id] = Event(Settings())
        # One is long over; in one, some are still alive.
        end = now - (0 if number == 1 else 3600000)
        lines += random_trace(choice, event_id, events[event_id], end, viewers,
                              (None,) + tuple(sessions))
    lines.sort(key=lambda line: line["ts"])
    with Replayed(lines) as data:
        for _ in range(2):
            with Server(data=data) as server:
                for event_id, event in events.items():
                    compare_long(server, event_id, event, choice)


# ---- many rows, and hostile ones ----

VIEWERS = 20000
EVENT = "many"
ZONES = {"+08:00": (8 * 3600, "+08:00"), "-0330": (-3 * 3600 - 1800, "-03:30"), "UTC": (0, "Z")}


def many_lines(count=VIEWERS):
    start = int(time.time() * 1000) - 7200000
    return [{"ts": start + number // 10, "event": EVENT, "viewer": f"viewer-{number}",
             "session": "talk" if number % 3 == 0 else None} for number in range(count)]


def test_many_rows(server):
    """CSV of 20,000 viewers is whole, and equal to the JSON pages"""
    rows, _ = ask.report(server, EVENT)
    assert [row["viewerId"] for row in rows] == [f"viewer-{n}" for n in range(VIEWERS)]
    check_csv(server, EVENT, None, rows)
    rows, _ = ask.report(server, EVENT, "talk", limit=999)
    assert [row["viewerId"] for row in rows] == [f"viewer-{n}" for n in range(0, VIEWERS, 3)]
    check_csv(server, EVENT, "talk", rows)


HOSTILE = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "'=1", "''@x", "'plain", "a,b", "say "
           '"hi"', '"', "semi;colon", "back\\slash", "\u05e9\u05dc\u05d5\u05dd \u0639\u0631\u0628",
           "\u202eright to left", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u4e2d\u6587",
           "<script>alert(1)</script>", "%0A", "e\u0301", " space ", "\u00a0", "NULL", "\ufeffbom",
           "\u2028line", "x" * 64)


def test_hostile_names(server):
    """Names, ids and groups of any script survive JSON and CSV, and no cell is a formula"""
    for text in HOSTILE:
        answer = server.put_profile("hostile", text, name=text, groups=[text, "a;b\\"])
        assert answer.status in (200, 201, 204), (text, answer)
        server.beat_ok("hostile", text)
    rows, _ = ask.report(server, "hostile")
    assert [row["viewerId"] for row in rows] == list(HOSTILE)
    assert [row["name"] for row in rows] == list(HOSTILE)
    assert [row["groups"] for row in rows] == \
        [sorted((text, "a;b\\"), key=lambda group: group.encode()) for text in HOSTILE]
    check_csv(server, "hostile", None, rows)
    for text in HOSTILE:
        chosen, _ = ask.report(server, "hostile", groups=[text])
        assert [row["viewerId"] for row in chosen] == [text], (text, chosen)
    lines = ask.read_csv(ask.ask_report(server, "hostile", {}, {"Accept": "text/csv"}))
    for line in lines:
        for cell in line.values():
            assert not re.match(r"[=+\-@\t\r]", cell), f"a spreadsheet runs {cell!r}"
    for name in ("line\nend", "tab\there", "\rreturn", "\u0000", "\u0085"):
        answer = server.put_profile("hostile", "control", name=name)
        assert answer.status == 400 and answer.json["field"] == "name", (name, answer)


def test_csv_head(server):
    """CSV comes as a file with a safe name, in the wanted zone, by format or by Accept"""
    server.beat_ok("..", "ada", "~talk-1")
    now = server.active("..")[1]
    for body, headers, name in (
            ({"format": "csv"}, {}, "report-...csv"),
            ({}, {"Accept": "text/csv"}, "report-...csv"),
            ({}, {"Accept": "application/json;q=0.5, text/csv; q=0.9, */*"}, "report-...csv"),
            ({"format": "csv", "sessionId": "~talk-1"}, {"Accept": "application/json"},
             "report-..-~talk-1.csv")):
        answer = ask.ask_report(server, "..", body, headers)
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"', answer
        assert answer.headers["cache-control"] == "no-store", answer.headers
        assert len(ask.read_csv(answer)) == 1, answer
    for accept in ("*/*", "application/json, text/csv", "text/csv;q=0", "text/csvx", "text/html",
                   "application/json, text/csv;q=0.3", ""):
        answer = ask.ask_report(server, "..", {}, {"Accept": accept})
        assert answer.headers["content-type"] == "application/json", (accept, answer.headers)
    for zone, (offset, text) in ZONES.items():
        line = ask.read_csv(ask.ask_report(server, "..", {"format": "csv", "timeZone": zone}))[0]
        assert line["firstSeen"] == iso(int(line["firstSeenMs"]), offset, text), line
        assert abs(int(line["firstSeenMs"]) - now) < 60000, line
    line = ask.read_csv(ask.ask_report(
        server, "..", {"format": "csv", "timeZone": "Asia/Hong_Kong"}))[0]
    assert line["lastSeen"] == iso(int(line["lastSeenMs"]), 8 * 3600, "+08:00"), line
    answer = ask.ask_report(server, "nobody-came", {"format": "csv"})
    assert ask.read_csv(answer) == [], answer


BAD_BODIES = (
    ("sessionId", (1, True, [], {}, "", "a b", "x" * 65, "a/b")),
    ("from", ("1", -1, 1.5, 1e300, True, [], (1 << 53) + 1)),
    ("to", ("1", -1, 1.5, True, {}, 10 ** 30)),
    ("groups", ("vip", 1, {}, [1], [""], ["x" * 65], ["a\nb"], [f"g{n}" for n in range(33)],
                [["vip"]])),
    ("minimumMinutes", ("5", -1, 0.5, True, [], 527041)),
    ("limit", ("5", 0, -1, 1001, 1.5, True, [])),
    ("cursor", (1, "", "x", "1", "1.", ".1", "1.2.3", "-1.5", "1.0", "4294967295.1", " 1.1",
                "1.99999999999999999", "9" * 100 + ".1", "0.9007199254740992", True, [])),
    ("format", ("xml", "CSV", "", 1, True, [])),
    ("timeZone", (1, "", "Mars/Olympus", "../../etc/passwd", "+25:00", "x" * 65, True, [], "UTC\n",
                  "/etc/localtime")),
)


def test_bad_requests(server):
    """Each wrong member of a report is refused: 400, and the field is named"""
    server.beat_ok("bad", "ada")
    for extra in ({}, {"format": "csv"}):
        for field, values in BAD_BODIES:
            for value in values:
                answer = ask.ask_report(server, "bad", dict(extra, **{field: value}))
                assert answer.status == 400 and answer.json["field"] == field, \
                    (field, value, answer)
                assert answer.headers["content-type"] == "application/problem+json", answer.headers
    for body, field in (({"from": 2, "to": 1}, "to"), ({"format": "csv", "limit": 5}, "limit"),
                        ({"format": "csv", "cursor": "1.1"}, "cursor")):
        answer = ask.ask_report(server, "bad", body)
        assert answer.status == 400 and answer.json["field"] == field, (body, answer)
    for body in ("[]", "{", '{"from":1,}', "null", '{"groups":["\\ud800"]}', b'{"format":"\xff"}'):
        answer = ask.ask_report(server, "bad", body)
        assert answer.status == 400, (body, answer)
    answer = ask.ask_report(server, "a b", {})
    assert answer.status == 400 and answer.json["field"] == "eventId", answer
    for body in (None, "", "{}", {name: None for name, _ in BAD_BODIES},
                 {"unknown": 1, "groups": []}):
        answer = ask.ask_report(server, "bad", body)
        assert answer.status == 200 and len(answer.json["viewers"]) == 1, (body, answer)
        assert "next" not in answer.json, answer
    answer = ask.ask_report(server, "bad", {"cursor": "4294967294.1"})
    assert answer.status == 200 and answer.json["viewers"] == [], answer
    answer = server.get(event_path("bad") + "/heartbeat-report")
    assert answer.status == 405, answer


def test_one_moment(server):
    """Pages are of one moment: who comes between them is not in the later ones"""
    for number in range(5):
        server.beat_ok("moment", f"v{number}")
    first = ask.ask_report(server, "moment", {"limit": 2}).json
    time.sleep(0.01)
    for number in (0, 4, 5, 6):
        server.beat_ok("moment", f"v{number}")
    second = ask.ask_report(server, "moment", {"limit": 2, "cursor": first["next"]}).json
    third = ask.ask_report(server, "moment", {"limit": 2, "cursor": second["next"]}).json
    rows = first["viewers"] + second["viewers"] + third["viewers"]
    assert [row["viewerId"] for row in rows] == [f"v{n}" for n in range(5)], rows
    assert "next" not in third and third["timestamp"] == first["timestamp"], third
    assert all(row["lastSeenMs"] <= first["timestamp"] for row in rows), rows
    rows, _ = ask.report(server, "moment")
    assert len(rows) == 7, rows


# ---- peers that read slowly, or not at all ----

def memory(server):
    """Resident bytes of the server."""
    with open(f"/proc/{server.process.pid}/status", encoding="ascii") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) * 1024


def instrumented():
    with open(BINARY, "rb") as binary:
        return re.search(rb"__(asan|tsan)_init", binary.read()) is not None


class Slow:
    """A peer with a small receive buffer that asks for the whole report and reads when told."""

    def __init__(self, server, body):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        self.socket.settimeout(60)
        self.socket.connect(server.address)
        self.socket.sendall(request_bytes("POST", event_path(EVENT) + "/heartbeat-report", body))
        self.got = bytearray()

    def read(self, bytes_max):
        more = self.socket.recv(bytes_max)
        self.got += more
        return more

    def read_all(self):
        while not self.got.endswith(b"\r\n0\r\n\r\n"):
            if not self.read(1 << 16):
                raise Closed("the answer is not whole")
        return bytes(self.got)

    def close(self):
        self.socket.close()


def rows_of(answer):
    """How many rows the raw bytes of a chunked CSV answer hold."""
    return len(re.findall(rb"\r\n(?:[0-9a-f]+\r\n)?viewer-\d+,", b"\r\n" + answer))


def test_slow_readers():
    """Fifty slow readers of a large CSV: bounded memory, heartbeats and reports go on, all whole"""
    viewers = 100000
    with Replayed(many_lines(viewers)) as data, Server(data=data) as server:
        whole = ask.ask_report(server, EVENT, {"format": "csv"})
        assert len(ask.read_csv(whole)) == viewers
        before = memory(server)
        slow = [Slow(server, {"format": "csv"}) for _ in range(50)]
        time.sleep(2)
        for reader in slow:
            reader.read(1000)
        for number in range(200):
            server.beat_ok("beside", f"v{number}")
        rows, _ = ask.report(server, "beside")
        assert len(rows) == 200, len(rows)
        grown = memory(server) - before
        # What may be pending for a peer, and a page or two.
        # A sanitizer keeps what was freed for a while, and notes beside all that is in use.
        bound = len(slow) * ((1 << 20) if not instrumented() else (4 << 20))
        assert grown < bound, f"{grown} bytes more for {len(slow)} slow readers"
        print(f"# {len(slow)} slow readers of {len(whole.body)} bytes: {grown // 1024} KiB more")
        for reader in slow[:40]:
            reader.close()
        for reader in slow[40:]:
            got = reader.read_all()
            assert rows_of(got) == viewers, rows_of(got)
            reader.close()
        server.healthy()


def test_stop_in_the_middle():
    """A stop ends a stream that nobody reads, and its peer sees that it is not whole"""
    with Replayed(many_lines(100000)) as data:
        with Server(data=data, drain_timeout="1s") as server:
            reader = Slow(server, {"format": "csv"})
            reader.read(1000)
            time.sleep(0.5)
            server.process.send_signal(signal.SIGTERM)
            server.wait()
            try:
                reader.read_all()
                raise AssertionError("the answer looks whole")
            except (Closed, ConnectionResetError):
                pass
            reader.close()
            server.start()
            assert len(ask.read_csv(ask.ask_report(server, EVENT, {"format": "csv"}))) == 100000


def main():
    """The tests that share a server share one with many viewers."""
    with Replayed(many_lines()) as data:
        run(test_many_rows, test_hostile_names, test_csv_head, test_bad_requests, test_one_moment,
            test_long_events, test_slow_readers, test_stop_in_the_middle,
            server=Server(data=data, io_threads=3))


if __name__ == "__main__":
    main()
