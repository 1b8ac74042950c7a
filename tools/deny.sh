#!/usr/bin/env bash
# Holds all crates against deny.toml: licences, bans and sources; and advisories, if their database, which is at GitHub,
# can be had. Installs cargo-deny below target/ if it is missing there.
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
tools=target/tools
patience=60 # seconds, for the database

if [ "$("$tools/bin/cargo-deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
    # Not optimised: that takes two minutes on two busy cores, and it checks in seconds all the same.
    echo "deny: installing cargo-deny $version to $tools"
    cargo install --quiet --locked --debug --version "$version" --root "$tools" cargo-deny
fi

deny() {
    "$tools/bin/cargo-deny" "$@"
}

deny check licenses bans sources
if said=$(GIT_TERMINAL_PROMPT=0 timeout "$patience" "$tools/bin/cargo-deny" fetch db 2>&1); then
    deny --offline check advisories
else
    printf '\n%s\n\n' "deny: ADVISORIES WERE NOT CHECKED: their database could not be had: $(tail -n 1 <<<"$said")" >&2
fi
