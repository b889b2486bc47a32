#!/usr/bin/env python3
"""tests/run.py finds every way in which a test program can fail.

Each case is a small program and what run.py must say of it: the last line and the exit status.
"""
import os
import subprocess
import sys
import tempfile

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run.py")
CASES = [
    ("passes", 'print("1..2\\nok 1 - a\\nok 2 - b")', "2 passed, 0 failed, 0 skipped", 0),
    ("plan at the end", 'print("ok 1 - a\\n1..1")', "1 passed, 0 failed, 0 skipped", 0),
    ("skips", 'print("1..1\\nok 1 - a # SKIP no root")', "0 passed, 0 failed, 1 skipped", 0),
    ("skips as cmocka says it", 'print("1..1\\nnot ok 1 # SKIP test_x")',
     "0 passed, 0 failed, 1 skipped", 0),
    ("fails with a skip in its name", 'print("1..1\\nnot ok 1 - a # SKIP b")',
     "0 passed, 1 failed, 0 skipped", 1),
    ("skips all", 'print("1..0 # SKIP no root")', "0 passed, 0 failed, 1 skipped", 0),
    ("fails", 'print("1..2\\nok 1\\nnot ok 2 - b"); raise SystemExit(1)',
     "1 passed, 1 failed, 0 skipped", 1),
    ("fails with status 0", 'print("1..1\\nnot ok 1 - b")', "0 passed, 1 failed, 0 skipped", 1),
    ("has no plan", 'print("ok 1 - a")', "1 passed, 1 failed, 0 skipped", 1),
    ("prints nothing", "", "0 passed, 1 failed, 0 skipped", 1),
    ("ends early", 'print("1..2\\nok 1 - a")', "1 passed, 1 failed, 0 skipped", 1),
    ("exits 3", 'print("1..1\\nok 1 - a"); raise SystemExit(3)', "1 passed, 1 failed, 0 skipped", 1),
    ("crashes", 'import os; print("1..1\\nok 1 - a", flush=True); os.abort()',
     "1 passed, 1 failed, 0 skipped", 1),
    ("hangs", '# timeout: 1\nimport time; print("1..1\\nok 1 - a", flush=True); time.sleep(60)',
     "1 passed, 1 failed, 0 skipped", 1),
]


def main():
    failures = 0
    print(f"1..{len(CASES)}")
    with tempfile.TemporaryDirectory() as folder:
        for number, (title, program, last_line, status) in enumerate(CASES, 1):
            path = os.path.join(folder, f"case_{number}.py")
            with open(path, "w", encoding="utf-8") as script:
                script.write(program + "\n")
            done = subprocess.run([sys.executable, RUN, path], capture_output=True, text=True)
            said = done.stdout.splitlines()[-1] if done.stdout else ""
            good = said == last_line and done.returncode == status
            failures += not good
            print(f"{'ok' if good else 'not ok'} {number} - a program that {title}")
            if not good:
                print(f"# said {said!r} and exited with {done.returncode}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
