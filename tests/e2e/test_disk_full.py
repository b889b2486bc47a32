#!/usr/bin/env python3
"""The disk is full: 503 until there is room, then on; nothing acknowledged is lost.

Goal: on a tmpfs of a few MB with a filler file, heartbeats are answered 503 and not counted; the
server lives, reads go on; when the filler goes, heartbeats are accepted again; after a kill -9 and
a start every acknowledged heartbeat is there.
"""
import os
import time

import harness
from harness import Mount, Server, run, wait_until
from load import Ledger, Load

LONG = {"alive_window": "12h", "hidden_window": "12h", "viewing_gap": "24h"}


def fill_up(path):
    """Takes all the room there is left, to the last byte."""
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    block = 65536
    while block:
        try:
            while os.write(fd, b"x" * block):
                pass
        except OSError:
            block //= 2
    os.close(fd)


def load_until_full(server, event, prefix):
    """Heartbeats until some are refused."""
    load = Load(server.address, event, prefix).start()
    wait_until(lambda: load.refused or not load.alive(), "a refusal", 60)
    load.stop()
    assert load.statuses <= {200, 503}, load.statuses
    assert server.running(), f"the server has gone: {server.log_text()[-2000:]}"
    return load


def test_full_and_free_again():
    """503 while the disk is full, 200 when there is room, nothing acknowledged is lost"""
    harness.need_private_mounts()
    ledger = Ledger("full")
    with Mount("-t", "tmpfs", "-o", "size=8m", "tmpfs") as mount:
        filler = os.path.join(mount.folder, "filler")
        with Server(data=os.path.join(mount.folder, "data"), **LONG) as server:
            loads = []
            for number in range(3):
                fill_up(filler)
                load = load_until_full(server, "full", f"full-{number}")
                loads.append(load)
                answer = server.beat("full", "while-full")
                if answer.status == 200:
                    # A little room was left in a block; use that up too.
                    load.acknowledged["while-full"] = None
                else:
                    assert answer.status == 503, answer
                    assert answer.headers["content-type"].startswith("application/problem+json")
                    assert "retry-after" in answer.headers, answer.headers
                # Reading goes on.
                assert server.active("full")[0] >= len(load.acknowledged)
                assert server.get("/healthz").status == 200
                os.unlink(filler)
                wait_until(lambda n=number: server.beat("room", f"again-{n}").status == 200,
                           "heartbeats are accepted again", 30, 0.05)
                again = Load(server.address, "full", f"room-{number}").start()
                time.sleep(0.1)
                again.stop()
                assert not again.refused, "refused though there is room"
                loads.append(again)
            last = [line for line in server.log if "full" in line.lower()]
            assert last, "the log says nothing of a full disk"
            assert len(server.log) < 200, f"{len(server.log)} lines in the log"
            server.kill()
            server.start()
            for load in loads:
                ledger.check(server, load) if load is loads[-1] else remember(ledger, load)
            assert server.attended("room") == 3


def remember(ledger, load):
    assert not load.open, "heartbeats without an answer"
    ledger.viewers.update(load.acknowledged)


def test_kill_while_full():
    """kill -9 on a full disk: the server starts when there is room, and nothing is lost"""
    harness.need_private_mounts()
    ledger = Ledger("full")
    with Mount("-t", "tmpfs", "-o", "size=8m", "tmpfs") as mount:
        filler = os.path.join(mount.folder, "filler")
        with Server(data=os.path.join(mount.folder, "data"), **LONG) as server:
            first = Load(server.address, "full", "first").start()
            time.sleep(0.2)
            first.stop()
            remember(ledger, first)
            fill_up(filler)
            load = load_until_full(server, "full", "second")
            server.kill()
            # On a disk without any room it starts or says why not; it must harm nothing.
            server.launch()
            time.sleep(0.5)
            server.kill()
            os.unlink(filler)
            server.start()
            ledger.check(server, load)


def test_full_at_the_first_start():
    """A first start on a full disk says so and fails"""
    harness.need_private_mounts()
    with Mount("-t", "tmpfs", "-o", "size=4m", "tmpfs") as mount:
        fill_up(os.path.join(mount.folder, "filler"))
        server = Server(data=os.path.join(mount.folder, "data"))
        server.launch()
        status = server.wait()
        assert status not in (0, -11, -6), status
        assert "full" in server.log_text() or "space" in server.log_text(), server.log_text()


if __name__ == "__main__":
    harness.in_private_mounts()
    run(test_full_and_free_again, test_kill_while_full, test_full_at_the_first_start)
