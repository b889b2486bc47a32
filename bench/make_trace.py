#!/usr/bin/env python3
"""Write a sorted trace for `novabeat replay`: N viewers with UUIDs, B beats each, 30 s apart.

    make_trace.py VIEWERS BEATS [SESSIONS] > trace.ndjson
"""
import random
import sys
import uuid


def main():
    viewers, beats = int(sys.argv[1]), int(sys.argv[2])
    sessions = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    rng = random.Random(20211123)
    start, interval = 1637661600000, 30000
    countries = ["HK", "US", "DE", "JP", "GB", "FR", "SG", "AU"]
    people = []
    for _ in range(viewers):
        viewer = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        tail = '"event":"launch-2026","session":"s%d","viewer":"%s","country":"%s","groups":["g%d"]}\n' % (
            rng.randrange(sessions), viewer, rng.choice(countries), rng.randrange(20)) if sessions else \
            '"event":"launch-2026","viewer":"%s","country":"%s","groups":["g%d"]}\n' % (
            viewer, rng.choice(countries), rng.randrange(20))
        people.append((rng.randrange(interval), tail))
    people.sort()
    out = sys.stdout
    for beat in range(beats):
        base = start + beat * interval
        out.write("".join('{"ts":%d,%s' % (base + offset, tail) for offset, tail in people))


if __name__ == "__main__":
    main()
