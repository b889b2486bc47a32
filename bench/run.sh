#!/bin/sh
# run.sh -- every figure of the README, one after the other, on this machine.
#
#     bench/run.sh [BUILD_FOLDER] [ROUNDS]       build/release, 5
#
# Needs 3 GB of disk in $NOVABEAT_BENCH_FOLDER (default /tmp), python3 and nginx (scripts/setup bench),
# and a quiet machine.  Each figure is the median of ROUNDS runs; CPU is user + system time.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$top/build/release}
rounds=${2:-5}
folder=$(mktemp -d "${NOVABEAT_BENCH_FOLDER:-/tmp}/novabeat-bench.XXXXXX")
serve=
finish() {
    [ -z "$serve" ] || kill "$serve" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT INT TERM
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

# CPU seconds of a replay of a trace into an empty folder.
replay_cpu() { # FILE
    for _ in $(seq "$rounds"); do
        rm -rf "$folder/data"
        "$build/novabeat" replay --data "$folder/data" "$1" 2>/dev/null |
            sed -n 's/.* \([0-9.]*\) s of CPU.*/\1/p'
    done | median
}

echo "== replay: 200,000 viewers with 30 beats each, 5 sessions, groups and countries"
python3 "$top/bench/make_trace.py" 200000 30 >"$folder/trace"
cpu=$(replay_cpu "$folder/trace")
awk -v c="$cpu" 'BEGIN { printf "%.2f s of CPU: %.2f million heartbeats a CPU second\n", c, 6 / c }'

echo "== a beat at 1,000,000 viewers against one at 4,000: viewers in random order, no session"
# The cost of beats 4 to 6 of each viewer: viewers are known, so records are not created.
python3 "$top/bench/make_trace.py" 1000000 3 0 30000 >"$folder/trace"
million3=$(replay_cpu "$folder/trace")
python3 "$top/bench/make_trace.py" 1000000 6 0 30000 >"$folder/trace"
million6=$(replay_cpu "$folder/trace")
python3 "$top/bench/make_trace.py" 4000 750 0 30000 >"$folder/trace"
few3=$(replay_cpu "$folder/trace")
python3 "$top/bench/make_trace.py" 4000 1500 0 30000 >"$folder/trace"
few6=$(replay_cpu "$folder/trace")
awk -v a="$few3" -v b="$few6" -v c="$million3" -v d="$million6" 'BEGIN {
    few = (b - a) / 3; million = (d - c) / 3
    printf "4,000: %.0f ns; 1,000,000: %.0f ns: %.2fx (with the viewers'"'"' first beats and records: %.2fx)\n",
        few * 1000, million * 1000, million / few, d / b }'
rm "$folder/trace"

start() {
    "$build/novabeat" serve --auth none --data "$folder/million" --listen 127.0.0.1:28097 \
        2>"$folder/log" &
    serve=$!
    until grep -q 'listening on' "$folder/log"; do sleep 0.05; done
}
echo "== memory: one event with 1,000,000 viewers (UUIDs), sent over HTTP"
start
python3 "$top/bench/make_viewers.py" --port 28097 --pid "$serve" --viewers 1000000
kill -9 "$serve" && wait "$serve" 2>/dev/null || true

echo "== restart after kill -9: 1,000,000 heartbeats in the journal, rows in the records"
for _ in $(seq "$rounds"); do
    cp -r "$folder/million" "$folder/copy"
    start
    sed -n 's/.*recovery: //p' "$folder/log"
    kill -9 "$serve" && wait "$serve" 2>/dev/null || true
    rm -rf "$folder/million" && mv "$folder/copy" "$folder/million"
done
echo "== restart after SIGTERM: 1,000,000 viewers in the records"
start
kill "$serve" && wait "$serve"
for _ in $(seq "$rounds"); do
    start
    sed -n 's/.*recovery: //p' "$folder/log"
    kill -9 "$serve" && wait "$serve" 2>/dev/null || true
done
serve=

echo "== whole heartbeats over HTTP, durability sync, 1,000 keep-alive connections, against nginx"
"$top/bench/serve.sh" "$build" "$rounds"
