"""over_etcd3_py.py HOST PORT: a service registers itself, is kept alive, is seen, and leaves. Says what it saw.

By etcd3-py, another client of etcd's JSON gateway."""

import queue
import sys
import time

import etcd3

KEY = "/service_registry_discovery/goods/one"
TTL = 2


def main(host, port):
    # Its keep-alives have no type of their own.
    client = etcd3.Client(host, port, headers={"Content-Type": "application/json"})
    client.delete_range(KEY)
    print("path", client.api_prefix)
    events = queue.Queue()
    watcher = client.Watcher(key=KEY, prev_kv=True)
    watcher.onEvent(lambda event: events.put((event.type.value, event.value)))
    watcher.runDaemon()

    # It tells nobody when it watches: a put is repeated until it is heard.
    while events.empty():
        client.put(KEY, "warm up")
        time.sleep(0.1)
    client.delete_range(KEY)
    while events.get(timeout=20)[0] != "DELETE":
        pass

    lease = client.lease_grant(TTL)
    print("granted", lease.TTL)
    client.put(KEY, "10.0.0.1:80", lease=lease.ID)
    print("registered", events.get(timeout=20))
    # Twice its TTL: without keep-alive it would end.
    for _ in range(2 * TTL * 2):
        time.sleep(0.5)
        client.lease_keep_alive_once(lease.ID)
    print("kept alive", client.range(KEY).kvs[0].value, client.lease_time_to_live(lease.ID, keys=True).keys)

    txn = client.Txn()
    txn.compare(txn.key(KEY).value == "10.0.0.1:80")
    txn.success(txn.put(KEY, "10.0.0.2:80"))
    print("replaced", txn.commit().succeeded, events.get(timeout=20))
    print("deleted", client.delete_range(KEY).deleted, events.get(timeout=20))

    client.put(KEY, "10.0.0.4:80", lease=lease.ID)
    events.get(timeout=20)
    client.lease_revoke(lease.ID)
    print("revoked", events.get(timeout=20))
    watcher.stop()
    print("members", len(client.member_list().members))
    try:
        client.put(KEY, "", lease=4711)
    except etcd3.errors.ErrLeaseNotFound as error:
        print("refused", error)


main(sys.argv[1], int(sys.argv[2]))
