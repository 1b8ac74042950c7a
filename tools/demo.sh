#!/usr/bin/env bash
# The article's section 3 on one machine: a gateway with its registry, three goods; a request and its trace, over
# HTTP and over gRPC; a fourth goods joins and leaves. Then everything stays up until Ctrl-C, or ends at once with
# ONCE=1: exit status 0 only if each step showed what it should.
#
# Usage: demo.sh DIRECTORY_OF_THE_BINARIES
set -euo pipefail

binaries=$1
once=${ONCE:-}
prefix=/service_registry_discovery
patience=20 # seconds that a step may take on a busy machine
begun=$(date +%s%N)
dir=$(mktemp -d)
declare -A pids=()
# The snapshot is kept there.
export XDG_RUNTIME_DIR=$dir
unset RUNTIME_DIRECTORY STATE_DIRECTORY

cleanup() {
    trap - EXIT
    for name in "${!pids[@]}"; do
        kill -KILL "${pids[$name]}" 2>/dev/null || true
    done
    wait 2>/dev/null
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { sed 's/^/    /'; }

fail() {
    printf 'demo: %s\n' "$*" >&2
    tail -n 20 "$dir"/*.log >&2
    exit 1
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

# until_ok WHAT COMMAND...: waits until the command succeeds.
until_ok() {
    local what=$1 deadline=$((SECONDS + patience))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || fail "not within $patience s: $what"
        sleep 0.02
    done
}

logged() { grep -F -- "$2" "$dir/$1.log" | grep -qF -- "${3:-}"; }
endpoints() { curl -fsS "$admin/services" | grep -o '"instance"' | wc -l; }
goods_logged() { grep -qF "$trace" "$dir"/goods-*.log; }
has_endpoints() { [ "$(endpoints)" -eq "$1" ]; }

start_goods() {
    free_port
    address=127.0.0.1:$port
    start "$1" "$binaries/goods" --listen "$address" --advertise "$address" --instance "$1" --registry "$registry"
}

# show_trace ANSWER: the trace id of a JSON answer, in the logs of both sides.
show_trace() {
    echo "$1" | show
    trace=$(grep -oE '"trace_id":"[0-9a-f]{32}"' <<<"$1" | cut -d'"' -f4) || fail "the answer has no trace id"
    grep -qF '"code":0' <<<"$1" || fail "the answer is no success"
    until_ok "the gateway logged the trace" logged gateway "$trace"
    grep -F "$trace" "$dir/gateway.log" | show
    until_ok "a goods logged the trace" goods_logged
    grep -hF "$trace" "$dir"/goods-*.log | show
}

say "1. The gateway, with a registry in it that speaks etcd's API"
free_port; gateway=http://127.0.0.1:$port
free_port; admin=http://127.0.0.1:$port
free_port; registry=http://127.0.0.1:$port
cat >"$dir/pingora.yaml" <<YAML
version: 1
gateway:
  listen: ["${gateway#http://}"]
  admin: "${admin#http://}"
  log: json
  registry:
    embedded: { listen: "${registry#http://}" }
  routes:
    - path: /goods
      service: goods
    - path: /shop.v1.Goods
      service: goods
YAML
show <"$dir/pingora.yaml"
start gateway "$binaries/proxy" -c "$dir/pingora.yaml"
until_ok "the gateway is ready" curl -fsS "$gateway/"

say "2. Three goods register themselves under a lease, and the gateway finds them"
for n in 1 2 3; do
    start_goods "goods-$n"
done
until_ok "the gateway has three endpoints" has_endpoints 3
for n in 1 2 3; do
    until_ok "goods-$n is in its log" logged gateway '"message":"endpoint put"' "goods-$n"
done
grep -F '"message":"endpoint put"' "$dir/gateway.log" | show
echo "    \$ curl $admin/services"
curl -fsS "$admin/services" | show
echo
if command -v etcdctl >/dev/null; then
    echo "    \$ etcdctl --endpoints $registry get --prefix $prefix/"
    ETCDCTL_API=3 etcdctl --endpoints "$registry" get --prefix "$prefix/" | show
fi

say "3. A request through the gateway, and its trace on both sides"
echo "    \$ curl $gateway/goods/list"
answer=$(curl -fsS "$gateway/goods/list") || fail "the gateway did not answer"
answered=$((($(date +%s%N) - begun) / 1000000))
show_trace "$answer"

say "4. A call by gRPC through the same port, and its trace"
echo "    \$ goods call --to $gateway"
answer=$("$binaries/goods" call --to "$gateway") || fail "the gateway did not answer the call"
grep -qE '"served_by":"goods-[1-3]"' <<<"$answer" || fail "the call's answer names no instance"
show_trace "$answer"

say "5. A fourth goods joins"
start_goods goods-4
until_ok "the gateway has four endpoints" has_endpoints 4
until_ok "the gateway logged goods-4" logged gateway '"message":"endpoint put"' goods-4
grep -F goods-4 "$dir/gateway.log" | grep -F 'endpoint put' | show

say "6. It leaves again"
kill "${pids[goods-4]}"
until_ok "the gateway logged that goods-4 is in doubt" logged gateway '"message":"endpoint suspect"' goods-4
until_ok "the gateway has three endpoints" has_endpoints 3
until_ok "the gateway logged that goods-4 left" logged gateway '"message":"endpoint dropped"' goods-4
grep -F goods-4 "$dir/gateway.log" | grep -E 'endpoint (suspect|dropped)' | show
wait "${pids[goods-4]}" || fail "goods-4 did not stop in order"
unset 'pids[goods-4]'

if [ -n "$once" ]; then
    say "Each step showed what it should. The first request was answered $answered ms after the start."
    exit 0
fi
say "All of it stays up until Ctrl-C. Try:"
cat <<TRY
    curl $gateway/goods/list
    $binaries/goods call --to $gateway
    curl $admin/services
    $binaries/goods --listen 127.0.0.1:0 --advertise 127.0.0.1 --instance mine --registry $registry
    tail -f $dir/gateway.log
TRY
wait "${pids[gateway]}"
