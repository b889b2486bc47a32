#!/usr/bin/env python3
"""Write a sorted trace for `novabeat replay`: N viewers with UUIDs, B beats each, 30 s apart.

    make_trace.py VIEWERS BEATS [SESSIONS [JITTER_MS]] > trace.ndjson

Each beat comes up to JITTER_MS late (0): with as much as the 30 s between beats, viewers come in no
order at all.
"""
import random
import sys
import uuid


def main():
    viewers, beats = int(sys.argv[1]), int(sys.argv[2])
    sessions = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    jitter = int(sys.argv[4]) if len(sys.argv) > 4 else 0
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
        if jitter:
            people = sorted(((offset + rng.randrange(jitter)) % interval, tail)
                            for offset, tail in people)
        out.write("".join('{"ts":%d,%s' % (base + offset, tail) for offset, tail in people))


if __name__ == "__main__":
    main()
