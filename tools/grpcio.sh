#!/usr/bin/env bash
# A Python that has grpcio, for tests of calls by a client and a server that are not ours. Prints its path.
#
# grpcio is installed below target/.
set -euo pipefail
cd "$(dirname "$0")/.."

requirements=tools/grpcio/requirements.txt
tools=$PWD/target/tools/grpcio

fail() {
    printf 'grpcio: %s\n' "$*" >&2
    exit 1
}

if ! cmp --silent "$requirements" "$tools/installed"; then
    echo "grpcio: installing $(cat "$requirements") to $tools" >&2
    rm -rf "$tools"
    python3 -m venv "$tools" || fail "python3 could not make a virtual environment in $tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" || fail "pip could not install grpcio"
    cp "$requirements" "$tools/installed"
fi
echo "$tools/bin/python"
