#!/usr/bin/env python3
"""The commands beside serve: replay, viewers, check, version, help (simulate: test_simulate.py).

Goal: a replayed trace gives the very figures that the naive model gives; profiles come back from
export as they went in; what is wrong with a command line is said in one line.
"""
# timeout: 240
import csv
import json
import os
import random
import shutil
import subprocess
import tempfile
import time

from harness import BINARY, Server, command, run, seed
from model import FRAME_FIELDS, Beat, Event, Settings, compare_viewer, overview_of, shown_frames

START = 1637661623070
TRACE_EVENTS = ("conf", "launch")


def folder():
    return tempfile.mkdtemp(prefix="novabeat-commands-")


def make_trace(path, choice, beats):
    """A sorted trace and the models of its events."""
    events = {name: Event(Settings()) for name in TRACE_EVENTS}
    viewers = [f"viewer-{number}" for number in range(60)]
    now = START
    with open(path, "w", encoding="utf-8") as trace:
        for _ in range(beats):
            # Mostly dense, at times a pause that ends leases, viewings or frames.
            now += choice.choice((0, 1, 7, 300, 2000, 2000, 5000))
            if choice.random() < 0.01:
                now += choice.choice((64000, 65001, 150001, 400000))
            name = choice.choice(TRACE_EVENTS)
            line = {"ts": now, "event": name, "viewer": choice.choice(viewers)}
            session = choice.choice((None, "talk-1", "talk-2"))
            if session is not None:
                line["session"] = session
            country = choice.choice((None, "HK", "US"))
            if country is not None:
                line["country"] = country
            # A viewer's lines all say groups, or none does: what a line without them means after
            # one with them is left open.
            groups = choice.choice((["staff"], ["vip", "staff"], []))
            if int(line["viewer"].split("-")[1]) % 2:
                line["groups"] = groups
            trace.write(json.dumps(line) + "\n")
            events[name].add(Beat(now, line["viewer"], groups=line.get("groups", ()),
                                  country=country or "ZZ"), session)
    return events


def test_replay_equals_the_model():
    """A replayed trace gives exactly the model's figures"""
    top = folder()
    try:
        trace = os.path.join(top, "trace.ndjson")
        events = make_trace(trace, random.Random(seed()), 3000)
        data = os.path.join(top, "data")
        command("replay", "--data", data, trace)
        command("check", "--data", data)
        with Server(data=data) as server:
            for name, event in events.items():
                overview = server.overview(name)
                now = overview["timestamp"]
                shown = {None: overview}
                shown.update({audience["sessionId"]: audience
                              for audience in overview["sessions"]})
                for session, audience in event.audiences.items():
                    expected = overview_of(audience, now)
                    got = {key: shown[session][key] for key in expected}
                    assert got == expected, f"{name}/{session}: server {got}, model {expected}"
                    assert server.peak(name, session) == audience.peak()
                    frames = shown_frames(server, name, session)
                    modelled = audience.frames(now)
                    differing = [pair for pair in zip(frames, modelled) if pair[0] != pair[1]]
                    assert frames == modelled, (f"{name}/{session}: {len(frames)} frames, model "
                                                f"{len(modelled)}, first difference "
                                                f"{differing[:1]}")
                    assert frames and set(frames[0]) == set(FRAME_FIELDS)
                for viewer in event.audience().viewers()[:20]:
                    compare_viewer(server, name, event, viewer)
    finally:
        shutil.rmtree(top)


def test_replay_says_what_is_wrong():
    """A trace that is broken or not sorted is refused with the line's number; blank lines are not"""
    top = folder()
    try:
        good = {"ts": START, "event": "e", "viewer": "v"}
        for number, lines in enumerate(([good, {"ts": START - 1, "event": "e", "viewer": "v"}],
                                        [good, {"ts": "x", "event": "e", "viewer": "v"}],
                                        [good, {"event": "e", "viewer": "v"}],
                                        [good, {"ts": START, "event": "e e", "viewer": "v"}])):
            trace = os.path.join(top, f"trace-{number}")
            with open(trace, "w", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
            done = subprocess.run([BINARY, "replay", "--data", os.path.join(top, f"d{number}"),
                                   trace], capture_output=True, text=True, timeout=60)
            assert done.returncode > 0, f"{lines} was accepted"
            assert "line 2:" in done.stderr, done.stderr
        trace = os.path.join(top, "blank")
        with open(trace, "w", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(good)}\r\n \t\r\n{json.dumps(good)}  ")
        said = command("replay", "--data", os.path.join(top, "blank-lines"), trace).stdout
        assert said.startswith("2 heartbeats counted"), said
    finally:
        shutil.rmtree(top)


def test_import_and_export():
    """Profiles come back from export as they went in, as CSV and as NDJSON"""
    top = folder()
    try:
        data = os.path.join(top, "data")
        profiles = [{"event": "e", "viewer": f"viewer-{number}", "name": name, "groups": groups}
                    for number, (name, groups) in enumerate((
                        ("Ada", ["press", "staff"]), ("", []), ('Q"uote, and comma', ["a b"]),
                        ("名前", ["日本"]), ("x" * 256, [f"g{n}" for n in range(32)])))]
        source = os.path.join(top, "in.ndjson")
        with open(source, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(profile) + "\n" for profile in profiles)
        command("viewers", "import", source, "--data", data, "--event", "e")
        with Server(data=data) as server:
            for profile in profiles:
                viewer = server.viewer("e", profile["viewer"])
                assert viewer["name"] == profile["name"], viewer
                assert sorted(viewer["groups"]) == sorted(profile["groups"]), viewer
        written = os.path.join(top, "out.csv")
        command("viewers", "export", written, "--data", data, "--event", "e")
        with open(written, encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) == len(profiles) + 1, rows
        again = os.path.join(top, "again")
        command("viewers", "import", written, "--data", again, "--event", "e")
        second = os.path.join(top, "out.ndjson")
        command("viewers", "export", second, "--data", again, "--event", "e")
        first = os.path.join(top, "first.ndjson")
        command("viewers", "export", first, "--data", data, "--event", "e")
        with open(first, encoding="utf-8") as one, open(second, encoding="utf-8") as other:
            assert one.read() == other.read(), "CSV lost something on the way"
    finally:
        shutil.rmtree(top)


def test_import_reaches_viewers_who_came_before():
    """Groups imported while the server was stopped count for viewers it already knew"""
    top = folder()
    try:
        data = os.path.join(top, "data")
        with Server(data=data) as server:
            server.beat_ok("expo", "ada")
            assert server.live("expo")["countByUserGroup"] == {}
            assert server.terminate() == 0
        profiles = os.path.join(top, "profiles.csv")
        with open(profiles, "w", encoding="utf-8") as out:
            out.write("event,viewer,name,groups\nexpo,ada,Ada,backstage;press\n")
        command("viewers", "import", "--data", data, profiles)
        with Server(data=data) as server:
            until = time.monotonic() + 20
            wanted = {"backstage": 1, "press": 1}
            while server.live("expo")["countByUserGroup"] != wanted:
                assert time.monotonic() < until, server.live("expo")
                server.beat_ok("expo", "ada")  # the first asks, a later one counts
            assert server.viewer("expo", "ada")["groups"] == ["backstage", "press"]
    finally:
        shutil.rmtree(top)


def test_version_and_help():
    """version and help print something and exit 0; a wrong command line exits 2 with a word"""
    assert command("version").stdout.strip()
    said = command("help").stdout
    for name in ("serve", "replay", "simulate", "viewers", "check"):
        assert name in said, said
    said = command("serve", "--help").stdout
    for setting in ("--alive-window", "--durability", "--listen"):
        assert setting in said, said
    for arguments, word in ((("nothing",), "nothing"), (("serve", "--nothing", "1"), "nothing"),
                            (("serve", "--alive-window", "banana"), "alive-window"),
                            (("serve", "--alive-window", "-5s"), "alive-window"),
                            (("serve", "--alive-window", "60s", "--hidden-window", "10s"),
                             "hidden-window"),
                            (("serve", "--durability", "maybe"), "durability"),
                            (("serve", "--listen", "localhost:x"), "listen")):
        done = command(*arguments, status=2)
        assert word in done.stderr, (arguments, done.stderr)


def test_check_of_nothing():
    """check does not call a folder whole in which nothing is stored; without a folder it fails"""
    top = folder()
    try:
        said = command("check", "--data", top, status=1).stdout
        assert "nothing is stored" in said and "whole" not in said, said
        done = command("check", "--data", os.path.join(top, "none"), status=1)
        assert "none" in done.stderr and not os.path.exists(os.path.join(top, "none")), done.stderr
    finally:
        shutil.rmtree(top)


def test_settings_from_everywhere():
    """File, environment and flag set the same setting; the later wins"""
    top = folder()
    try:
        config = os.path.join(top, "novabeat.ini")
        with open(config, "w", encoding="utf-8") as file:
            file.write("interval = 11s\nalive-window = 40s\n")
        with Server(config=config) as server:
            assert server.beat_ok("e", "ada").json["intervalMs"] == 11000
        with Server(config=config, environment={"NOVABEAT_INTERVAL": "12s"}) as server:
            assert server.beat_ok("e", "ada").json["intervalMs"] == 12000
        with Server(config=config, interval="13s",
                    environment={"NOVABEAT_INTERVAL": "12s"}) as server:
            assert server.beat_ok("e", "ada").json["intervalMs"] == 13000
        with open(config, "a", encoding="utf-8") as file:
            file.write("alive-windw = 40s\n")
        done = command("serve", "--config", config, "--data", os.path.join(top, "d"), status=2)
        assert "alive-windw" in done.stderr, done.stderr
    finally:
        shutil.rmtree(top)


def test_auth_none_stays_at_home():
    """--auth none on an address that others can reach is refused"""
    top = folder()
    try:
        done = subprocess.run([BINARY, "serve", "--listen", "0.0.0.0:0", "--auth", "none",
                               "--data", top], capture_output=True, text=True, timeout=30)
        assert done.returncode > 0 and "auth" in done.stderr, done
    finally:
        shutil.rmtree(top)


if __name__ == "__main__":
    run(test_replay_equals_the_model, test_replay_says_what_is_wrong, test_import_and_export,
        test_import_reaches_viewers_who_came_before, test_version_and_help, test_check_of_nothing, test_settings_from_everywhere,
        test_auth_none_stays_at_home)
