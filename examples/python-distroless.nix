# A Python web service on a distroless base image, which has the accounts, certificates and time zones. Python comes from the
# Nix store. `base` is, for example:
#
#   strata.pullImage {
#     imageName = "gcr.io/distroless/static-debian12";
#     imageDigest = "sha256:…";
#     sha256 = "sha256-…";
#   }
{
  pkgs,
  strata,
  base,
}:
let
  service = pkgs.writeText "service.py" ''
    import http.server
    import os
    import pwd

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            user = pwd.getpwuid(os.getuid()).pw_name
            self.send_response(200)
            self.end_headers()
            self.wfile.write(f"Hello from {user}\n".encode())

    http.server.HTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
  '';
in
strata.checkImage {
  image = strata.buildImage {
    name = "service";
    tag = "latest";
    fromImage = base;
    inheritConfig = true;
    config = {
      User = "nonroot";
      Cmd = [
        "${pkgs.python3}/bin/python3"
        "-u"
        "${service}"
      ];
      ExposedPorts."8080/tcp" = { };
      StopSignal = "SIGINT";
    };
  };
  service = {
    ready.http = "/";
    script = "busybox wget -q -O - http://127.0.0.1:8080/ | grep 'Hello from nonroot'";
    packages = [ pkgs.busybox ];
  };
}
