#!/usr/bin/env python3
"""Profiles give viewers their names and groups.

Goal: what was PUT comes back by GET, groups show in the live figures and in frames, and a viewer
without profile is counted or refused as unknown_viewer says.
"""
import os
import shutil
import sqlite3
import tempfile

from harness import Server, run, wait_until


def test_put_and_get(server):
    """A profile comes back as it was put, and a second PUT replaces it"""
    answer = server.put_profile("prof", "ada", name="Ada Lovelace", groups=["press", "staff"])
    assert answer.status in (200, 201, 204), answer
    viewer = server.viewer("prof", "ada")
    assert viewer["viewerId"] == "ada" and viewer["name"] == "Ada Lovelace", viewer
    assert sorted(viewer["groups"]) == ["press", "staff"], viewer
    assert viewer["alive"] is False and viewer["viewings"] == [], viewer
    assert server.put_profile("prof", "ada", name="Ada", groups=[]).status in (200, 204)
    viewer = server.viewer("prof", "ada")
    assert viewer["name"] == "Ada" and viewer["groups"] == [], viewer


def test_groups_are_counted(server):
    """The groups of a profile show in statistics/live, of event and session"""
    server.put_profile("grp", "ada", name="A", groups=["staff", "press"])
    server.put_profile("grp", "bob", name="B", groups=["staff"])
    for viewer in ("ada", "bob", "nobody"):
        server.beat_ok("grp", viewer, "talk")
    for session in (None, "talk"):
        live = server.live("grp", session)
        assert live["viewerCount"] == 3, live
        assert live["countByUserGroup"] == {"staff": 2, "press": 1}, live


def test_put_changes_the_next_heartbeat(server):
    """A profile that is put while its viewer watches holds from the next heartbeat on"""
    server.beat_ok("change", "ada")
    assert server.live("change")["countByUserGroup"] == {}
    server.put_profile("change", "ada", name="A", groups=["vip"])

    def counted():
        server.beat_ok("change", "ada")
        return server.live("change")["countByUserGroup"] == {"vip": 1}

    wait_until(counted, "the new group is counted")
    assert server.active("change")[0] == 1


def test_groups_in_frames():
    """Each viewer is counted once per frame under the groups of its first heartbeat in it"""
    with Server(frame="2s", alive_window="1s", hidden_window="1s", leaving_window="500ms",
                viewing_gap="2s") as server:
        server.put_profile("fr", "ada", name="A", groups=["staff", "press"])
        server.put_profile("fr", "bob", name="B", groups=["staff"])
        for _ in range(3):
            for viewer in ("ada", "bob", "nobody"):
                server.beat_ok("fr", viewer)
        frames = wait_until(lambda: server.frames("fr"), "a frame is over")
        total = {"staff": 0, "press": 0}
        for frame in frames:
            assert frame["viewerCount"] <= 3, frame
            for group, count in frame["countByUserGroup"].items():
                total[group] += count
        first = frames[0]
        if first["viewerCount"] == 3:
            assert first["countByUserGroup"] == {"staff": 2, "press": 1}, first
        assert total["staff"] >= 2 and total["press"] >= 1, frames


def test_profiles_of_events_are_apart(server):
    """The same viewer may have another profile in another event"""
    server.put_profile("apart-1", "ada", name="One", groups=["a"])
    server.put_profile("apart-2", "ada", name="Two", groups=["b"])
    server.beat_ok("apart-1", "ada")
    server.beat_ok("apart-2", "ada")
    assert server.live("apart-1")["countByUserGroup"] == {"a": 1}
    assert server.live("apart-2")["countByUserGroup"] == {"b": 1}
    assert server.viewer("apart-2", "ada")["name"] == "Two"


def test_bad_profiles(server):
    """A bad profile is refused with the field's name"""
    for profile, field in (({"name": 7, "groups": []}, "name"),
                           ({"name": "A", "groups": "staff"}, "groups"),
                           ({"name": "A", "groups": [7]}, "groups"),
                           ({"name": "A", "groups": [""]}, "groups"),
                           ({"name": "A", "groups": ["x" * 65]}, "groups"),
                           ({"name": "x" * 257, "groups": []}, "name"),
                           ({"name": "A", "groups": [f"g{n}" for n in range(33)]}, "groups")):
        answer = server.put_profile("bad", "ada", **profile)
        assert answer.status in (400, 422), (profile, answer)
        assert answer.headers["content-type"].startswith("application/problem+json"), answer
        assert answer.json["field"].startswith(field), (profile, answer)
    assert server.get("/analytics/events/bad/viewers/ada").status == 404


def test_profiles_outlive_a_restart():
    """A profile is on the disk when its PUT is answered: kill -9 takes nothing"""
    with Server() as server:
        for number in range(20):
            server.put_profile("kept", f"viewer-{number}", name=f"N {number}", groups=["g"])
        server.kill()
        server.start()
        for number in range(20):
            viewer = server.viewer("kept", f"viewer-{number}")
            assert viewer["name"] == f"N {number}" and viewer["groups"] == ["g"], viewer
            server.beat_ok("kept", f"viewer-{number}")
        assert server.live("kept")["countByUserGroup"] == {"g": 20}


def test_unknown_viewers_are_refused():
    """unknown_viewer = reject answers 403 to a viewer without profile, and counts it in nothing"""
    with Server(unknown_viewer="reject") as server:
        server.put_profile("closed", "ada", name="A", groups=["g"])
        server.beat_ok("closed", "ada")
        for _ in range(3):
            answer = server.beat("closed", "stranger")
            assert answer.status == 403, answer
            assert answer.headers["content-type"].startswith("application/problem+json"), answer
        assert server.active("closed")[0] == 1
        assert server.attended("closed") == 1
        assert server.peak("closed")[0] == 1
        # Whoever gets a profile is let in.
        server.put_profile("closed", "stranger", name="S", groups=[])
        wait_until(lambda: server.beat("closed", "stranger").status == 200, "let in", seconds=5)
        assert server.attended("closed") == 2


def users(path, *rows):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE users (id TEXT, name TEXT, groups TEXT)")
    database.executemany("INSERT INTO users VALUES (?, ?, ?)", rows)
    database.commit()
    database.close()


def test_platform_database_fails_and_is_replaced():
    """A user database that breaks costs no heartbeat, is logged and counted; a new file is noticed"""
    folder = tempfile.mkdtemp(prefix="novabeat-platform-")
    try:
        path, new = os.path.join(folder, "users.db"), os.path.join(folder, "new.db")
        users(path, ("ada", "Ada", "press"), ("long", "x" * 300, "press"))
        with Server(profiles_database=path, unknown_viewer="reject",
                    profiles_query="SELECT name, groups FROM users WHERE id = :viewer") as server:
            server.beat_ok("E", "ada")
            server.beat_ok("E", "long")
            assert server.beat("E", "eve").status == 403
            assert server.viewer("E", "ada")["name"] == "Ada"
            assert server.viewer("E", "long")["alive"] is True
            assert "longer than 256 bytes" in server.log_text()
            with open(path, "r+b") as file:
                file.write(b"no database " * 1000)
            server.beat_ok("E", "eve")
            assert server.viewer("E", "ada")["groups"] == ["press"]
            assert server.get("/analytics/events/E/viewers/nobody").status == 404
            assert "look-ups fail" in server.log_text(), server.log_text()
            assert "not a database" in server.log_text(), server.log_text()
            assert server.metrics()["novabeat_profiles_failed_total"] >= 2
            users(new, ("eve", "Eve", "desk"))
            os.rename(new, path)
            wait_until(lambda: server.beat("E", "eve").status == 200 and
                       server.live("E")["countByUserGroup"].get("desk") == 1,
                       "the new file is read", seconds=10)
            wait_until(lambda: server.viewer("E", "eve")["name"] == "Eve", "by readers too")
            assert server.beat("E", "nobody").status == 403
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    run(test_put_and_get, test_groups_are_counted, test_put_changes_the_next_heartbeat,
        test_groups_in_frames, test_profiles_of_events_are_apart, test_bad_profiles,
        test_profiles_outlive_a_restart, test_unknown_viewers_are_refused,
        test_platform_database_fails_and_is_replaced, server=Server())
