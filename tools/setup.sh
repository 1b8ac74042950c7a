#!/usr/bin/env bash
# Installs what is missing on Debian or Ubuntu, and says so. Usage: setup.sh build|demo|test|figures|bench|pgo
set -euo pipefail

missing=()

# need COMMAND PACKAGE: the package is missing if the command is.
need() {
    command -v "$1" >/dev/null || missing+=("$2")
}

for_build() {
    need cc build-essential
    # etcd-client compiles etcd's protocol, which imports protobuf's own files.
    need protoc protobuf-compiler
    local include
    include=$(dirname "$(command -v protoc || echo /usr/bin/protoc)")/../include
    [ -e "$include/google/protobuf/descriptor.proto" ] || missing+=(libprotobuf-dev)
    need cmake cmake              # zlib-ng, through Pingora
    # OpenSSL, through Pingora, which compiles its own.
    need make make
    perl -MFindBin -MIPC::Cmd -e 1 2>/dev/null || missing+=(perl)
}

for_demo() {
    for_build
    need curl curl
}

for_test() {
    for_demo
    need update-ca-certificates ca-certificates
    need git git                  # tools/deny.sh, for the advisories
    need openssl openssl          # deploy/check.sh; harness: its own client
    # The crate that can be published is built by itself, and so takes the system's OpenSSL.
    need pkg-config pkg-config
    pkg-config --exists openssl 2>/dev/null || missing+=(libssl-dev)
    need etcd etcd-server
    need etcdctl etcd-client
    need haproxy haproxy          # harness: in front of two gateways
    need nghttp nghttp2-client    # harness: a client of HTTP/2, and h2load
    need valgrind valgrind        # make heads
    need python3 python3
    need go golang-go
    # etcd's client in Go, for the registrar of docs/registrars.md.
    [ -d /usr/share/gocode/src/go.etcd.io/etcd/clientv3 ] || missing+=(golang-etcd-server-dev)
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv) # deploy/check.sh
}

for_figures() {
    for_test
    need wrk wrk
}

for_bench() {
    for_build
    need haproxy haproxy
    need python3 python3
    python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)
    need taskset util-linux
}

for_pgo() {
    for_test
    command -v rustc >/dev/null || return 0 # said below
    # Of the compiler's own version.
    "$(dirname "$0")/pgo.sh" --tool >/dev/null 2>&1 ||
        missing+=("llvm-$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')")
}

# What no Debian package installs as it is wanted.
and_more() {
    if [ "$1" = bench ]; then
        exec "$(dirname "$0")/peers.sh"
    fi
    exit 0
}

case "${1:-}" in
    build | demo | test | figures | bench | pgo) "for_$1" ;;
    *) echo "usage: $0 build|demo|test|figures|bench|pgo" >&2; exit 2 ;;
esac

if ! command -v cargo >/dev/null; then
    echo "setup: cargo is missing: install Rust 1.88 or later first" >&2
    exit 1
fi
if [ ${#missing[@]} -eq 0 ]; then
    and_more "$1"
fi
if ! command -v apt-get >/dev/null; then
    echo "setup: please install what these Debian packages hold: ${missing[*]}" >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi
echo "setup: installing ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
and_more "$1"
