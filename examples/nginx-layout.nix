# An OCI layout from ready layers: podman runs it from the directory, crane and skopeo push it.
{ pkgs, strata }:
let
  nginx = strata.ociLayerTar {
    files = [ { source = pkgs.nginx; } ];
    closure = true;
  };
  tools = strata.ociLayerTar {
    files = [
      {
        source = pkgs.bash;
        destination = "/";
      }
      {
        source = "${pkgs.jq}/bin/jq";
        destination = "/bin/jq";
      }
      {
        source = pkgs.writeText "nginx.conf" "events { } http { server { listen 8080; } }\n";
        destination = "/etc/nginx/nginx.conf";
      }
      {
        source = pkgs.writeScript "entrypoint" ''
          #!/bin/bash
          echo "starting with $GREETING"
          exec ${pkgs.nginx}/bin/nginx -v
        '';
        destination = "/entrypoint";
        mode = "0755";
      }
    ];
    compression = "zstd";
  };
in
strata.ociImageLayout {
  manifests = [
    (strata.ociImageManifest {
      # The closures of bash and jq come as buildLayer makes them.
      layers = [
        nginx
        (strata.buildLayer {
          maxLayers = 1;
          deps = [
            pkgs.bash
            pkgs.jq
          ];
          layers = [ nginx ];
        })
        tools
      ];
      extraConfig.config = {
        Env = [ "GREETING=hello" ];
        Entrypoint = [ "/entrypoint" ];
      };
      extraManifest.annotations."org.opencontainers.image.title" = "nginx";
      tag = "latest";
    })
  ];
}
