"""Checks the files in deploy/. Run by deploy/check.sh, from the top of the repository."""

import argparse
import sys
from pathlib import Path

from . import auth, balancer, binaries, compose, descriptors, dockerfile, kubernetes, memory, prometheus, report, scripts, unit

DEPLOY = Path("deploy")


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--proxy", type=Path, required=True)
    arguments.add_argument("--goods", type=Path, required=True)
    arguments.add_argument("--kubectl", required=True)
    given = arguments.parse_args()
    proxy = binaries.Proxy(given.proxy)
    goods = binaries.Goods(given.goods)

    subjects = [
        ("proxy", proxy.checks()),
        ("goods", goods.checks()),
        ("memory", memory.checks(proxy)),
        ("descriptors", descriptors.checks(proxy)),
        ("Dockerfile", dockerfile.checks(DEPLOY / "Dockerfile")),
        ("compose", compose.checks(DEPLOY / "compose.yaml", proxy, goods)),
        ("systemd", unit.checks(DEPLOY / "systemd", proxy)),
        *kubernetes.subjects(DEPLOY, given.kubectl, proxy, goods),
        ("balancer", balancer.checks(DEPLOY / "balancer")),
        ("prometheus", prometheus.checks(DEPLOY / "prometheus", proxy)),
        ("etcd's users", auth.checks(DEPLOY / "kubernetes/etcd/auth.sh")),
        ("scripts", scripts.checks(DEPLOY)),
    ]
    return 0 if report.run(subjects) else 1


if __name__ == "__main__":
    sys.exit(main())
