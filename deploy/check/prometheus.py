"""The alert rules: Prometheus' own checks and tests, and that rules, gateway and docs/alerts.md name the same things."""

import re
import subprocess
import tempfile
from pathlib import Path

import yaml

from .gateway import Gateway
from .report import Check, equal, holds

OUR_METRIC = re.compile(r"\b(?:leaseway|process)_[a-z_]+\b")
# What a gateway shows only once it has happened is looked up here.
OBSERVABILITY = Path("docs/observability.md")
ALERTS = Path("docs/alerts.md")


def checks(folder, proxy):
    rules, tests = folder / "rules.yaml", folder / "rules_test.yaml"
    for command in (["check", "rules", rules], ["check", "config", folder / "prometheus.yaml"], ["test", "rules", tests]):
        said = subprocess.run(["promtool", *command], capture_output=True, text=True, timeout=60, check=False)
        yield Check(f"promtool {' '.join(map(str, command))} passes", said.returncode and said.stdout + said.stderr or "")

    alerts = [rule for group in yaml.safe_load(rules.read_text())["groups"] for rule in group["rules"]]
    names = {alert["alert"] for alert in alerts}
    yield equal("each alert has a name of its own", len(names), len(alerts))
    yield equal("each alert fires in a test", names - _fired(tests), set())
    yield equal("docs/alerts.md explains each alert, and no other",
                set(re.findall(r"^### (\w+)$", ALERTS.read_text(), re.MULTILINE)), names)
    for alert in alerts:
        yield equal(f"{alert['alert']} leads to its explanation", alert["annotations"]["runbook"], f"{ALERTS}#{alert['alert'].lower()}")
        yield holds(f"{alert['alert']} has a known severity", alert["labels"]["severity"] in ("page", "ticket"), str(alert["labels"]))

    used = {metric for alert in alerts for metric in OUR_METRIC.findall(alert["expr"])}
    yield equal("every metric of the rules is one of the gateway's", used - _shown(proxy), set())


def _fired(tests):
    return set(re.findall(r'alertname="(\w+)"', tests.read_text()))


def _shown(proxy):
    with tempfile.TemporaryDirectory() as place, Gateway(proxy, Path(place)) as gateway:
        return set(OUR_METRIC.findall(gateway.page("metrics") + OBSERVABILITY.read_text()))
