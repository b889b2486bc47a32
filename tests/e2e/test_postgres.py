#!/usr/bin/env python3
"""Records in PostgreSQL: the same figures, and heartbeats that do not mind when it is away.

Goal: with --records postgresql://… every figure outlives a stop, a kill and a restart of either
server; while PostgreSQL is away or stands still heartbeats are counted on and what needs the records
says 503; afterwards the records catch up to the last viewer.
"""
# timeout: 400
import functools
import os
import shutil
import signal
import tempfile
import time

from figures import report, viewing_stats
from harness import Server, beat_body, command, event_path, quote, run, wait_until
from postgres import PASSWORD, Postgres
from test_restart import LONG, figures, fill, same


def with_postgres(test):
    """A fresh PostgreSQL for each test."""
    @functools.wraps(test)
    def wrapped():
        with Postgres() as postgres:
            test(postgres)
    return wrapped


@with_postgres
def test_figures_outlive_everything(postgres):
    """Every figure is the same after SIGTERM, kill -9 and a restart of PostgreSQL"""
    with Server(records=postgres.uri(), **LONG) as server:
        fill(server, "term", 2000)
        before = figures(server, "term")
        assert before["overview"]["attended"] == 2000, before["overview"]
        assert server.terminate() == 0
        assert postgres.sql("SELECT count(*) FROM novabeat.attendances WHERE session = ''") == \
            "2000"
        assert not os.path.exists(os.path.join(server.data, "records.db"))
        server.start()
        same(figures(server, "term"), before, "after SIGTERM")
        server.kill()
        postgres.stop()
        postgres.start()
        server.start()
        same(figures(server, "term"), before, "after kill -9 and PostgreSQL's restart")
        server.beat_ok("term", "one-more")
        assert server.attended("term") == 2001
        rows, _ = report(server, "term", limit=1000)
        assert len(rows) == 2001, len(rows)
        assert server.terminate() == 0
        command("check", "--data", server.data, "--records", postgres.uri())


@with_postgres
def test_away(postgres):
    """PostgreSQL is killed under load: heartbeats go on, reads say 503, records catch up"""
    with Server(records=postgres.uri(), records_flush="50ms", records_interval="200ms",
                **LONG) as server:
        fill(server, "away", 500)
        for how in (signal.SIGKILL, signal.SIGINT):
            postgres.stop(how)
            slowest = 0
            for number in range(300):
                begun = time.monotonic()
                server.beat_ok("away", f"{how.name}-{number}", "talk-1")
                slowest = max(slowest, time.monotonic() - begun)
            assert slowest < 2, f"a heartbeat took {slowest:.2f} s"
            wait_until(lambda: server.get(event_path("away") + "/viewers/viewing-stats").status
                       == 503, "viewing-stats says that the records are away")
            counted = server.attended("away")  # what is in memory is told on
            postgres.start()
            began = time.monotonic()
            wait_until(lambda: server.get(event_path("away") + "/viewers/viewing-stats").status
                       == 200, "the records are back")
            print(f"# back after {time.monotonic() - began:.1f} s")
            assert viewing_stats(server, "away")["viewers"] == counted
        before = figures(server, "away")
        assert before["overview"]["attended"] == 500 + 600, before["overview"]
        assert server.terminate() == 0
        assert postgres.sql("SELECT count(*) FROM novabeat.attendances WHERE session = ''") == \
            "1100"
        command("check", "--data", server.data, "--records", postgres.uri())
        server.start()
        same(figures(server, "away"), before, "after the restart")


@with_postgres
def test_killed_both(postgres):
    """PostgreSQL and Novabeat are killed: what was acknowledged is there when both are back"""
    with Server(records=postgres.uri(), records_flush="20ms", records_interval="50ms",
                **LONG) as server:
        total = 0
        for round_number in range(4):
            for number in range(200):
                server.beat_ok("both", f"{round_number}-{number}", "talk")
            total += 200
            postgres.stop(signal.SIGKILL if round_number % 2 else signal.SIGQUIT)
            server.beat_ok("both", f"{round_number}-last")
            total += 1
            before = figures_of(server, "both")
            server.kill()
            postgres.start()
            server.start()
            assert figures_of(server, "both") == before
            assert server.attended("both") == total
        assert server.terminate() == 0
        command("check", "--data", server.data, "--records", postgres.uri())


def figures_of(server, event):
    overview = server.overview(event)
    del overview["timestamp"]
    return overview


@with_postgres
def test_standing_still(postgres):
    """PostgreSQL stands still, shortly and for 30 s: heartbeats go on, and nothing is lost"""
    for seconds in (4, 30):  # longer than the server waits for an answer
        stand_still(postgres, f"still-{seconds}", seconds)


def stand_still(postgres, event, seconds):
    postgres.sql("DROP SCHEMA IF EXISTS novabeat CASCADE")
    with Server(records=postgres.uri(), records_flush="50ms", records_interval="200ms",
                profile_timeout="200ms", **LONG) as server:
        fill(server, event, 300)
        postgres.signal_all(signal.SIGSTOP)
        try:
            deadline = time.monotonic() + seconds
            number = 0
            while time.monotonic() < deadline:
                begun = time.monotonic()
                server.beat_ok(event, f"meanwhile-{number}")
                assert time.monotonic() - begun < 1.5
                number += 1
                time.sleep(0.01)
        finally:
            postgres.signal_all(signal.SIGCONT)
        assert server.attended(event) == 300 + number
        wait_until(lambda: server.get(event_path(event) + "/viewers/viewing-stats").status == 200,
                   "the records are back")
        assert viewing_stats(server, event)["viewers"] == 300 + number
        assert server.terminate() == 0
        command("check", "--data", server.data, "--records", postgres.uri())


@with_postgres
def test_erased(postgres):
    """An erased viewer is in no table and in no dump; a dump serves elsewhere"""
    with Server(records=postgres.uri(), **LONG) as server:
        fill(server, "erase", 100)
        server.put_profile("erase", "viewer-7", name="Somebody Particular")
        server.put_profile("erase", "ghost-of-nobody", name="Never Came")
        assert viewing_stats(server, "erase")["viewers"] == 100
        assert "viewer-7'" in repr(postgres.dump("postgres").split())
        for viewer in ("viewer-7", "ghost-of-nobody"):
            answer = server.request("DELETE", f"{event_path('erase')}/viewers/{quote(viewer)}")
            assert answer.status in (200, 204), answer
        dump = postgres.dump("postgres")
        for text in ("viewer-7\n", "viewer-7\t", "Somebody Particular", "ghost-of-nobody"):
            assert text not in dump, text
        assert server.attended("erase") == 99
        before = figures_of(server, "erase")
        assert server.terminate() == 0
        postgres.restore(postgres.dump("postgres"), "copied")
        server.command[server.command.index("--records") + 1] = postgres.uri("copied")
        server.start()
        assert figures_of(server, "erase") == before
        purge = server.request("DELETE", event_path("erase"))
        assert purge.status in (200, 202, 204), purge
        wait_until(lambda: postgres.sql("SELECT count(*) FROM novabeat.viewer", "copied") == "0",
                   "the purged event's rows go")


@with_postgres
def test_commands(postgres):
    """keys, viewers, check and backup know PostgreSQL; no word says the password"""
    records = postgres.uri(password=PASSWORD)
    folder = tempfile.mkdtemp(prefix="novabeat-e2e-")
    try:
        data = os.path.join(folder, "data")
        with Server(data=data, auth="jwt", token_secret_file=secret_file(folder), records=records) \
                as server:
            assert server.key is not None
            server.put_profile("E", "ada", name="Ada", groups=["press"])
            assert server.terminate() == 0
            printed = server.log_text() + server.stdout_text()
        assert PASSWORD not in printed and f"@127.0.0.1:{postgres.port}/postgres" in printed
        use = ("--data", data, "--records", records)
        command("keys", "create", "--role", "read", *use)
        assert len(command("keys", "list", *use).stdout.splitlines()) >= 2
        exported = command("viewers", "export", os.path.join(folder, "out.csv"), *use)
        with open(os.path.join(folder, "out.csv"), encoding="utf-8") as out:
            assert "E,ada,Ada,press" in out.read(), exported
        target = os.path.join(folder, "copy")
        refused = command("backup", target, *use, status=1)
        assert "pg_dump" in refused.stderr, refused.stderr
        assert not os.path.exists(target), os.listdir(target)
        command("check", *use)
        postgres.stop()
        away = command("keys", "list", *use, status=1)
        assert PASSWORD not in away.stderr and "refused" in away.stderr, away.stderr
        postgres.start()
    finally:
        shutil.rmtree(folder)


def secret_file(folder):
    path = os.path.join(folder, "secret")
    with open(path, "w", encoding="ascii") as out:
        out.write("0123456789abcdef0123456789abcdef\n")
    os.chmod(path, 0o600)
    return path


@with_postgres
def test_profiles_from_platform(postgres):
    """Profiles come from the platform's PostgreSQL, with records in either database"""
    postgres.sql("CREATE DATABASE platform TEMPLATE template0")
    postgres.sql("CREATE TABLE members (show text, login text, full_name text, roles text[]);"
                 "INSERT INTO members SELECT 'E', 'member-' || i, 'Member ' || i,"
                 " ARRAY['press', 'g' || i % 3] FROM generate_series(0, 29) AS i", "platform")
    query = "SELECT full_name AS name, roles AS groups FROM members " \
            "WHERE show = :event AND login = :viewer"
    for records in ("sqlite", postgres.uri()):
        with Server(records=records, profiles_database=postgres.uri("platform"),
                    profiles_query=query, profiles_count_query="SELECT count(*) FROM members "
                    "WHERE show = :event", **LONG) as server:
            for number in range(40):
                server.beat_ok("E", f"member-{number}")
            live = server.live("E")
            assert live["countByUserGroup"] == {"press": 30, "g0": 10, "g1": 10, "g2": 10}, live
            rows, _ = report(server, "E")
            names = {row["viewerId"]: row.get("name") for row in rows}
            assert names["member-7"] == "Member 7" and not names["member-39"], names
            # The platform's database goes away: heartbeats count on, without groups.
            postgres.sql("ALTER TABLE members RENAME TO away", "platform")
            answer = server.request("POST", event_path("E") + "/heartbeat",
                                    beat_body("E", "late"))
            assert answer.status == 200, answer
            postgres.sql("ALTER TABLE away RENAME TO members", "platform")


if __name__ == "__main__":
    run(test_figures_outlive_everything, test_away, test_killed_both, test_standing_still,
        test_erased, test_commands, test_profiles_from_platform)
