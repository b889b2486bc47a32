#!/bin/sh
# http.sh -- server CPU per heartbeat request: the bare http/ library against nginx "return 204", in
# turns on the same machine, each under the same 1000 keep-alive connections.
#
#     bench/http.sh BUILD_FOLDER [ROUNDS] [REQUESTS]
#
# The request is a heartbeat as a browser behind a proxy sends it (about 690 bytes).  Prints one line
# per run and at the end the medians and ratios.
set -eu
build=${1:?usage: bench/http.sh BUILD_FOLDER [ROUNDS] [REQUESTS]}
rounds=${2:-5}
requests=${3:-300000}
folder=$(mktemp -d /tmp/novabeat-bench.XXXXXX)
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
events { worker_connections 4096; use epoll; }
http {
    access_log off;
    keepalive_requests 100000000;
    client_body_temp_path $folder/body;
    proxy_temp_path $folder/proxy;
    fastcgi_temp_path $folder/fastcgi;
    uwsgi_temp_path $folder/uwsgi;
    scgi_temp_path $folder/scgi;
    server { listen 127.0.0.1:28081 backlog=4096; location / { return 204; } }
}
CONF
"$nginx" -p "$folder" -c "$folder/nginx.conf" &
pids="$pids $!"
"$build/bench/bench_http" 28082 now & now=$!
"$build/bench/bench_http" 28083 deferred & deferred=$!
pids="$pids $now $deferred"
sleep 1
worker=$(cat /proc/"$(cat "$folder/nginx.pid")"/task/*/children | tr ' ' '\n' | head -1)

body='{"path":"/events/summit-2026/sessions/keynote","hidden":false,"viewerId":"viewer-%d"}'
run() { # name port pid
    "$build/bench/load" --port "$2" --pid "$3" --connections 1000 --requests "$requests" \
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
    run nginx 28081 "$worker"
    run now 28082 "$now"
    run deferred 28083 "$deferred"
done
median() {
    sed -n "s/^$1 .*server_cpu_us=\([0-9.]*\).*/\1/p" "$folder/results" | sort -n |
        awk '{v[NR] = $1} END {print v[int((NR + 1) / 2)]}'
}
awk -v n="$(median nginx)" -v a="$(median now)" -v d="$(median deferred)" 'BEGIN {
    printf "median server CPU per request: nginx %.2f us, at once %.2f us (%.2fx), ", n, a, a / n
    printf "deferred %.2f us (%.2fx)\n", d, d / n }'
