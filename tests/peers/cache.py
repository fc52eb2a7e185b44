#!/usr/bin/env python3
"""A binary cache on loopback, on a good day or a bad one.

cache.py FOLDER PORT-FILE LOG FAULT [CERTIFICATE KEY [CA]]

With a certificate, it speaks TLS; with a CA, it requires a client certificate that the CA has signed, or accepts one if the argument
is optional:CA. LOG.clients gets a line for each request: the host that was asked, and the subject of the client's certificate.

FAULT is

  none           nothing
  missing        no narinfo is there
  down           every request is answered with 500
  busy:N         the first N requests are answered with 503
  gone:N         the server ends in the middle of its Nth NAR
  slow           NARs are sent 16 KiB at a time, with pauses
  broken         a NAR ends after half of its bytes, whatever was promised
  cut:N          the connection is cut after half of the bytes of each of the first N NARs; ranges are answered
  cut-whole:N    the same, and ranges are not known
  other          NARs are those of something else
  liar           narinfos say another hash
  status:N       every request is answered with the status N
  password       401 without the user me and the password secret
  header         403 without the header X-Token: secret
  redirect       NARs are elsewhere (another host name of this server), which records its requests in LOG.elsewhere

LOG gets a line for each answer: PATH STATUS BYTES.
"""
import base64
import http.server
import os
import pathlib
import ssl
import sys
import threading
import time

folder, port_file, log_file, fault, *tls = sys.argv[1:]
kind, _, number = fault.partition(":")
left = int(number or 0)
lock = threading.Lock()


class Cache(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=(), sent=None, pause=0):
        """Sends the headers of all of the body, and as much of it as `sent` says."""
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            body = b""
        part = body if sent is None else body[:sent]
        with lock, open(log_file, "a") as log:
            print(self.path, status, len(part), file=log)
        for at in range(0, len(part), 16384) if pause else ():
            self.wfile.write(part[at : at + 16384])
            time.sleep(pause)
        if not pause:
            self.wfile.write(part)
        if sent is not None:
            self.close_connection = True

    def do_GET(self):
        global left
        authorization = "Basic " + base64.b64encode(b"me:secret").decode()
        if len(tls) == 3:
            names = dict(pair for part in (self.connection.getpeercert() or {}).get("subject", ()) for pair in part)
            with lock, open(log_file + ".clients", "a") as clients:
                print(self.headers["host"].partition(":")[0], names.get("commonName", "none"), file=clients)
        if kind == "status":
            return self.answer(left)
        if kind == "down":
            return self.answer(500, b"out of order")
        if kind == "busy":
            with lock:
                busy = left > 0
                left -= busy
            if busy:
                return self.answer(503)
        if kind == "password" and self.headers.get("authorization") != authorization:
            return self.answer(401, headers=[("WWW-Authenticate", 'Basic realm="x"')])
        if kind == "header" and self.headers.get("x-token") != "secret":
            return self.answer(403)
        is_nar = "/nar/" in self.path
        if kind == "redirect" and is_nar:
            if not self.headers["host"].startswith("localhost"):
                return self.answer(302, headers=[("Location", f"{'https' if tls else 'http'}://localhost:{self.server.server_port}{self.path}")])
            with open(log_file + ".elsewhere", "a") as log:
                print(self.headers.get("authorization"), self.headers.get("x-token"), file=log)
        file = pathlib.Path(folder) / self.path.lstrip("/")
        if (kind == "missing" and file.suffix == ".narinfo") or not file.is_file():
            return self.answer(404)
        body = file.read_bytes()
        if kind == "liar" and file.suffix == ".narinfo":
            lines = body.decode().splitlines(keepends=True)
            body = "".join("NarHash: sha256:" + "0" * 52 + "\n" if line.startswith("NarHash") else line for line in lines).encode()
        if not is_nar:
            return self.answer(200, body)
        if kind == "other":
            return self.answer(200, max(pathlib.Path(folder, "nar").iterdir(), key=lambda nar: (nar != file, nar.name)).read_bytes())
        if kind == "gone":
            with lock:
                left -= 1
                last = left == 0
            if last:
                self.answer(200, body, sent=len(body) // 2)
                os._exit(0)
        if kind == "broken":
            return self.answer(200, body[: len(body) // 2])
        start = int(self.headers.get("range", "bytes=0-")[6:-1]) if kind != "cut-whole" else 0
        status, headers = (206, [("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")]) if start else (200, [])
        if kind == "slow" and not start:
            return self.answer(200, body, pause=0.001)
        with lock:
            cut = kind.startswith("cut") and left > 0
            left -= cut
        self.answer(status, body[start:], headers, sent=(len(body) - start) // 2 if cut else None)

    # Nix asks so before it copies.
    do_HEAD = do_GET


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cache)
server.daemon_threads = True
if tls:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls[0], tls[1])
    if len(tls) == 3:
        optional, _, ca = tls[2].rpartition(":")
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    # The handshake is made by the thread of the connection.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
with open(port_file + ".new", "w") as file:
    print(server.server_port, file=file)
pathlib.Path(port_file + ".new").rename(port_file)
server.serve_forever()
