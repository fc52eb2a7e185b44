"""front.py KEY CERT BACKEND PORTFILE (basic | bearer REALM SERVICE): what people put before a registry that has neither TLS
nor users: it ends TLS, lets in who may, and passes on the rest of the connection.

basic lets in me:U*U; bearer those whose token (tokens.py) is good for what they ask. A token's claims are read, its
signature is not: distribution's registry looks at that. Each connection is for one request.
"""

import asyncio, base64, json, os, re, ssl, sys, urllib.parse

key, certificate, backend, port_file, kind, *token_server = sys.argv[1:]
host, port = backend.split(":")


def may(target, method, authorization):
    """Return whether the header allows the request, and otherwise the scope that it lacks."""
    if kind == "basic":
        return authorization == "Basic " + base64.b64encode(b"me:U*U").decode(), ""
    url = urllib.parse.urlsplit(target)
    found = re.match(r"/v2/(.+?)/(?:manifests|blobs|tags|referrers)/", url.path)
    wanted = []
    if found:
        wanted.append((found[1], "pull" if method in ("GET", "HEAD") else "push"))
        wanted += [(name, "pull") for name in urllib.parse.parse_qs(url.query).get("from", [])]
    scopes = " ".join(f"repository:{name}:{action}" for name, action in wanted)
    if not authorization.startswith("Bearer "):
        return False, scopes
    claims = authorization.split(".")[1]
    access = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["access"]
    given = {(one["name"], action) for one in access for action in one["actions"]}
    return set(wanted) <= given, scopes


async def pump(source, target):
    while data := await source.read(65536):
        target.write(data)
        await target.drain()


async def serve(reader, writer):
    behind = None
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().removesuffix("\r\n\r\n").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        allowed, scopes = may(target, method, headers.get("authorization", ""))
        if not allowed:
            challenge = 'Basic realm="front"'
            if kind == "bearer":
                challenge = f'Bearer realm="{token_server[0]}",service="{token_server[1]}"' + (f',scope="{scopes}"' if scopes else "")
            text = '{"errors":[{"code":"UNAUTHORIZED","message":"log in"}]}'
            writer.write(f"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nContent-Type: application/json\r\n"
                         f"Content-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}".encode())
            await writer.drain()
            return
        lines = [line for line in lines if line.split(":")[0].lower() not in ("connection", "authorization")]
        answer, behind = await asyncio.open_connection(host, int(port))
        behind.write("\r\n".join([first, *lines, "Connection: close"]).encode() + b"\r\n\r\n")
        # A client that waits for the answer keeps its side open.
        sending = asyncio.create_task(pump(reader, behind))
        await pump(answer, writer)
        sending.cancel()
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()
        if behind:
            behind.close()


async def main():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    with open(port_file + ".new", "w") as file:
        print(server.sockets[0].getsockname()[1], file=file)
    os.rename(port_file + ".new", port_file)
    await server.serve_forever()


asyncio.run(main())
