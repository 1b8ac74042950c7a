#!/bin/bash
# sources.sh DIRECTORY: unpacks there the source packages that sources.txt names, with the tests that they carry. The
# environment of suites.txt is in DIRECTORY/venv.
set -euo pipefail

directory=$1
sources=$(dirname "$0")/sources.txt

fail() {
    echo "sources.sh: $1" >&2
    exit 1
}

exec 9>"$directory/lock"
flock 9
cmp --silent "$sources" "$directory/sources.txt" && exit 0

rm -rf "$directory/packages" "$directory/sources"
mkdir -p "$directory/sources"
# pip wants to know what they are made of, so it builds a little.
"$directory/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary aetcd,etcd3 \
    --require-hashes --requirement "$sources" --dest "$directory/packages" ||
    fail "pip could not download what $sources names"
for package in "$directory"/packages/*.tar.gz; do
    tar -xzf "$package" -C "$directory/sources"
done
cp "$sources" "$directory/sources.txt"
