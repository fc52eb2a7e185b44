#!/usr/bin/env python3
"""ranges.py UPSTREAM-PORT PORT-FILE ANSWER: a registry on loopback that does not answer requests for several ranges.

ANSWER is the status of its answers to them: 200 sends the whole blob, as object stores do; others refuse."""
import http.client
import http.server
import os
import sys

upstream, port_file, answer = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])


class Registry(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        # A header may come several times.
        headers = {name: ", ".join(self.headers.get_all(name)) for name in self.headers if name.lower() != "host"}
        if "," in headers.get("Range", ""):
            del headers["Range"]
            if answer != 200:
                self.send_response(answer)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        server = http.client.HTTPConnection("127.0.0.1", upstream)
        server.request(self.command, self.path, headers=headers)
        response = server.getresponse()
        self.send_response(response.status)
        for name, value in response.getheaders():
            self.send_header(name, value)
        self.end_headers()
        while data := response.read(1 << 16):
            self.wfile.write(data)
        server.close()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry)
server.daemon_threads = True
with open(port_file + ".new", "w", encoding="ascii") as file:
    file.write(str(server.server_port))
os.rename(port_file + ".new", port_file)
server.serve_forever()
