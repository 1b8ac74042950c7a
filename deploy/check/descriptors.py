"""How many descriptors a gateway takes: measured with the built binary, and held against what the unit grants."""

import contextlib
import socket
import tempfile
from pathlib import Path

import yaml

from .gateway import Gateway
from .memory import PATIENCE, PIECE, allow_files
from .report import equal, holds

# docs/configuration.md explains each.
REQUEST = 2  # a request, before and within its answer: `checks` measures it
GATEWAY = 100  # the gateway itself, with its listening sockets and what it has open to etcd

REQUESTS = 100  # in the measurement
FIRST = 4  # what opens something for the first time


def checks(proxy):
    """That a request takes what is reckoned with above."""
    allow_files(3 * (FIRST + REQUESTS))
    with contextlib.ExitStack() as opened:
        gateway = opened.enter_context(Gateway(proxy, Path(opened.enter_context(tempfile.TemporaryDirectory()))))
        backend = opened.enter_context(socket.create_server(("127.0.0.1", 0), backlog=REQUESTS))
        backend.settimeout(PATIENCE)
        gateway.register("127.0.0.1:%d" % backend.getsockname()[1])
        waiting = [_request(opened, gateway, backend) for _ in range(FIRST)]
        before = gateway.descriptors()
        yield holds(f"an idle gateway takes {GATEWAY} at most", before - FIRST * REQUEST <= GATEWAY, f"{before}")
        waiting = [_request(opened, gateway, backend) for _ in range(REQUESTS)]
        # Not exactly: one or two come and go for other reasons.
        yield equal(f"a request that waits for its answer takes {REQUEST}", round((gateway.descriptors() - before) / REQUESTS), REQUEST)
        for client, instance in waiting:
            instance.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + PIECE)
            client.recv(1)
        yield equal(f"a request whose answer has begun takes {REQUEST}", round((gateway.descriptors() - before) / REQUESTS), REQUEST)


def _request(opened, gateway, backend):
    """Both ends of a request that has been sent whole."""
    client = opened.enter_context(socket.create_connection(("127.0.0.1", gateway.port), PATIENCE))
    client.sendall(b"GET /goods/list HTTP/1.1\r\nHost: localhost\r\n\r\n")
    instance = opened.enter_context(backend.accept()[0])
    instance.settimeout(PATIENCE)
    instance.recv(65536)
    return client, instance


def fits(configuration, limit):
    """The check that a gateway with this configuration, as busy as it may be, has as many left for clients that only keep
    a connection open."""
    gateway, reference = configuration["gateway"], yaml.safe_load(Path("conf/reference.yaml").read_text())
    requests = gateway.get("max_requests", reference["gateway"]["max_requests"])
    pooled = reference["upstream_keepalive_pool_size"] * configuration["threads"]
    embedded = 10_000  # `registry.embedded.max_connections`, if it is turned on
    need = GATEWAY + REQUEST * requests + pooled + embedded
    return holds(f"it may open {need} for {requests} requests, and as many for idle clients", 2 * need <= limit, f"{limit}")
