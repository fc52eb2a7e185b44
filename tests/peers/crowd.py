"""crowd.py HOST NAME DIGEST CLIENTS OTHER STALLED: so many clients that pull one blob at once, beside others that ask for
another blob and read nothing of it. Ends well if every client got what the digest says."""

import asyncio, hashlib, sys

host, repository, digest, clients, other, stalled = sys.argv[1:]
clients, stalled = int(clients), int(stalled)
name, port = host.split(":")


async def ask(blob, source=None):
    reader, writer = await asyncio.open_connection(name, int(port), limit=1 << 16, local_addr=source)
    writer.write(f"GET /v2/{repository}/blobs/{blob} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    return reader, writer


async def stall():
    # Of another address: a client of its own.
    reader, writer = await ask(other, ("127.0.0.2", 0))
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()
    return writer


async def pull(together, source):
    reader, writer = await ask(digest, source)
    await together.wait()
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    hasher = hashlib.sha256()
    while data := await reader.read(1 << 16):
        hasher.update(data)
    writer.close()
    return "sha256:" + hasher.hexdigest()


async def crowd():
    silent = await asyncio.gather(*(stall() for _ in range(stalled)))
    together = asyncio.Barrier(clients)
    # An address may use a quarter of the connections: these come from eight.
    sources = ((f"127.0.1.{number % 8 + 1}", 0) for number in range(clients))
    digests = await asyncio.gather(*(pull(together, source) for source in sources))
    wrong = sum(own != digest for own in digests)
    assert wrong == 0, f"{wrong} of {clients} got something else"
    return silent


asyncio.run(crowd())
