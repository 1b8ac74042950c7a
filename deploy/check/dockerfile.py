"""The Dockerfile: hadolint's rules, and what the images promise."""

import re
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path

from .report import Check, equal, holds

BASE_IMAGES = {"BUILD_IMAGE", "RUNTIME_IMAGE", "ETCD_IMAGE"}
# The stages that become images, and the program that each starts.
IMAGES = {"gateway": "proxy", "goods": "goods", "etcdctl": "etcdctl"}
# A tag for people, and a digest, which nobody can change.
PINNED = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
# Where the gateway keeps its snapshot.
STATE = "/var/lib/leaseway"


def checks(file):
    said = subprocess.run(["hadolint", "--no-color", file], capture_output=True, text=True, check=False)
    yield Check("hadolint finds nothing", (said.stdout + said.stderr).strip())

    _, *stages = _stages(file.read_text())
    yield equal("the base images are build arguments", set(defaults(file)), BASE_IMAGES)
    yield from _pinned(**defaults(file))
    by_name = {name: (base, instructions) for base, name, instructions in map(_named, stages)}
    yield from _sources(by_name)
    for image, program in IMAGES.items():
        yield from _image(image, program, by_name)
    yield _state(by_name)


def defaults(file):
    """The base images by the names of their build arguments."""
    first = _stages(file.read_text())[0]
    return dict(arguments.split("=", 1) for keyword, arguments in first if keyword == "ARG")


def stage_names(file):
    return {_named(stage)[1] for stage in _stages(file.read_text())[1:]}


def _stages(text):
    """The instructions (keyword, arguments) before the first FROM, then those from each FROM on."""
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    stages = [[]]
    for line in filter(None, map(str.strip, text.splitlines())):
        keyword, _, arguments = line.partition(" ")
        if keyword == "FROM":
            stages.append([])
        stages[-1].append((keyword, arguments.strip()))
    return stages


def _named(stage):
    base, name = re.fullmatch(r"(\S+) AS (\S+)", stage[0][1]).groups()
    return base, name, stage[1:]


def _pinned(BUILD_IMAGE, RUNTIME_IMAGE, ETCD_IMAGE):
    for image in (BUILD_IMAGE, RUNTIME_IMAGE, ETCD_IMAGE):
        yield holds(f"{image.split('@')[0]} is named by tag and digest", PINNED.fullmatch(image), image)
    rust = re.fullmatch(r"rust:([\d.]+)-([a-z]+)@.*", BUILD_IMAGE)
    needed = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    yield holds(f"the build image has Rust {needed} or later", rust and _version(rust[1]) >= _version(needed), BUILD_IMAGE)
    yield holds("the runtime image is of the build image's release", rust and f":{rust[2]}-" in RUNTIME_IMAGE, RUNTIME_IMAGE)


def _version(text):
    return [int(part) for part in text.split(".")]


def _sources(by_name):
    """What is copied from the repository is there, is let through by .dockerignore, and is all that cargo needs."""
    copied = [source for _, instructions in by_name.values() for keyword, arguments in instructions
              if keyword == "COPY" and "--from" not in arguments for source in arguments.split()[:-1]]
    let_through = [line[1:] for line in Path(".dockerignore").read_text().splitlines() if line.startswith("!")]
    for source in copied:
        yield holds(f"{source} can be copied", Path(source).exists() and any(fnmatch(source, p) for p in let_through),
                    "not in the repository, or not let through by .dockerignore")
    members = tomllib.loads(Path("Cargo.toml").read_text())["workspace"]["members"]
    missing = {"Cargo.toml", "Cargo.lock", *members} - set(copied)
    yield holds("every member of the workspace is copied", not missing, f"{sorted(missing)} missing")


def _image(image, program, by_name):
    everything = dict(_inherited(image, by_name))
    user = everything.get("USER", "")
    yield holds(f"{image} does not run as root", re.fullmatch(r"[1-9]\d*:[1-9]\d*", user),
                f"USER {user!r} is not two numbers above 0")
    yield equal(f"{image} is stopped by SIGTERM", everything.get("STOPSIGNAL"), "SIGTERM")
    yield holds(f"{image} names its licence", 'image.licenses="Apache-2.0"' in everything.get("LABEL", ""), "it does not")
    yield equal(f"{image} starts {program}", everything.get("ENTRYPOINT"), f'["/usr/local/bin/{program}"]')
    yield holds(f"{image} holds {program}", f"/usr/local/bin/{program}" in everything.get("COPY", "").split(),
                "it is not copied there")


def _state(by_name):
    """The directory of the snapshot, from which a volume takes its owner and mode."""
    gateway = _inherited("gateway", by_name)
    made = [re.fullmatch(rf"install -d -o (\d+) -g (\d+) -m (\d+) {STATE}", arguments)
            for keyword, arguments in gateway if keyword == "RUN"]
    found = [(f"{one[1]}:{one[2]}", one[3]) for one in made if one]
    return equal("gateway has a directory for its snapshot, its user's alone", found, [(dict(gateway).get("USER"), "700")])


def _inherited(stage, by_name):
    """The instructions of a stage, after those of the stages that it is built from."""
    if stage not in by_name:
        return []
    base, instructions = by_name[stage]
    return [*_inherited(base, by_name), *instructions]
