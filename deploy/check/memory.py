"""What a gateway takes of memory: measured with the built binary, and held against what each deployment grants."""

import contextlib
import resource
import socket
import tempfile
from pathlib import Path

import yaml

from .gateway import Gateway
from .report import holds

# In bytes; docs/configuration.md explains both.
REQUEST = 200_000  # a request with a small body under way: `checks` measures it
GATEWAY = 100_000_000  # a gateway that knows 10,000 endpoints and is otherwise idle

FIRST, REQUESTS = 100, 400  # in the measurement: what the first take, such as the allocator's own, is not counted
PIECE = b"5\r\nhello\r\n"  # of an answer's body, the only one that comes
PATIENCE = 30  # seconds, for one of them


def fits(configuration, limit, processes=1):
    """The check that so many gateways with this configuration stay below `limit` bytes, all as busy as they may be."""
    gateway = configuration["gateway"]
    requests = gateway.get("max_requests", _default("max_requests"))
    need = processes * (GATEWAY + requests * REQUEST)
    return holds(f"the gateway's memory is enough for {requests} requests", need <= limit,
                 f"{need // 10**6} MB are needed and {limit // 10**6} MB granted: lower max_requests or raise the limit")


def _default(key):
    return yaml.safe_load(Path("conf/reference.yaml").read_text())["gateway"][key]


def checks(proxy):
    """That a request takes no more than is reckoned with above."""
    allow_files(3 * (FIRST + REQUESTS))
    with contextlib.ExitStack() as opened:
        place = opened.enter_context(tempfile.TemporaryDirectory())
        gateway = opened.enter_context(Gateway(proxy, Path(place)))
        backend = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        backend.settimeout(PATIENCE)
        gateway.register("127.0.0.1:%d" % backend.getsockname()[1])
        resident = []
        for count in (FIRST, REQUESTS):
            for _ in range(count):
                for connection in _request(gateway.port, backend):
                    opened.enter_context(connection)
            resident.append(gateway.resident())
        each = (resident[1] - resident[0]) // REQUESTS
    yield holds(f"a request with a small body under way takes {REQUEST // 1000} KB of memory at most", each <= REQUEST,
                f"{each // 1000} KB")


def _request(gateway, backend):
    """Both ends of a request whose answer has begun."""
    client = socket.create_connection(("127.0.0.1", gateway), PATIENCE)
    client.sendall(b"GET /goods/list HTTP/1.1\r\nHost: localhost\r\n\r\n")
    instance, _ = backend.accept()
    instance.settimeout(PATIENCE)
    instance.recv(65536)
    instance.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + PIECE)
    answer = b""
    while not answer.endswith(PIECE):
        answer += client.recv(65536)
    return client, instance


def allow_files(count):
    """Lets this process, and what it starts, open so many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count, hard)), hard))
