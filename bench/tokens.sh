#!/bin/sh
# tokens.sh -- what checking a known token adds to a heartbeat: CPU of the whole process per
# heartbeat, --auth jwt against --auth none, in turns, with the very same requests (each connection
# shows its viewer's token and also names the viewer in the body).
#
#     bench/tokens.sh BUILD_FOLDER [ROUNDS] [REQUESTS] [CONNECTIONS]
#
# Prints a line per run, then the medians and their difference.
set -eu
build=${1:?usage: bench/tokens.sh BUILD_FOLDER [ROUNDS] [REQUESTS] [CONNECTIONS]}
rounds=${2:-5}
requests=${3:-300000}
connections=${4:-1000}
folder=$(mktemp -d "${NOVABEAT_BENCH_FOLDER:-/tmp}/novabeat-bench.XXXXXX")
pids=
finish() {
    for pid in $pids; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$folder"
}
trap finish EXIT INT TERM
secret=0123456789abcdef0123456789abcdef
python3 - "$secret" "$connections" >"$folder/tokens" <<'PYTHON'
import base64
import hashlib
import hmac
import json
import sys
import time


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


for number in range(int(sys.argv[2])):
    claims = {"iss": "https://id.example.com", "aud": "live.example.com", "event": "summit-2026",
              "sub": f"0cbf37ba-2fa2-4b74-b2c7-6bcd3a7{number}", "iat": int(time.time()),
              "exp": int(time.time()) + 7200, "name": "Ada Lovelace", "groups": ["staff", "press"]}
    signed = b64(b'{"alg":"HS256","typ":"JWT"}') + "." + b64(json.dumps(claims).encode())
    print(signed + "." + b64(hmac.new(sys.argv[1].encode(), signed.encode(),
                                      hashlib.sha256).digest()))
PYTHON
start() { # AUTH PORT
    NOVABEAT_TOKEN_SECRET=$secret "$build/novabeat" serve --auth "$1" --viewer-rate 0 \
        --data "$folder/$1" --listen 127.0.0.1:"$2" >/dev/null 2>"$folder/$1.log" &
    started=$!
    pids="$pids $started"
    until grep -q 'listening on' "$folder/$1.log"; do sleep 0.1; done
}
start none 28092
none=$started
start jwt 28093
jwt=$started
run() { # NAME PORT PID
    "$build/bench/load" --port "$2" --pid "$3" --connections "$connections" --requests "$requests" \
        --method POST --path /analytics/events/summit-2026/heartbeat --tokens "$folder/tokens" \
        --body '{"path":"/events/summit-2026/sessions/keynote","hidden":false,"viewerId":"0cbf37ba-2fa2-4b74-b2c7-6bcd3a7%d"}' \
        --header 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36' \
        --header 'Content-Type: text/plain;charset=UTF-8' | sed "s/^/$1 /" | tee -a "$folder/results"
}
for _ in $(seq "$rounds"); do
    run none 28092 "$none"
    run jwt 28093 "$jwt"
done
median() {
    sed -n "s/^$1 .*server_cpu_us=\([0-9.]*\).*/\1/p" "$folder/results" | sort -n |
        awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
awk -v n="$(median none)" -v j="$(median jwt)" 'BEGIN {
    printf "median CPU per heartbeat: none %.2f us, jwt %.2f us: %+.2f us\n", n, j, j - n }'
