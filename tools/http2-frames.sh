#!/usr/bin/env bash
# What servers of HTTP/2 make of frames that RFC 9113 does not allow, as a table.
# Usage: http2-frames.sh DIRECTORY_OF_THE_BINARIES   the gateway, in clear, beside nginx and Envoy where tools/peers.sh has them
#        http2-frames.sh [--authorities PEM] AUTHORITY NAME=ADDRESS:PORT...   servers that are running; with TLS
# Fails if the first server differs from the RFC in a case that tools/http2-frames/accepted.txt does not name.
#
# What it needs is installed below target/. What is bold in the table is not what the RFC asks for.
set -euo pipefail
cd "$(dirname "$0")/.."

suite=tools/http2-frames
peers=$PWD/target/tools/peers/bin
limit=300 # seconds that it may take on a busy machine

fail() {
    printf 'http2-frames: %s\n' "$*" >&2
    exit 1
}

run() {
    timeout "$limit" "$python" "$suite/run.py" --accepted "$suite/accepted.txt" "$@"
}

python=$(tools/python.sh http2-frames)
if [ $# -gt 1 ]; then
    run "$@"
    exit
fi
[ $# -eq 1 ] || { sed -n '3,4s/^# *//p' "$0" >&2; exit 2; }
binaries=$(realpath "$1")

dir=$(mktemp -d)
pids=()
cleanup() {
    trap - EXIT
    [ ${#pids[@]} -eq 0 ] || kill -KILL "${pids[@]}" 2>/dev/null || true
    wait 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# begin NAME COMMAND...: what it says is in a file.
begin() {
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    pids+=($!)
}

# until_it WHAT CONDITION...: ten seconds at most.
until_it() {
    local what=$1
    shift
    for _ in $(seq 100); do
        "$@" 2>/dev/null && return
        sleep 0.1
    done
    tail -n 5 "$dir"/*.log >&2
    fail "$what"
}

takes() {
    (exec 3<>"/dev/tcp/127.0.0.1/${1##*:}")
}

begin backend python3 "$suite/backend.py"
until_it "the backend does not start" test -s "$dir/backend.log"
backend=$(head -n 1 "$dir/backend.log")
read -r leaseway admin registry nginx envoy < <(python3 -c '
import socket
taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(5)]
print(*("%s:%d" % one.getsockname() for one in taken))')
for file in leaseway.yaml nginx.conf envoy.yaml; do
    sed "s#@directory@#$dir#; s#@backend@#$backend#; s#@backend_port@#${backend##*:}#; s#@leaseway@#$leaseway#
         s#@admin@#$admin#; s#@registry@#$registry#; s#@nginx@#$nginx#; s#@envoy_port@#${envoy##*:}#" \
        "$suite/$file" >"$dir/$file"
done

servers=("leaseway=$leaseway")
begin leaseway "$binaries/proxy" -c "$dir/leaseway.yaml"
until_it "the gateway does not start" takes "$leaseway"
peer=$(command -v nginx || echo "$peers/nginx")
if [ -x "$peer" ]; then
    begin nginx "$peer" -c "$dir/nginx.conf"
    until_it "nginx does not start" takes "$nginx"
    servers+=("nginx=$nginx")
fi
if [ -x "$peers/envoy" ]; then
    begin envoy "$peers/envoy" -c "$dir/envoy.yaml" --concurrency 1 --log-level error --disable-hot-restart
    until_it "Envoy does not start" takes "$envoy"
    servers+=("Envoy=$envoy")
fi
run shop.example.com "${servers[@]}"
