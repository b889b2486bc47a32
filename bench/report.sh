#!/bin/sh
# report.sh -- a report as CSV: rows a second, and what it costs the server in memory.
#
#     bench/report.sh BUILD_FOLDER [ROUNDS] [VIEWERS]        5 rounds, 200,000 viewers
#
# The viewers have UUIDs, names and groups, and three viewings each, about 160 bytes a row.  A round
# is one whole report over the loopback, timed by curl.  Memory is the server's resident set, its
# highest (looked at every 10 ms) while reports were sent less that before the first one: of one
# report at full speed, and of 20 that are read at 100 KB a second.  Needs 300 MB in
# $NOVABEAT_BENCH_FOLDER (default /tmp).
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?usage: bench/report.sh BUILD_FOLDER [ROUNDS] [VIEWERS]}
rounds=${2:-5}
viewers=${3:-200000}
folder=$(mktemp -d "${NOVABEAT_BENCH_FOLDER:-/tmp}/novabeat-bench.XXXXXX")
pids=
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT INT TERM

echo "== $viewers viewers, three viewings each, with names"
python3 - "$viewers" "$folder" <<'PYTHON'
import random
import sys
import uuid

viewers, folder = int(sys.argv[1]), sys.argv[2]
rng = random.Random(7)
people = [str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(viewers)]
with open(folder + "/trace", "w", encoding="ascii") as out:
    for visit in range(3):
        for beat in range(2):
            for place, viewer in enumerate(people):
                at = 1637661600000 + visit * 600000 + beat * 30000 + place * 30000 // viewers
                out.write(f'{{"ts":{at},"event":"E","viewer":"{viewer}","country":"HK"}}\n')
with open(folder + "/people.csv", "w", encoding="ascii") as out:
    out.write("event,viewer,name,groups\n")
    for place, viewer in enumerate(people):
        out.write(f"E,{viewer},Viewer Number {place},staff;g{place % 20}\n")
PYTHON
# Before the heartbeats, so that they find the groups.
"$build/novabeat" viewers import --data "$folder/data" "$folder/people.csv" >"$folder/log" 2>&1
"$build/novabeat" replay --data "$folder/data" "$folder/trace" >"$folder/log" 2>&1
rm "$folder/trace" "$folder/people.csv"

"$build/novabeat" serve --auth none --data "$folder/data" --listen 127.0.0.1:28098 \
    --write-timeout 10m 2>"$folder/log" &
serve=$!
pids=$serve
until grep -q 'listening on' "$folder/log"; do
    kill -0 "$serve" || { cat "$folder/log"; exit 1; }
    sleep 0.05
done
url=http://127.0.0.1:28098/analytics/events/E/heartbeat-report
resident() { sed -n 's/^VmRSS:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$serve/status"; }
watch() { while sleep 0.01; do resident; done >"$folder/resident"; }
highest() { sort -n "$folder/resident" | tail -1; }
cpu() { awk '{print $14 + $15}' "/proc/$serve/stat"; } # ticks of 10 ms

curl -sS -X POST -d '{"limit":1}' "$url" >/dev/null
before=$(resident)
watch & watcher=$!
pids="$pids $watcher"
for _ in $(seq "$rounds"); do
    start=$(cpu)
    seconds=$(curl -sS -X POST -d '{"format":"csv"}' -o "$folder/csv" -w '%{time_total}' "$url")
    rows=$(($(wc -l <"$folder/csv") - 1))
    [ "$rows" = "$viewers" ] || { echo "only $rows rows"; exit 1; }
    awk -v r="$rows" -v s="$seconds" -v b="$(wc -c <"$folder/csv")" -v c=$(($(cpu) - start)) 'BEGIN {
        printf "%d rows in %.2f s: rows_per_s=%.0f, %.0f bytes a row, %.2f us of CPU a row\n",
            r, s, r / s, b / r, c * 10000 / r }' | tee -a "$folder/results"
done
sed -n 's/.*rows_per_s=\([0-9]*\).*/\1/p' "$folder/results" | sort -n |
    awk '{v[NR] = $1} END {printf "median: %d rows/s\n", v[int((NR + 1) / 2)]}'
echo "memory: $(($(highest) - before)) KiB more than $before while one report was sent"
kill "$watcher"

before=$(resident)
watch & watcher=$!
pids="$pids $watcher"
for _ in $(seq 20); do
    curl -sS --limit-rate 100k --max-time 20 -X POST -d '{"format":"csv"}' -o /dev/null "$url" \
        2>/dev/null &
    pids="$pids $!"
done
sleep 15
echo "memory: $(($(highest) - before)) KiB more than $before while 20 were read slowly"
