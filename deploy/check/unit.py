"""The systemd unit and its configuration."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import yaml

from . import descriptors, memory
from .report import Check, bytes_in, equal, holds, seconds

BINARY = "/usr/local/bin/proxy"
UPGRADE = "/usr/local/libexec/leaseway-upgrade"
CONFIGURATION = "/etc/leaseway/pingora.yaml"
RUN = "/run/leaseway"
STATE = "/var/lib/leaseway"

EXPECTED = {
    "ExecStart": f"{BINARY} -c {CONFIGURATION}",
    # The last one; it is checked below that the file is looked at before.
    "ExecReload": "/bin/kill -HUP $MAINPID",
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
    # Without AF_NETLINK getifaddrs(3) fails, and an instance may have the address of the gateway.
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX AF_NETLINK",
}
# What a reload is while leaseway-upgrade runs.
EXPECTED_OF_AN_UPGRADE = {
    "ExecReload": f"{UPGRADE} --within {BINARY} {CONFIGURATION} $MAINPID",
    "PIDFile": f"{RUN}/leaseway.pid",
}
# systemd's own measure, in tenths: 10.0 is no protection at all.
EXPOSURE = 15


def checks(folder, proxy):
    file = folder / "leaseway.service"
    service = _settings(file.read_text())
    for key, value in EXPECTED.items():
        yield equal(f"{key} is {value or 'empty'}", service.get(key), value)
    reloads = [line.split("=", 1)[1] for line in file.read_text().splitlines() if line.startswith("ExecReload=")]
    yield equal("a reload looks at the file before the gateway does", reloads[0], f"{BINARY} -t -c {CONFIGURATION}")
    script = (folder / "leaseway-upgrade").read_text()
    upgrade = script.split("<<'UNIT'\n")[1].split("\nUNIT\n")[0] + "\n"
    for key, value in EXPECTED_OF_AN_UPGRADE.items():
        yield equal(f"{key} is {value} in an upgrade", _settings(upgrade).get(key), value)
    yield equal("an upgrade takes the place of a reload", upgrade.count("\nExecReload=\n"), 1)
    yield from _analyzed(file, folder, upgrade, proxy)

    text = (folder / "pingora.yaml").read_text()
    yield proxy.loads("its configuration", text)
    configuration = yaml.safe_load(text)
    # While it is upgraded, the old process and the new one are both the unit's.
    yield memory.fits(configuration, bytes_in(service.get("MemoryMax")), processes=2)
    yield descriptors.fits(configuration, int(service["LimitNOFILE"]))
    yield holds("it is given time to drain",
                seconds(service["TimeoutStopSec"]) > seconds(configuration["gateway"]["timeouts"]["drain"]),
                "TimeoutStopSec is not above timeouts.drain")
    yield equal("it upgrades through the unit's own directory", configuration["upgrade_sock"], f"{RUN}/upgrade.sock")
    yield equal("systemd finds the new process by the gateway's pid_file", EXPECTED_OF_AN_UPGRADE["PIDFile"],
                configuration["pid_file"])
    yield equal("it keeps its snapshot in the unit's own directory", configuration["gateway"]["registry"].get("snapshot"),
                f"{STATE}/snapshot")
    yield from _fits(folder, configuration)
    for name in (configuration["upgrade_sock"], configuration["pid_file"]):
        yield holds(f"leaseway-upgrade uses {name}", f"=$RUNTIME_DIRECTORY/{Path(name).name}\n" in script, "it does not")


def _settings(text):
    """Of a key that comes more than once, the last."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line and line[0] != "#")


def _fits(folder, ours):
    """The example of a cluster with users and certificates, which is installed in the place of our own."""
    example = yaml.safe_load((folder.parent.parent / "conf" / "etcd-cluster.yaml").read_text())
    kept = {key: example.get(key) for key in ("daemon", "user", "pid_file", "upgrade_sock")}
    yield equal("conf/etcd-cluster.yaml leaves user and background to the unit, and uses its directory", kept,
                {"daemon": None, "user": None, "pid_file": ours["pid_file"], "upgrade_sock": ours["upgrade_sock"]})
    yield equal("it keeps its snapshot where the unit lets it", example["gateway"]["registry"]["snapshot"],
                ours["gateway"]["registry"]["snapshot"])
    for configuration in (ours, example):
        ports = [int(listen.rsplit(":", 1)[1]) for listen in configuration["gateway"]["listen"]]
        yield holds("it listens on ports that take no capability", min(ports) >= 1024, f"it listens on {ports}")
    added = (folder / "port-80.conf").read_text()
    for line in ("CapabilityBoundingSet=CAP_NET_BIND_SERVICE", "AmbientCapabilities=CAP_NET_BIND_SERVICE", "PrivateUsers=no"):
        yield holds(f"port-80.conf sets {line}", f"\n{line}\n" in added, "it does not")


def _analyzed(file, folder, upgrade, proxy):
    """The unit as it would be installed, but for the places of the two programs, which have to exist."""
    places = {BINARY: str(proxy.path), UPGRADE: str((folder / "leaseway-upgrade").resolve())}

    def placed(text):
        for usual, here in places.items():
            text = text.replace(usual, here)
        return text

    with tempfile.TemporaryDirectory() as place:
        unit = Path(place, file.name)
        unit.write_text(placed(file.read_text()))
        said = _said("verify", unit)
        # An unknown key is a line on stderr, and exit code 0.
        found = said.returncode != 0 or file.name in said.stderr
        yield Check("systemd-analyze verify finds nothing", (said.stdout + said.stderr).strip() if found else "")
        for name, text in (("port-80.conf", (folder / "port-80.conf").read_text()), ("upgrade.conf", upgrade)):
            added = Path(place, f"{file.name}.d", name)
            added.parent.mkdir()
            added.write_text(placed(text))
            said = _said("verify", unit)
            yield Check(f"systemd-analyze verify finds nothing with {name}",
                        (said.stdout + said.stderr).strip() if said.returncode or name in said.stderr else "")
            shutil.rmtree(added.parent)
        said = _said("security", "--offline=yes", f"--threshold={EXPOSURE}", unit)
        yield holds(f"systemd-analyze security rates its exposure {EXPOSURE / 10} or less", said.returncode == 0,
                    (said.stdout + said.stderr).strip().splitlines()[-1])


def _said(*arguments):
    return subprocess.run(["systemd-analyze", "--no-pager", "--man=no", *arguments],
                          capture_output=True, text=True, timeout=60, check=False)
