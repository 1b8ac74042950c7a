"""A running gateway on loopback, with a registry in it."""

import os
import subprocess
import time
import urllib.error
import urllib.request

from .ports import free_ports

CONFIGURATION = """\
version: 1
threads: 2
pid_file: {place}/pid
upgrade_sock: {place}/upgrade.sock
gateway:
  listen: ["127.0.0.1:{port}"]
  admin: "127.0.0.1:{admin}"
  registry: {{ embedded: {{ listen: "127.0.0.1:{registry}" }}, snapshot: "{place}/snapshot" }}
  routes: [{{ path: /goods, service: goods }}]
"""
PATIENCE = 30  # seconds, for a start and for an endpoint to be seen


class Gateway:
    """Runs from `with` to its end; keeps its files in the folder `place`, which must be its own."""

    def __init__(self, proxy, place):
        self.port, self._admin, self._registry = free_ports(3)
        self._place = place
        self._command = [proxy.path, "-c", place / "pingora.yaml"]

    def __enter__(self):
        (self._place / "pingora.yaml").write_text(CONFIGURATION.format(
            place=self._place, port=self.port, admin=self._admin, registry=self._registry))
        with open(self._place / "log", "wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            self._until("it is ready", lambda: self.page("readyz"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def page(self, name):
        """What the admin port answers with 200, or nothing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._admin}/{name}", timeout=PATIENCE) as answer:
                return answer.read().decode()
        except (urllib.error.HTTPError, ConnectionError, urllib.error.URLError):
            return ""

    def register(self, address):
        """An instance of goods, without a lease; returns when the gateway has seen it."""
        subprocess.run(["etcdctl", "put", "/service_registry_discovery/goods/one", address], check=True, timeout=PATIENCE,
                       capture_output=True, env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3",
                                                 "ETCDCTL_ENDPOINTS": f"127.0.0.1:{self._registry}"})
        self._until("it knows the instance", lambda: address in self.page("services"))

    def resident(self):
        """The bytes that the process has in memory."""
        with open(f"/proc/{self._process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def _until(self, what, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"waiting until {what}: " + (self._place / "log").read_text()[-500:])
            time.sleep(0.05)
