#!/usr/bin/env python3
"""Five-minute statistics, with frames of one second.

Goal: a frame appears when it is over, also when nobody comes any more; each viewer counts once in
it; frames are aligned to the epoch, and from and to choose among them.
"""
import time

from harness import Server, latest_viewing, run, wait_until

FRAME = 1000
SETTINGS = {"frame": "1s", "alive_window": "500ms", "hidden_window": "500ms",
            "leaving_window": "200ms", "viewing_gap": "500ms"}


def beat_time(server, event, viewer, session=None, **fields):
    server.beat_ok(event, viewer, session, **fields)
    return latest_viewing(server.viewer(event, viewer))["endedMs"]


def start_of(now):
    return now // FRAME * FRAME


def test_frame_is_shown_when_over(server):
    """A frame is shown when it is over and not before, with nobody there any more"""
    at = beat_time(server, "over", "ada", "talk")
    over = start_of(at) + FRAME
    while True:
        frames = server.frames("over")
        now = server.active("over")[1]
        if now >= over:
            break
        assert frames == [], f"at {now}, before {over}: {frames}"
        time.sleep(0.005)
    for session in (None, "talk"):
        frames = wait_until(lambda s=session: server.frames("over", s), "the frame is shown")
        assert len(frames) == 1, frames
        frame = frames[0]
        assert frame["frameStart"] == start_of(at), frame
        assert frame["timestamp"] == over, frame
        assert frame["viewerCount"] == 1, frame
        assert frame["countByViewingCountry"] == {"ZZ": 1}, frame
        assert frame["countByUserGroup"] == {}, frame


def test_each_viewer_once_per_frame(server):
    """However often a viewer comes in a frame it counts once; in the next one it counts again"""
    seen = {}
    first = beat_time(server, "once", "ada")
    while True:
        for viewer in ("ada", "bob"):
            at = beat_time(server, "once", viewer, hidden=viewer == "bob")
            seen.setdefault(start_of(at), set()).add(viewer)
        if at > start_of(first) + 3 * FRAME:
            break
    seen.setdefault(start_of(first), set()).add("ada")
    last_over = max(seen)
    frames = wait_until(lambda: [f for f in server.frames("once") if f["frameStart"] < last_over]
                        if server.active("once")[1] > last_over else None, "frames")
    shown = {frame["frameStart"]: frame["viewerCount"] for frame in frames}
    expected = {start: len(viewers) for start, viewers in seen.items() if start < last_over}
    assert shown == expected, (shown, expected)


def test_leaving_is_in_no_frame(server):
    """A leave counts in no frame"""
    at = beat_time(server, "left", "ada")
    # Into a later frame, while the viewing is within its gap.
    while server.active("left")[1] < start_of(at) + FRAME:
        time.sleep(0.005)
    server.beat_ok("left", "ada", leaving=True)
    now = server.active("left")[1]
    wait_until(lambda: server.active("left")[1] > start_of(now) + FRAME + 100, "the frame is over")
    frames = wait_until(lambda: server.frames("left"), "frames")
    assert [frame["frameStart"] for frame in frames] == [start_of(at)], frames


def test_from_and_to(server):
    """from and to choose the frames that lie within them; the order is that of time"""
    first = beat_time(server, "range", "ada")
    for _ in range(2):
        begin = server.active("range")[1]
        wait_until(lambda b=begin: server.active("range")[1] >= start_of(b) + FRAME, "next frame")
        beat_time(server, "range", "ada")
    last = server.active("range")[1]
    wait_until(lambda: server.active("range")[1] > start_of(last) + FRAME, "it is over")
    frames = wait_until(lambda: server.frames("range") if len(server.frames("range")) >= 3
                        else None, "three frames")
    starts = [frame["frameStart"] for frame in frames]
    assert starts == sorted(set(starts)) and starts[0] == start_of(first), frames
    middle = frames[1]
    chosen = server.frames("range", start=middle["frameStart"], end=middle["timestamp"])
    assert chosen == [middle], chosen
    chosen = server.frames("range", start=middle["frameStart"])
    assert chosen == frames[1:], chosen
    chosen = server.frames("range", end=middle["timestamp"])
    assert chosen == frames[:2], chosen
    for query in ("from=x", "to=-1x", "from=1.5", "from=99999999999999999999999"):
        answer = server.get(f"/analytics/events/range/statistics?{query}")
        assert answer.status == 400, (query, answer)
        assert answer.json["field"] == query.split("=")[0], (query, answer)


def test_frames_outlive_a_kill():
    """Frames that are over, and the half-counted one, are the same after kill -9"""
    with Server(**dict(SETTINGS, frame="5s")) as server:
        now = wait_until(lambda: (lambda t: t if t % 5000 < 3500 else None)
                         (server.active("dead")[1]), "early in a frame")
        start = now // 5000 * 5000
        for number in range(50):
            server.beat_ok("dead", f"viewer-{number}")
        counted_at = server.active("dead")[1]
        server.kill()
        server.start()
        for number in range(40, 60):
            server.beat_ok("dead", f"viewer-{number}")
        after = server.active("dead")[1]
        if counted_at // 5000 == now // 5000 == after // 5000:
            frames = wait_until(lambda: server.frames("dead"), "the frame is over")
            assert frames[0]["frameStart"] == start, frames
            assert frames[0]["viewerCount"] == 60, "the half-counted frame was lost or doubled"
            server.kill()
            server.start()
            assert server.frames("dead") == frames, "after another kill"


if __name__ == "__main__":
    run(test_frame_is_shown_when_over, test_each_viewer_once_per_frame,
        test_leaving_is_in_no_frame, test_from_and_to, test_frames_outlive_a_kill,
        server=Server(**SETTINGS))
