#!/usr/bin/env bash
# A Python that has what tools/NAME/requirements.txt lists. Prints its path. Usage: python.sh NAME
#
# It is installed to target/tools/NAME, by one process at a time: tests that run side by side ask for the same.
set -euo pipefail
cd "$(dirname "$0")/.."

name=$1
requirements=tools/$name/requirements.txt
tools=$PWD/target/tools/$name

fail() {
    printf '%s: %s\n' "$name" "$*" >&2
    exit 1
}

install() {
    cmp --silent "$requirements" "$tools/requirements.txt" && return
    echo "$name: installing $(tr '\n' ' ' <"$requirements")to $tools" >&2
    rm -rf "$tools"
    python3 -m venv "$tools" || fail "python3 could not make a virtual environment in $tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" ||
        fail "pip could not install $requirements"
    cp "$requirements" "$tools/requirements.txt"
}

mkdir -p "$(dirname "$tools")"
(
    flock 9
    install
) 9>"$tools.lock"
echo "$tools/bin/python"
