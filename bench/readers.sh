#!/bin/sh
# readers.sh -- does reading slow the heartbeats?  And how fast is an overview?
#
#     bench/readers.sh BUILD_FOLDER [ROUNDS] [VIEWERS] [MILLION]       5, 100,000 and 1,000,000
#
# One event with VIEWERS viewers in 50 sessions.  Heartbeats come at the rate that so many viewers
# send (one in 30 s each), on 1,000 connections, in an open loop: a latency counts from when the
# heartbeat was due.  In turns, without and with 500 readers, each of which asks for overview and for
# statistics/live once a second.  Prints p99 of both and the ratio of the medians.
# Then an event with MILLION viewers in 50 sessions: overview 200 times a second, p99.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:?usage: bench/readers.sh BUILD_FOLDER [ROUNDS] [VIEWERS] [MILLION]}
rounds=${2:-5}
viewers=${3:-100000}
million=${4:-1000000}
port=28096
folder=$(mktemp -d "${NOVABEAT_BENCH_FOLDER:-/tmp}/novabeat-bench.XXXXXX")
pids=
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT INT TERM
"$build/novabeat" serve --auth none --viewer-rate 0 --data "$folder/data" \
    --listen 127.0.0.1:$port 2>"$folder/log" &
serve=$!
pids=$serve
until grep -q 'listening on' "$folder/log"; do sleep 0.1; done

fill() { # EVENT VIEWERS
    session=1
    while [ $session -le 50 ]; do
        python3 "$top/bench/make_viewers.py" --port $port --pid "$serve" --event "$1" \
            --session "s$session" --viewers $(($2 / 50)) --seed $session >/dev/null
        session=$((session + 1))
    done
}
load() { # further arguments
    "$build/bench/load" --port $port "$@"
}
field() { sed -n "s/.* $1=\([0-9.]*\).*/\1/p"; }
median() { sort -n | awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'; }

fill hundred "$viewers"
rate=$((viewers / 30))
beats() {
    load --connections 1000 --rate $rate --requests $((rate * 10)) --method POST \
        --path /analytics/events/hundred/heartbeat \
        --body '{"viewerId":"0cbf37ba-2fa2-4b74-b2c7-6bcd3a7%d","path":"/events/hundred/sessions/s7"}'
}
beats >/dev/null # the viewers of the connections are known from here on
echo "== $rate heartbeats a second of an event with $viewers viewers, without and with 500 readers"
for _ in $(seq "$rounds"); do
    beats | sed 's/^/alone /' | tee -a "$folder/results"
    load --connections 500 --rate 500 --requests 7000 --path /analytics/events/hundred/overview \
        >"$folder/overview" &
    one=$!
    load --connections 500 --rate 500 --requests 7000 \
        --path /analytics/events/hundred/statistics/live >"$folder/live" &
    two=$!
    sleep 1
    beats | sed 's/^/read /' | tee -a "$folder/results"
    wait $one && wait $two
done
echo "readers, the last round: overview $(cat "$folder/overview")"
echo "                         live     $(cat "$folder/live")"
alone=$(grep '^alone' "$folder/results" | field p99_us | median)
read=$(grep '^read' "$folder/results" | field p99_us | median)
awk -v a="$alone" -v r="$read" 'BEGIN {
    printf "median p99 of a heartbeat: alone %.1f ms, with readers %.1f ms: %.2fx\n", a / 1000, r / 1000, r / a }'

echo "== overview of an event with $million viewers in 50 sessions, 200 a second"
fill million "$million"
for _ in $(seq "$rounds"); do
    load --connections 50 --rate 200 --requests 2000 --path /analytics/events/million/overview |
        tee -a "$folder/million"
done
echo "median p99 of an overview: $(field p99_us <"$folder/million" | median) us"
