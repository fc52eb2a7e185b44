"""crowd.py HOST NAME DIGEST CLIENTS OTHER STALLED [RANGES]: so many clients that pull one blob at once, of which RANGES request 64 KiB
of it, beside others that ask for another blob and read nothing of it. Ends well if every client got what the digest says, and
prints how long the clients waited: the least, the median and the most, in seconds."""

import asyncio, hashlib, statistics, sys, time

host, repository, digest, clients, other, stalled = sys.argv[1:7]
clients, stalled, ranges = int(clients), int(stalled), int((sys.argv[7:] or ["0"])[0])
name, port = host.split(":")
RANGE = 1 << 16


async def connect(source=None):
    return await asyncio.open_connection(name, int(port), limit=1 << 16, local_addr=source)


async def ask(writer, blob, header=""):
    writer.write(f"GET /v2/{repository}/blobs/{blob} HTTP/1.1\r\nHost: {host}\r\n{header}Connection: close\r\n\r\n".encode())
    await writer.drain()


async def stall():
    # Of another address: a client of its own.
    reader, writer = await connect(("127.0.0.2", 0))
    await ask(writer, other)
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.pause_reading()
    return writer


async def pull(together, source, start, size):
    """Returns the seconds until all bytes were there, and their digest."""
    header = f"Range: bytes={start}-{start + size - 1}\r\n" if size else ""
    reader, writer = await connect(source)
    await together.wait()
    begun = time.monotonic()
    await ask(writer, digest, header)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 " if size else b"HTTP/1.1 200 "), head
    hasher = hashlib.sha256()
    while data := await reader.read(1 << 16):
        hasher.update(data)
    writer.close()
    return time.monotonic() - begun, hasher.hexdigest()


async def blob():
    reader, writer = await connect()
    await ask(writer, digest)
    await reader.readuntil(b"\r\n\r\n")
    return await reader.read()


async def crowd():
    silent = await asyncio.gather(*(stall() for _ in range(stalled)))
    content = await blob()
    together = asyncio.Barrier(clients)
    pulls, expected = [], []
    for number in range(clients):
        # An address may use a quarter of the connections: these come from eight.
        source = (f"127.0.1.{number % 8 + 1}", 0)
        start, size = (number * RANGE % max(1, len(content) - RANGE), min(RANGE, len(content))) if number < ranges else (0, 0)
        pulls.append(pull(together, source, start, size))
        expected.append(hashlib.sha256(content[start : start + size] if size else content).hexdigest())
    results = await asyncio.gather(*pulls)
    assert "sha256:" + hashlib.sha256(content).hexdigest() == digest
    wrong = sum(own != right for (_, own), right in zip(results, expected))
    assert wrong == 0, f"{wrong} of {clients} got something else"
    for kind, times in ("whole", results[ranges:]), ("ranges", results[:ranges]):
        if seconds := [taken for taken, _ in times]:
            print(f"{kind}: {min(seconds):.2f}, {statistics.median(seconds):.2f}, {max(seconds):.2f} s")
    return silent


asyncio.run(crowd())
