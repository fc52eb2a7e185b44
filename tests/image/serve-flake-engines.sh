# strata serve --flake, pulled by Docker 29 and containerd 2 while the image is built: they wait for the manifest.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_engines
export XDG_CACHE_HOME=$work/cache
run_id=$(date +%s%N)
mkdir "$work/flake"
cat >"$work/flake/flake.nix" <<NIX
{
  inputs.nixpkgs.url = "path:$cache/hostpkgs/flake";
  inputs.strata.url = "git+file://$root";
  inputs.strata.inputs.nixpkgs.follows = "nixpkgs";
  outputs = { nixpkgs, strata, ... }: let
    pkgs = nixpkgs.legacyPackages.x86_64-linux;
    image = name: (strata.lib.mkLib { inherit pkgs; }).buildImage {
      inherit name;
      # This image is built when it is pulled.
      config.Cmd = [ "\${pkgs.hello}/bin/hello" "--greeting=\${pkgs.runCommand name { } "sleep 3; echo $run_id >\$out"}" ];
    };
  in {
    packages.x86_64-linux = { first = image "first"; second = image "second"; };
  };
}
NIX
# serve_inside: serves in the network of the last started engine.
serve_inside() {
  nsenter --target "$(pgrep -P "$engine_pid")" --net "$strata" serve --listen 127.0.0.1:5000 --flake "$work/flake" >"$work/address" 2>"$work/serve.log" &
  server=$!
  wait_for "$server" test -s "$work/address" || { cat "$work/serve.log"; fail "serve ends"; }
}
stop_server() { kill "$server" 2>/dev/null || return 0; wait "$server" || true; : >"$work/address"; }
server=
trap 'status=$?; ((status == 0)) || tail -n 20 "$work/serve.log"; [[ ! $server ]] || stop_server; stop_engines; exit $status' EXIT

start_docker29 "$work/docker29" || fail "Docker 29 does not start"
serve_inside
docker pull --quiet 127.0.0.1:5000/first:latest >/dev/null || fail "docker pull"
run 127.0.0.1:5000/first:latest >"$work/out"
grep -q '^/nix/store/.*-first$' "$work/out" || { cat "$work/out"; fail "the container"; }
grep -q '^built first in ' "$work/serve.log" || fail "it was built before"
stop_server

start_containerd "$work/containerd" || fail "containerd does not start"
serve_inside
# The daemon pulls, as with kubelet.
ctr=("$engines/ctr" --address "$CONTAINERD_ADDRESS")
"${ctr[@]}" images pull --plain-http 127.0.0.1:5000/second:latest >"$work/log" 2>&1 || { cat "$work/log"; fail "ctr images pull"; }
"${ctr[@]}" images check | grep -q '127.0.0.1:5000/second:latest .* complete' || fail "containerd lacks blobs of the image"
run_with_ctr 127.0.0.1:5000/second:latest greeter >"$work/out" 2>"$work/log" || { cat "$work/log"; fail "ctr run"; }
grep -q '^/nix/store/.*-second$' "$work/out" || { cat "$work/out"; fail "the container"; }
grep -q '^built second in ' "$work/serve.log" || fail "it was built before"
