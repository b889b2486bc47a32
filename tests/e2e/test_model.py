#!/usr/bin/env python3
"""Random heartbeats against the running server and the naive model: every figure equal.

Goal: with windows of a second or so, viewers come, hide, leave, switch sessions, come back in
random order from a printed seed; after each heartbeat its exact time is taken from the server's
answer (the end of the viewing it moved), and from time to time every figure is compared with
model.py for the time that the answer carries.  The server is stopped or killed now and then.
"""
# timeout: 240
import random
import time

from harness import Server, latest_viewing, rounds, run, seed, wait_until
from model import (Beat, Event, Settings, compare, compare_viewer, shown_frames)

WINDOWS = Settings(alive_window=400, hidden_window=900, leaving_window=150, viewing_gap=1200,
                   frame=1000)
COUNTRIES = ("HK", "US", "DE", "ZZ")
GROUPS = ((), ("staff",), ("press", "staff"), ("vip",))


def flags():
    return {"alive_window": "400ms", "hidden_window": "900ms", "leaving_window": "150ms",
            "viewing_gap": "1200ms", "frame": "1s", "trusted_proxies": "127.0.0.0/8"}


class Play:
    """One event of the model and of the server, and what may be done to both."""

    def __init__(self, server, event_id, choice, viewers, sessions):
        self.server = server
        self.event_id = event_id
        self.choice = choice
        self.event = Event(WINDOWS)
        self.viewers = [f"viewer-{number}" for number in range(viewers)]
        self.sessions = [None] + [f"talk-{number}" for number in range(sessions)]
        self.groups = {}

    def put_profiles(self):
        for viewer in self.viewers[::2]:
            self.groups[viewer] = self.choice.choice(GROUPS)
            answer = self.server.put_profile(self.event_id, viewer, name=viewer,
                                             groups=list(self.groups[viewer]))
            assert answer.status in (200, 201, 204), answer

    def beat(self):
        viewer = self.choice.choice(self.viewers)
        session = self.choice.choice(self.sessions)
        country = self.choice.choice(COUNTRIES)
        kind = self.choice.choices(("plain", "hidden", "leaving"), (6, 2, 2))[0]
        headers = {} if country == "ZZ" else {"CF-IPCountry": country}
        before = self.server.active(self.event_id)[1]
        self.server.beat_ok(self.event_id, viewer, session, headers,
                            **({kind: True} if kind != "plain" else {}))
        after = self.server.active(self.event_id)[1]
        beat = Beat(None, viewer, kind == "hidden", kind == "leaving",
                    self.groups.get(viewer, ()), country)
        beat.time = self.time_of(beat, before, after)
        self.event.add(beat, session)

    def time_of(self, beat, before, after):
        """The time at which the server counted the heartbeat, to the millisecond."""
        if before == after:
            return before
        audience = self.event.audience()
        if beat.leaving:
            viewings = audience.viewings(beat.viewer)
            if not viewings or before - viewings[-1][1] > WINDOWS.viewing_gap:
                return before  # Moves nothing, whatever its time.
        at = latest_viewing(self.server.viewer(self.event_id, beat.viewer))["endedMs"]
        if beat.leaving and at < before:
            # The gap ended between the two: it moved nothing.
            assert after - at > WINDOWS.viewing_gap, (at, before, after)
            return after
        assert before <= at <= after, f"{at} is not within {before} and {after}"
        return at

    def compare_some(self):
        compare(self.server, self.event_id, self.event)
        for viewer in self.choice.sample(self.viewers, 2):
            if self.event.audience().viewings(viewer):
                answer = compare_viewer(self.server, self.event_id, self.event, viewer)
                assert sorted(answer["groups"]) == sorted(self.groups.get(viewer, ())), answer

    def compare_frames(self):
        """All frames, once the newest is over."""
        last = self.event.audience().beats[-1].time
        over = last // WINDOWS.frame * WINDOWS.frame + WINDOWS.frame
        wait_until(lambda: self.server.active(self.event_id)[1] > over + 20, "the frame is over")
        for session in [None] + self.event.sessions():
            expected = self.event.audience(session).frames(over)
            wait_until(lambda s=session, e=expected:
                       shown_frames(self.server, self.event_id, s) == e,
                       f"frames of {session}: {shown_frames(self.server, self.event_id, session)} "
                       f"become {expected}", 15, 0.1)


def play(server, event_id, number, start, steps):
    choice = random.Random(start)
    play_ = Play(server, event_id, choice, 6 + number % 3 * 10, number % 4)
    play_.put_profiles()
    for step in range(steps):
        play_.beat()
        if step % 5 == 0:
            play_.compare_some()
        pause = choice.random()
        if pause < 0.03:
            # Long enough for leases and gaps to end.
            time.sleep(choice.uniform(0.2, 1.5))
            play_.compare_some()
        elif pause < 0.3:
            time.sleep(choice.uniform(0.0, 0.03))
        if choice.random() < 0.008:
            server.kill() if choice.random() < 0.5 else server.terminate()
            server.start()
            play_.compare_some()
    play_.compare_frames()
    for viewer in play_.viewers:
        if play_.event.audience().viewings(viewer):
            compare_viewer(server, event_id, play_.event, viewer)
    compare(server, event_id, play_.event)


def test_random_play():
    """Random play: the server's figures equal the model's, also across stops and kills"""
    start = seed()
    with Server(**flags()) as server:
        for number in range(rounds(6)):
            play(server, f"model-{number}", number, start + number, 250)


def test_idle_play():
    """The same with an event that leaves memory whenever it can"""
    start = seed()
    with Server(event_idle="1s", **flags()) as server:
        for number in range(rounds(2)):
            choice = random.Random(start + number)
            play_ = Play(server, f"idle-{number}", choice, 8, 2)
            play_.put_profiles()
            for _ in range(4):
                for _ in range(choice.randint(3, 12)):
                    play_.beat()
                play_.compare_some()
                time.sleep(choice.uniform(1.0, 4.0))
                play_.compare_some()
            play_.compare_frames()


if __name__ == "__main__":
    run(test_random_play, test_idle_play)
