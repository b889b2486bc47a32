#!/usr/bin/env python3
"""The scenarios of reports, erasures, kills and the like once more, with records in PostgreSQL.

Goal: whatever holds with SQLite holds with PostgreSQL, to the last digit.  Each script runs as it
is; only its servers get --records, with a database for each data folder.
"""
# serial
# timeout: 900
import hashlib
import os
import subprocess
import sys

import harness
from postgres import Postgres

FOLDER = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = ("test_figures.py", "test_reports.py", "test_erase.py", "test_directory.py",
           "test_profiles.py", "test_counts.py", "test_frames.py", "test_keys_api.py",
           "test_kill_rounds.py", "test_restart.py", "test_model.py")

# What they test is about SQLite's files.
ABOUT_FILES = {"test_copied_folder", "test_profiles_elsewhere", "test_kept_and_hidden",
               "test_platform_database_fails_and_is_replaced"}


def psql(text, database="postgres"):
    return subprocess.run([os.environ["TESTS_PSQL"], "-X", "-q", "-A", "-t", "-d",
                           os.environ["TESTS_POSTGRES"] + database, "-c", text],
                          capture_output=True, text=True, check=True).stdout.strip()


def records_of(data):
    """The database that belongs to a data folder; it is made when it is not there."""
    name = "d" + hashlib.sha256(os.path.realpath(data).encode()).hexdigest()[:24]
    if psql(f"SELECT count(*) FROM pg_database WHERE datname = '{name}'") == "0":
        psql(f'CREATE DATABASE "{name}" TEMPLATE template0')
    return os.environ["TESTS_POSTGRES"] + name


def patch():
    """Servers and commands of the script get the records of their data folder."""
    init, command = harness.Server.__init__, harness.command

    def with_records(self, *arguments, **flags):
        init(self, *arguments, **flags)
        if "--records" not in self.command:
            self.command += ["--records", records_of(self.data)]

    def command_with_records(*arguments, **options):
        if "--data" in arguments and "--records" not in arguments:
            data = arguments[arguments.index("--data") + 1]
            arguments += ("--records", records_of(data))
        return command(*arguments, **options)

    everything = harness.run

    def run_without_files(*tests, **options):
        everything(*(test for test in tests if test.__name__ not in ABOUT_FILES), **options)

    harness.Server.__init__ = with_records
    harness.command = command_with_records
    harness.run = run_without_files


def in_tables(folder, *texts):
    """As test_erase's own: in which table's row a text stands."""
    database = records_of(folder).rsplit("/", 1)[1]
    tables = psql("SELECT relname FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace "
                  "WHERE nspname = 'novabeat' AND relkind IN ('r', 'v')", database).split()
    assert len(tables) > 10, tables
    rows = [(table, psql(f"SELECT row::text FROM novabeat.{table} AS row", database))
            for table in tables]
    return [(table, text) for table, shown in rows for text in texts if text in shown]


def run_script(script):
    """The script as it is, but for what looks into SQLite's file."""
    with open(script, encoding="utf-8") as file:
        body, end = file.read().split('\nif __name__ == "__main__":\n')
    names = {"__name__": "scenario", "__file__": script}
    exec(compile(body, script, "exec"), names)  # pylint: disable=exec-used
    if "in_tables" in names:
        names["in_tables"] = in_tables
    names["__name__"] = "__main__"
    exec(compile("if True:\n" + end, script, "exec"), names)  # pylint: disable=exec-used


def main():
    if len(sys.argv) > 1:
        patch()
        script = os.path.join(FOLDER, sys.argv[1])
        sys.argv = [script]
        run_script(script)
        return 0
    failed = 0
    with Postgres() as postgres:
        environment = dict(os.environ, TESTS_PSQL=f"{postgres.bin}/psql",
                           TESTS_POSTGRES=postgres.uri(""))
        for script in SCRIPTS:
            print(f"# {script}", flush=True)
            done = subprocess.run([sys.executable, os.path.abspath(__file__), script], check=False,
                                  env=environment)
            failed |= done.returncode
    return failed


if __name__ == "__main__":
    try:
        sys.exit(main())
    except harness.Skip as reason:
        print(f"1..0 # skip {reason}")
