#!/usr/bin/env python3
"""A stop and a start change no figure; an idle event leaves memory and comes back whole.

Goal: SIGTERM drains (what was sent is answered, exit status 0), a second one stops at once, and
after a restart every figure equals the one before, by whichever way the server ended.
"""
import os
import shutil
import signal
import tempfile
import threading
import time

from harness import Server, beat_body, command, event_path, run, wait_until

# Nothing expires during the test, so that even "alive" must be equal.
LONG = {"alive_window": "30m", "hidden_window": "30m", "viewing_gap": "1h"}


def fill(server, event, viewers):
    server.put_profile(event, "viewer-0", name="V", groups=["staff", "press"])
    server.beat_ok(event, "viewer-0", "talk-0")
    lines = [{"event": event, "session": f"talk-{number % 5}", "viewer": f"viewer-{number}",
              "country": ("HK", "US", "DE")[number % 3], "groups": [f"group-{number % 4}"]}
             for number in range(1, viewers)]
    lines += [{"event": event, "session": "late", "viewer": f"viewer-{number}"}
              for number in range(1, viewers, 7)]
    assert server.batch(lines).json["accepted"] == len(lines)


def figures(server, event):
    """Every figure of the event, without the times of the answers."""
    overview = server.overview(event)
    del overview["timestamp"]
    overview["sessions"].sort(key=lambda session: session["sessionId"])
    sessions = [None] + [session["sessionId"] for session in overview["sessions"]]
    shown = {"overview": overview}
    for session in sessions:
        live = server.live(event, session)
        del live["timestamp"]
        shown[session] = (server.active(event, session)[0], server.attended(event, session),
                          server.peak(event, session), live)
    for number in (0, 1, 7, 13):
        shown[number] = server.viewer(event, f"viewer-{number}")
        del shown[number]["timestamp"]
    return shown


def same(after, before, when):
    """Names what differs."""
    for name, figure in before.items():
        assert after[name] == figure, f"{when}: {name}: {after[name]}, was {figure}"
    assert after.keys() == before.keys(), when


def test_figures_outlive_sigterm():
    """Every figure is the same after SIGTERM and a start"""
    with Server(**LONG) as server:
        fill(server, "term", 2000)
        before = figures(server, "term")
        assert before["overview"]["attended"] == 2000, before["overview"]
        assert server.terminate() == 0
        server.start()
        same(figures(server, "term"), before, "after SIGTERM")
        server.beat_ok("term", "one-more")
        assert server.attended("term") == 2001


def test_figures_outlive_kill():
    """Every figure is the same after kill -9 and a start, with each durability"""
    for durability in ("sync", "interval", "os"):
        with Server(durability=durability, **LONG) as server:
            fill(server, "kill", 1000)
            before = figures(server, "kill")
            server.kill()
            server.start()
            same(figures(server, "kill"), before, durability)
            server.kill()
            server.start()
            same(figures(server, "kill"), before, f"{durability}, second time")


def test_copied_folder():
    """A data folder that was copied after a stop serves elsewhere"""
    target = tempfile.mkdtemp(prefix="novabeat-copy-")
    try:
        with Server(**LONG) as server:
            fill(server, "copy", 300)
            before = figures(server, "copy")
            assert server.terminate() == 0
            copy = os.path.join(target, "data")
            shutil.copytree(server.data, copy)
            with Server(data=copy, **LONG) as second:
                same(figures(second, "copy"), before, "in the copy")
    finally:
        shutil.rmtree(target)


def test_sigterm_answers_what_was_sent():
    """SIGTERM in the middle of load: whatever was acknowledged is there after the start"""
    with Server(**LONG) as server:
        acknowledged = set()
        stop = threading.Event()

        def load(number):
            connection = server.connect()
            count = 0
            while not stop.is_set():
                viewer = f"viewer-{number}-{count}"
                count += 1
                try:
                    answer = connection.request("POST", event_path("drain") + "/heartbeat",
                                                beat_body("drain", viewer))
                except Exception:  # pylint: disable=broad-except
                    return
                if answer.status == 200:
                    acknowledged.add(viewer)
                if answer.headers.get("connection", "").lower() == "close":
                    return

        threads = [threading.Thread(target=load, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(acknowledged) > 100, "some load")
        status = server.terminate()
        stop.set()
        for thread in threads:
            thread.join()
        assert status == 0, status
        server.start()
        # A heartbeat that is open at the stop is answered too: none is counted unanswered.
        assert server.attended("drain") == len(acknowledged), \
            f"{server.attended('drain')} counted, {len(acknowledged)} acknowledged"


def test_sigterm_with_idle_connections():
    """Idle and half-sent connections do not hold a stop up for long"""
    with Server() as server:
        idle = [server.connect() for _ in range(20)]
        idle[0].request("GET", "/healthz")
        idle[1].send_raw(b"POST /analytics/events/e/heartbeat HTTP/1.1\r\nHost: te")
        started = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        status = server.wait()
        assert status == 0, status
        assert time.monotonic() - started < 30, "it took its time"
        for connection in idle:
            connection.close()


def test_second_sigterm():
    """A second SIGTERM ends the server at once, and nothing acknowledged is lost"""
    with Server(**LONG) as server:
        fill(server, "twice", 500)
        held = server.connect()
        held.send_raw(b"POST /analytics/events/e/heartbeat HTTP/1.1\r\nHost: te")
        server.process.send_signal(signal.SIGTERM)
        server.process.send_signal(signal.SIGTERM)
        server.wait(20)
        held.close()
        server.start()
        assert server.attended("twice") == 500


def test_one_server_per_folder():
    """A second server on the same data folder refuses to start and says why"""
    with Server() as server:
        server.beat_ok("own", "ada")
        second = Server(data=server.data)
        second.launch()
        status = second.wait()
        assert status != 0, "two servers on one folder"
        assert "another process holds the data folder" in second.log_text() or \
            "lock" in second.log_text().lower(), second.log_text()
        server.healthy()
        assert server.attended("own") == 1


def test_idle_event_comes_back():
    """An event without heartbeats leaves memory and comes back whole"""
    with Server(event_idle="1s", alive_window="300ms", hidden_window="300ms",
                leaving_window="100ms", viewing_gap="1h") as server:
        fill(server, "idle", 500)
        server.beat_ok("idle", "ada", "talk-0")
        wait_until(lambda: server.active("idle")[0] == 0, "nobody alive")
        before = figures(server, "idle")
        wait_until(lambda: server.metrics()["novabeat_events"] == 0, "the event leaves memory",
                   40, 0.1)
        # Reading does not need it in memory; a heartbeat brings it back.
        same(figures(server, "idle"), before, "read from the store")
        server.beat_ok("idle", "ada", "talk-0")
        after = figures(server, "idle")
        assert after["overview"]["attended"] == before["overview"]["attended"]
        assert after["overview"]["logins"] == before["overview"]["logins"]
        assert after["overview"]["maxConcurrent"] == before["overview"]["maxConcurrent"]
        assert after[1] == before[1] and after[7] == before[7]
        server.beat_ok("idle", "somebody-new", "new-talk")
        assert server.attended("idle") == 502
        overview = server.overview("idle")
        assert len(overview["sessions"]) == len(before["overview"]["sessions"]) + 1
        server.kill()
        server.start()
        assert server.attended("idle") == 502


def test_idle_while_they_come():
    """An event that leaves memory again and again while viewers come loses nobody"""
    with Server(event_idle="1s", alive_window="100ms", hidden_window="100ms",
                leaving_window="50ms", viewing_gap="1h") as server:
        for number in range(6):
            server.beat_ok("come", f"viewer-{number}", "talk")
            server.beat_ok("come", "always")
            server.batch([{"event": f"other-{number}", "viewer": "x"}])
            time.sleep(1.2 if number % 2 else 0.9)
        assert server.attended("come") == 7
        assert server.attended("come", "talk") == 6
        assert server.overview("come")["logins"] == 7


def test_check_says_it_is_whole():
    """novabeat check finds the folder whole after a stop and after a kill"""
    with Server(**LONG) as server:
        fill(server, "whole", 1000)
        assert server.terminate() == 0
        command("check", "--data", server.data)
        server.start()
        server.beat_ok("whole", "late-comer")
        server.kill()
        command("check", "--data", server.data)
        server.start()
        assert server.attended("whole") == 1001


if __name__ == "__main__":
    run(test_figures_outlive_sigterm, test_figures_outlive_kill, test_copied_folder,
        test_sigterm_answers_what_was_sent, test_sigterm_with_idle_connections,
        test_second_sigterm, test_one_server_per_folder, test_idle_event_comes_back,
        test_idle_while_they_come, test_check_says_it_is_whole)
