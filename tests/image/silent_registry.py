"""silent_registry.py PORT FILE: a registry that has no blob and takes none: the first upload is read up to its first bytes, and
then neither read nor answered. FILE is created at that moment."""
import http.server
import pathlib
import sys
import threading


class Silent(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, headers=()):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self):
        self.answer(200 if self.path == "/v2/" else 404)

    do_HEAD = do_GET

    def do_POST(self):
        self.answer(202, [("Location", f"{self.path}upload")])

    def do_PATCH(self):
        self.rfile.read(1)
        pathlib.Path(sys.argv[2]).touch()
        threading.Event().wait()

    do_PUT = do_PATCH

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Silent).serve_forever()
