#!/usr/bin/env python3
"""A heartbeat comes in over HTTP and exact figures come out.

Goal: each endpoint of an event and of a session answers in its shape and with the right figure;
sessions come from the path or the Referer; an audience that nobody has seen counts 0.
"""
import harness
from harness import Server, event_path, run


def test_one_heartbeat(server):
    """One heartbeat shows in every count of its event"""
    answer = server.beat_ok("one", "ada")
    assert answer.json["intervalMs"] == 30000, answer
    assert answer.headers["content-type"].startswith("application/json"), answer.headers
    count, now = server.active("one")
    assert count == 1
    assert server.attended("one") == 1
    assert server.peak("one")[0] == 1
    assert now - 60000 < server.peak("one")[1] <= now
    live = server.live("one")
    assert live["viewerCount"] == 1 and live["countByViewingCountry"] == {"ZZ": 1}, live
    assert live["countByUserGroup"] == {}, live
    assert "frameStart" not in live, live
    overview = server.overview("one")
    assert (overview["active"], overview["attended"], overview["logins"]) == (1, 1, 1), overview
    assert overview["maxConcurrent"]["count"] == 1, overview
    assert overview["sessions"] == [], overview


def test_counts_viewers_not_heartbeats(server):
    """A viewer that comes again is counted once"""
    for _ in range(5):
        for viewer in ("ada", "bob", "cleo"):
            server.beat_ok("again", viewer)
    assert server.active("again")[0] == 3
    assert server.attended("again") == 3
    assert server.peak("again")[0] == 3
    assert server.overview("again")["logins"] == 3


def test_sessions_by_path(server):
    """The session comes from the path, and counts beside the event"""
    server.beat_ok("talks", "ada", "opening")
    server.beat_ok("talks", "bob", "opening")
    server.beat_ok("talks", "bob", "closing")
    server.beat_ok("talks", "cleo")
    server.beat_ok("talks", "dan", path="/events/talks/sessions/opening/chat?tab=1#top")
    assert server.active("talks")[0] == 4
    assert server.active("talks", "opening")[0] == 3
    assert server.active("talks", "closing")[0] == 1
    assert server.attended("talks", "opening") == 3
    assert server.peak("talks", "opening")[0] == 3
    assert server.live("talks", "opening")["viewerCount"] == 3
    overview = server.overview("talks")
    attended = {session["sessionId"]: session["attended"] for session in overview["sessions"]}
    assert attended == {"closing": 1, "opening": 3}, overview


def test_sessions_by_referer(server):
    """Without a path the session comes from the Referer; the path wins"""
    referer = {"Referer": "https://live.example/events/ref/sessions/keynote?lang=en"}
    server.beat_ok("ref", "ada", headers=referer)
    assert server.active("ref", "keynote")[0] == 1
    server.beat_ok("ref", "bob", "panel", headers=referer)
    assert server.active("ref", "panel")[0] == 1
    assert server.active("ref", "keynote")[0] == 1
    server.beat_ok("ref", "cleo", headers={"Referer": "https://live.example/events/ref"})
    assert server.active("ref")[0] == 3


def test_body_as_plain_text(server):
    """sendBeacon's text/plain is read as JSON too"""
    answer = server.request("POST", event_path("plain") + "/heartbeat", {"viewerId": "ada"},
                              {"Content-Type": "text/plain;charset=UTF-8"})
    assert answer.status == 200, answer
    assert server.active("plain")[0] == 1


def test_viewer_ids_of_every_kind(server):
    """A viewer id is any UTF-8 text of up to 128 bytes"""
    viewers = ["a", "user@example.org", "名前", "a b", "quote\"d", "back\\slash", "x" * 128,
               "é" * 64, "\U0001f600", "a/b", "%41", "+", "#", "?", "ı"]
    for viewer in viewers:
        server.beat_ok("ids", viewer)
    assert server.attended("ids") == len(viewers)
    for viewer in viewers:
        answer = server.viewer("ids", viewer)
        assert answer["viewerId"] == viewer and answer["alive"] is True, answer
        assert len(answer["viewings"]) == 1, answer
    # The same viewer, written with escapes.
    answer = server.request("POST", event_path("ids") + "/heartbeat",
                              b'{"viewerId":"\\u540d\\u524d"}')
    assert answer.status == 200, answer
    answer = server.request("POST", event_path("ids") + "/heartbeat",
                              b'{"viewerId":"\\ud83d\\ude00"}')
    assert answer.status == 200, answer
    assert server.attended("ids") == len(viewers)


def test_event_ids_of_every_kind(server):
    """An event id is 1 to 64 unreserved characters"""
    for event in ("a", "A.b_c~d-9", "x" * 64):
        server.beat_ok(event, "ada", "s" * 64)
        assert server.active(event)[0] == 1
        assert server.active(event, "s" * 64)[0] == 1


def test_nobody_is_zero(server):
    """An audience that nobody has seen counts 0 and is no 404"""
    for session in (None, "nothing"):
        assert server.active("nowhere", session)[0] == 0
        assert server.attended("nowhere", session) == 0
        assert server.peak("nowhere", session)[0] == 0
        assert server.live("nowhere", session)["viewerCount"] == 0
        assert server.frames("nowhere", session) == []
    overview = server.overview("nowhere")
    assert (overview["active"], overview["attended"], overview["sessions"]) == (0, 0, []), overview
    events = [event["eventId"] for event in server.get_json("/analytics/events")["events"]]
    assert "nowhere" not in events, "asking for an event made one"


def test_list_of_events(server):
    """The list names every event that was seen, in order"""
    for event in ("list-b", "list-a", "list-c"):
        server.beat_ok(event, "ada")
    answer = server.get_json("/analytics/events")
    listed = [event["eventId"] for event in answer["events"]]
    assert [event for event in listed if event.startswith("list-")] == \
        ["list-a", "list-b", "list-c"], answer
    assert listed == sorted(listed), answer


def test_viewings_of_one_viewer(server):
    """One viewer's viewings, in the event and in its sessions, are shown at once"""
    server.beat_ok("seen", "ada", "opening")
    server.beat_ok("seen", "ada", "closing")
    answer = server.viewer("seen", "ada")
    sessions = sorted(viewing.get("sessionId") or "" for viewing in answer["viewings"])
    assert sessions == ["", "closing", "opening"], answer
    for viewing in answer["viewings"]:
        assert viewing["startedMs"] <= viewing["endedMs"], answer
    event = harness.latest_viewing(answer)
    closing = harness.latest_viewing(answer, "closing")
    assert event["endedMs"] == closing["endedMs"] == closing["startedMs"], answer
    assert answer["alive"] is True, answer
    unknown = server.get(event_path("seen") + "/viewers/nobody")
    assert unknown.status == 404, unknown


def test_countries():
    """The country comes from a trusted proxy's header"""
    with Server(trusted_proxies="127.0.0.0/8") as proxied:
        proxied.beat_ok("world", "ada", headers={"CloudFront-Viewer-Country": "HK"})
        proxied.beat_ok("world", "bob", headers={"CF-IPCountry": "US"})
        proxied.beat_ok("world", "cleo", headers={"CF-IPCountry": "nonsense"})
        proxied.beat_ok("world", "dan")
        live = proxied.live("world")
        assert live["countByViewingCountry"] == {"HK": 1, "US": 1, "ZZ": 2}, live


if __name__ == "__main__":
    run(test_one_heartbeat, test_counts_viewers_not_heartbeats, test_sessions_by_path,
        test_sessions_by_referer, test_body_as_plain_text, test_viewer_ids_of_every_kind,
        test_event_ids_of_every_kind, test_nobody_is_zero, test_list_of_events,
        test_viewings_of_one_viewer, test_countries, server=Server())
