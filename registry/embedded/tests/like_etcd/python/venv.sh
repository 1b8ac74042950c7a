#!/bin/bash
# venv.sh DIRECTORY REQUIREMENTS: a Python environment there with what that file names. Tests run side by side:
# the first makes it, the others wait.
set -euo pipefail

directory=$1
requirements=$(dirname "$0")/$2

fail() {
    echo "venv.sh: $1" >&2
    exit 1
}

mkdir -p "$directory"
exec 9>"$directory/lock"
flock 9
cmp --silent "$requirements" "$directory/requirements.txt" && exit 0

rm -rf "$directory/venv"
python3 -m venv "$directory/venv" || fail "python3 could not make an environment: is python3-venv installed?"
"$directory/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" ||
    fail "pip could not install what $requirements names"
cp "$requirements" "$directory/requirements.txt"
