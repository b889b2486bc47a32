#!/usr/bin/env python3
"""simulate, an honest client that knows what the figures must be, against the real server.

Goal: it agrees with the server (exit 0): in a new event, in one that has had viewers, with others
still there, after kill -9, and when the server dies and comes back in the middle; and it says so
(exit 1) when the server counts by other windows, or when somebody else comes in between.
"""
# timeout: 300
import os
import re
import shutil
import subprocess
import tempfile
import threading

from harness import BINARY, SANITIZER, Server, run, seed, wait_until

# Kept short, since every run takes as long as its windows.
WINDOWS = {"alive_window": "3s", "hidden_window": "6s", "leaving_window": "1500ms",
           "viewing_gap": "8s", "frame": "2s"}
DURATION = "12s"
SEED = seed() + 1  # 0 would be one from the clock


def flags(settings):
    return [part for name, value in settings.items()
            for part in ("--" + name.replace("_", "-"), value)]


class Simulation:
    """`novabeat simulate` on a server, running."""

    def __init__(self, server, event, *arguments, viewers=300, sessions=3):
        address = f"http://{server.address[0]}:{server.address[1]}"
        self.process = subprocess.Popen(
            [BINARY, "simulate", "--target", address, "--event", event, "--viewers", str(viewers),
             "--sessions", str(sessions), "--duration", DURATION, "--seed", str(SEED),
             *flags(WINDOWS), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def ended(self, status):
        """What it said, when it has ended with the status."""
        out, err = self.process.communicate(timeout=120)
        assert not SANITIZER.search(err), err
        assert self.process.returncode == status, (f"exit status {self.process.returncode}\n"
                                                   f"{tail(out)}\n{err}")
        return out, err


def tail(text):
    """The lines that do not agree, and the last ones."""
    lines = text.splitlines()
    wrong = [line for line in lines if re.search(r"DIFFERS|MISSING", line)]
    return "\n".join(wrong[:40] + lines[-8:])


def simulate(server, event, *arguments, status=0, **options):
    with Simulation(server, event, *arguments, **options) as simulation:
        return simulation.ended(status)


def verify(server, state, status=0):
    address = f"http://{server.address[0]}:{server.address[1]}"
    done = subprocess.run([BINARY, "simulate", "--target", address, "--verify", state],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert not SANITIZER.search(done.stderr), done.stderr
    assert done.returncode == status, (f"exit status {done.returncode}\n{tail(done.stdout)}\n"
                                       f"{done.stderr}")
    return done.stdout, done.stderr


def restart(server):
    """On the same port: the viewers' pages know no other."""
    address = f"{server.address[0]}:{server.address[1]}"
    server.command[server.command.index("--listen") + 1] = address
    server.start()


def expected(out, figure):
    """(least, most, server's) of a line of the table."""
    number = r"(\d+)(?: to (\d+))?\s+(\d+)"
    match = re.search(rf"^{re.escape(figure)}\s+{number}", out, re.MULTILINE)
    assert match, f"no {figure} in:\n{out}"
    least = int(match.group(1))
    return least, int(match.group(2) or least), int(match.group(3))


def together(*tests):
    """At the same time, since they mostly wait; raises the first one's failure."""
    failures = []

    def keep(test):
        try:
            test()
        except BaseException as failure:  # pylint: disable=broad-except
            failures.append(failure)

    threads = [threading.Thread(target=keep, args=(test,)) for test in tests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_agrees_again_and_again():
    """A new event agrees; so does the same seed again in it, with the first viewers still there"""
    with Server(interval="1s", **WINDOWS) as server:
        out, said = simulate(server, "again")
        assert "p99" in out and "figures agree" in out, out
        assert "interval 1s, as the server tells" in said, said
        assert "before" not in said, said
        first = server.overview("again")
        assert expected(out, "event attended") == (300, 300, 300), out
        assert re.search(r"frames: [1-9]\d* of 2s over and compared", said), said
        out, said = simulate(server, "again")
        assert "viewers before: 300" in said and "alive before:" in said, said
        assert expected(out, "event attended") == (600, 600, 600), out
        second = server.overview("again")
        assert second["attended"] == 2 * first["attended"]
        assert second["logins"] > first["logins"]
        wait_until(lambda: server.active("again")[0] == 0, "all leases have ended")
        out, said = simulate(server, "again", "--sessions", "5")
        assert "viewers before: 600" in said and "alive before:" not in said, said
        least, most, _ = expected(out, "event attended")
        assert least == most == 900, out


def test_after_a_curl():
    """One heartbeat by hand before, as scripts/run proposes, is included"""
    with Server(interval="1s", **WINDOWS) as server:
        server.beat_ok("curled", "ada", "s1", headers={"CF-IPCountry": "AQ"})
        out, said = simulate(server, "curled")
        assert "viewers before: 1," in said and "alive before: 1," in said, said
        assert expected(out, "event attended") == (301, 301, 301), out
        assert server.viewer("curled", "ada")["viewings"], "ada is who she was"


def test_interval():
    """A page does what it is told if that fits the windows; what is given and does not is refused"""
    def too_long():
        with Server(**WINDOWS) as server:  # it tells 30 s, which no lease of 3 s outlasts
            _, said = simulate(server, "refused", "--interval", "30s", status=2)
            assert "the alive window (3000 ms)" in said and "30000 ms" in said, said
            assert server.attended("refused") == 0
            _, said = simulate(server, "interval", viewers=100)
            assert re.search(r"interval 1s: the server tells 30s", said), said

    def told():
        with Server(interval="700ms", **WINDOWS) as server:
            _, said = simulate(server, "interval", viewers=100)
            assert "interval 700ms, as the server tells" in said, said
            assert server.attended("interval") == 100, "who asked for the interval is no viewer"

    def given():
        with Server(interval="700ms", **WINDOWS) as server:
            _, said = simulate(server, "given", "--interval", "1s", viewers=100)
            assert "as the server tells" not in said, said

    together(too_long, told, given)


def test_finds_wrong_windows():
    """A server that counts by other windows or frames than it was said to is found"""
    def one(setting, value):
        with Server(interval="1s", **dict(WINDOWS, **{setting: value})) as server:
            out, _ = simulate(server, "wrong", status=1, viewers=600)
            assert re.search(r"^\d+ of \d+ figures differ$", out, re.MULTILINE), (setting, out)

    together(lambda: one("leaving_window", "200ms"), lambda: one("alive_window", "2s"),
             lambda: one("frame", "1s"))


def test_finds_strangers():
    """Somebody else's viewers who come during the run are found"""
    with Server(interval="1s", **WINDOWS) as server:
        with Simulation(server, "strange", viewers=100) as simulation:
            wait_until(lambda: server.attended("strange") > 0, "the simulation has begun")
            for number in range(50):
                server.beat_ok("strange", f"stranger-{number}")
            out, _ = simulation.ended(1)
        assert "DIFFERS" in out, out


def test_verify_after_a_kill():
    """After kill -9 and a restart what must last is there; when something was added it is found"""
    top = tempfile.mkdtemp(prefix="novabeat-simulate-")
    state = os.path.join(top, "state.json")
    try:
        with Server(interval="1s", **WINDOWS) as server:
            server.beat_ok("killed", "ada")
            simulate(server, "killed", "--plan-state", state)
            verify(server, state)
            for _ in range(2):
                server.kill()
                restart(server)
                out, said = verify(server, state)
                assert expected(out, "event attended") == (301, 301, 301), out
                assert "compared" in said, said
            server.beat_ok("killed", "one-more", "s2")
            out, _ = verify(server, state, status=1)
            assert expected(out, "event attended") == (301, 301, 302), out
            with open(state, "w", encoding="utf-8") as file:
                file.write('{"format":1}')
            verify(server, state, status=2)
    finally:
        shutil.rmtree(top)


def test_killed_in_the_middle():
    """The server dies and comes back in mid-run, twice: nothing acknowledged is missing"""
    top = tempfile.mkdtemp(prefix="novabeat-simulate-")
    state = os.path.join(top, "state.json")
    try:
        with Server(interval="1s", **WINDOWS) as server:
            with Simulation(server, "middle", "--plan-state", state) as simulation:
                for attended in (150, 250):
                    wait_until(lambda some=attended: server.attended("middle") >= some,
                               "many have arrived")
                    server.kill()
                    restart(server)
                out, _ = simulation.ended(0)
            assert "tried again" in out, out
            server.kill()
            restart(server)
            verify(server, state)
    finally:
        shutil.rmtree(top)


if __name__ == "__main__":
    run(test_agrees_again_and_again, test_after_a_curl, test_interval, test_finds_wrong_windows,
        test_finds_strangers, test_verify_after_a_kill, test_killed_in_the_middle)
