#!/bin/sh
# auth.sh PASSWORDS
#
# Waits for the etcd at ETCDCTL_ENDPOINTS, makes the users below, each with the password in the file of its name in the
# directory PASSWORDS, and turns authentication on. It may run again at any time, also after a run that was broken off:
# it then adds what is missing and sets the passwords anew, except for root's.
#
# It does not take over what a stranger made while authentication was off, when anybody could make a user. So it stops
# if there is a root, or any other user, that it did not make. Name in KNOWN_USERS (divided by spaces) the users whom
# you have made yourself before.
#
# An etcd with TLS wants https:// in ETCDCTL_ENDPOINTS, and the names of PEM files in these variables:
#
#   ETCDCTL_CACERT                 the authority that signed etcd's certificate, if the system does not know it
#   ETCDCTL_CERT and ETCDCTL_KEY   a client's certificate and its key, if etcd demands one
#
# Root's password is set once. Change it with `etcdctl user passwd root`, then in the file.
set -euf

passwords=$1
prefix=/service_registry_discovery/
wait_seconds=${WAIT_SECONDS:-300}

# Each user but root: its name, what it may do, and with which keys. Root may do everything; etcd demands that it exists.
users() {
  echo "gateway read $prefix"
  echo "goods readwrite ${prefix}goods/"
}

fail() {
  echo "$1" >&2
  exit 1
}

names() {
  echo root
  users | cut -d ' ' -f 1
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
    case $reason in
      *"authentication failed"*) fail "authentication is on, and etcd refuses root's password in $passwords: $reason
If somebody changed it with \`etcdctl user passwd root\`, write the new one there. If nobody did, then it was not this
script that made root: begin again with an empty etcd, which nobody else reaches." ;;
    esac
    [ "$waited" -lt "$wait_seconds" ] || fail "no read from etcd after $waited s: $reason$(tls_hint "$reason")"
    echo "waiting for etcd: $reason$(tls_hint "$reason")"
    waited=$((waited + 2))
    sleep 2
  done
}

# A user who does not exist is refused only by an etcd that asks for passwords.
authentication_is_on() {
  if answer=$(ETCDCTL_USER=a-user-who-does-not-exist ETCDCTL_PASSWORD=none etcdctl user list 2>&1); then
    return 1
  fi
  case $answer in
    *"authentication failed"*) return 0 ;;
  esac
  fail "cannot tell whether authentication is on: $answer"
}

# listed NAME LIST: whether it is a line of the list.
listed() {
  printf '%s\n' "$2" | grep -qxF "$1"
}

refuse_strangers() {
  refuse_odd_names
  there=$(etcdctl user list)
  known=$(names; printf '%s\n' "${KNOWN_USERS:-}" | tr ' ' '\n')
  for user in $there; do
    listed "$user" "$known" || fail "etcd has a user $user, whom this script does not make. Before authentication is on \
anybody can make a user. Delete it (etcdctl user delete $user) or, if you made it, name it in KNOWN_USERS."
  done
}

# A name of two lines would look like two users. JSON escapes what is no plain character.
refuse_odd_names() {
  case $(etcdctl user list --write-out=json) in
    *\\*) fail "etcd has a user whose name is no plain word, whom this script does not make: delete it" ;;
  esac
}

# Whoever has the role root can undo whatever this script does. KNOWN_USERS does not excuse it: the script can tell
# nobody who was given it by root from somebody who took it before authentication was on.
refuse_other_roots() {
  there=$(etcdctl user list)
  for user in $there; do
    [ "$user" != root ] || continue
    roles=$(etcdctl user get "$user" | sed -n 's/^Roles: *//p' | tr ' ' '\n')
    ! listed root "$roles" || fail "the user $user has the role root, which this script gives to nobody but root: whoever \
made it owns etcd. If it was you, take the role from it (etcdctl user revoke-role $user root) and run this again. If not,
begin again with an empty etcd, which nobody else reaches."
  done
}

# Until all is set up, a role of this name, which nobody has, says that it is this script that sets it up. Nobody else can
# know the name before. Once authentication is on only root can delete a role: of a key, it takes no more than a right to
# write.
begun() {
  there=$(etcdctl role list) || fail "cannot list the roles"
  listed "$mark" "$there"
}

begin() {
  begun || etcdctl role add "$mark"
}

# What is there of that name may have been made, or changed, by anybody.
remove() {
  there=$(etcdctl user list)
  if listed "$1" "$there"; then etcdctl user delete "$1"; fi
  there=$(etcdctl role list)
  if listed "$1" "$there"; then etcdctl role delete "$1"; fi
}

turn_on() {
  refuse_strangers
  there=$(etcdctl user list)
  if listed root "$there" && ! begun; then
    fail "authentication is off, and there is a user root that this script did not make: whoever made it would own etcd.
If it was you, delete it (etcdctl user delete root) and run this again. If not, begin again with an empty etcd, which
nobody else reaches."
  fi
  begin
  remove root
  etcdctl user add root --interactive=false <"$passwords/root"
  etcdctl role add root
  etcdctl user grant-role root root
  etcdctl auth enable
  # A member may learn of it a moment later than another.
  wait_for_etcd
  # Now nobody else can delete it.
  begin
}

# set_user NAME PERMISSION KEYS: a user, a role of the same name, and what that role may do.
set_user() {
  there=$(etcdctl user list)
  if listed "$1" "$there"; then
    etcdctl user passwd "$1" --interactive=false <"$passwords/$1"
  else
    etcdctl user add "$1" --interactive=false <"$passwords/$1"
  fi
  there=$(etcdctl role list)
  listed "$1" "$there" || etcdctl role add "$1"
  etcdctl role grant-permission "$1" --prefix=true "$2" "$3"
  etcdctl user grant-role "$1" "$1"
}

for user in $(names); do
  password_of "$user" >/dev/null
done
# In the environment: arguments can be read by other processes.
ETCDCTL_API=3
ETCDCTL_USER=root
ETCDCTL_PASSWORD=$(password_of root)
export ETCDCTL_API ETCDCTL_USER ETCDCTL_PASSWORD
mark=leaseway-auth-$(printf '%s' "leaseway $ETCDCTL_PASSWORD" | sha256sum | cut -d ' ' -f 1)

wait_for_etcd
authentication_is_on || turn_on
# From here on etcd asks for a password, takes ours as root's, and lets nobody else change a user.
refuse_odd_names
refuse_other_roots
if begun; then
  refuse_strangers
  users | while read -r name _; do remove "$name"; done
fi
users | while read -r name permission keys; do set_user "$name" "$permission" "$keys"; done
! begun || etcdctl role delete "$mark"
echo "authentication is on"
