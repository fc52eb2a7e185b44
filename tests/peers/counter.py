#!/usr/bin/env python3
"""counter.py UPSTREAM-PORT PORT-FILE LOG: a relay on loopback that counts bytes. LOG gets `open` for each connection
that begins, and a line for each that ends: bytes to the server, bytes from it."""
import os
import socket
import sys
import threading

upstream, port_file, log = int(sys.argv[1]), sys.argv[2], open(sys.argv[3], "a", buffering=1, encoding="ascii")


def flow(source, target, count, which):
    try:
        while data := source.recv(1 << 16):
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
        up = threading.Thread(target=flow, args=(client, server, count, 0))
        up.start()
        flow(server, client, count, 1)
        up.join()
    log.write(f"{count[0]} {count[1]}\n")


listener = socket.create_server(("127.0.0.1", 0), backlog=64)
with open(port_file + ".new", "w", encoding="ascii") as file:
    file.write(str(listener.getsockname()[1]))
os.rename(port_file + ".new", port_file)
while True:
    accepted = listener.accept()[0]
    log.write("open\n")
    threading.Thread(target=relay, args=(accepted,), daemon=True).start()
