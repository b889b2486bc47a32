#!/bin/sh
# serve.sh -- CPU of the whole process per heartbeat: `novabeat serve` with durability sync against
# nginx "return 204", in turns on the same machine, each under the same keep-alive connections.
#
#     bench/serve.sh BUILD_FOLDER [ROUNDS] [REQUESTS] [CONNECTIONS]
#
# CPU is user + system of all threads (/proc/PID/stat).  The heartbeat is as a browser behind a proxy
# sends it (about 690 bytes); each connection is one viewer.  Prints a line per run, then the medians
# and their ratio.
set -eu
build=${1:?usage: bench/serve.sh BUILD_FOLDER [ROUNDS] [REQUESTS] [CONNECTIONS]}
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

nginx=$(command -v nginx || echo /usr/sbin/nginx)
cat >"$folder/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $folder/nginx.pid;
error_log $folder/error.log crit;
events { worker_connections 16384; use epoll; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    server { listen 127.0.0.1:28091 backlog=4096; location / { return 204; } }
}
CONF
"$nginx" -p "$folder" -c "$folder/nginx.conf" &
pids="$pids $!"
"$build/novabeat" serve --auth none --viewer-rate 0 --data "$folder/data" --listen 127.0.0.1:28094 \
    --durability "${NOVABEAT_BENCH_DURABILITY:-sync}" 2>"$folder/serve.log" &
serve=$!
pids="$pids $serve"
for _ in 1 2 3 4 5 6 7 8 9 10; do grep -q 'listening on' "$folder/serve.log" && break; sleep 0.5; done
worker=$(cat /proc/"$(cat "$folder/nginx.pid")"/task/*/children | tr ' ' '\n' | head -1)

body='{"path":"/events/summit-2026/sessions/keynote","hidden":false,"viewerId":"0cbf37ba-2fa2-4b74-b2c7-6bcd3a7%d"}'
run() { # name port pid
    "$build/bench/load" --port "$2" --pid "$3" --connections "$connections" --requests "$requests" \
        --method POST --path /analytics/events/summit-2026/heartbeat --body "$body" \
        --header 'User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36' \
        --header 'Accept: */*' --header 'Accept-Language: en-GB,en;q=0.9' \
        --header 'Accept-Encoding: gzip, deflate, br' \
        --header 'Content-Type: text/plain;charset=UTF-8' \
        --header 'Origin: https://live.example.com' \
        --header 'Referer: https://live.example.com/events/summit-2026/sessions/keynote' \
        --header 'X-Forwarded-For: 203.0.113.7' --header 'CloudFront-Viewer-Country: HK' \
        --header 'Connection: keep-alive' |
        sed "s/^/$1 /" | tee -a "$folder/results"
}
for _ in $(seq "$rounds"); do
    run nginx 28091 "$worker"
    run novabeat 28094 "$serve"
done
median() {
    sed -n "s/^$1 .*server_cpu_us=\([0-9.]*\).*/\1/p" "$folder/results" | sort -n |
        awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
awk -v n="$(median nginx)" -v s="$(median novabeat)" 'BEGIN {
    printf "median CPU per heartbeat: nginx 204 %.2f us, novabeat %.2f us: %.2fx\n", n, s, s / n }'
