"""The systemd unit and its configuration."""

import subprocess
import tempfile
from pathlib import Path

import yaml

from . import memory
from .report import Check, bytes_in, equal, holds, seconds

BINARY = "/usr/local/bin/proxy"
UPGRADE = "/usr/local/libexec/leaseway-upgrade"
CONFIGURATION = "/etc/leaseway/pingora.yaml"
RUN = "/run/leaseway"
STATE = "/var/lib/leaseway"

EXPECTED = {
    "ExecStart": f"{BINARY} -c {CONFIGURATION}",
    "ExecReload": f"{UPGRADE} {BINARY} {CONFIGURATION} $MAINPID",
    "Restart": "always",
    "User": "leaseway",
    "RuntimeDirectory": "leaseway",
    "RuntimeDirectoryMode": "0700",
    "StateDirectory": "leaseway",
    "StateDirectoryMode": "0700",
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
}
# systemd's own measure, in tenths: 10.0 is no protection at all.
EXPOSURE = 15


def checks(folder, proxy):
    file = folder / "leaseway.service"
    service = dict(line.split("=", 1) for line in file.read_text().splitlines() if "=" in line and line[0] != "#")
    for key, value in EXPECTED.items():
        yield equal(f"{key} is {value or 'empty'}", service.get(key), value)
    yield holds("it may open many connections", int(service["LimitNOFILE"]) >= 65536, service["LimitNOFILE"])
    yield from _analyzed(file, folder, proxy)

    text = (folder / "pingora.yaml").read_text()
    yield proxy.loads("its configuration", text)
    configuration = yaml.safe_load(text)
    # While it is reloaded, the old process and the new one are both the unit's.
    yield memory.fits(configuration, bytes_in(service.get("MemoryMax")), processes=2)
    yield holds("it is given time to drain",
                seconds(service["TimeoutStopSec"]) > seconds(configuration["gateway"]["timeouts"]["drain"]),
                "TimeoutStopSec is not above timeouts.drain")
    yield equal("it upgrades through the unit's own directory", configuration["upgrade_sock"], f"{RUN}/upgrade.sock")
    yield equal("systemd finds the new process by the gateway's pid_file", service["PIDFile"], configuration["pid_file"])
    yield equal("it keeps its snapshot in the unit's own directory", configuration["gateway"]["registry"].get("snapshot"),
                f"{STATE}/snapshot")
    script = (folder / "leaseway-upgrade").read_text()
    for name in (configuration["upgrade_sock"], configuration["pid_file"]):
        yield holds(f"leaseway-upgrade uses {name}", f"=$RUNTIME_DIRECTORY/{Path(name).name}\n" in script, "it does not")


def _analyzed(file, folder, proxy):
    """The unit as it would be installed, but for the places of the two programs, which have to exist."""
    with tempfile.TemporaryDirectory() as place:
        unit = Path(place, file.name)
        unit.write_text(file.read_text().replace(BINARY, str(proxy.path))
                        .replace(UPGRADE, str((folder / "leaseway-upgrade").resolve())))
        said = _said("verify", unit)
        # An unknown key is a line on stderr, and exit code 0.
        found = said.returncode != 0 or file.name in said.stderr
        yield Check("systemd-analyze verify finds nothing", (said.stdout + said.stderr).strip() if found else "")
        said = _said("security", "--offline=yes", f"--threshold={EXPOSURE}", unit)
        yield holds(f"systemd-analyze security rates its exposure {EXPOSURE / 10} or less", said.returncode == 0,
                    (said.stdout + said.stderr).strip().splitlines()[-1])


def _said(*arguments):
    return subprocess.run(["systemd-analyze", "--no-pager", "--man=no", *arguments],
                          capture_output=True, text=True, timeout=60, check=False)
