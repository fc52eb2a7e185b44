# Every example builds; those of services are checks, which also run them. tests/nix/manual.sh builds those of the manual.
. "$root/tests/lib.sh"
# A stand-in for distroless: the accounts and directories of static-debian12.
base='buildImage {
  name = "distroless";
  tag = "latest";
  copyToRoot = [
    (pkgs.writeTextDir "etc/passwd" "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n")
    (pkgs.writeTextDir "etc/group" "root:x:0:\nnonroot:x:65532:\n")
    (pkgs.runCommand "directories" { } "mkdir -p $out/home/nonroot $out/tmp")
  ];
  config = { User = "65532"; WorkingDir = "/home/nonroot"; Env = [ "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt" ]; };
}'
for example in "$root"/examples/*.nix; do
  build "let
    example = import $example;
    base = $base;
  in example ({ inherit pkgs strata; } // builtins.intersectAttrs (builtins.functionArgs example) { inherit base; })" >/dev/null
done
