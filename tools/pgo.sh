#!/usr/bin/env bash
# Builds the gateway as `make release` does, and by what it does when it serves (profile-guided optimisation, PGO): first one
# that counts what it runs, which then serves the loads of the bench, and errors; then one that is made for that.
# Usage: pgo.sh          prints where the binary is
#        pgo.sh --tool   prints which llvm-profdata it uses
#
# It takes two builds and some three minutes between them, and stays below target/pgo. What is counted is merged by
# llvm-profdata, which has to be of the compiler's LLVM: LLVM_PROFDATA names one, or it is rustup's, or Debian's.
# OpenSSL and zlib-ng are C, and are built as ever.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$PWD/target/pgo
host=$(rustc -vV | sed -n 's/^host: //p')
llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
# What is served most counts most: each of these for some seconds, with each carrier.
loads=(small post large fresh tls-small tls-new tls-resumed grpc-unary http2-idle)

fail() {
    printf 'pgo: %s\n' "$*" >&2
    exit 1
}

# find_profdata: sets $profdata.
find_profdata() {
    local candidate version others=
    local candidates=("$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata" "llvm-profdata-$llvm" llvm-profdata)
    if [ -n "${LLVM_PROFDATA:-}" ]; then
        candidates=("$LLVM_PROFDATA")
    fi
    for candidate in "${candidates[@]}"; do
        version=$("$candidate" --version 2>/dev/null | sed -n 's/.*LLVM version \([0-9]*\).*/\1/p') || true
        if [ "$version" = "$llvm" ]; then
            profdata=$candidate
            return
        fi
        others+=${version:+" ($candidate is of $version)"}
    done
    fail "rustc is built with LLVM $llvm, and there is no llvm-profdata of that version$others: install Debian's package" \
        "llvm-$llvm, or \`rustup component add llvm-tools\`, or name one in LLVM_PROFDATA"
}

# build NAME FLAG...: to $work/NAME/proxy. Only what is linked into the gateway has the flags: --target keeps them from what
# runs while it is built.
build() {
    local name=$1
    shift
    RUSTFLAGS="${RUSTFLAGS:-} $*" cargo build --release --package proxy --bin proxy --target "$host" --target-dir "$work"
    mkdir -p "$work/$name"
    cp "$work/$host/release/proxy" "$work/$name/proxy"
}

# errors: the gateway's own answers, in HTTP/1 and HTTP/2: nobody is there, nothing is registered, no route, no request.
errors() {
    local pid path dead=$((20000 + RANDOM % 4000)) listen=$((24000 + RANDOM % 4000)) registry=$((28000 + RANDOM % 4000))
    # Nobody else may enter where its sockets are.
    mkdir -p -m 700 "$work/errors"
    cat >"$work/errors/gateway.yaml" <<YAML
version: 1
pid_file: $work/errors/pid
upgrade_sock: $work/errors/sock
gateway:
  listen: ["127.0.0.1:$listen"]
  registry:
    embedded: { listen: "127.0.0.1:$registry" }
  routes:
    - path: /dead
      service: dead
    - path: /empty
      service: empty
  services:
    dead: { addresses: ["127.0.0.1:$dead"] }
YAML
    XDG_RUNTIME_DIR=$work/errors "$work/counting/proxy" -c "$work/errors/gateway.yaml" >"$work/errors/log" 2>&1 &
    pid=$!
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$listen") 2>/dev/null && break
        kill -0 "$pid" 2>/dev/null || fail "the gateway ended: $(tail -n 5 "$work/errors/log")"
        sleep 0.1
    done
    curl --silent --output /dev/null "http://127.0.0.1:$listen/{dead,empty,none}/[1-300]"
    for _ in $(seq 100); do
        # Each on a connection of its own: not every curl can have a second request on one of HTTP/2 without TLS.
        for path in dead empty none; do
            curl --silent --output /dev/null --http2-prior-knowledge "http://127.0.0.1:$listen/$path"
        done
        # What it answers may not be waited for: the connection is reset.
        printf 'GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n' 2>/dev/null >"/dev/tcp/127.0.0.1/$listen" || true
    done
    kill -TERM "$pid"
    wait "$pid" || fail "the gateway did not end in order: $(tail -n 5 "$work/errors/log")"
}

# train: writes to $work/profiles. A process writes what it has counted when it ends, so each is stopped in order; %m has all
# of them add to one file.
train() {
    local bench=(cargo run --quiet --release --package bench -- --stop --only leaseway)
    export LEASEWAY_BIN_DIR=$work/counting LLVM_PROFILE_FILE=$work/profiles/%m.profraw
    "${bench[@]}" --rounds 1 "${loads[@]}" >"$work/loads.log" || fail "the loads failed: $work/loads.log"
    "${bench[@]}" --short abuse >"$work/abuse.log" || fail "clients that behave badly failed: $work/abuse.log"
    errors
}

find_profdata
if [ "${1:-}" = --tool ]; then
    echo "$profdata"
    exit
fi

rm -rf "$work/profiles"
mkdir -p "$work/profiles"
echo "pgo: building what counts what it runs"
build counting "-Cprofile-generate=$work/profiles"
echo "pgo: having it serve"
train
"$profdata" merge --output "$work/gateway.profdata" "$work"/profiles/*.profraw
echo "pgo: building what is made for that"
build release "-Cprofile-use=$work/gateway.profdata"
echo "pgo: $work/release/proxy"
