"""The kustomizations: each is rendered, held against Kubernetes' schemas, and asked for what it promises."""

import base64
import contextlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from . import dockerfile, memory, policies, tls
from .rendered import Rendered, environment, mounts
from .report import Check, dig, equal, holds, seconds

# The oldest that knows every field (preStop.sleep came with it), and the newest that has schemas here.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
NAMESPACE = "etcd-demo"
DOCKERFILE = Path("deploy/Dockerfile")

# What the demo's manifests say, and what keeps a stop from failing requests.
KEPT = {
    "gateway": {"replicas": 10, "minReadySeconds": 4, "terminationGracePeriodSeconds": 45},
    "goods": {"replicas": 3, "minReadySeconds": 2, "terminationGracePeriodSeconds": 15},
}
# In mebibytes: the snapshot, the one that replaces it and one set aside, of 256 each at most.
SNAPSHOTS = 3 * 256
PLACEHOLDER = "replace-me\n"
MY_ETCD = "http://etcd.example.com:2379"


def subjects(deploy, kubectl, proxy, goods):
    """(name, checks) of each kustomization, and of those that deploy/README.md tells users to write."""
    folder = deploy / "kubernetes"
    base = [_leaseway(proxy, goods), _secrets(lambda _: PLACEHOLDER)]
    with_etcd = [_etcd("http")]
    parts = {
        folder / "base": [*base, _plain_namespace, _kinds({"etcd-gateway", "etcd-goods"}, etcd=False)],
        folder: [*base, *with_etcd, _plain_namespace, _kinds({"etcd-gateway", "etcd-goods", "etcd-root"}, etcd=True)],
        folder / "article": [*base, *with_etcd, _article],
    }
    for path, checks in parts.items():
        yield str(path), _checks(kubectl, path, checks)
    written = Written(deploy / "README.md")
    mine = [_leaseway(proxy, goods), _my_images, _my_allow]
    yield "deploy/README.md, overlay", _overlay(written.overlay, written.commands, kubectl, [*mine, *with_etcd])
    others = {**written.overlay, **written.other_namespace}
    yield "deploy/README.md, overlay with another namespace", _overlay(others, written.commands, kubectl,
                                                                       [*mine, *with_etcd, policies.other_namespace])
    yield "deploy/README.md, overlay whose configuration changes in running pods", _overlay(
        {**written.overlay, **written.in_place}, written.commands, kubectl, [*mine, *with_etcd, _in_place])
    for name, overlay in {"overlay with TLS": written.overlay, "overlay with another namespace and TLS": others}.items():
        yield f"deploy/README.md, {name}", _overlay(_with(overlay, written.tls), written.commands + written.tls_commands, kubectl,
                                                    [*mine, _etcd("https"), tls.rendered])
    yield "deploy/README.md, overlay for an etcd at hand", _overlay(written.my_etcd, written.commands, kubectl, [*mine, _my_etcd])
    yield "TLS", _running(written, kubectl, proxy, goods)


class Written:
    """What deploy/README.md tells users to write into a folder beside the repository, and to run there."""

    def __init__(self, readme):
        self._text = readme.read_text()
        self.overlay, self.my_etcd = self._yaml("apiVersion: kustomize")
        (self.other_namespace,) = self._yaml("patches:")
        (self.in_place,) = self._yaml("configMapGenerator:")
        (self.tls,) = self._yaml("components:")
        # The folder is made by the check.
        (self.commands,) = [block.removeprefix("mkdir mine && cd mine && ") for block in self._blocks("sh", "mkdir mine")]
        (self.tls_commands,) = self._blocks("sh", "umask")

    def _yaml(self, beginning):
        return [yaml.safe_load(block) for block in self._blocks("yaml", beginning)]

    def _blocks(self, language, beginning):
        return [block for block in re.findall(rf"```{language}\n(.*?)```", self._text, re.DOTALL) if block.startswith(beginning)]


def _with(overlay, more):
    """The overlay with what another block adds to it."""
    return {**overlay, **{key: [*overlay.get(key, []), *added] for key, added in more.items()}}


def _checks(kubectl, path, parts):
    said = subprocess.run([kubectl, "kustomize", path], capture_output=True, text=True, timeout=60, check=False)
    # kustomize warns of what is deprecated there.
    yield Check("kustomize renders it without a warning", said.stderr.strip())
    rendered = Rendered(yaml.safe_load_all(said.stdout))
    for part in (_schemas, _namespaces, _references, _pods, _budgets, policies.checks, *parts):
        yield from part(rendered)


@contextlib.contextmanager
def _mine(overlay, commands):
    """The folder beside the repository, as users make it."""
    # Not a temporary folder of the system's: kustomize wants relative paths.
    place = Path(tempfile.mkdtemp(dir="target"))
    try:
        subprocess.run(["sh", "-euc", commands.replace("../leaseway/", "../../")], cwd=place, check=True, capture_output=True,
                       timeout=60)
        (place / "kustomization.yaml").write_text(yaml.safe_dump(overlay).replace("../leaseway/", "../../"))
        yield place
    finally:
        shutil.rmtree(place)


def _overlay(overlay, commands, kubectl, parts):
    with _mine(overlay, commands) as place:
        configuration = place / "pingora.yaml"
        if "resources" in overlay and overlay["resources"][0].endswith("/base"):
            configuration.write_text(re.sub(r"(- http://etcd-.*\n\s*)+", f"- {MY_ETCD}\n    ", configuration.read_text()))
        yield from _checks(kubectl, place, [*parts, _secrets(lambda user: (place / user).read_text())])


def _running(written, kubectl, proxy, goods):
    with _mine(_with(written.overlay, written.tls), written.commands + written.tls_commands) as place:
        said = subprocess.run([kubectl, "kustomize", place], capture_output=True, text=True, timeout=60, check=True)
        yield from tls.running(Rendered(yaml.safe_load_all(said.stdout)), place, proxy, goods)


def _schemas(rendered):
    for one in rendered.objects:
        name = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] == "IngressRoute":
            yield from _ingress_route(one, rendered)
            continue
        violations = filter(None, (_violation(one, version) for version in VERSIONS))
        yield Check(f"{name} is valid in Kubernetes {' and '.join(VERSIONS)}", "; ".join(violations))


def _violation(one, version):
    try:
        kubernetes_validate.validate(one, version, strict=True)
    except kubernetes_validate.SchemaNotFoundError as error:
        return error.message
    except jsonschema.ValidationError as error:
        return f"{version}: {'.'.join(map(str, error.path))}: {error.message}"
    return ""


def _ingress_route(one, rendered):
    """Traefik's own kind, for which there is no schema here."""
    name = f"IngressRoute {one['metadata']['name']}"
    yield equal(f"{name} is of today's API group", one["apiVersion"], "traefik.io/v1alpha1")
    yield equal(f"{name} has the fields of its kind", set(one), {"apiVersion", "kind", "metadata", "spec"})
    yield equal(f"{name} has entry points and routes", set(one["spec"]), {"entryPoints", "routes"})
    yield equal(f"{name} listens on web", one["spec"]["entryPoints"], ["web"])
    (route,) = one["spec"]["routes"]
    yield equal(f"{name} has one route of three fields", set(route), {"match", "kind", "services"})
    yield equal(f"{name}'s route is a rule", route["kind"], "Rule")
    yield equal(f"{name} is for the demo's domain", route["match"], "Host(`etcd-demo.local.com`) && PathPrefix(`/`)")
    for target in route["services"]:
        service = rendered.one("Service", target["name"])
        ports = [port["port"] for port in dig(service, "spec.ports") or []]
        yield holds(f"{name} leads to a Service's port", set(target) == {"name", "port"} and target["port"] in ports, str(target))


def _namespaces(rendered):
    yield equal("there is one Namespace", [one["metadata"]["name"] for one in rendered.all("Namespace")], [NAMESPACE])
    elsewhere = [one["metadata"]["name"] for one in rendered.objects
                 if one["kind"] != "Namespace" and one["metadata"].get("namespace") != NAMESPACE]
    yield equal("everything is in it", elsewhere, [])
    yield equal("it lets no privileged pod in", dig(rendered.all("Namespace")[0], "metadata.labels"),
                {"pod-security.kubernetes.io/enforce": "restricted"})


def _references(rendered):
    """Names that one object says of another."""
    for owner, template in rendered.pods():
        for volume in template["spec"].get("volumes", []):
            for kind, name in _named_by(volume):
                there = any(one["metadata"]["name"] == name for one in rendered.all(kind))
                yield holds(f"{owner}'s {kind} {name} exists", there, "no such object")
        volumes = {volume["name"] for volume in template["spec"].get("volumes", [])}
        for container in template["spec"]["containers"]:
            claims = {dig(claim, "metadata.name") for one in rendered.all("StatefulSet")
                      for claim in one["spec"]["volumeClaimTemplates"] if owner == f"StatefulSet {one['metadata']['name']}"}
            mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
            yield equal(f"{owner} mounts the volumes that it has", mounted, volumes | claims)
            ports = {port["name"] for port in container.get("ports", [])}
            probes = {dig(container, f"{probe}.httpGet.port") for probe in ("readinessProbe", "livenessProbe")} - {None}
            yield holds(f"{owner}'s probes ask ports that it has", probes <= ports, f"{probes} of {ports}")
    for one in rendered.all("Service"):
        name = f"Service {one['metadata']['name']}"
        chosen = [template for _, template in rendered.pods() if _selects(one["spec"]["selector"], template)]
        yield equal(f"{name} chooses the pods of one object", len(chosen), 1)
        ports = {port["name"] for port in chosen[0]["spec"]["containers"][0]["ports"]}
        yield holds(f"{name} leads to ports that they have", {port["targetPort"] for port in one["spec"]["ports"]} <= ports, str(ports))


def _named_by(volume):
    if "configMap" in volume:
        yield "ConfigMap", volume["configMap"]["name"]
    if "secret" in volume:
        yield "Secret", volume["secret"]["secretName"]
    for source in dig(volume, "projected.sources") or []:
        yield "Secret", source["secret"]["name"]


def _selects(labels, template):
    return labels.items() <= template["metadata"]["labels"].items()


def _pods(rendered):
    for owner, template in rendered.pods():
        pod = template["spec"]
        (container,) = pod["containers"]
        yield equal(f"{owner} does not run as root", dig(pod, "securityContext.runAsNonRoot"), True)
        yield holds(f"{owner} has a user", (dig(pod, "securityContext.runAsUser") or 0) > 0, "runAsUser is not above 0")
        yield equal(f"{owner} has the runtime's seccomp profile", dig(pod, "securityContext.seccompProfile.type"), "RuntimeDefault")
        yield equal(f"{owner} has no token for the API server", pod.get("automountServiceAccountToken"), False)
        yield equal(f"{owner} has a read-only root file system, no capabilities and no way to privileges",
                    container.get("securityContext"), {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False,
                                                       "capabilities": {"drop": ["ALL"]}})
        for resource in ("requests.cpu", "requests.memory", "limits.memory"):
            yield holds(f"{owner} has resources.{resource}", dig(container, f"resources.{resource}"), "it has none")
        plain = [one["name"] for one in container.get("env", []) if "PASSWORD" in one["name"] and not one["name"].endswith("_FILE")]
        yield equal(f"{owner} has no password in its environment", plain, [])
        ours = re.fullmatch(r"[\w.:/-]*leaseway/[a-z]+:\d+\.\d+\.\d+", container["image"])
        yield holds(f"{owner}'s image is ours and has a version, or is the Dockerfile's",
                    ours or container["image"] in dockerfile.defaults(DOCKERFILE).values(), container["image"])
        if not owner.startswith("Job"):
            yield _spread(owner, template)


def _spread(owner, template):
    (constraint,) = template["spec"].get("topologySpreadConstraints") or [{}]
    labels = dig(constraint, "labelSelector.matchLabels") or {"": ""}
    spread = constraint.get("topologyKey") == "kubernetes.io/hostname" and constraint.get("maxSkew") == 1
    return holds(f"{owner} is spread over nodes", spread and _selects(labels, template), str(constraint))


def _budgets(rendered):
    for owner, template in rendered.pods():
        if owner.startswith("Job"):
            continue
        budgets = [one["spec"] for one in rendered.all("PodDisruptionBudget")
                   if _selects(one["spec"]["selector"]["matchLabels"], template)]
        yield equal(f"{owner} loses one pod at a time", [budget.get("maxUnavailable") for budget in budgets], [1])


def _leaseway(proxy, goods):
    """The gateway and goods."""
    def checks(rendered):
        for name, kept in KEPT.items():
            yield from _deployment(name, kept, rendered)
        yield from _gateway(rendered, proxy)
        yield from _goods(rendered, goods)
    return checks


def _deployment(name, kept, rendered):
    spec = rendered.one("Deployment", name).get("spec")
    yield equal(f"{name} has {kept['replicas']} replicas", dig(spec, "replicas"), kept["replicas"])
    yield equal(f"{name} has minReadySeconds {kept['minReadySeconds']}", dig(spec, "minReadySeconds"), kept["minReadySeconds"])
    yield equal(f"{name} is replaced pod by pod", dig(spec, "strategy"),
                {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}})
    container = dig(spec, "template.spec.containers.0")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    probe = container["readinessProbe"]
    yield equal(f"{name} is ready when / on 8080 answers", [probe["httpGet"]["path"], ports[probe["httpGet"]["port"]]], ["/", 8080])
    yield equal(f"{name} is asked as the demo's is", [probe["periodSeconds"], probe["initialDelaySeconds"]], [1, 3])
    yield equal(f"{name} may take so long to stop", dig(spec, "template.spec.terminationGracePeriodSeconds"),
                kept["terminationGracePeriodSeconds"])
    (port,) = dig(rendered.one("Service", name), "spec.ports")
    yield equal(f"Service {name} leads from 80 to 8080", [port["port"], ports[port["targetPort"]]], [80, 8080])


def _gateway(rendered, proxy):
    pod = dig(rendered.one("Deployment", "gateway"), "spec.template.spec")
    container = pod["containers"][0]
    data = rendered.one("ConfigMap", "gateway")["data"]
    for file, text in data.items():
        yield proxy.loads(f"{file} in ConfigMap gateway", text)
    mounted = mounts(container)
    yield equal("the gateway reads that file", container["args"], ["-c", f"{mounted['configuration']}/pingora.yaml"])
    parts = [mount["name"] for mount in container["volumeMounts"] if "subPath" in mount]
    yield equal("a changed ConfigMap reaches it: what is mounted by a subPath never changes", parts, [])

    whole = yaml.safe_load(data["pingora.yaml"])
    yield memory.fits(whole, _mebibytes(dig(container, "resources.limits.memory")) << 20)
    configuration = whole["gateway"]
    yield equal("the gateway listens where Service and probes expect it", [configuration["listen"], configuration["admin"]],
                [["0.0.0.0:8080"], "0.0.0.0:9090"])
    live = container["livenessProbe"]["httpGet"]
    yield equal("the gateway is alive when /livez on the admin port answers", [live["path"], live["port"]], ["/livez", "admin"])
    yield equal("the gateway's password comes from its Secret",
                [configuration["registry"]["username"], configuration["registry"]["password_file"]],
                ["gateway", f"{mounted['password']}/password"])
    yield from _snapshot(pod, configuration)
    stop = dig(container, "lifecycle.preStop.sleep.seconds") + seconds(configuration["timeouts"]["drain"])
    yield holds("the gateway is given time to drain", pod["terminationGracePeriodSeconds"] > stop,
                f"{pod['terminationGracePeriodSeconds']} s for the pause and the drain, {stop} s")
    yield equal("the gateway and goods have the same etcd", ",".join(configuration["registry"]["endpoints"]),
                environment(rendered.container("Deployment", "goods"))["GOODS_REGISTRY"])


def _snapshot(pod, configuration):
    path = Path(configuration["registry"].get("snapshot", "/"))
    at = {mount["mountPath"]: mount for mount in pod["containers"][0]["volumeMounts"]}
    mount = at.get(str(path.parent), {})
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    found = volumes.get(mount.get("name"), {}).get("emptyDir")
    yield holds("the gateway's snapshot outlives its container", found is not None, f"{path.parent} is no emptyDir")
    directory = found or {}
    yield holds("it is on the node's disk, and takes none of the gateway's memory", "medium" not in directory, str(directory))
    yield holds("the pod is not evicted for its size", _mebibytes(directory.get("sizeLimit", "")) >= SNAPSHOTS,
                f"sizeLimit {directory.get('sizeLimit')} is below {SNAPSHOTS}Mi")
    own, group = dig(pod, "securityContext.runAsGroup"), dig(pod, "securityContext.fsGroup")
    yield holds("the gateway may write it", not mount.get("readOnly") and own == group, f"{mount}, fsGroup {group}")


def _mebibytes(quantity):
    number = re.fullmatch(r"(\d+)(Mi|Gi)", quantity)
    return int(number[1]) * {"Mi": 1, "Gi": 1024}[number[2]] if number else 0


def _goods(rendered, goods):
    pod = dig(rendered.one("Deployment", "goods"), "spec.template.spec")
    variables = environment(rendered.container("Deployment", "goods"))
    yield goods.knows("goods reads each variable it is given", variables)
    yield equal("goods advertises its pod's address", variables["GOODS_ADVERTISE"], "status.podIP")
    yield equal("goods listens where Service and probe expect it", variables["GOODS_LISTEN"], "0.0.0.0:8080")
    mount = mounts(pod["containers"][0])["password"]
    yield equal("goods' password comes from its Secret", [variables["GOODS_USERNAME"], variables["GOODS_PASSWORD_FILE"]],
                ["goods", f"{mount}/password"])
    yield holds("goods is given time to drain", pod["terminationGracePeriodSeconds"] > seconds(variables["GOODS_DRAIN"]),
                "terminationGracePeriodSeconds is not above GOODS_DRAIN")


def _etcd(scheme):
    """An etcd of its own, whose clients speak http or https."""
    def checks(rendered):
        spec = rendered.one("StatefulSet", "etcd").get("spec")
        yield equal("etcd has three members", dig(spec, "replicas"), 3)
        yield equal("etcd's members start together", dig(spec, "podManagementPolicy"), "Parallel")
        yield equal("etcd's members find each other before they are ready",
                    dig(rendered.one("Service", spec["serviceName"]), "spec.publishNotReadyAddresses"), True)
        member = dig(spec, "template.spec.containers.0")
        yield equal("etcd is started without a shell", member["command"], ["/usr/local/bin/etcd"])
        flags = dict(argument.removeprefix("--").split("=", 1) for argument in member["args"])
        names = [f"etcd-{number}" for number in range(3)]
        hosts = [f"{name}.{spec['serviceName']}" for name in names]
        yield equal("etcd knows its cluster", flags["initial-cluster"],
                    ",".join(f"{name}=http://{host}:2380" for name, host in zip(names, hosts)))
        yield equal("etcd's members know themselves", [flags["name"], flags["initial-advertise-peer-urls"], flags["advertise-client-urls"]],
                    ["$(POD_NAME)", f"http://$(POD_NAME).{spec['serviceName']}:2380", f"{scheme}://$(POD_NAME).{spec['serviceName']}:2379"])
        ports = {port["name"]: port["containerPort"] for port in member["ports"]}
        listening = {name: int(flags[f"listen-{name}-urls"].rsplit(":", 1)[1]) for name in ports}
        yield equal("etcd listens on the ports that it names", listening, ports)
        yield equal(f"etcd's client port takes {scheme}, its metrics http", [flags["listen-client-urls"], flags["listen-metrics-urls"]],
                    [f"{scheme}://0.0.0.0:2379", "http://0.0.0.0:2381"])
        yield holds("etcd keeps its data on the volume", flags["data-dir"].startswith(mounts(member)["data"] + "/"),
                    flags["data-dir"])
        endpoints = ",".join(f"{scheme}://{host}:2379" for host in hosts)
        yield equal("the gateway and goods read these members",
                    environment(rendered.container("Deployment", "goods"))["GOODS_REGISTRY"], endpoints)
        yield from _auth(rendered, endpoints)
    return checks


def _auth(rendered, endpoints):
    pod = dig(rendered.one("Job", "etcd-auth"), "spec.template.spec")
    (job,) = pod["containers"]
    mounted = mounts(job)
    yield equal("the job runs the script that is tested below", rendered.one("ConfigMap", "etcd-auth")["data"],
                {"auth.sh": Path("deploy/kubernetes/etcd/auth.sh").read_text()})
    yield equal("the job hands it the passwords", job["command"], ["/bin/sh", f"{mounted['script']}/auth.sh", mounted["passwords"]])
    (passwords,) = [volume["projected"] for volume in pod["volumes"] if "projected" in volume]
    files = {source["secret"]["items"][0]["path"]: source["secret"]["name"].rsplit("-", 1)[0] for source in passwords["sources"]}
    yield equal("each user has the password of its own Secret", files, {user: f"etcd-{user}" for user in ("root", "gateway", "goods")})
    yield equal("the job asks every member", environment(job)["ETCDCTL_ENDPOINTS"], endpoints)
    yield holds("the job makes room for its next run", dig(rendered.one("Job", "etcd-auth"), "spec.ttlSecondsAfterFinished"), "it does not")
    tags = [rendered.one("StatefulSet", "etcd")["spec"]["template"]["spec"]["containers"][0]["image"], job["image"]]
    yield equal("etcdctl is of etcd's version", tags[1].rsplit(":", 1)[1], re.search(r":v([\d.]+)@", tags[0])[1])


def _secrets(password):
    """Every user's Secret holds this password of his: the tree has placeholders only."""
    def checks(rendered):
        for one in rendered.all("Secret"):
            name = _without_hash(one)
            if name == tls.SECRET:
                continue
            found = {key: base64.b64decode(value).decode() for key, value in one["data"].items()}
            yield equal(f"Secret {name} holds its user's password", found, {"password": password(name.removeprefix("etcd-"))})
    return checks


def _without_hash(one):
    return one["metadata"]["name"].rsplit("-", 1)[0]


def _kinds(secrets, etcd):
    def checks(rendered):
        names = {_without_hash(one) for one in rendered.all("Secret")}
        yield equal("it has a Secret for each user", names, secrets)
        yield equal("it has an etcd of its own" if etcd else "it has no etcd of its own", bool(rendered.all("StatefulSet")), etcd)
        yield equal("it has no IngressRoute", rendered.all("IngressRoute"), [])
    return checks


def _plain_namespace(rendered):
    yield holds("its pods go to any node", "annotations" not in rendered.all("Namespace")[0]["metadata"], "the namespace is annotated")


def _article(rendered):
    yield equal("its pods go to the article's nodes", dig(rendered.all("Namespace")[0], "metadata.annotations"),
                {"scheduler.alpha.kubernetes.io/node-selector": "usefulness=business"})
    yield equal("it has the article's IngressRoute", len(rendered.all("IngressRoute")), 1)
    for owner, template in rendered.pods():
        expected = None if owner.startswith("StatefulSet") else [{"name": "harbor-jormin"}]
        yield equal(f"{owner} has the pull secret that its image needs", template["spec"].get("imagePullSecrets"), expected)


def _my_images(rendered):
    """The README's overlay replaces each image that is built from this repository."""
    for owner, template in rendered.pods():
        image = template["spec"]["containers"][0]["image"]
        if not owner.startswith("StatefulSet"):
            yield holds(f"{owner}'s image is replaced", image.startswith("registry.example.com/"), image)


def _in_place(rendered):
    """The ConfigMap has the same name whatever is in it, so that a change starts no pods."""
    yield equal("the ConfigMap has no hash in its name", [rendered.one("ConfigMap", "gateway")["metadata"]["name"]], ["gateway"])
    volumes = dig(rendered.one("Deployment", "gateway"), "spec.template.spec.volumes")
    mounted = [volume["configMap"]["name"] for volume in volumes if "configMap" in volume]
    yield equal("the gateway has that one", mounted, ["gateway"])


def _my_allow(rendered):
    """The README's command puts the pods' network into the configuration."""
    configuration = yaml.safe_load(rendered.one("ConfigMap", "gateway")["data"]["pingora.yaml"])
    yield equal("the gateway sends requests to pods alone", configuration["gateway"]["registry"].get("allow"), ["10.244.0.0/16"])


def _my_etcd(rendered):
    yield equal("it reads the etcd that is named there", environment(rendered.container("Deployment", "goods"))["GOODS_REGISTRY"], MY_ETCD)
    yield equal("it has no etcd of its own", rendered.all("StatefulSet"), [])
