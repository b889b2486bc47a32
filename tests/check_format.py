#!/usr/bin/env python3
"""Every C file is as clang-format 14 writes it, and no file or function grows out of hand.

Another major version of clang-format formats differently: the check then skips, visibly.  A file
of more than 1,000 lines fails; a function of more than 70 lines is named in a comment.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE_LINES_MAX = 1000
FUNCTION_LINES_MAX = 70
VERSION = "14"


def c_files():
    files = []
    for pattern in ("src/**/*.[ch]", "tests/**/*.[ch]", "bench/**/*.[ch]"):
        files += glob.glob(os.path.join(TOP, pattern), recursive=True)
    return sorted(files)


def formatter():
    for name in ("clang-format-" + VERSION, "clang-format"):
        path = shutil.which(name)
        if path:
            said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
            if re.search(rf"version {VERSION}\.", said):
                return path
    return None


def format_faults(path, files):
    done = subprocess.run([path, "--dry-run", "-Werror", "--style=file"] + files,
                          capture_output=True, text=True, cwd=TOP)
    if done.returncode == 0:
        return []
    found = [line.replace(TOP + "/", "") for line in done.stderr.splitlines()
             if "error:" in line or "warning:" in line]
    return found[:50] or [done.stderr]


def long_functions(lines):
    """(line, length) of the functions over the bound: from a "{" to a "}" in the first column."""
    found = []
    start = None
    for number, line in enumerate(lines, 1):
        if line.startswith("{"):
            start = number
        elif line.startswith("}") and start is not None:
            if number - start + 1 > FUNCTION_LINES_MAX:
                found.append((start, number - start + 1))
            start = None
    return found


def main():
    files = c_files()
    print("1..2")
    path = formatter()
    failed = False
    if path is None:
        print(f"ok 1 - C files are formatted # SKIP there is no clang-format {VERSION}")
    else:
        found = format_faults(path, files)
        failed = bool(found)
        print(f"{'not ok' if found else 'ok'} 1 - {len(files)} C files are formatted")
        for fault in found:
            print(f"# {fault}")
    too_long = []
    for file in files:
        with open(file, encoding="utf-8") as text:
            lines = text.read().splitlines()
        name = os.path.relpath(file, TOP)
        if len(lines) > FILE_LINES_MAX:
            too_long.append(f"{name} has {len(lines)} lines")
        for start, length in long_functions(lines):
            print(f"# {name}:{start}: a function of {length} lines")
    print(f"{'not ok' if too_long else 'ok'} 2 - no C file has more than {FILE_LINES_MAX} lines")
    for fault in too_long:
        print(f"# {fault}")
    return 1 if failed or too_long else 0


if __name__ == "__main__":
    sys.exit(main())
