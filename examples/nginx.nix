# nginx as a user other than root, and a check that starts it and requests a page.
{ pkgs, strata }:
let
  pages = pkgs.writeTextDir "index.html" "Welcome";
  configuration = pkgs.writeText "nginx.conf" ''
    daemon off;
    pid /tmp/nginx.pid;
    error_log /dev/stderr info;
    events { }
    http {
      access_log /dev/stdout;
      client_body_temp_path /tmp/body;
      proxy_temp_path /tmp/proxy;
      fastcgi_temp_path /tmp/fastcgi;
      uwsgi_temp_path /tmp/uwsgi;
      scgi_temp_path /tmp/scgi;
      server {
        listen 8080;
        root ${pages};
      }
    }
  '';
  directories = pkgs.runCommand "directories" { } "mkdir -p $out/tmp $out/var/log/nginx $out/var/lib/nginx";
  accounts = strata.dockerTools.fakeNss.override {
    extraPasswdLines = [ "web:x:33:33::/:/bin/sh" ];
    extraGroupLines = [ "web:x:33:" ];
  };
in
strata.checkImage {
  image = strata.buildImage {
    name = "nginx";
    tag = "latest";
    copyToRoot = [
      directories
      accounts
    ];
    perms = [
      {
        path = directories;
        regex = ".*/tmp$";
        mode = "1777";
      }
    ];
    config = {
      User = "web";
      Cmd = [
        "${pkgs.nginx}/bin/nginx"
        "-c"
        "${configuration}"
      ];
      ExposedPorts."8080/tcp" = { };
      StopSignal = "SIGQUIT";
    };
  };
  service = {
    ready.http = "/";
    script = "busybox wget -q -O - http://127.0.0.1:8080/ | grep Welcome";
    packages = [ pkgs.busybox ];
  };
}
