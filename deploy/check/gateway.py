"""A running gateway on loopback."""

import copy
import os
import subprocess
import time
import urllib.error
import urllib.request

import yaml

from .ports import free_ports

# With a registry in it.
SMALL = {
    "version": 1,
    "threads": 2,
    "gateway": {"registry": {"embedded": {}}, "routes": [{"path": "/goods", "service": "goods"}]},
}
PATIENCE = 30  # seconds, for a start and for an endpoint to be seen


class Gateway:
    """Runs from `with` to its end; keeps its files in the folder `place`, which must be its own."""

    def __init__(self, proxy, place, configuration=None, becomes_ready=True):
        """The configuration's addresses and files of its own are replaced by others."""
        self.port, self._admin, self._registry = free_ports(3)
        self._place, self._becomes_ready = place, becomes_ready
        self._configuration = copy.deepcopy(configuration or SMALL)
        self._configuration.update(pid_file=f"{place}/pid", upgrade_sock=f"{place}/upgrade.sock")
        gateway = self._configuration["gateway"]
        gateway.update(listen=[f"127.0.0.1:{self.port}"], admin=f"127.0.0.1:{self._admin}")
        gateway["registry"]["snapshot"] = f"{place}/snapshot"
        if "embedded" in gateway["registry"]:
            gateway["registry"]["embedded"] = {"listen": f"127.0.0.1:{self._registry}"}
        self._command = [proxy.path, "-c", place / "pingora.yaml"]

    def __enter__(self):
        # The gateway demands that nobody else can come to its upgrade socket.
        self._place.chmod(0o700)
        (self._place / "pingora.yaml").write_text(yaml.safe_dump(self._configuration))
        with open(self._place / "log", "wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)
        try:
            self.until("it is ready", lambda: self.page("readyz" if self._becomes_ready else "livez"))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()

    def page(self, name):
        """What the admin port answers with 200, or nothing."""
        return _get(f"http://127.0.0.1:{self._admin}/{name}")

    def answer(self, path):
        """What clients get with 200, or nothing."""
        return _get(f"http://127.0.0.1:{self.port}{path}")

    def log(self):
        """What it has logged."""
        return (self._place / "log").read_text()

    def register(self, address):
        """An instance of goods, without a lease; returns when the gateway has seen it."""
        subprocess.run(["etcdctl", "put", "/service_registry_discovery/goods/one", address], check=True, timeout=PATIENCE,
                       capture_output=True, env={"PATH": os.environ["PATH"], "ETCDCTL_API": "3",
                                                 "ETCDCTL_ENDPOINTS": f"127.0.0.1:{self._registry}"})
        self.until("it knows the instance", lambda: address in self.page("services"))

    def resident(self):
        """The bytes that the process has in memory."""
        with open(f"/proc/{self._process.pid}/statm") as statm:
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self):
        """How many the process has open."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def until(self, what, condition):
        """Waits for the condition while the gateway runs."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"waiting until {what}: {self.log()[-500:]}")
            time.sleep(0.05)


def _get(url):
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.read().decode()
    except (urllib.error.HTTPError, ConnectionError, urllib.error.URLError):
        return ""
