#!/usr/bin/env bash
# What sslyze finds at a port that speaks TLS, as rows of a table. `make sslyze` holds them against docs/tls-scan.md.
# Usage: sslyze.sh HOST ADDRESS:PORT AUTHORITY.PEM   such as shop.example.com 127.0.0.1:8443 ca.pem
#
# sslyze is installed below target/.
set -euo pipefail
cd "$(dirname "$0")/.."

package=sslyze==6.3.1
tools=$PWD/target/tools/sslyze
patience=300 # seconds that it may take on a busy machine

if [ $# -ne 3 ]; then
    echo "usage: $0 HOST ADDRESS:PORT AUTHORITY.PEM" >&2
    exit 2
fi

fail() {
    printf 'sslyze: %s\n' "$*" >&2
    exit 1
}

if [ "$(cat "$tools/installed" 2>/dev/null)" != "$package" ]; then
    echo "sslyze: installing $package to $tools" >&2
    rm -rf "$tools"
    python3 -m venv "$tools" || fail "python3 could not make a virtual environment in $tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "$package" || fail "pip could not install $package"
    echo "$package" >"$tools/installed"
fi
exec timeout "$patience" "$tools/bin/python" tools/sslyze/scan.py "$@"
