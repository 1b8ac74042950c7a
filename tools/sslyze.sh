#!/usr/bin/env bash
# What sslyze finds at a port that speaks TLS, as rows of a table. `make sslyze` holds them against docs/tls-scan.md.
# Usage: sslyze.sh HOST ADDRESS:PORT AUTHORITY.PEM   such as shop.example.com 127.0.0.1:8443 ca.pem
#
# sslyze is installed below target/.
set -euo pipefail
cd "$(dirname "$0")/.."

patience=300 # seconds that it may take on a busy machine

if [ $# -ne 3 ]; then
    echo "usage: $0 HOST ADDRESS:PORT AUTHORITY.PEM" >&2
    exit 2
fi

python=$(tools/python.sh sslyze)
exec timeout "$patience" "$python" tools/sslyze/scan.py "$@"
