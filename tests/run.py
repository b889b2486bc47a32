#!/usr/bin/env python3
"""Runs test programs that print TAP and counts what they say.

    tests/run.py --suite NAME [options] PROGRAM...     each program prints TAP
    tests/run.py --suite NAME --exec TITLE -- COMMAND  one test: the command's exit status
    tests/run.py --report --totals FILE                sums up what the runs before added to FILE

A program is a binary or a Python script.  In its first lines a script may say
    # serial         nothing else runs beside it
    # timeout: 300   seconds
Every program gets NOVABEAT_BUILD, the folder it shall find the binaries in.  A program that
crashes, runs out of time, prints no plan or another number of tests than planned has failed, also
when each line it did print says "ok".  The last line is "N passed, N failed, N skipped"; the exit
status is 1 when any failed.
"""
import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

RESULT_LINE = re.compile(r"^(not )?ok\b(?:\s+\d+)?(?:\s*-?\s*(.*))?$")
PLAN_LINE = re.compile(r"^1\.\.(\d+)(?:\s*#\s*skip\s*(.*))?$", re.IGNORECASE)
SKIP = re.compile(r"#\s*skip\b\s*(.*)$", re.IGNORECASE)
OUTPUT_SHOWN = 16000


class Outcome:
    """What one program came to."""

    def __init__(self, name):
        self.name = name
        self.passed = 0
        self.failures = []
        self.skips = []
        self.output = ""
        self.seconds = 0.0


def read_tap(outcome):
    """Counts the TAP lines of outcome.output into it; returns what is wrong with the whole."""
    planned = None
    seen = 0
    for line in outcome.output.splitlines():
        plan = PLAN_LINE.match(line)
        if plan:
            # A cmocka program with several groups prints several plans.
            planned = (planned or 0) + int(plan.group(1))
            if plan.group(2) is not None and int(plan.group(1)) == 0:
                outcome.skips.append(plan.group(2) or "all of it")
            continue
        result = RESULT_LINE.match(line)
        if not result:
            if line.startswith("Bail out!"):
                return line
            continue
        seen += 1
        title = result.group(2) or f"test {seen}"
        skip = SKIP.search(title)
        # cmocka says "not ok 9 # SKIP name" of a test that skipped itself.
        if skip and (not result.group(1) or skip.start() == 0):
            outcome.skips.append(title)
        elif result.group(1):
            outcome.failures.append(title)
        else:
            outcome.passed += 1
    if planned is None:
        return "printed no plan"
    if planned != seen:
        return f"planned {planned} tests and ran {seen}"
    return None


def head(path):
    """The first lines of a script, where its markers stand."""
    if not path.endswith(".py"):
        return ""
    with open(path, encoding="utf-8") as script:
        return script.read(2000)


def timeout_of(path, default):
    marker = re.search(r"^# timeout: (\d+)", head(path), re.MULTILINE)
    return int(marker.group(1)) if marker else default


def is_serial(path):
    return re.search(r"^# serial\b", head(path), re.MULTILINE) is not None


def run_command(command, environment, seconds):
    """(output, exit status or None when out of time); ends all that the command started."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, env=environment,
                                   start_new_session=True)
        try:
            status = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        output.seek(0)
        return output.read().decode("utf-8", "replace"), status


def run_program(path, options):
    outcome = Outcome(os.path.basename(path))
    command = [sys.executable, "-B", path] if path.endswith(".py") else [os.path.abspath(path)]
    environment = dict(os.environ)
    if options.build:
        environment["NOVABEAT_BUILD"] = os.path.abspath(options.build)
    seconds = timeout_of(path, options.timeout) * options.slow
    started = time.monotonic()
    try:
        outcome.output, status = run_command(command, environment, seconds)
    except OSError as failure:
        outcome.output, status = str(failure), 126
    outcome.seconds = time.monotonic() - started
    wrong = read_tap(outcome)
    if status is None:
        wrong = f"ran longer than {seconds:.0f} s"
    elif status < 0:
        wrong = f"was killed by signal {-status}"
    elif status > 0 and not outcome.failures and not wrong:
        wrong = f"exited with status {status} though no test failed"
    if wrong:
        outcome.failures.append(f"{outcome.name} {wrong}")
    return outcome


def run_exec(options):
    outcome = Outcome(options.exec)
    started = time.monotonic()
    try:
        outcome.output, status = run_command(options.programs, dict(os.environ), options.timeout)
    except OSError as failure:
        outcome.output, status = str(failure), 126
    outcome.seconds = time.monotonic() - started
    if status == 0:
        outcome.passed = 1
    elif status is None:
        outcome.failures.append(f"{options.exec}: ran longer than {options.timeout} s")
    else:
        outcome.failures.append(f"{options.exec}: exit status {status}")
    return outcome


PRINTING = threading.Lock()


def show(outcome):
    words = f"{outcome.passed} passed"
    if outcome.failures:
        words += f", {len(outcome.failures)} FAILED"
    if outcome.skips:
        words += f", {len(outcome.skips)} skipped"
    with PRINTING:
        print(f"  {outcome.name:<36} {words} ({outcome.seconds:.1f} s)")
        for title in outcome.skips:
            print(f"      skipped: {title}")
        if outcome.failures:
            for title in outcome.failures:
                print(f"      FAILED: {title}")
            shown = outcome.output[-OUTPUT_SHOWN:]
            if len(shown) < len(outcome.output):
                print("      | (the beginning is left out)")
            for line in shown.splitlines():
                print(f"      | {line}")
        sys.stdout.flush()


def run_programs(options):
    """Those that may run beside others first, two at a time; then the serial ones."""
    serial = [path for path in options.programs if is_serial(path)]
    beside = [path for path in options.programs if path not in serial]

    def one(path):
        outcome = run_program(path, options)
        show(outcome)
        return outcome

    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(one, beside))
    return outcomes + [one(path) for path in serial]


def add_to_totals(options, outcomes, seconds):
    passed = sum(outcome.passed for outcome in outcomes)
    failed = sum(len(outcome.failures) for outcome in outcomes)
    skipped = sum(len(outcome.skips) for outcome in outcomes)
    if options.totals:
        with open(options.totals, "a", encoding="utf-8") as totals:
            totals.write(f"{options.suite}\t{passed}\t{failed}\t{skipped}\t{seconds:.1f}\n")
            for outcome in outcomes:
                for title in outcome.failures:
                    totals.write(f"!\t{options.suite}\t{title}\n".replace("\r", " "))
    return passed, failed, skipped


def report(path):
    """A line for each suite, the failures once more, and the totals."""
    suites = {}
    failures = []
    with open(path, encoding="utf-8") as totals:
        for line in totals:
            fields = line.rstrip("\n").split("\t")
            if fields[0] == "!":
                failures.append(f"{fields[1]}: {fields[2]}")
                continue
            sums = suites.setdefault(fields[0], [0, 0, 0, 0.0])
            for place, field in enumerate(fields[1:4]):
                sums[place] += int(field)
            sums[3] += float(fields[4])
    for suite, (passed, failed, skipped, seconds) in suites.items():
        print(f"{suite:<24} {passed:>5} passed {failed:>4} failed {skipped:>4} skipped "
              f"{seconds:>8.1f} s")
    for failure in failures:
        print(f"FAILED  {failure}")
    return [sum(sums[place] for sums in suites.values()) for place in range(3)]


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--suite", default="tests")
    parser.add_argument("--build", help="folder of the binaries, NOVABEAT_BUILD for the programs")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--timeout", type=int, default=120, help="seconds for one program")
    parser.add_argument("--slow", type=float, default=1.0, help="factor for every time limit")
    parser.add_argument("--totals", help="file that collects the sums of several runs")
    parser.add_argument("--exec", metavar="TITLE", help="run one command as one test")
    parser.add_argument("--report", action="store_true")
    parser.add_argument("programs", nargs="*")
    options = parser.parse_args()

    if options.report:
        passed, failed, skipped = report(options.totals)
    else:
        print(f"{options.suite}:", flush=True)
        started = time.monotonic()
        if options.exec:
            outcomes = [run_exec(options)]
            show(outcomes[0])
        elif options.programs:
            outcomes = run_programs(options)
        else:
            nothing = Outcome("nothing")
            nothing.failures.append("the suite has no programs")
            outcomes = [nothing]
            show(nothing)
        seconds = time.monotonic() - started
        passed, failed, skipped = add_to_totals(options, outcomes, seconds)
        print(f"  {seconds:.1f} s")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
