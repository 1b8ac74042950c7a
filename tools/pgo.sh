#!/usr/bin/env bash
# Builds the gateway as `make release` does, and by what it does when it serves (profile-guided optimisation, PGO): first one
# that counts what it runs, which then serves the loads of the bench and what the tests ask for; then one that is made for that.
# Usage: pgo.sh          prints where the binary is
#        pgo.sh --tool   prints which llvm-profdata it uses
#
# It takes two builds and some five minutes between them, and stays below target/pgo. What is counted is merged by
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

# train: writes to $work/profiles.
train() {
    export LEASEWAY_BIN_DIR=$work/counting
    # A process writes when it ends, so the bench is to stop it in order. %m: all add to one file.
    LLVM_PROFILE_FILE=$work/profiles/loads-%m.profraw cargo run --release --package bench -- \
        --stop --only leaseway --rounds 1 "${loads[@]}" >"$work/loads.log" ||
        fail "the loads failed: $(tail -n 5 "$work/loads.log")"
    # What goes wrong, and what is rare: the tests' requests. Tests kill what they have started, so it counts in the file
    # itself (%c).
    cargo build --quiet --package goods
    cp target/debug/goods "$LEASEWAY_BIN_DIR/goods"
    LLVM_PROFILE_FILE=$work/profiles/tests-%m%c.profraw cargo test --quiet --package harness \
        --test requests --test grpc -- --test-threads 4 >"$work/tests.log" 2>&1 ||
        echo "pgo: some tests failed, which does not matter here: $work/tests.log"
}

find_profdata
if [ "${1:-}" = --tool ]; then
    echo "$profdata"
    exit
fi

rm -rf "$work/profiles"
mkdir -p "$work/profiles"
echo "pgo: building what counts what it runs"
build counting "-Cprofile-generate=$work/profiles" -Cllvm-args=-runtime-counter-relocation # which %c needs
echo "pgo: having it serve"
train
"$profdata" merge --output "$work/gateway.profdata" "$work"/profiles/*.profraw
echo "pgo: building what is made for that"
build release "-Cprofile-use=$work/gateway.profdata"
echo "pgo: $work/release/proxy"
