#!/bin/sh
# auth.sh PASSWORDS
#
# Waits for the etcd at ETCDCTL_ENDPOINTS, makes three users, each with the password in the file
# of its name in the directory PASSWORDS, and turns authentication on. It may run again at any time:
# it then adds what is missing and sets the passwords of gateway and goods anew.
#
#   root     everything: etcd itself demands this user
#   gateway  reads every registration
#   goods    reads and writes the registrations of the service goods, and no other's
#
# An etcd with TLS wants https:// in ETCDCTL_ENDPOINTS, and the names of PEM files in these variables:
#
#   ETCDCTL_CACERT                 the authority that signed etcd's certificate, if the system does not know it
#   ETCDCTL_CERT and ETCDCTL_KEY   a client's certificate and its key, if etcd demands one
#
# Root's password is set once. Change it with `etcdctl user passwd root`, then in the file.
set -eu

passwords=$1
prefix=/service_registry_discovery/
wait_seconds=${WAIT_SECONDS:-300}

fail() {
  echo "$1" >&2
  exit 1
}

password_of() {
  password=$(cat "$passwords/$1")
  case $password in
    '') fail "the password of $1 in $passwords is empty" ;;
    replace-me) fail "the password of $1 in $passwords is still the placeholder: replace it" ;;
    *[[:space:]]*) fail "the password of $1 in $passwords has white space inside: etcdctl would cut it there" ;;
  esac
  printf '%s' "$password"
}

# etcdctl does not say how to name a certificate, and of one that etcd misses it says "deadline exceeded".
tls_hint() {
  case "${ETCDCTL_ENDPOINTS:-} $1" in
    *x509* | *certificate* | *tls* | *https://*"deadline exceeded"*)
      echo " (see ETCDCTL_CACERT, ETCDCTL_CERT and ETCDCTL_KEY at the top of this script)" ;;
  esac
}

# A read by quorum. While authentication is off, etcdctl ignores that it has a user.
wait_for_etcd() {
  waited=0
  until answer=$(etcdctl get "$prefix" --limit=1 2>&1); do
    reason=$(printf '%s\n' "$answer" | tail -n 1)
    [ "$waited" -lt "$wait_seconds" ] || fail "no read from etcd after $waited s: $reason$(tls_hint "$reason")"
    echo "waiting for etcd: $reason$(tls_hint "$reason")"
    waited=$((waited + 2))
    sleep 2
  done
}

exists() {
  etcdctl "$1" list | grep -qxF "$2"
}

add_root() {
  exists user root || etcdctl user add root --interactive=false <"$passwords/root"
  exists role root || etcdctl role add root
  etcdctl user grant-role root root
}

# add_user NAME PERMISSION KEY_PREFIX: a user, a role of the same name, and what that role may do.
add_user() {
  if exists user "$1"; then
    etcdctl user passwd "$1" --interactive=false <"$passwords/$1"
  else
    etcdctl user add "$1" --interactive=false <"$passwords/$1"
  fi
  exists role "$1" || etcdctl role add "$1"
  etcdctl role grant-permission "$1" --prefix=true "$2" "$3"
  etcdctl user grant-role "$1" "$1"
}

for user in root gateway goods; do
  password_of "$user" >/dev/null
done
# In the environment: arguments can be read by other processes.
ETCDCTL_API=3
ETCDCTL_USER=root
ETCDCTL_PASSWORD=$(password_of root)
export ETCDCTL_API ETCDCTL_USER ETCDCTL_PASSWORD

wait_for_etcd
add_root
add_user gateway read "$prefix"
add_user goods readwrite "${prefix}goods/"
etcdctl auth enable
echo "authentication is on"
