#!/usr/bin/env python3
"""The windows and the gap are exact to the millisecond.

Goal: with windows of a second or so, poll the figures across the moment at which a lease runs out;
every answer carries its time, and must be what DESIGN, semantics 1 and 3, say for that time.
The exact time of a heartbeat is the end of the viewing that it moved.
"""
import time

from harness import Server, latest_viewing, run

ALIVE, HIDDEN, LEAVING, GAP = 700, 1500, 300, 2000
WINDOWS = {"alive_window": f"{ALIVE}ms", "hidden_window": f"{HIDDEN}ms",
           "leaving_window": f"{LEAVING}ms", "viewing_gap": f"{GAP}ms"}


def beat_time(server, event, viewer, session=None, **fields):
    """Sends a heartbeat and returns the time at which the server received it."""
    before = server.active(event)[1]
    server.beat_ok(event, viewer, session, **fields)
    after = server.active(event)[1]
    at = latest_viewing(server.viewer(event, viewer))["endedMs"]
    assert before <= at <= after, f"a heartbeat between {before} and {after} has the time {at}"
    return at


def watch(server, event, until, expected, session=None):
    """Polls to past `until`; each answer must be expected(its time).  Both sides must be seen."""
    seen = set()
    nearest = until
    while True:
        count, now = server.active(event, session)
        assert count == expected(now), f"at {now} alive is {count}, not {expected(now)}"
        seen.add(count)
        nearest = min(nearest, abs(now - until))
        if now > until + 20:
            break
        # Closely around the moment, loosely before it.
        time.sleep(0 if now > until - 30 else 0.005)
    assert len(seen) > 1, f"only {seen} was seen"
    return nearest


def test_alive_window(server):
    """A heartbeat makes alive for exactly the alive window"""
    for _ in range(8):
        at = beat_time(server, "alive", "ada", "talk")
        if watch(server, "alive", at + ALIVE, lambda now, a=at: int(now <= a + ALIVE)) == 0:
            break  # An answer was for the very last ms, at which the viewer is still alive.
    else:
        print("# the last ms of a lease was never hit")
    assert server.active("alive", "talk")[0] == 0
    assert server.live("alive")["viewerCount"] == 0
    assert server.viewer("alive", "ada")["alive"] is False
    assert server.attended("alive") == 1


def test_hidden_window(server):
    """A hidden heartbeat makes alive for exactly the hidden window"""
    at = beat_time(server, "hidden", "ada", "talk", hidden=True)
    watch(server, "hidden", at + HIDDEN, lambda now: int(now <= at + HIDDEN), "talk")


def test_visible_after_hidden(server):
    """The window is that of the latest heartbeat, also when it is the shorter one"""
    beat_time(server, "turn", "ada", hidden=True)
    at = beat_time(server, "turn", "ada")
    watch(server, "turn", at + ALIVE, lambda now: int(now <= at + ALIVE))


def test_leaving_shortens(server):
    """A leave shortens the lease to the leaving window and moves the end of the viewing"""
    first = beat_time(server, "leave", "ada", "talk", hidden=True)
    left = beat_time(server, "leave", "ada", "talk", leaving=True)
    assert left >= first
    watch(server, "leave", left + LEAVING, lambda now: int(now <= left + LEAVING))
    viewing = latest_viewing(server.viewer("leave", "ada"), "talk")
    assert (viewing["startedMs"], viewing["endedMs"]) == (first, left), viewing
    assert server.overview("leave")["logins"] == 1
    assert server.overview("leave")["totalViewingMs"] == left - first


def test_leaving_never_lengthens(server):
    """A leave near the end of the lease does not lengthen it"""
    at = beat_time(server, "end", "ada")
    while server.active("end")[1] < at + ALIVE - LEAVING // 2:
        time.sleep(0.002)
    server.beat_ok("end", "ada", leaving=True)
    watch(server, "end", at + ALIVE, lambda now: int(now <= at + ALIVE))


def test_leaving_counts_nothing(server):
    """A leave of somebody who never came counts in nothing"""
    server.beat_ok("ghost", "ada", "talk", leaving=True)
    for session in (None, "talk"):
        assert server.active("ghost", session)[0] == 0
        assert server.attended("ghost", session) == 0
        assert server.peak("ghost", session)[0] == 0
    overview = server.overview("ghost")
    assert overview["logins"] == 0 and overview["attended"] == 0, overview


def test_leaving_after_the_end(server):
    """A leave after the lease has run out does not bring the viewer back"""
    at = beat_time(server, "late", "ada")
    while server.active("late")[1] <= at + ALIVE:
        time.sleep(0.002)
    server.beat_ok("late", "ada", leaving=True)
    assert server.active("late")[0] == 0
    assert server.peak("late") == (1, at)


def test_viewing_gap(server):
    """Within the gap a viewing goes on, beyond it a new one starts"""
    first = beat_time(server, "gap", "ada")
    while server.active("gap")[1] <= first + ALIVE + 100:
        time.sleep(0.005)
    # Not alive any more, and still the same viewing.
    second = beat_time(server, "gap", "ada")
    viewing = latest_viewing(server.viewer("gap", "ada"))
    assert (viewing["startedMs"], viewing["endedMs"]) == (first, second), viewing
    assert server.overview("gap")["logins"] == 1
    while server.active("gap")[1] <= second + GAP:
        time.sleep(0.02)
    third = beat_time(server, "gap", "ada")
    viewings = server.viewer("gap", "ada")["viewings"]
    assert [(viewing["startedMs"], viewing["endedMs"]) for viewing in viewings] == \
        [(first, second), (third, third)], viewings
    overview = server.overview("gap")
    assert overview["logins"] == 2 and overview["attended"] == 1, overview
    assert overview["totalViewingMs"] == second - first, overview


def test_peak_keeps_its_time(server):
    """The peak is the most there ever were, and the time is when that was reached"""
    beat_time(server, "peak", "ada")
    at = beat_time(server, "peak", "bob")
    assert server.peak("peak") == (2, at)
    while server.active("peak")[0] > 0:
        time.sleep(0.01)
    beat_time(server, "peak", "cleo")
    later = beat_time(server, "peak", "ada")
    assert server.peak("peak") == (2, at), "reached again is not exceeded"
    assert later > at
    highest = beat_time(server, "peak", "bob")
    assert server.peak("peak") == (3, highest)


if __name__ == "__main__":
    run(test_alive_window, test_hidden_window, test_visible_after_hidden, test_leaving_shortens,
        test_leaving_never_lengthens, test_leaving_counts_nothing, test_leaving_after_the_end,
        test_viewing_gap, test_peak_keeps_its_time, server=Server(**WINDOWS))
