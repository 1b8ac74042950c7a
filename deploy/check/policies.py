"""Who may reach whom: what a cluster makes of the NetworkPolicies, worked out for each pair of pods and port."""

from dataclasses import dataclass, field

from .report import dig, equal, holds

MONITORING = {"leaseway/monitoring": "true"}
REGISTRAR = {"leaseway/registrar": "true"}
GATEWAY = {"app": "gateway"}


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod, or, without labels, an address outside of the cluster."""

    name: str
    labels: dict | None
    own_namespace: bool = True
    namespace: dict = field(default_factory=dict)  # the labels of its namespace
    ports: dict = field(default_factory=dict)  # the numbers of its named ports


OUTSIDE = Peer("an address outside of the cluster", None, own_namespace=False)
STRANGERS = [
    OUTSIDE,
    Peer("any other pod of the namespace", {"app": "other"}),
    Peer("a pod of another namespace", {"app": "other"}, own_namespace=False),
    Peer("another namespace's gateway", GATEWAY, own_namespace=False),
    Peer("another namespace's registrar", REGISTRAR, own_namespace=False),
    Peer("another namespace's job", {"app": "etcd-auth"}, own_namespace=False),
    Peer("a pod that has the label of a monitoring namespace", MONITORING, own_namespace=False),
]
PROMETHEUS = Peer("monitoring", {"app": "prometheus"}, own_namespace=False, namespace=MONITORING)
SERVICE = Peer("another service that registers", {"app": "orders", **REGISTRAR})


class Network:
    """The policies of one namespace."""

    def __init__(self, rendered):
        self._policies = [one["spec"] for one in rendered.all("NetworkPolicy")]

    def admits(self, source, target, port, protocol="TCP"):
        """Whether a connection can be opened: the source must be let out and the target let in."""
        return (self._passes("egress", "to", source, target, port, protocol)
                and self._passes("ingress", "from", target, source, port, protocol, at=target))

    def _passes(self, way, key, pod, peer, port, protocol, at=None):
        """Whether the policies of `pod` let it talk to `peer`; a pod that none is for may do everything."""
        if pod.labels is None or not pod.own_namespace:
            return True
        rules = [policy.get(way) or [] for policy in self._policies
                 if _matches(policy["podSelector"], pod.labels) and way.capitalize() in policy["policyTypes"]]
        return not rules or any(_any_peer(rule.get(key), peer) and _any_port(rule.get("ports"), port, protocol, at or peer)
                                for rule in sum(rules, []))


def _any_peer(allowed, peer):
    """Without any, a rule is for everybody."""
    return not allowed or any(_is(one, peer) for one in allowed)


def _is(selector, peer):
    if set(selector) - {"podSelector", "namespaceSelector"}:
        raise ValueError(f"{selector}: this check does not know it")
    if peer.labels is None:
        return False
    namespace = selector.get("namespaceSelector")
    there = peer.own_namespace if namespace is None else _matches(namespace, peer.namespace)
    return there and _matches(selector.get("podSelector", {}), peer.labels)


def _matches(selector, labels):
    if set(selector) - {"matchLabels"}:
        raise ValueError(f"{selector}: this check does not know it")
    return selector.get("matchLabels", {}).items() <= labels.items()


def _any_port(allowed, port, protocol, at):
    return not allowed or any(one.get("protocol", "TCP") == protocol and at.ports.get(one["port"], one["port"]) == port
                              for one in allowed)


def checks(rendered):
    """The policies let through what is needed, and nothing else; with an etcd of its own, also there."""
    network = Network(rendered)
    pods = {one["metadata"]["name"]: _pod(one) for one in rendered.objects if dig(one, "spec.template.metadata.labels")}
    gateway, goods = pods["gateway"], pods["goods"]
    everybody = [*pods.values(), PROMETHEUS, SERVICE, *STRANGERS]

    def reaches(target, port, expected):
        found = {peer.name for peer in everybody if peer is not target and network.admits(peer, target, port)}
        who = f"is reached by {', '.join(sorted(expected))} alone" if expected else "is reached by nobody"
        return equal(f"port {port} of {target.name} {who}", found, expected)

    # Our own pods have no business there, and are not let out.
    clients = {peer.name for peer in [PROMETHEUS, *STRANGERS] if not peer.own_namespace}
    yield reaches(gateway, 8080, clients)
    yield reaches(gateway, 9090, {PROMETHEUS.name})
    yield reaches(goods, 8080, {gateway.name})
    yield reaches(SERVICE, 7000, {gateway.name})
    yield reaches(gateway, 22, set())
    if "etcd" in pods:
        yield reaches(pods["etcd"], 2379, {gateway.name, goods.name, SERVICE.name, "etcd-auth"})
        yield reaches(pods["etcd"], 2381, {PROMETHEUS.name})
        yield reaches(pods["etcd"], 2380, set())
        yield holds("etcd's members reach each other's peer port", network.admits(pods["etcd"], pods["etcd"], 2380), "they do not")
        yield holds("etcd's members do not reach each other's client port", not network.admits(pods["etcd"], pods["etcd"], 2379),
                    "they do")
    for pod in pods.values():
        dns = {protocol: network.admits(pod, OUTSIDE, 53, protocol) for protocol in ("UDP", "TCP")}
        yield equal(f"{pod.name} can look names up", dns, {"UDP": True, "TCP": True})
        reached = {port for port in (22, 80, 443, 2379, 6443) if network.admits(pod, OUTSIDE, port)}
        registry = {2379} if "etcd" not in pods and pod in (gateway, goods) else set()
        yield equal(f"{pod.name} reaches nothing else outside, but for a registry there", reached, registry)
    kinds = [one["kind"] for one in rendered.objects]
    first = min(kinds.index(kind) for kind in ("Deployment", "StatefulSet", "Job") if kind in kinds)
    yield holds("the policies are applied before the pods", "NetworkPolicy" not in kinds[first:], str(kinds))


def other_namespace(rendered):
    """What the README's patches add."""
    network, etcd, gateway = Network(rendered), *(_pod(rendered.one(*of)) for of in (("StatefulSet", "etcd"), ("Deployment", "gateway")))
    shop = Peer("", REGISTRAR, own_namespace=False, namespace={"kubernetes.io/metadata.name": "shop"})
    other = Peer("", {"app": "other"}, own_namespace=False, namespace=shop.namespace)
    yield equal("another namespace's registrars reach etcd, its other pods do not",
                [network.admits(one, etcd, 2379) for one in (shop, other)], [True, False])
    yield equal("the gateway reaches that namespace's registrars, not its other pods",
                [network.admits(gateway, one, 7000) for one in (shop, other)], [True, False])


def _pod(owner):
    template = owner["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0].get("ports", [])}
    return Peer(owner["metadata"]["name"], template["metadata"]["labels"], ports=ports)
