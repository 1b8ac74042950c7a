#!/usr/bin/env bash
# The article's section 3 on one machine: a registry, three goods, the gateway; a request and its trace; a
# fourth goods joins and leaves. Then everything stays up until Ctrl-C, or ends at once with ONCE=1: exit
# status 0 only if each step showed what it should.
#
# Usage: demo.sh DIRECTORY_OF_THE_BINARIES
set -euo pipefail

binaries=$1
once=${ONCE:-}
prefix=/service_registry_discovery
patience=20 # seconds that a step may take on a busy machine
dir=$(mktemp -d)
declare -A pids=()

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
        sleep 0.05
    done
}

logged() { grep -F -- "$2" "$dir/$1.log" | grep -qF -- "${3:-}"; }
endpoints() { curl -fsS "$admin/services" | grep -o '"instance"' | wc -l; }
has_endpoints() { [ "$(endpoints)" -eq "$1" ]; }

start_goods() {
    free_port
    address=127.0.0.1:$port
    start "$1" "$binaries/goods" --listen "$address" --advertise "$address" --instance "$1" --registry "$registry"
}

say "1. A registry, and three goods that register themselves in it under a lease"
free_port; client=$port
free_port; peer=$port
registry=http://127.0.0.1:$client
start etcd etcd --data-dir "$dir/etcd" \
    --listen-client-urls "$registry" --advertise-client-urls "$registry" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "default=http://127.0.0.1:$peer"
etcdctl() { ETCDCTL_API=3 command etcdctl --endpoints "$registry" "$@"; }
until_ok "etcd answers" etcdctl endpoint health
for n in 1 2 3; do
    start_goods "goods-$n"
done
three_registered() { [ "$(etcdctl get --prefix --keys-only "$prefix/goods/" | grep -c goods-)" -eq 3 ]; }
until_ok "three goods are registered" three_registered
echo "    \$ etcdctl get --prefix $prefix/"
etcdctl get --prefix "$prefix/" | show

say "2. The gateway finds all three"
free_port; gateway=http://127.0.0.1:$port
free_port; admin=http://127.0.0.1:$port
cat >"$dir/pingora.yaml" <<YAML
version: 1
gateway:
  listen: ["${gateway#http://}"]
  admin: "${admin#http://}"
  log: json
  registry:
    endpoints: ["$registry"]
  routes:
    - path: /goods
      service: goods
YAML
start gateway "$binaries/proxy" -c "$dir/pingora.yaml"
until_ok "the gateway is ready" curl -fsS "$gateway/"
until_ok "the gateway has three endpoints" has_endpoints 3
until_ok "each of them is in its log" logged gateway '"message":"endpoint put"' goods-3
grep -F '"message":"endpoint put"' "$dir/gateway.log" | show

say "3. A request through the gateway, and its trace on both sides"
echo "    \$ curl $gateway/goods/list"
answer=$(curl -fsS "$gateway/goods/list") || fail "the gateway did not answer"
echo "$answer" | show
trace=$(grep -oE '"trace_id":"[0-9a-f]{32}"' <<<"$answer" | cut -d'"' -f4) || fail "the answer has no trace id"
grep -qF '"code":0' <<<"$answer" || fail "the answer is no success"
until_ok "the gateway logged the trace" logged gateway "$trace"
grep -F "$trace" "$dir/gateway.log" | show
goods_logged() { grep -qF "$trace" "$dir"/goods-*.log; }
until_ok "a goods logged the trace" goods_logged
grep -hF "$trace" "$dir"/goods-*.log | show

say "4. A fourth goods joins"
start_goods goods-4
until_ok "the gateway has four endpoints" has_endpoints 4
until_ok "the gateway logged goods-4" logged gateway '"message":"endpoint put"' goods-4
grep -F goods-4 "$dir/gateway.log" | grep -F 'endpoint put' | show

say "5. It leaves again"
kill "${pids[goods-4]}"
until_ok "the gateway logged that goods-4 is in doubt" logged gateway '"message":"endpoint suspect"' goods-4
until_ok "the gateway has three endpoints" has_endpoints 3
until_ok "the gateway logged that goods-4 left" logged gateway '"message":"endpoint dropped"' goods-4
grep -F goods-4 "$dir/gateway.log" | grep -E 'endpoint (suspect|dropped)' | show
wait "${pids[goods-4]}" || fail "goods-4 did not stop in order"
unset 'pids[goods-4]'

if [ -n "$once" ]; then
    say "Each step showed what it should."
    exit 0
fi
say "All of it stays up until Ctrl-C. Try:"
cat <<TRY
    curl $gateway/goods/list
    curl $admin/services
    ETCDCTL_API=3 etcdctl --endpoints $registry put $prefix/goods/mine 127.0.0.1:1
    tail -f $dir/gateway.log
TRY
wait "${pids[gateway]}"
