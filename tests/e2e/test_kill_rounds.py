#!/usr/bin/env python3
"""kill -9 in the middle of load, at random moments, fifty times on one data folder.

Goal: after each start every acknowledged heartbeat is there, nothing is there that was never sent,
and what was in the air at the kill is counted wholly or not at all: in attendance, logins, peak and
the live counts alike.
"""
# timeout: 300
import random
import time

from harness import Server, command, rounds, run, seed
from load import Ledger, Load

# Nothing expires, no viewing ends: every figure follows from who was acknowledged.
LONG = {"alive_window": "12h", "hidden_window": "12h", "viewing_gap": "24h"}
DURABILITIES = ("sync", "sync", "interval", "os")


def test_fifty_kills():
    """Fifty kills in the middle of load lose nothing and invent nothing"""
    start = seed()
    choice = random.Random(start)
    ledger = Ledger("killed")
    slowest = 0.0
    with Server(**LONG) as server:
        server.kill()
        usual = list(server.command)
        load = None
        for number in range(rounds(50) + 1):
            # Acknowledged is written, so a killed process loses nothing under any durability.
            server.command = usual + ["--durability", choice.choice(DURABILITIES)]
            started = time.monotonic()
            server.start()
            slowest = max(slowest, time.monotonic() - started)
            if load is not None:
                ledger.check(server, load, sample=200, choice=choice)
            load = Load(server.address, "killed", f"round-{number}", seed=start + number).start()
            time.sleep(choice.uniform(0.0, 0.15))
            server.process.kill()
            load.stop()
            server.wait()
        server.command = usual
        server.start()
        ledger.check(server, load)
        print(f"# {len(ledger.viewers)} viewers; the slowest start took {slowest:.2f} s")
        assert len(ledger.viewers) > 100, "the load did not get through"
        assert server.terminate() == 0
        command("check", "--data", server.data)
        server.start()
        ledger.check_counts(server)


def test_kill_while_starting():
    """A kill during the start-up leaves a folder that starts"""
    choice = random.Random(seed())
    ledger = Ledger("starting")
    with Server(**LONG) as server:
        load = Load(server.address, "starting", "only").start()
        time.sleep(0.3)
        server.process.kill()
        load.stop()
        server.wait()
        for _ in range(rounds(20)):
            server.launch()
            time.sleep(choice.uniform(0.0, 0.06))
            server.process.kill()
            server.wait()
        server.start()
        ledger.check(server, load)


if __name__ == "__main__":
    run(test_fifty_kills, test_kill_while_starting)
