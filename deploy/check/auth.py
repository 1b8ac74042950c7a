"""The script that turns etcd's authentication on, against a real etcd."""

import contextlib
import itertools
import os
import subprocess
import tempfile
from pathlib import Path

from .etcd import PREFIX, Etcd
from .report import Check, equal, holds

PASSWORDS = {"root": "root-1", "gateway": "gate:way-1", "goods": "goods-1"}
DENIED = "permission denied"
# The script must say what to do.
TAKE_NO_ROOT = "begin again with an empty etcd"

# user, etcdctl's arguments, and what it says if the user may not ("" if it may)
RIGHTS = [
    ("gateway", f"get {PREFIX}/ --prefix", ""),
    ("gateway", f"put {PREFIX}/goods/a 10.0.0.1:80", DENIED),
    ("gateway", "get /elsewhere", DENIED),
    ("goods", f"put {PREFIX}/goods/a 10.0.0.1:80", ""),
    ("goods", f"get {PREFIX}/goods/a", ""),
    ("goods", f"del {PREFIX}/goods/a", ""),
    ("goods", f"put {PREFIX}/goods2/a 10.0.0.1:80", DENIED),
    ("goods", f"get {PREFIX}/ --prefix", DENIED),
    ("goods", "put /elsewhere 1", DENIED),
    ("goods", "user list", DENIED),
    ("root", "user list", ""),
    ("", f"get {PREFIX}/ --prefix", "user name is empty"),
]

# What strangers do while everybody may do everything: each must be refused, or be undone by the script.
ROOT_OF_A_STRANGER = ["user add root:theirs", "role add root", "user grant-role root root"]
REFUSED = {
    "a root": ROOT_OF_A_STRANGER,
    "a root without its role": ["user add root:theirs"],
    "another user": ["user add mallory:theirs", "role add all", "role grant-permission all readwrite --prefix=true /",
                     "user grant-role mallory all"],
    "a user whose name looks like two of ours": ["user add gateway\ngoods:theirs"],
}
UNDONE = {
    "users of our names": ["user add gateway:theirs", "user add goods:theirs", "role add all",
                           "role grant-permission all readwrite --prefix=true /", "user grant-role goods all",
                           "user grant-role gateway all"],
    "roles of our names": ["role add goods", "role grant-permission goods readwrite --prefix=true /", "role add gateway",
                           "role grant-permission gateway readwrite --prefix=true /"],
}

# Does what etcdctl does; but the write of the number DIES_AT ends itself, the script, and all that belongs to it.
DYING = """\
#!/bin/sh
case $1.$2 in
  get.* | *.list) ;;
  *)
    echo >>"$WRITES"
    [ "$(wc -l <"$WRITES")" -ne "$DIES_AT" ] || kill -KILL 0
    ;;
esac
exec {etcdctl} "$@"
"""


# Does what etcdctl does; but a stranger acts just before authentication is turned on.
BETWEEN = """\
#!/bin/sh
if [ "$1.$2" = auth.enable ]; then
  ({stranger}) >&2 || exit
fi
exec {etcdctl} "$@"
"""

class Script:
    """The script, with a folder of passwords."""

    def __init__(self, script, place):
        self._script, self._place = script, place
        self.passwords = place / "passwords"
        self.passwords.mkdir()
        self.set()

    def set(self, **changed):
        for user, password in {**PASSWORDS, **changed}.items():
            (self.passwords / user).write_text(f"{password}\n")

    def run(self, endpoint, **environment):
        return subprocess.run(["sh", self._script, self.passwords], capture_output=True, text=True, timeout=60, check=False,
                              start_new_session=True,
                              env={"PATH": os.environ["PATH"], "ETCDCTL_ENDPOINTS": endpoint, "WAIT_SECONDS": "2", **environment})

    def run_beside(self, stranger, endpoint):
        """Somebody else gives etcdctl these commands just before the script turns authentication on."""
        etcdctl = self._place / "beside/etcdctl"
        etcdctl.parent.mkdir(exist_ok=True)
        commands = " && ".join(f"{_which('etcdctl')} {command}" for command in stranger)
        etcdctl.write_text(BETWEEN.format(etcdctl=_which("etcdctl"), stranger=commands))
        etcdctl.chmod(0o755)
        return self.run(endpoint, PATH=f"{etcdctl.parent}:{os.environ['PATH']}")

    def run_until(self, write, endpoint):
        """Breaks it off before the write of that number; whether it came so far."""
        writes, etcdctl = self._place / "writes", self._place / "bin/etcdctl"
        writes.write_text("")
        if not etcdctl.exists():
            etcdctl.parent.mkdir()
            etcdctl.write_text(DYING.format(etcdctl=_which("etcdctl")))
            etcdctl.chmod(0o755)
        path = f"{etcdctl.parent}:{os.environ['PATH']}"
        return self.run(endpoint, PATH=path, WRITES=str(writes), DIES_AT=str(write)).returncode < 0


def checks(script):
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        run = Script(script, place)
        with _etcd(place) as etcd:
            yield from _in_order(run, etcd)
        for what, done in REFUSED.items():
            with _etcd(place) as etcd:
                yield from _refuses(run, etcd, what, done)
        for what, done in UNDONE.items():
            with _etcd(place) as etcd:
                _do(etcd, done)
                yield from _works(run, etcd, f"where a stranger had made {what}")
        with _etcd(place) as etcd:
            yield from _taken(run, etcd)
        with _etcd(place) as etcd:
            yield from _known(run, etcd)
        for role in ("root", "all"):
            with _etcd(place) as etcd:
                yield from _beside(run, etcd, role)
        yield from _broken_off(run, place)


def _in_order(run, etcd):
    for user in PASSWORDS:
        folder = "etcd" if user == "root" else "base"
        run.set(**{user: Path("deploy/kubernetes", folder, "passwords", user).read_text().strip()})
        yield _refusal(f"the placeholder is refused as the password of {user}", run.run(etcd.url), user)
    yield equal("a refused password leaves etcd as it was", etcd.error("user list"), "")

    run.set()
    for time in ("first", "second"):
        yield from _works(run, etcd, f"in its {time} run")

    run.set(goods="goods-2")
    run.run(etcd.url)
    yield Check("a changed password is set", etcd.error(f"get {PREFIX}/goods/a", ("goods", "goods-2")))
    yield _refusal("an https endpoint that cannot be read leads to the certificates' variables",
                   run.run(etcd.url.replace("http://", "https://")), "ETCDCTL_CERT")
    run.set(root="wrong")
    yield _refusal("a wrong password of root is named at once", run.run(etcd.url, WAIT_SECONDS="1000"), "etcdctl user passwd root")
    run.set()


def _refuses(run, etcd, what, done):
    _do(etcd, done)
    before = _users(etcd)
    for time in ("first", "second"):
        yield _refusal(f"{what} that a stranger made is refused in the {time} run", run.run(etcd.url), "this script")
    yield equal(f"{what} that a stranger made is left as it was", _users(etcd), before)
    yield equal("and authentication is left off", etcd.error("user list"), "")


def _taken(run, etcd):
    """A stranger has turned authentication on."""
    _do(etcd, [*ROOT_OF_A_STRANGER, "auth enable"])
    yield _refusal("an etcd that a stranger has locked is refused at once", run.run(etcd.url, WAIT_SECONDS="1000"), TAKE_NO_ROOT)


def _beside(run, etcd, role):
    """A stranger makes himself a user after the script has looked for such, and then hides what tells it to look again."""
    made = ["user add evil:theirs", "user grant-role evil root"]
    if role == "all":
        made = ["user add evil:theirs", "role add all", "role grant-permission all readwrite --prefix=true /",
                "user grant-role evil all"]
    yield _refusal(f"a user with the role {role} that a stranger makes meanwhile is refused", run.run_beside(made, etcd.url), "evil")
    evil = ("evil", "theirs")
    etcd.error("del / --prefix", evil)
    for mark in etcd.read("role list", ("root", PASSWORDS["root"])).split():
        if mark.startswith("leaseway-auth-"):
            etcd.error(f"role delete {mark}", evil)
    yield _refusal(f"and still when all that he can delete is gone ({role})", run.run(etcd.url), "evil")


def _known(run, etcd):
    _do(etcd, ["user add orders:orders-1", "role add orders",
               f"role grant-permission orders readwrite --prefix=true {PREFIX}/orders/", "user grant-role orders orders"])
    yield _refusal("a user of whom the script does not know is named, with the way out", run.run(etcd.url), "KNOWN_USERS")
    yield _success("a user who is named in KNOWN_USERS is no stranger", run.run(etcd.url, KNOWN_USERS="billing orders"))
    yield Check("and keeps what it may do", etcd.error(f"put {PREFIX}/orders/a 10.0.0.1:80", ("orders", "orders-1")))


def _broken_off(run, place):
    """Killed at each of its writes; then, as the job does, begun again."""
    for write in itertools.count(1):
        with _etcd(place) as etcd:
            if not run.run_until(write, etcd.url):
                yield holds("every place where it can be broken off was tried", write > 10, f"there are {write - 1} only")
                return
            ended = run.run(etcd.url)
            wrong = [wrong for wrong in (_wrong(etcd, *right) for right in RIGHTS) if wrong]
            yield holds(f"a run that was broken off before write {write} is finished by the next", not ended.returncode and not wrong,
                        f"exit code {ended.returncode}: {ended.stderr}; {wrong}")


def _works(run, etcd, when):
    ended = run.run(etcd.url)
    yield _success(f"it succeeds {when}", ended)
    for right in RIGHTS:
        user, command, denied = right
        yield Check(f"{user or 'nobody'} {'may not' if denied else 'may'} {command} {when}", _wrong(etcd, *right))
    yield equal(f"nothing but the registrations is left {when}", etcd.read("get / --prefix --keys-only", ("root", PASSWORDS["root"])), "")


def _success(what, ended):
    return holds(what, ended.returncode == 0 and ended.stdout.splitlines()[-1:] == ["authentication is on"],
                 f"exit code {ended.returncode}: {ended.stdout}{ended.stderr}")


def _wrong(etcd, user, command, denied):
    """What is not as RIGHTS says."""
    said = etcd.error(command, (user, PASSWORDS[user]) if user else None)
    right = denied in said if denied else not said
    return "" if right else f"{user or 'nobody'}, {command}: etcdctl said {said or 'nothing of an error'!r}"


def _refusal(what, ended, told):
    return holds(what, ended.returncode == 1 and told in ended.stderr, f"exit code {ended.returncode}: {ended.stderr}")


def _do(etcd, commands):
    for command in commands:
        if problem := etcd.error(command):
            raise RuntimeError(f"etcdctl {command}: {problem}")


def _users(etcd):
    return etcd.read("user list"), etcd.read("role list")


@contextlib.contextmanager
def _etcd(place):
    with tempfile.TemporaryDirectory(dir=place) as data, Etcd(Path(data)) as etcd:
        yield etcd


def _which(command):
    return subprocess.run(["which", command], capture_output=True, text=True, check=True).stdout.strip()
