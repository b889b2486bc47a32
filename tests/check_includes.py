#!/usr/bin/env python3
"""The tree is the architecture: a folder of src/ includes only folders that stand above it.

The order is that of DESIGN, section 4.  Two rules more: http knows nothing of viewers, so it
includes only base; and core is pure, so it includes no header that could read a clock, open a
file, take a lock or start a thread.
"""
import glob
import os
import re
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ORDER = ["base", "core", "journal", "records", "live", "identity", "http", "api", "cli"]
ALLOWED = {folder: set(ORDER[:place + 1]) for place, folder in enumerate(ORDER)}
ALLOWED["http"] = {"base", "http"}
IMPURE = re.compile(r"^(time|pthread|threads|unistd|fcntl|stdatomic|signal|errno|poll|sqlite3"
                    r"|sys/.*|net.*/.*|arpa/.*|linux/.*)\.h$")
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')


def faults(folder, name, lines, exists):
    """What is wrong with the includes of one file; pure, so that it can be checked itself."""
    found = []
    for number, line in enumerate(lines, 1):
        include = INCLUDE.match(line)
        if not include:
            continue
        quote, header = include.groups()
        where = f"src/{folder}/{name}:{number}"
        if quote == "<":
            if folder == "core" and IMPURE.match(header):
                found.append(f"{where}: core is pure and must not include <{header}>")
            continue
        owner = header.split("/")[0]
        if "/" not in header or owner not in ALLOWED:
            found.append(f'{where}: "{header}" shall be named by its folder, "{folder}/…"')
        elif owner not in ALLOWED[folder]:
            found.append(f"{where}: {folder} must not include {owner} ({header})")
        elif not exists(header):
            found.append(f'{where}: there is no "{header}"')
    return found


def self_test():
    """The check must be able to fail."""
    wrong = [("base", '#include "core/ids.h"'), ("http", '#include "core/ids.h"'),
             ("records", '#include "live/live.h"'), ("core", "#include <pthread.h>"),
             ("core", "#include <sys/time.h>"), ("live", '#include "live.h"'),
             ("api", ' # include  "cli/settings.h"')]
    right = [("core", '#include "base/err.h"'), ("cli", '#include "api/api.h"'),
             ("base", "#include <time.h>"), ("http", '#include "http/http.h"')]
    for folder, line in wrong:
        if not faults(folder, "x.c", [line], lambda header: True):
            return f"{line} in {folder} was not found"
    for folder, line in right:
        if faults(folder, "x.c", [line], lambda header: True):
            return f"{line} in {folder} was refused"
    if not faults("core", "x.c", ['#include "base/none.h"'], lambda header: False):
        return "a missing header was not found"
    return None


def main():
    results = [("the check finds a wrong include", [self_test()] if self_test() else [])]
    source = os.path.join(TOP, "src")
    for folder in sorted(os.listdir(source)):
        if folder not in ALLOWED:
            results.append((f"src/{folder}", [f"src/{folder} is not in the layout"]))
            continue
        found = []
        files = (sorted(glob.glob(os.path.join(source, folder, "*.c"))) +
                 sorted(glob.glob(os.path.join(source, folder, "*.h"))))
        for path in files:
            with open(path, encoding="utf-8") as text:
                found += faults(folder, os.path.basename(path), text,
                                lambda header: os.path.exists(os.path.join(source, header)))
        results.append((f"src/{folder} includes only what stands above it ({len(files)} files)",
                        found))
    print(f"1..{len(results)}")
    for number, (title, found) in enumerate(results, 1):
        print(f"{'not ok' if found else 'ok'} {number} - {title}")
        for fault in found:
            print(f"# {fault}")
    return 1 if any(found for _, found in results) else 0


if __name__ == "__main__":
    sys.exit(main())
