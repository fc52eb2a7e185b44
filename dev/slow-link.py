"""slow-link.py MBIT MILLISECONDS LISTEN:TARGET…: relays TCP ports as a link of so many Mbit/s in each direction with this round-trip time.
All connections share the link. dev/bench-nodes runs it where the kernel has no netem."""

import asyncio
import sys

mbit, milliseconds = float(sys.argv[1]), float(sys.argv[2])
ONE_WAY = milliseconds / 2000
CHUNK = 16 * 1024
# The chunks on the way: more than the link holds, so that this is no window.
IN_FLIGHT = 64


class Direction:
    def __init__(self):
        self.free = 0.0

    def arrival(self, size):
        """Returns when the last of so many bytes arrives."""
        self.free = max(self.free, asyncio.get_running_loop().time()) + size * 8 / (mbit * 1e6)
        return self.free + ONE_WAY


async def pump(reader, writer, direction):
    way = asyncio.Queue(IN_FLIGHT)

    async def deliver():
        while True:
            due, data = await way.get()
            await asyncio.sleep(due - asyncio.get_running_loop().time())
            if not data:
                break
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()

    delivery = asyncio.create_task(deliver())
    try:
        while data := await reader.read(CHUNK):
            await way.put((direction.arrival(len(data)), data))
        await way.put((direction.arrival(0), b""))
        await delivery
    except ConnectionError:
        delivery.cancel()
        writer.close()


async def main():
    up, down = Direction(), Direction()

    def relay(target):
        async def connected(reader, writer):
            # The handshake.
            await asyncio.sleep(2 * ONE_WAY)
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
            await asyncio.gather(pump(reader, far_writer, up), pump(far_reader, writer, down))
            far_writer.close()
            writer.close()

        return connected

    servers = []
    for pair in sys.argv[3:]:
        listen, target = pair.split(":")
        servers.append(await asyncio.start_server(relay(int(target)), "0.0.0.0", int(listen)))
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
