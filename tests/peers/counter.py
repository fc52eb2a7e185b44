#!/usr/bin/env python3
"""counter.py UPSTREAM-PORT PORT-FILE LOG: a relay on loopback that counts bytes and requests. LOG gets `open` for each
connection that begins, `request METHOD TARGET` for each HTTP request before the server gets it, and for each connection that
ends `closed` with the bytes to the server and from it."""
import os
import re
import socket
import sys
import threading

upstream, port_file, log = int(sys.argv[1]), sys.argv[2], open(sys.argv[3], "a", buffering=1, encoding="ascii")
REQUEST = re.compile(rb"([A-Z]+ [!-~]+) HTTP/1\.1\r?")


class Requests:
    """Finds the request lines in what a client sends. A line may come in parts."""

    def __init__(self):
        self.part = b""

    def add(self, data):
        *lines, self.part = (self.part + data).split(b"\n")
        for line in lines:
            if found := REQUEST.fullmatch(line):
                log.write(f"request {found[1].decode()}\n")
        # Bodies have long lines.
        self.part = self.part[:8192]


def flow(source, target, count, which, see=lambda data: None):
    try:
        while data := source.recv(1 << 16):
            see(data)
            target.sendall(data)
            count[which] += len(data)
    except OSError:
        pass
    try:
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def relay(client):
    count = [0, 0]
    with client, socket.create_connection(("127.0.0.1", upstream)) as server:
        up = threading.Thread(target=flow, args=(client, server, count, 0, Requests().add))
        up.start()
        flow(server, client, count, 1)
        up.join()
    log.write(f"closed {count[0]} {count[1]}\n")


listener = socket.create_server(("127.0.0.1", 0), backlog=64)
with open(port_file + ".new", "w", encoding="ascii") as file:
    file.write(str(listener.getsockname()[1]))
os.rename(port_file + ".new", port_file)
while True:
    accepted = listener.accept()[0]
    log.write("open\n")
    threading.Thread(target=relay, args=(accepted,), daemon=True).start()
