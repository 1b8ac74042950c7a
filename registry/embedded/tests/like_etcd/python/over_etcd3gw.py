"""over_etcd3gw.py HOST PORT: a service registers itself, is kept alive, is seen, and leaves. Says what it saw.

By etcd3gw, OpenStack's client of etcd's JSON gateway."""

import sys
import threading
import time

from etcd3gw.client import Etcd3Client

KEY = "/service_registry_discovery/goods/one"
TTL = 2


def main(host, port):
    # Without a path it asks for the version first, and chooses by it.
    client = Etcd3Client(host=host, port=port, api_path=None, timeout=20)
    # Its transactions have no type of their own.
    client.session.headers["Content-Type"] = "application/json"
    client.delete(KEY)
    print("path", client.api_path)
    watched, cancel = client.watch(KEY)
    events = iter(watched)

    lease = client.lease(TTL)
    print("granted", client.put(KEY, "10.0.0.1:80", lease))
    print("registered", next(events)["kv"]["value"])
    # Twice its TTL: without keep-alive it would end.
    for _ in range(2 * TTL * 2):
        time.sleep(0.5)
        lease.refresh()
    print("kept alive", client.get(KEY), lease.ttl() > 0, lease.keys())

    print("replaced", client.replace(KEY, "10.0.0.1:80", "10.0.0.2:80"), next(events)["kv"]["value"])
    print("replaced again", client.replace(KEY, "10.0.0.1:80", "10.0.0.3:80"))
    print("prefix", [value for value, _ in client.get_prefix("/service_registry_discovery/")])
    print("deleted", client.delete(KEY), next(events)["type"], client.get(KEY))

    client.put(KEY, "10.0.0.4:80", lease)
    next(events)
    print("revoked", lease.revoke(), next(events)["type"])
    with client.lock("lock", ttl=TTL) as lock:
        print("locked", lock.is_acquired())
    cancel()
    print("members", len(client.members()), "version" in client.status())
    try:
        client.put(KEY, "", type(lease)(4711, client=client))
    except Exception as error:
        print("refused", type(error).__name__)


main(sys.argv[1], int(sys.argv[2]))
