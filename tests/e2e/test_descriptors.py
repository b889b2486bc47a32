#!/usr/bin/env python3
"""Descriptors run out, and it recovers.

Goal: with a low limit of descriptors and more connections than that, the server neither ends nor
spins; those that are connected are served, and when some go, new ones come in.
"""
import os
import resource
import time

from harness import Closed, Server, beat_body, event_path, run, wait_until

LIMIT = 64


def few_descriptors():
    resource.setrlimit(resource.RLIMIT_NOFILE, (LIMIT, LIMIT))


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def served(connection, viewer, seconds=None):
    """True when a heartbeat gets through on the connection."""
    if seconds is not None:
        connection.socket.settimeout(seconds)
    try:
        connection.send("POST", event_path("few") + "/heartbeat", beat_body("few", viewer))
        return connection.receive().status == 200
    except (OSError, Closed):
        return False


def test_more_connections_than_descriptors():
    """More connections than descriptors: served as far as they go, no spinning, then all again"""
    with Server(preexec=few_descriptors) as server:
        first = server.connect()
        assert served(first, "first")
        server.drop_connection()
        crowd = []
        for _ in range(LIMIT * 3):
            try:
                crowd.append(server.connect(2))
            except OSError:
                break
        assert server.running(), server.log_text()
        # Whoever was in before is served all the while.
        for number in range(20):
            assert served(first, f"first-{number}"), "the old connection starves"
        before = cpu_seconds(server.process.pid)
        time.sleep(1)
        spent = cpu_seconds(server.process.pid) - before
        assert spent < 0.5, f"{spent:.2f} s of CPU in one second of nothing"
        assert len(server.log) < 100, f"{len(server.log)} lines in the log"
        for connection in crowd:
            connection.close()

        def back():
            try:
                with server.connect(2) as connection:
                    return served(connection, "back")
            except OSError:
                return False

        wait_until(back, "a new connection is served", 30, 0.05)
        assert served(first, "last")
        first.close()


def test_connections_max():
    """Above connections-max a connection is turned away, and let in when there is room"""
    with Server(connections_max=16) as server:
        server.drop_connection()
        held = []
        wait_until(lambda: server.get("/healthz").status == 200, "a free place", 10)
        server.drop_connection()
        time.sleep(0.1)
        for number in range(16):
            connection = server.connect(5)
            if served(connection, f"viewer-{number}"):
                held.append(connection)
        assert len(held) >= 15, f"only {len(held)} of 16 were let in"
        for _ in range(10):
            extra = server.connect(5)
            try:
                answer = extra.receive()
                assert answer.status == 503, answer
            except Closed:
                pass
            extra.close()
        for number, connection in enumerate(held):
            assert served(connection, f"viewer-{number}"), "a connection that was in was harmed"
            connection.close()
        wait_until(lambda: server.get("/healthz").status == 200, "let in again", 10, 0.05)


if __name__ == "__main__":
    run(test_more_connections_than_descriptors, test_connections_max)
