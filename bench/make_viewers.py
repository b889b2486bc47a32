#!/usr/bin/env python3
"""Send one heartbeat each for N viewers with UUIDs of one event, in NDJSON batches, and print the
server's resident memory per viewer.

    make_viewers.py --port 8080 --pid PID --viewers 1000000 [--session S] [--seed 7]
"""
import argparse
import http.client
import random
import uuid


def resident_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int, required=True)
    parser.add_argument("--viewers", type=int, default=1000000)
    parser.add_argument("--event", default="million")
    parser.add_argument("--session")
    parser.add_argument("--seed", type=int, default=7, help="other viewers")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    connection = http.client.HTTPConnection("127.0.0.1", args.port, timeout=60)
    before = resident_kib(args.pid)
    session = f'"session":"{args.session}",' if args.session else ""
    sent = 0
    while sent < args.viewers:
        lines = []
        for _ in range(min(5000, args.viewers - sent)):
            viewer = uuid.UUID(int=rng.getrandbits(128), version=4)
            lines.append(f'{{"event":"{args.event}",{session}"viewer":"{viewer}","country":"HK","groups":["g{sent % 20}"]}}')
        connection.request("POST", "/analytics/heartbeats", "\n".join(lines))
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body
        sent += len(lines)
    after = resident_kib(args.pid)
    print(f"viewers={sent} resident_before_kib={before} resident_after_kib={after} "
          f"bytes_per_viewer={after * 1024 / sent:.1f}")


if __name__ == "__main__":
    main()
