"""The balancers in front of two gateways. HAProxy's is run by harness/tests/faults/two_gateways.rs."""

import subprocess
import tempfile
from pathlib import Path

from .report import Check

# Debian's nginx has these below /var/lib/nginx, which is there only where it is installed.
TEMPORARY = "".join(f"{name}_temp_path temporary; " for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def checks(folder):
    with tempfile.TemporaryDirectory() as place:
        file = Path(place, "nginx.conf")
        file.write_text((folder / "nginx.conf").read_text().replace("http {", f"pid {place}/pid; http {{ {TEMPORARY}"))
        said = subprocess.run(["nginx", "-t", "-p", place, "-e", "stderr", "-c", file], capture_output=True, text=True,
                              timeout=20, check=False)
    yield Check("nginx -t accepts nginx.conf", said.stderr.strip() if said.returncode else "")
