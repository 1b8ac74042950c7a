"""The component kubernetes/tls: that its files are where they are looked for, and that all of it works together."""

import base64
import contextlib
import os
import subprocess
import tempfile
from pathlib import Path

import yaml

from .binaries import certificate
from .etcd import Etcd
from .gateway import Gateway
from .ports import free_ports
from .rendered import environment, mounts
from .report import dig, equal, holds

SECRET = "etcd-tls"
OWNERS = {("StatefulSet", "etcd"): {"tls.crt", "tls.key"}, ("Deployment", "gateway"): {"ca.crt"},
          ("Deployment", "goods"): {"ca.crt"}, ("Job", "etcd-auth"): {"ca.crt"}}


def rendered(objects):
    """Each pod has the files that its program is told of, and no other of the Secret's."""
    files = {owner: _files(objects, *owner) for owner in OWNERS}
    for owner, keys in OWNERS.items():
        yield equal(f"{' '.join(owner)} gets {', '.join(sorted(keys))} and nothing else of the Secret", set(files[owner].values()), keys)
    named = {owner: set(paths) for owner, paths in files.items()}
    flags = dict(flag.split("=", 1) for flag in objects.container("StatefulSet", "etcd")["args"])
    yield equal("etcd is told of them", {flags.get("--cert-file"), flags.get("--key-file")}, named["StatefulSet", "etcd"])
    yield equal("goods is told of its", {environment(objects.container("Deployment", "goods")).get("GOODS_CA")}, named["Deployment", "goods"])
    yield equal("the job is told of its", {environment(objects.container("Job", "etcd-auth")).get("ETCDCTL_CACERT")},
                named["Job", "etcd-auth"])
    configuration = yaml.safe_load(objects.one("ConfigMap", "gateway")["data"]["pingora.yaml"])
    yield equal("the gateway is told of its", {dig(configuration, "gateway.registry.tls.ca")}, named["Deployment", "gateway"])
    yield from _like_base()


def _like_base():
    base, tls = (yaml.safe_load(Path("deploy/kubernetes", folder, "pingora.yaml").read_text()) for folder in ("base", "tls"))
    registry = tls["gateway"]["registry"]
    del registry["tls"]
    registry["endpoints"] = [endpoint.replace("https://", "http://") for endpoint in registry["endpoints"]]
    yield equal("tls/pingora.yaml is base/pingora.yaml but for TLS", tls, base)


def _files(objects, kind, name):
    """The path of each of the Secret's files in that pod, and its key."""
    container = objects.container(kind, name)
    return {f"{mounts(container)[volume['name']]}/{item['path']}": item["key"]
            for volume in objects.one(kind, name)["spec"]["template"]["spec"]["volumes"]
            if (dig(volume, "secret.secretName") or "").startswith(f"{SECRET}-") for item in volume["secret"]["items"]}


def running(objects, mine, proxy, goods):
    """The rendered configuration and environment, with a real etcd that has the rendered certificate."""
    with tempfile.TemporaryDirectory() as place:
        place = Path(place)
        for key, value in objects.one("Secret", SECRET)["data"].items():
            (place / key).write_bytes(base64.b64decode(value))
        for folder in ("etcd", "gateway", "stranger"):
            (place / folder).mkdir()
        ca = place / "ca.crt"
        with Etcd(place / "etcd", place / "tls.crt", place / "tls.key", ca) as etcd:
            ended = subprocess.run(["sh", "deploy/kubernetes/etcd/auth.sh", mine], capture_output=True, text=True, timeout=60,
                                   check=False, env={"PATH": os.environ["PATH"], "ETCDCTL_ENDPOINTS": etcd.url,
                                                     "ETCDCTL_CACERT": str(ca)})
            yield holds("the job's script turns authentication on over TLS", ended.returncode == 0, ended.stdout + ended.stderr)
            variables = environment(objects.container("Deployment", "goods"))
            with Gateway(proxy, place / "gateway", _here(objects, etcd, mine, ca)) as gateway, \
                    _goods(goods, variables, place, etcd, mine):
                gateway.until("an instance has answered", lambda: "success" in gateway.answer("/goods/list"))
            yield holds("the gateway and goods find each other over TLS", True, "")
            yield from _another_authority(objects, proxy, place, etcd, mine)


def _another_authority(objects, proxy, place, etcd, mine):
    other = place / "other.crt"
    certificate(other)
    with Gateway(proxy, place / "stranger", _here(objects, etcd, mine, other), becomes_ready=False) as gateway:
        gateway.until("it has tried", lambda: "certificate" in gateway.log())
        yield equal("a gateway that trusts another authority does not become ready", gateway.page("readyz"), "")


def _here(objects, etcd, mine, ca):
    """The gateway's configuration, with what is elsewhere here."""
    configuration = yaml.safe_load(objects.one("ConfigMap", "gateway")["data"]["pingora.yaml"])
    registry = configuration["gateway"]["registry"]
    registry.update(endpoints=[etcd.url], password_file=str((mine / "gateway").resolve()), allow=["127.0.0.0/8"])
    registry["tls"]["ca"] = str(ca)
    return configuration


@contextlib.contextmanager
def _goods(goods, variables, place, etcd, mine):
    (port,) = free_ports(1)
    here = {"GOODS_REGISTRY": etcd.url, "GOODS_CA": str(place / "ca.crt"), "GOODS_PASSWORD_FILE": str(mine / "goods"),
            "GOODS_LISTEN": f"127.0.0.1:{port}", "GOODS_ADVERTISE": f"127.0.0.1:{port}"}
    with open(place / "goods.log", "wb") as log:
        process = subprocess.Popen([goods.path], stdout=log, stderr=log, env={**variables, **here})
    try:
        yield
    finally:
        process.kill()
        process.wait()
