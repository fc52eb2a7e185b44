# An image, and a check of it: its configuration, its files, and the running program. In a flake: checks.<system>.image.
{ strata, pkgs }:
let
  page = pkgs.writeTextDir "www/index.html" "Welcome";
in
strata.checkImage {
  image = strata.buildImage {
    name = "web";
    tag = "latest";
    config = {
      Cmd = [
        "${pkgs.busybox}/bin/busybox"
        "httpd"
        "-f"
        "-v"
        "-p"
        "8080"
        "-h"
        "${page}/www"
      ];
      ExposedPorts."8080/tcp" = { };
      # busybox does not handle SIGTERM, which PID 1 ignores then.
      StopSignal = "SIGKILL";
    };
  };
  structure = {
    schemaVersion = "2.0.0";
    metadataTest.exposedPorts = [ "8080" ];
    fileExistenceTests = [
      {
        name = "the page";
        path = "${page}/www/index.html";
        uid = 0;
        permissions = "-r--r--r--";
      }
    ];
  };
  service = {
    ready.http = "/";
    script = "busybox wget -q -O - http://127.0.0.1:8080/ | grep Welcome";
    packages = [ pkgs.busybox ];
  };
}
