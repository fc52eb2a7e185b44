"""tokens.py KEY CERT ISSUER SERVICE PORTFILE LOG: a token server as distribution's registry wants one: RS256 tokens whose header
has the certificate (docs/content/spec/auth/jwt.md). It knows me:secret, who may do everything; everybody may pull app.

Each request is a line in LOG: who, and the scopes that were asked for. Passwords are not.
"""

import base64, http.server, json, ssl, subprocess, sys, time, urllib.parse

key, certificate, issuer, service, port_file, log = sys.argv[1:]
chain = [ssl.PEM_cert_to_DER_cert(open(certificate).read())]


def encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(claims):
    header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(one).decode() for one in chain]}
    text = ".".join(encode(json.dumps(part).encode()) for part in (header, claims))
    signature = subprocess.run(["openssl", "dgst", "-sha256", "-sign", key], input=text.encode(), capture_output=True, check=True)
    return text + "." + encode(signature.stdout)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        authorization = self.headers.get("Authorization", "")
        user = "-"
        if authorization.startswith("Basic "):
            if base64.b64decode(authorization[6:]) != b"me:secret":
                self.answer(401, {"errors": [{"code": "UNAUTHORIZED", "message": "wrong password"}]})
                return
            user = "me"
        scopes = [scope for text in query.get("scope", []) for scope in text.split(" ")]
        with open(log, "a") as file:
            print(user, *sorted(scopes), file=file)
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":", 2)
            given = actions.split(",") if user == "me" else [own for own in actions.split(",") if own == "pull" and name == "app"]
            access.append({"type": kind, "name": name, "actions": given})
        now = int(time.time())
        token = signed({"iss": issuer, "aud": service, "sub": user, "exp": now + 300, "nbf": now - 10, "iat": now,
                        "jti": str(time.monotonic_ns()), "access": access})
        # As Docker Hub and Harbor, both.
        self.answer(200, {"token": token, "access_token": token, "expires_in": 300})

    def answer(self, status, value):
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
with open(port_file + ".new", "w") as file:
    print(server.server_address[1], file=file)
import os
os.rename(port_file + ".new", port_file)
server.serve_forever()
