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
  # tests/image/go-service.sh builds it, since the packages of the tests lack Go.
  [[ $example != */go-service.nix ]] || continue
  build "let
    example = import $example;
    base = $base;
  in example ({ inherit pkgs strata; } // builtins.intersectAttrs (builtins.functionArgs example) { inherit base; })" >/dev/null
done
# The checks of the flake, which build some of them.
(cd "$root" && dev/nix flake check) 2>"$work/log" || { cat "$work/log" >&2; fail "nix flake check"; }
