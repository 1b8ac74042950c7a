"""compose.yaml. Docker Compose itself wants an engine; these are the mistakes it would find, and our promises."""

import re

import yaml

from . import descriptors, dockerfile, memory
from .report import bytes_in, dig, equal, holds, seconds

# What a service may have here: a misspelt key is an error.
SERVICE_KEYS = {"build", "cap_drop", "configs", "depends_on", "deploy", "environment", "healthcheck", "image", "ports",
                "read_only", "restart", "security_opt", "stop_grace_period", "ulimits", "volumes"}
TOP_KEYS = {"name", "services", "configs", "volumes"}
MEMBERS = ["etcd-1", "etcd-2", "etcd-3"]


def checks(file, proxy, goods):
    project = yaml.safe_load(file.read_text())
    services = project["services"]
    strange = {key for key in project if not key.startswith("x-")} - TOP_KEYS
    yield holds("its top level has known keys", not strange, f"unknown: {sorted(strange)}")
    yield equal("its services are three members of etcd, goods and the gateway", set(services), {*MEMBERS, "goods", "gateway"})
    for name, service in services.items():
        yield from _service(name, service, project, file)
    yield from _etcd(services)
    yield from _leaseway(services)
    yield goods.knows("goods reads each variable it is given", services["goods"]["environment"])
    yield equal("there are three goods", dig(services, "goods.deploy.replicas"), 3)
    yield holds("each goods advertises its own container", "GOODS_ADVERTISE" not in services["goods"]["environment"],
                "GOODS_ADVERTISE would be the same for all replicas")
    yield from _gateway(services["gateway"], project, file, proxy)


def _service(name, service, project, file):
    strange = set(service) - SERVICE_KEYS
    yield holds(f"{name} has known keys", not strange, f"unknown: {sorted(strange)}")
    image = re.fullmatch(r"\$\{([A-Z_]+):-(.+)\}", service["image"])
    yield holds(f"{name} has an image that a variable replaces", image, service["image"])
    if "build" in service:
        yield holds(f"{name} has an image with a version", re.fullmatch(r"leaseway/[a-z]+:[\d.]+", image[2]), image[2])
    else:
        yield equal(f"{name} has the Dockerfile's image", image[2], dockerfile.defaults(file.parent / "Dockerfile")[image[1]])
    yield holds(f"{name} is probed", dig(service, "healthcheck.test.0") == "CMD", "no healthcheck that starts with CMD")
    yield equal(f"{name} has no capabilities", service.get("cap_drop"), ["ALL"])
    yield equal(f"{name} gains no privileges", service.get("security_opt"), ["no-new-privileges:true"])
    for volume in service.get("volumes", []):
        yield holds(f"{name}'s volume is defined", volume.split(":")[0] in project["volumes"], volume)
    for other, how in service.get("depends_on", {}).items():
        probed = "healthcheck" in project["services"].get(other, {})
        yield holds(f"{name} waits until {other} is healthy", how == {"condition": "service_healthy"} and probed, str(how))
    if "build" in service:
        build = service["build"]
        yield equal(f"{name} is built from this repository", (file.parent / build["context"] / build["dockerfile"]).resolve(),
                    (file.parent / "Dockerfile").resolve())
        yield holds(f"{name}'s build target is a stage", build["target"] in dockerfile.stage_names(file.parent / "Dockerfile"),
                    build["target"])
        images = dockerfile.defaults(file.parent / "Dockerfile")
        yield equal(f"{name}'s build arguments are the Dockerfile's", build["args"],
                    {argument: f"${{{argument}:-{images[argument]}}}" for argument in ("BUILD_IMAGE", "RUNTIME_IMAGE")})


def _etcd(services):
    cluster = ",".join(f"{member}=http://{member}:2380" for member in MEMBERS)
    for member in MEMBERS:
        environment = services[member]["environment"]
        yield equal(f"{member} knows itself and its cluster",
                    [environment[f"ETCD_{key}"] for key in ("NAME", "INITIAL_CLUSTER", "INITIAL_ADVERTISE_PEER_URLS",
                                                            "ADVERTISE_CLIENT_URLS")],
                    [member, cluster, f"http://{member}:2380", f"http://{member}:2379"])
        yield equal(f"{member} keeps its data", services[member]["volumes"], [f"{member}:{environment['ETCD_DATA_DIR']}"])
        yield holds(f"{member} is not reachable from outside", "ports" not in services[member], "it publishes ports")


def _leaseway(services):
    for name in ("goods", "gateway"):
        yield equal(f"{name} has a read-only root file system", services[name].get("read_only"), True)
        yield equal(f"{name} waits for each member", set(services[name].get("depends_on", {})), set(MEMBERS))
    yield equal("goods registers with each member", services["goods"]["environment"]["GOODS_REGISTRY"],
                ",".join(f"http://{member}:2379" for member in MEMBERS))
    yield holds("goods is given time to drain", seconds(services["goods"]["stop_grace_period"]) > 3, "3 s or less")


def _gateway(service, project, file, proxy):
    yield equal("the gateway is on port 8080", service.get("ports"), ["8080:8080"])
    (mounted,) = service["configs"]
    yield equal("its configuration lies where the image reads it", mounted["target"], "/etc/leaseway/pingora.yaml")
    text = (file.parent / project["configs"][mounted["source"]]["file"]).read_text()
    yield proxy.loads("its configuration", text)
    whole = yaml.safe_load(text)
    yield memory.fits(whole, bytes_in(dig(service, "deploy.resources.limits.memory")))
    yield descriptors.fits(whole, dig(service, "ulimits.nofile"))
    configuration = whole["gateway"]
    yield equal("it listens on port 8080", configuration["listen"], ["0.0.0.0:8080"])
    yield equal("it reads each member", configuration["registry"]["endpoints"], [f"http://{member}:2379" for member in MEMBERS])
    yield equal("its snapshot is in the directory that the image has for it", configuration["registry"].get("snapshot"),
                f"{dockerfile.STATE}/snapshot")
    yield equal("that directory is a volume of its own", service.get("volumes"), [f"gateway:{dockerfile.STATE}"])
    yield holds("it is given time to drain", seconds(service["stop_grace_period"]) > seconds(configuration["timeouts"]["drain"]),
                "stop_grace_period is not above timeouts.drain")
