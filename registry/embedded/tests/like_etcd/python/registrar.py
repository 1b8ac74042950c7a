"""registrar.py HOST PORT: a service registers itself, is kept alive, is seen, and leaves. Says what it saw.

By aetcd, a client that shares no code with etcd's own or with Rust's."""

import asyncio
import sys

import aetcd

PREFIX = b"/service_registry_discovery/"
KEY = PREFIX + b"goods/one"
TTL = 2


async def next_event(watch):
    return await asyncio.wait_for(watch.__anext__(), 20)


async def main(host, port):
    async with aetcd.Client(host=host, port=port) as client:
        await client.delete_prefix(PREFIX)
        watch = await client.watch_prefix(PREFIX, prev_kv=True)
        events = aiter(watch)

        lease = await client.lease(TTL)
        print("granted", await lease.granted_ttl())
        await client.put(KEY, b"10.0.0.1:80", lease=lease)
        event = await next_event(events)
        print("registered", event.kind, event.kv.key.decode(), event.kv.value.decode(), event.kv.lease == lease.id)

        # Twice its TTL: without keep-alive it would end.
        for _ in range(2 * TTL * 2):
            await asyncio.sleep(0.5)
            await lease.refresh()
        print("kept alive", (await client.get(KEY)).value.decode())
        print("keys", [key.decode() for key in await lease.keys()])

        swapped = await client.replace(KEY, b"10.0.0.1:80", b"10.0.0.2:80")
        event = await next_event(events)
        print("replaced", swapped, event.kv.value.decode(), "after", event.prev_kv.value.decode())
        again = await client.replace(KEY, b"10.0.0.1:80", b"10.0.0.3:80")
        print("replaced again", again)

        await client.put(KEY, b"10.0.0.2:80", lease=lease)
        await next_event(events)
        await lease.revoke()
        event = await next_event(events)
        print("revoked", event.kind, event.prev_kv.value.decode(), await client.get(KEY))

        ended = await client.lease(TTL)
        await client.put(KEY, b"10.0.0.4:80", lease=ended)
        await next_event(events)
        event = await next_event(events)
        print("expired", event.kind, event.kv.key.decode())

        status = await client.status()
        members = [member async for member in client.members()]
        print("members", len(members), status.leader is not None)
        await watch.cancel()
        try:
            await client.put(KEY, b"", lease=4711)
        except aetcd.ClientError as error:
            print("refused", type(error).__name__)


asyncio.run(main(sys.argv[1], int(sys.argv[2])))
