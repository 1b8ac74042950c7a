"""A plugin of pytest, for the tests of other people's clients: they run against the registry at REGISTRY_PORT, and
what came of each is written to OUTCOMES, as `passed NAME`, `failed NAME` or `skipped NAME`."""

import importlib.util
import os

import hypothesis

PORT = int(os.environ["REGISTRY_PORT"])
outcomes = {}


def pytest_configure():
    # Each example may start etcdctl: a few are enough, and how long they take is of no interest here.
    checks = list(hypothesis.HealthCheck)
    hypothesis.settings.register_profile("few", max_examples=5, deadline=None, suppress_health_check=checks)
    hypothesis.settings.load_profile("few")
    # Some tests name no address, and so mean their client's default.
    if importlib.util.find_spec("etcd3"):
        import etcd3

        connect = etcd3.client
    else:
        import aetcd

        connect = aetcd.Client.__init__
    connect.__defaults__ = ("127.0.0.1", PORT, *connect.__defaults__[2:])


def pytest_runtest_logreport(report):
    # A test is set up, called and cleaned up after: it is as good as the worst of these.
    name = report.nodeid.split("/")[-1]
    if outcomes.get(name, "passed") == "passed":
        outcomes[name] = report.outcome


def pytest_sessionfinish():
    with open(os.environ["OUTCOMES"], "w") as file:
        file.writelines(f"{outcome} {name}\n" for name, outcome in outcomes.items())
