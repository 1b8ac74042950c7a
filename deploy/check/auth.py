"""The script that turns etcd's authentication on, against a real etcd."""

import contextlib
import os
import subprocess
import tempfile
import time
from pathlib import Path

from .ports import free_ports
from .report import Check, equal, holds

PASSWORDS = {"root": "root-1", "gateway": "gate:way-1", "goods": "goods-1"}
PREFIX = "/service_registry_discovery"
DENIED = "permission denied"

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
    ("", f"get {PREFIX}/ --prefix", "user name is empty"),
]


def checks(script):
    with tempfile.TemporaryDirectory() as place, _etcd(Path(place)) as endpoint:
        passwords = Path(place, "passwords")
        passwords.mkdir()

        def set_up():
            for user, password in PASSWORDS.items():
                (passwords / user).write_text(f"{password}\n")

        def turn_on(endpoints=endpoint):
            return subprocess.run(["sh", script, passwords], capture_output=True, text=True, timeout=60, check=False,
                                  env={"PATH": os.environ["PATH"], "ETCDCTL_ENDPOINTS": endpoints, "WAIT_SECONDS": "2"})

        for user in PASSWORDS:
            set_up()
            (passwords / user).write_text(Path("deploy/kubernetes", "etcd" if user == "root" else "base", "passwords", user).read_text())
            ended = turn_on()
            yield holds(f"the placeholder is refused as the password of {user}", ended.returncode == 1 and user in ended.stderr,
                        f"exit code {ended.returncode}: {ended.stderr}")
        yield equal("a refused password leaves etcd as it was", _etcdctl(endpoint, "", "user list"), "")

        set_up()
        for time_ in ("first", "second"):
            ended = turn_on()
            yield equal(f"the {time_} run succeeds", (ended.returncode, ended.stdout.splitlines()[-1:]), (0, ["authentication is on"]))
            for user, command, expected in RIGHTS:
                yield _right(endpoint, user, command, expected, f"after the {time_} run")

        (passwords / "goods").write_text("goods-2\n")
        turn_on()
        yield Check("a changed password is set", _etcdctl(endpoint, "goods", f"get {PREFIX}/goods/a", password="goods-2"))
        ended = turn_on(endpoint.replace("http://", "https://"))
        yield holds("an https endpoint that cannot be read leads to the certificates' variables",
                    ended.returncode == 1 and "ETCDCTL_CERT" in ended.stderr, f"exit code {ended.returncode}: {ended.stderr}")
        (passwords / "root").write_text("wrong\n")
        ended = turn_on()
        yield holds("a wrong password of root is named", ended.returncode == 1 and "authentication failed" in ended.stderr,
                    f"exit code {ended.returncode}: {ended.stderr}")


def _right(endpoint, user, command, expected, when):
    said = _etcdctl(endpoint, user, command)
    may = "may not" if expected else "may"
    return holds(f"{user or 'nobody'} {may} {command} {when}", expected in said if expected else not said,
                 f"etcdctl said {said or 'nothing of an error'!r}")


def _etcdctl(endpoint, user, command, password=None):
    """The error that etcdctl ends with, or nothing."""
    account = {"ETCDCTL_USER": user, "ETCDCTL_PASSWORD": password or PASSWORDS[user]} if user else {}
    ended = subprocess.run(["etcdctl", *command.split()], capture_output=True, text=True, timeout=20, check=False,
                           env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": endpoint, **account})
    return ended.stderr.strip() if ended.returncode else ""


@contextlib.contextmanager
def _etcd(place):
    """A member on free ports; its client's URL."""
    client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
    with open(place / "etcd.log", "wb") as log:
        etcd = subprocess.Popen(
            ["etcd", "--name=a", f"--data-dir={place / 'data'}", f"--listen-client-urls={client}",
             f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
             f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=a={peer}"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while _etcdctl(client, "", "endpoint health"):
            if etcd.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("etcd does not start: " + (place / "etcd.log").read_text()[-500:])
            time.sleep(0.05)
        yield client
    finally:
        etcd.terminate()
        etcd.wait(timeout=20)
