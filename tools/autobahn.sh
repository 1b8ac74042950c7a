#!/usr/bin/env bash
# Autobahn's WebSocket suite against an echo server, directly and through the gateway with each carrier of HTTP/1. Fails if a
# case ends otherwise through the gateway, twice: the suite gives most of them a second, which a busy machine may need.
# Usage: autobahn.sh DIRECTORY_OF_THE_BINARIES [CASE...]   such as 9.1.1, '9.*' or '*'
#
# Without CASE it leaves out what measures more than it asks, and takes long: thousands of compressed messages (12.*, 13.*).
# Reports stay in target/autobahn.
#
# The suite, of 2025, is for Python 2.7 and nothing newer: PYTHON2 names it, or it is python2.7, or pyenv's. It is installed
# below target/, like the echo server's library.
set -euo pipefail
cd "$(dirname "$0")/.."

binaries=$(realpath "$1")
shift
patience=20 # seconds that a start may take on a busy machine
limit=1800  # seconds that the suite may take
cases=('1.*' '2.*' '3.*' '4.*' '5.*' '6.*' '7.*' '9.*' '10.*')
if [ $# -gt 0 ]; then
    cases=("$@")
    limit=14400
fi
ways=(direct through-ours through-pingora)
suite=autobahntestsuite==25.10.1
library=wsproto==1.3.2 # of the echo server
tools=$PWD/target/tools/autobahn
reports=$PWD/target/autobahn
dir=$(mktemp -d)
declare -A pids=()
export XDG_RUNTIME_DIR=$dir
unset RUNTIME_DIRECTORY STATE_DIRECTORY

cleanup() {
    trap - EXIT
    for name in "${!pids[@]}"; do
        case $name in
            suite-*) kill -TERM "${pids[$name]}" 2>/dev/null || true ;; # `timeout` ends what it has started
            *) kill -KILL "${pids[$name]}" 2>/dev/null || true ;;
        esac
    done
    wait 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf 'autobahn: %s\n' "$*" >&2
    tail -n 20 "$dir"/*.log >&2 2>/dev/null || true
    exit 1
}

find_python2() {
    local candidate
    for candidate in "${PYTHON2:-}" python2.7 "$HOME"/.pyenv/versions/2.7.*/bin/python; do
        # A shim of pyenv is there for versions that are not.
        if [ -n "$candidate" ] && "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null; then
            python2=$candidate
            return
        fi
    done
    fail "the suite needs Python 2.7, which is not here: install it, with \`pyenv install 2.7.18\`, or name it in PYTHON2"
}

install() {
    mkdir -p "$tools"
    if [ "$(cat "$tools/installed" 2>/dev/null)" = "$suite $library" ]; then
        return
    fi
    echo "autobahn: installing $suite and $library to $tools"
    rm -rf "${tools:?}"/*
    PYTHONUSERBASE=$tools/suite "$python2" -m pip install --quiet --disable-pip-version-check --user "$suite" \
        2>"$dir/pip.log" || fail "pip could not install $suite for $python2"
    python3 -m venv "$tools/venv" || fail "python3 could not make a virtual environment in $tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check "$library" || fail "pip could not install $library"
    echo "$suite $library" >"$tools/installed"
}

# free_port: prints a port on which nobody answers, different at each call.
next_port=$((20000 + RANDOM % 8000))
free_port() {
    while (exec 3<>"/dev/tcp/127.0.0.1/$next_port") 2>/dev/null; do
        next_port=$((next_port + 1))
    done
    port=$next_port
    next_port=$((next_port + 1))
}

# start NAME COMMAND...: in the background, its output in NAME.log.
start() {
    local name=$1
    shift
    "$@" >"$dir/$name.log" 2>&1 &
    pids[$name]=$!
}

# until_open NAME PORT: waits until it listens there.
until_open() {
    local deadline=$((SECONDS + patience))
    until (exec 3<>"/dev/tcp/127.0.0.1/$2") 2>/dev/null; do
        [ $SECONDS -lt $deadline ] || fail "$1 does not listen on port $2"
        kill -0 "${pids[$1]}" 2>/dev/null || fail "$1 ended"
        sleep 0.1
    done
}

# start_gateway CARRIER: one in front of the echo server, on $port.
start_gateway() {
    local listen registry
    free_port; registry=$port
    free_port; admin=$port
    free_port; listen=$port
    cat >"$dir/$1.yaml" <<YAML
version: 1
pid_file: $dir/$1.pid
upgrade_sock: $dir/$1.sock
gateway:
  http1: $1
  listen: ["127.0.0.1:$listen"]
  admin: "127.0.0.1:$admin"
  registry:
    embedded: { listen: "127.0.0.1:$registry" }
  routes:
    - path: /
      service: echo
  services:
    echo: { addresses: ["127.0.0.1:$echo"] }
YAML
    start "$1" "$binaries/proxy" -c "$dir/$1.yaml"
    until_open "$1" "$listen"
}

# start_suite REPORTS NAME PORT CASE...: what it says of the server there.
start_suite() {
    local listed
    listed=$(printf ', "%s"' "${@:4}")
    cat >"$dir/$2.json" <<JSON
{
    "outdir": "$1/$2",
    "servers": [{ "agent": "$2", "url": "ws://127.0.0.1:$3/" }],
    "cases": [${listed#, }], "exclude-cases": [], "exclude-agent-cases": {}
}
JSON
    PYTHONUSERBASE=$tools/suite start "suite-$2" timeout "$limit" "$python2" "$tools/suite/bin/wstest" \
        --mode fuzzingclient --spec "$dir/$2.json"
}

# compare REPORTS CASE...: runs them in all ways, and says whether they end the same.
compare() {
    local way reports=$1
    shift
    mkdir -p "$reports"
    for way in "${ways[@]}"; do
        start_suite "$reports" "$way" "${port_of[$way]}" "$@"
    done
    for way in "${ways[@]}"; do
        wait "${pids[suite-$way]}" || fail "the suite did not end in order: $way"
        unset "pids[suite-$way]"
    done
    python3 tools/autobahn/compare.py "$reports" "${ways[@]}"
}

find_python2
install
rm -rf "$reports"

declare -A port_of=()
free_port; echo=$port
port_of[direct]=$port
start echo "$tools/venv/bin/python" tools/autobahn/echo.py "$echo"
until_open echo "$echo"
for carrier in ours pingora; do
    start_gateway "$carrier"
    port_of[through-$carrier]=$port
done

if ! compare "$reports" "${cases[@]}"; then
    mapfile -t different <"$reports/different"
    echo "autobahn: once more: ${different[*]}"
    compare "$reports/again" "${different[@]}" || fail "WebSocket is not the same through the gateway"
fi
