"""A running etcd of one member, on loopback."""

import os
import subprocess
import time

from .ports import free_ports

PREFIX = "/service_registry_discovery"
PATIENCE = 20  # seconds, for a start, a stop, and a call


class Etcd:
    """Runs from `with` to its end; keeps its files in the folder `place`, which must be its own."""

    def __init__(self, place, cert=None, key=None, ca=None):
        """With a certificate it takes nothing but TLS; `ca` is the authority that signed it."""
        client, peer = free_ports(2)
        scheme = "https" if cert else "http"
        self.url, peer = f"{scheme}://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self.port, self._place, self._ca = client, place, ca
        self._command = ["etcd", "--name=a", f"--data-dir={place / 'data'}", f"--listen-client-urls={self.url}",
                         f"--advertise-client-urls={self.url}", f"--listen-peer-urls={peer}", "--bcrypt-cost=4",
                         f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=a={peer}",
                         *([f"--cert-file={cert}", f"--key-file={key}"] if cert else [])]

    def __enter__(self):
        with open(self._place / "log", "wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            deadline = time.monotonic() + PATIENCE
            while self.error("endpoint health"):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError("etcd does not start: " + (self._place / "log").read_text()[-500:])
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait(timeout=PATIENCE)

    def error(self, command, account=None):
        """The error that this command of etcdctl ends with, or nothing. `account`: user and password."""
        ended = self._run(command, account)
        return ended.stderr.strip() if ended.returncode else ""

    def read(self, command, account=None):
        """What it prints."""
        ended = self._run(command, account)
        ended.check_returncode()
        return ended.stdout.strip()

    def _run(self, command, account):
        user = {"ETCDCTL_USER": account[0], "ETCDCTL_PASSWORD": account[1]} if account else {}
        authority = {"ETCDCTL_CACERT": str(self._ca)} if self._ca else {}
        return subprocess.run(["etcdctl", *command.split(" ")], capture_output=True, text=True, timeout=PATIENCE, check=False,
                              env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3", "ETCDCTL_ENDPOINTS": self.url, **user, **authority})
