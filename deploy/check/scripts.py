"""The shell scripts."""

import os
import subprocess

from .report import Check, holds


def checks(deploy):
    found = sorted(path for path in deploy.rglob("*") if path.is_file() and path.read_bytes()[:2] == b"#!")
    yield holds("they are found", len(found) >= 3, f"only {[str(path) for path in found]}")
    for script in found:
        said = subprocess.run(["shellcheck", script], capture_output=True, text=True, check=False)
        yield Check(f"{script} passes shellcheck", said.stdout.strip())
    for script in (deploy / "check.sh", deploy / "systemd/leaseway-upgrade"):
        yield holds(f"{script} is executable", os.access(script, os.X_OK), "it is not")
