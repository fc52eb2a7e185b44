#!/usr/bin/env python3
"""A registry's bad day: a proxy between strata and a registry that injects one kind of fault.

proxy.py UPSTREAM PORT-FILE LOG FAULT

FAULT is KIND or KIND:N, where N counts requests from 1:

  none           nothing
  cut:N          request N: the connection is cut before the upstream hears of it
  cut-body:N     request N: cut after 64 KiB of its body (or before it, where it is shorter) went upstream
  resume:N       request N: cut after 8 MiB of its body; what arrived is kept, as the specification wishes (and as
                 docker-registry 2.8 does not)
  cut-answer:N   request N: done upstream, but the answer is cut
  status-C:N     requests N and N+1 are answered with status C, Retry-After: 1 where C is 429
  expire:N       every request needs a token; the first one ends with request N
  long           answers to GET say they are longer than they are
  digest         uploads are answered with another digest
  redirect       uploads go on at another address (of this proxy), which notes what credentials it gets
  slow           bodies go upstream 64 KiB at a time, with pauses

LOG gets a line for each request: METHOD PATH STATUS BODY-BYTES.
"""
import http.client
import http.server
import json
import sys
import threading
import time

upstream, port_file, log_file, fault = sys.argv[1:]
kind, _, number = fault.partition(":")
number = int(number or 0)
lock = threading.Lock()
count = 0
tokens = 0
sessions = {}
PIECE = 65536


class Cut(Exception):
    pass


class Proxy(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def pieces(self):
        """The request's body, piece by piece."""
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while True:
                length = int(self.rfile.readline() or b"0", 16)
                data = self.rfile.read(length)
                self.rfile.readline()
                if not length:
                    return
                for at in range(0, length, PIECE):
                    yield data[at : at + PIECE]
        else:
            left = int(self.headers.get("content-length", 0))
            while left:
                data = self.rfile.read(min(left, PIECE))
                if not data:
                    raise Cut
                left -= len(data)
                yield data

    def answer(self, status, headers, body=b""):
        self.send_response_only(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.note(status)

    def note(self, status):
        with lock, open(log_file, "a") as log:
            print(self.command, self.path.split("?")[0], status, self.body_bytes, file=log)

    def handle_one(self):
        global count, tokens
        self.body_bytes = 0
        if self.path.startswith("/token"):
            with lock:
                tokens += 1
                token = tokens
            return self.answer(200, [], json.dumps({"token": f"token-{token}"}).encode())
        if self.path.startswith("/elsewhere"):
            with open(log_file + ".elsewhere", "a") as log:
                print(self.headers.get("authorization", "none"), file=log)
            self.path = self.path[len("/elsewhere") :]
        with lock:
            count += 1
            current = count
        if kind == "cut" and current == number:
            raise Cut
        if kind.startswith("status-") and current in (number, number + 1):
            status = int(kind.split("-")[1])
            for piece in self.pieces():
                self.body_bytes += len(piece)
            return self.answer(status, [("Retry-After", "1")] if status == 429 else [])
        if kind == "expire":
            wanted = "Bearer token-1" if current < number else "Bearer token-"
            given = self.headers.get("authorization", "")
            if not given.startswith(wanted) or (current >= number and given == "Bearer token-1"):
                for piece in self.pieces():
                    self.body_bytes += len(piece)
                host = self.headers["host"]
                return self.answer(401, [("WWW-Authenticate", f'Bearer realm="http://{host}/token",service="s"')])
        path = self.path.split("?")[0]
        if kind == "resume" and path in sessions:
            return self.keep(current, path)
        self.forward(current)

    def keep(self, current, path):
        """An upload's session, which ends upstream in one request."""
        upload, location = sessions[path]
        start = int(self.headers.get("content-range", f"{len(upload)}-").split("-")[0])
        here = [("Location", self.path), ("Range", f"0-{max(len(upload) - 1, 0)}")]
        if self.command == "GET":
            return self.answer(204, here)
        if start != len(upload):
            return self.answer(416, here)
        for piece in self.pieces():
            self.body_bytes += len(piece)
            upload += piece
            if current == number and len(upload) >= 8 << 20:
                self.note("cut")
                raise Cut
        if self.command == "PATCH":
            return self.answer(202, here)
        connection = http.client.HTTPConnection(upstream)
        digest = self.path.split("digest=")[1]
        connection.request("PUT", f"{location}&digest={digest}", bytes(upload), {"content-type": "application/octet-stream"})
        response = connection.getresponse()
        self.answer(response.status, response.getheaders(), response.read())

    def forward(self, current):
        connection = http.client.HTTPConnection(upstream)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "authorization", "expect"):
                connection.putheader(name, value)
        connection.endheaders()
        chunked = "chunked" in self.headers.get("transfer-encoding", "")
        if kind == "cut-body" and current == number and not self.has_body():
            raise Cut
        for piece in self.pieces():
            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            self.body_bytes += len(piece)
            if current == number and kind == "cut-body":
                self.note("cut")
                connection.close()
                raise Cut
            if kind == "slow":
                time.sleep(0.02)
        if chunked:
            connection.send(b"0\r\n\r\n")
        response = connection.getresponse()
        body = response.read()
        if kind == "cut-answer" and current == number:
            self.note("cut")
            raise Cut
        headers = [(n, v) for n, v in response.getheaders() if n.lower() not in ("connection", "transfer-encoding")]
        if kind == "digest" and self.command == "PUT":
            headers = [(n, "sha256:" + "0" * 64 if n.lower() == "docker-content-digest" else v) for n, v in headers]
        if self.command == "POST" and response.status == 202:
            location = dict((n.lower(), v) for n, v in headers)["location"]
            location = location if location.startswith("/") else "/" + location.split("/", 3)[3]
            sessions[location.split("?")[0]] = (bytearray(), location)
        if kind == "redirect" and self.command == "POST" and response.status == 202:
            other = f"http://localhost:{self.server.server_port}/elsewhere"
            headers = [(n, other + location if n.lower() == "location" else v) for n, v in headers]
        if kind == "long" and self.command == "GET" and response.status == 200:
            headers = [(n, str(len(body) + 10) if n.lower() == "content-length" else v) for n, v in headers]
            self.close_connection = True
        self.answer(response.status, headers, body)

    def has_body(self):
        return "transfer-encoding" in self.headers or int(self.headers.get("content-length", 0)) > 0

    def handle_method(self):
        try:
            self.handle_one()
        except (Cut, OSError, http.client.HTTPException):
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = handle_method


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
server.daemon_threads = True
with open(port_file, "w") as file:
    print(server.server_port, file=file)
server.serve_forever()
