"""The two programs that the files in deploy/ start, and what they say of those files."""

import re
import subprocess
import tempfile
from pathlib import Path

from .report import Check, holds

# Paths in a configuration that exist only where it is deployed.
_DEPLOYED_PATH = re.compile(r"^(\s*(password_file|ca|pid_file|upgrade_sock|snapshot):\s*)(\S+)", re.MULTILINE)


class Proxy:
    def __init__(self, path):
        self.path = path

    def checks(self):
        """Without these, "it loads" would say nothing."""
        yield _exists(self.path)
        yield _self_contained(self.path)
        small = "version: 1\ngateway:\n  listen: ['127.0.0.1:8080']\n  registry:\n" \
                "    endpoints: ['http://127.0.0.1:2379']\n  routes: [{path: /goods, service: goods}]\n"
        yield Check("a small configuration is accepted", self._refusal(small))
        refusal = self._refusal(small + "  no_such_key: 1\n")
        yield holds("an unknown key is refused by name", "exit code 1" in refusal and "no_such_key" in refusal,
                    f"not refused, or not by name: {refusal or 'accepted'}")

    def loads(self, what, configuration):
        """The check that the configuration, given as text, is accepted."""
        return Check(f"{what} is accepted by proxy -t", self._refusal(configuration))

    def _refusal(self, configuration):
        """Why `proxy -t` refuses the configuration, or nothing."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "pingora.yaml")
            file.write_text(_move_paths(configuration, Path(folder)))
            return _failure([self.path, "-t", "-c", file])


class Goods:
    def __init__(self, path):
        self.path = path

    def checks(self):
        yield _exists(self.path)
        yield _self_contained(self.path)
        yield holds("--help names its environment variables", "GOODS_LISTEN" in self._variables(),
                    "no GOODS_LISTEN in what it prints")

    def knows(self, what, variables):
        """The check that goods reads each of these environment variables."""
        unknown = sorted(set(variables) - self._variables())
        return holds(what, not unknown, f"goods --help does not name {', '.join(unknown)}")

    def _variables(self):
        try:
            said = subprocess.run([self.path, "--help"], capture_output=True, text=True, timeout=20, check=False)
        except OSError:
            return set()
        return set(re.findall(r"GOODS_[A-Z_]+", said.stdout))


def _exists(path):
    return holds("the binary is there", path.is_file(), f"no file {path}: build it with `cargo build`")


def _self_contained(path):
    """The Dockerfile's runtime image has no library but these; OpenSSL is not among them."""
    said = subprocess.run(["ldd", path], capture_output=True, text=True, timeout=20, check=True).stdout
    linked = {Path(line.split()[0]).name for line in said.splitlines()}
    strange = {name for name in linked if not re.match(r"(linux-vdso|libc|libm|libgcc_s|ld-linux-[\w-]+)\.so\.", name)}
    return holds("it links what the runtime image has", not strange, f"and {', '.join(sorted(strange))}")


def _move_paths(configuration, folder):
    def moved(match):
        path = folder / Path(match[3].strip("\"'")).name
        if match[2] == "password_file":
            path.write_text("secret\n")
            path.chmod(0o600)
        if match[2] == "ca":
            certificate(path)
        return f"{match[1]}{path}"
    return _DEPLOYED_PATH.sub(moved, configuration)


def certificate(path):
    """Writes a certificate to the path; its key is beside it."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=any",
                    "-keyout", path.with_suffix(".key"), "-out", path], check=True, capture_output=True, timeout=60)


def _failure(command):
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        return f"could not be run: {error}"
    except subprocess.TimeoutExpired:
        return "still running after 20 s"
    said = " ".join((ended.stdout + ended.stderr).split())
    return "" if ended.returncode == 0 else f"exit code {ended.returncode}: {said}"
