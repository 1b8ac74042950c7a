"""Who may reach whom: what a cluster makes of the NetworkPolicies, worked out for each pair of pods and port."""

from dataclasses import dataclass, field

from .report import dig, equal, holds

MONITORING = {"leaseway/monitoring": "true"}
PORTS = {22, 80, 443, 2379, 2380, 2381, 6443, 7000, 8080, 9090}  # that are tried
REGISTRAR = {"leaseway/registrar": "true"}


@dataclass(frozen=True)
class Peer:
    """One end of a connection: a pod, or, without labels, an address outside of the cluster."""

    name: str
    labels: dict | None
    own_namespace: bool = True
    namespace: dict = field(default_factory=dict)  # the labels of its namespace
    ports: dict = field(default_factory=dict)  # the numbers of its named ports


OUTSIDE = Peer("an address outside of the cluster", None, own_namespace=False)
OTHER = Peer("any other pod of the namespace", {"app": "other"})
STRANGERS = [
    OUTSIDE,
    OTHER,
    Peer("a pod of another namespace", {"app": "other"}, own_namespace=False),
    Peer("another namespace's gateway", {"app": "gateway"}, own_namespace=False),
    Peer("another namespace's registrar", REGISTRAR, own_namespace=False),
    Peer("another namespace's job", {"app": "etcd-auth"}, own_namespace=False),
    Peer("a pod that has the label of a monitoring namespace", MONITORING, own_namespace=False),
]
PROMETHEUS = Peer("monitoring", {"app": "prometheus"}, own_namespace=False, namespace=MONITORING)
SERVICE = Peer("another service that registers", {"app": "orders", **REGISTRAR})


class Network:
    """The policies of one namespace. A connection takes both: that its target lets it in and its source is let out."""

    def __init__(self, rendered):
        self._policies = [one["spec"] for one in rendered.all("NetworkPolicy")]

    def lets_in(self, target, source, port):
        return self._passes("Ingress", "from", target, source, port, "TCP", at=target)

    def lets_out(self, source, target, port, protocol="TCP"):
        return self._passes("Egress", "to", source, target, port, protocol, at=target)

    def _passes(self, way, key, pod, peer, port, protocol, at):
        """Whether the policies of `pod` let it talk to `peer`; a pod that none is for may do everything."""
        rules = [policy.get(way.lower()) or [] for policy in self._policies
                 if _matches(policy["podSelector"], pod.labels) and way in policy["policyTypes"]]
        return not rules or any(_any_peer(rule.get(key), peer) and _any_port(rule.get("ports"), port, protocol, at)
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
    """The policies let through what is needed, and nothing else."""
    network = Network(rendered)
    pods = [_pod(one) for one in rendered.objects if dig(one, "spec.template.metadata.labels")]
    peers = {peer.name: peer for peer in [*pods, PROMETHEUS, SERVICE, *STRANGERS]}
    with_etcd = "etcd" in peers
    for (name, port), expected in _let_in(set(peers), with_etcd).items():
        found = {peer.name for peer in peers.values() if network.lets_in(peers[name], peer, port)}
        yield equal(f"port {port} of {name} lets in {_listed(expected, set(peers))}", found, expected)
    for name, expected in _let_out(set(peers), with_etcd).items():
        found = {(peer.name, port) for peer in peers.values() for port in PORTS if network.lets_out(peers[name], peer, port)}
        yield equal(f"{name} is let out to what it needs alone", found, expected)
        dns = {protocol: network.lets_out(peers[name], OUTSIDE, 53, protocol) for protocol in ("UDP", "TCP")}
        yield equal(f"{name} can look names up", dns, {"UDP": True, "TCP": True})
    kinds = [one["kind"] for one in rendered.objects]
    first = min(kinds.index(kind) for kind in ("Deployment", "StatefulSet", "Job") if kind in kinds)
    yield holds("the policies are applied before the pods", "NetworkPolicy" not in kinds[first:], str(kinds))


def _let_in(everybody, with_etcd):
    """Who is let in, by pod and port."""
    ours = {("gateway", 8080): everybody, ("gateway", 9090): {PROMETHEUS.name}, ("gateway", 22): set(),
            ("goods", 8080): {"gateway"}, (SERVICE.name, 7000): {"gateway"}, (OTHER.name, 80): set()}
    etcds = {("etcd", 2379): {"gateway", "goods", SERVICE.name, "etcd-auth"}, ("etcd", 2380): {"etcd"},
             ("etcd", 2381): {PROMETHEUS.name}, ("etcd-auth", 80): set()}
    return ours | etcds if with_etcd else ours


def _let_out(everybody, with_etcd):
    """The pods and ports, of all PORTS, that each is let out to."""
    registry = {("etcd", 2379)} if with_etcd else {(name, 2379) for name in everybody}
    instances = {(name, port) for name in ("goods", SERVICE.name) for port in PORTS}
    ours = {"gateway": registry | instances, "goods": registry, SERVICE.name: registry, OTHER.name: set()}
    return ours | {"etcd": {("etcd", 2380)}, "etcd-auth": registry} if with_etcd else ours


def _listed(expected, everybody):
    return "everybody" if expected == everybody else f"{', '.join(sorted(expected))} alone" if expected else "nobody"


def other_namespace(rendered):
    """What the README's patches add."""
    network, etcd, gateway = Network(rendered), *(_pod(rendered.one(*of)) for of in (("StatefulSet", "etcd"), ("Deployment", "gateway")))
    shop = Peer("", REGISTRAR, own_namespace=False, namespace={"kubernetes.io/metadata.name": "shop"})
    other = Peer("", {"app": "other"}, own_namespace=False, namespace=shop.namespace)
    yield equal("another namespace's registrars reach etcd, its other pods do not",
                [network.lets_in(etcd, one, 2379) for one in (shop, other)], [True, False])
    yield equal("the gateway reaches that namespace's registrars, not its other pods",
                [network.lets_out(gateway, one, 7000) for one in (shop, other)], [True, False])


def _pod(owner):
    template = owner["spec"]["template"]
    ports = {port["name"]: port["containerPort"] for port in template["spec"]["containers"][0].get("ports", [])}
    return Peer(owner["metadata"]["name"], template["metadata"]["labels"], ports=ports)
