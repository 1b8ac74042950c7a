#!/usr/bin/env bash
# Gives the grammar of HTTP/1, and of PROXY headers, what a fuzzer thinks of, each target for so many seconds.
# Usage: fuzz.sh [SECONDS]   60, of each target; what is found stays below fuzz/target
#        fuzz.sh --keep      takes of it into fuzz/corpus, which is checked in, what reaches code that nothing there does
#
# Without a sanitizer, as there is no unsafe code to watch: what goes wrong panics. So any stable compiler will do.
# Installs cargo-fuzz below target/ if it is missing there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.13.2
tools=$PWD/target/tools
longest=1024 # bytes of an input

if [ "$("$tools/bin/cargo-fuzz" --version 2>/dev/null)" != "cargo-fuzz $version" ]; then
    echo "fuzz: installing cargo-fuzz $version to $tools"
    cargo install --quiet --locked --debug --version "$version" --root "$tools" cargo-fuzz
fi

# run TARGET OPTION...
run() {
    local target=$1
    shift
    PATH=$tools/bin:$PATH cargo fuzz run --sanitizer none "$target" "fuzz/target/corpus/$target" "fuzz/corpus/$target" \
        -- -max_len=$longest -verbosity=0 "$@"
}

keep() {
    local target=$1 found=fuzz/target/corpus/$1 kept
    kept=$(mktemp -d)
    PATH=$tools/bin:$PATH cargo fuzz run --sanitizer none "$target" "$kept" "fuzz/corpus/$target" "$found" \
        -- -merge=1 -use_counters=0 -max_len=256 -verbosity=0
    rm -r "fuzz/corpus/$target"
    mv "$kept" "fuzz/corpus/$target"
    chmod 755 "fuzz/corpus/$target"
}

for target in requests answers chunks proxy_headers; do
    mkdir -p "fuzz/target/corpus/$target"
    if [ "${1:-}" = --keep ]; then
        keep "$target"
    else
        echo "fuzz: $target, ${1:-60} seconds"
        run "$target" "-max_total_time=${1:-60}"
    fi
done
