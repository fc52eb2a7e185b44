# strata serve --flake: images are evaluated and built when they are pulled, once for all clients.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command curl
export XDG_CACHE_HOME=$work/cache GIT_CONFIG_GLOBAL=$work/gitconfig
git config --global user.name x
git config --global user.email x@example.org

# Each run of this script builds anew.
run_id=$(date +%s%N)
mkdir "$work/flake"
cat >"$work/flake/flake.nix" <<NIX
{
  inputs.nixpkgs.url = "path:$cache/hostpkgs/flake";
  inputs.strata.url = "git+file://$root";
  inputs.strata.inputs.nixpkgs.follows = "nixpkgs";
  outputs = { self, nixpkgs, strata }: let
    pkgs = nixpkgs.legacyPackages.x86_64-linux;
    images = strata.lib.mkLib { inherit pkgs; };
    word = "ONE";
    slow = pkgs.runCommand "slow" { } "echo slowly; sleep 3; mkdir \$out; echo $run_id \${word} >\$out/word";
    broken = pkgs.runCommand "broken" { } "echo 'the compiler found a mistake'; exit 1";
  in {
    packages.x86_64-linux = {
      app = images.buildImage { name = "app"; tag = "any"; config.Cmd = [ "\${pkgs.hello}/bin/hello" "--greeting=\${word}" ]; };
      slow = images.buildImage { name = "slow"; copyToRoot = slow; };
      late = images.buildImage { name = "late"; copyToRoot = pkgs.runCommand "late" { } "sleep 3; mkdir \$out; echo $run_id >\$out/word"; };
      big = images.buildImage { name = "big"; copyToRoot = pkgs.runCommand "big" { } "mkdir \$out; head -c 1000000000 /dev/zero >\$out/zeros"; };
      broken = images.buildImage { name = "broken"; copyToRoot = broken; };
      wrong = images.buildImage { nme = "x"; };
      archive = images.makeContainerImage { layers = [ pkgs.hello ]; };
      inherit (pkgs) hello;
    };
    packages.aarch64-linux.app = images.buildImage { name = "app"; tag = "any"; arch = "arm64"; config.Cmd = [ "\${pkgs.hello}/bin/hello" ]; };
  };
}
NIX
git -C "$work/flake" init --quiet --initial-branch main
git -C "$work/flake" add .
git -C "$work/flake" commit --quiet -m one
git -C "$work/flake" tag v1
nix flake lock "$work/flake" >"$work/log" 2>&1 || { cat "$work/log"; fail "nix flake lock"; }
git -C "$work/flake" add .
git -C "$work/flake" commit --quiet -m locked
sed -i 's/"ONE"/"TWO"/' "$work/flake/flake.nix"
git -C "$work/flake" commit --quiet -a -m two
git -C "$work/flake" tag v2

serve() {
  "$strata" serve --listen 127.0.0.1:0 "$@" >"$work/address" 2>"$work/serve.log" &
  server=$!
  wait_for "$server" test -s "$work/address" || { cat "$work/serve.log"; fail "serve ends"; }
  host=$(<"$work/address")
}
stop() { kill -TERM "$server" 2>/dev/null || return 0; wait "$server"; : >"$work/address"; }
get() { curl --silent --show-error --dump-header "$work/headers" "http://$host/v2/$1" "${@:2}"; }
status() { sed -n '1s/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$work/headers"; }
# refused STATUS PATH TEXT
refused() {
  get "$2" >"$work/body"
  same "$(status)" "$1"
  grep -qF -- "$3" "$work/body" || { cat "$work/body"; fail "the answer to $2 lacks: $3"; }
}

serve --flake "$work/flake"
trap 'status=$?; stop; ((status == 0)) || tail -n 30 "$work/serve.log"; exit $status' EXIT
# 200 concurrent pulls of an image that is not built: one build, and all succeed.
for ((at = 0; at < 200; at++)); do echo "url = http://$host/v2/slow/manifests/latest"; echo "output = $work/slow.$at"; done >"$work/requests"
curl --silent --show-error --fail --parallel --parallel-immediate --parallel-max 200 --config "$work/requests" || { cat "$work/serve.log"; fail "200 pulls"; }
same "$(sha256sum "$work"/slow.* | cut -d ' ' -f 1 | sort | uniq -c | awk '{ print $1 }')" 200
same "$(grep -c '^building slow of ' "$work/serve.log")" 1
same "$(grep -c ' building .*-slow.drv' "$work/serve.log")" 1
same "sha256:$(sha256sum <"$work/slow.0" | cut -d ' ' -f 1)" "$(sed -n 's/^built slow in .*: //p' "$work/serve.log")"

# Lists.
same "$(get _catalog | jq -c .repositories)" '["app","archive","big","broken","late","slow"]'
same "$(get app/tags/list | jq -c .tags)" '["latest","main","v1","v2"]'
refused 404 hello/tags/list "the flake has no image hello"

# Clients pull, and run. TAG is the checkout, a branch, a tag or a commit.
same "$(docker pull --quiet "$host/app:latest")" "$host/app:latest"
same "$(run "$host/app:latest")" TWO
commit=$(git -C "$work/flake" rev-parse v1)
same "$(get app/manifests/v1)" "$(get "app/manifests/$commit")"
same "$(get app/manifests/main)" "$(get app/manifests/v2)"
docker pull --quiet "$host/app:v1" >/dev/null
same "$(run "$host/app:v1")" ONE
docker rmi "$host/app:latest" "$host/app:v1" >/dev/null
# A change that is not committed.
sed -i 's/"TWO"/"THREE"/' "$work/flake/flake.nix"
docker pull --quiet "$host/app:latest" >/dev/null
same "$(run "$host/app:latest")" THREE
docker rmi "$host/app:latest" >/dev/null
same "$(get app/manifests/latest | sha256sum)" "$(nix build --no-link --json "$work/flake#app" 2>/dev/null | jq -r '.[0].outputs.out' | xargs -I{} "$strata" inspect {} --manifest | sha256sum)"
for tag in archive:latest app:v2; do
  skopeo copy --quiet --src-tls-verify=false "docker://$host/$tag" "oci:$work/copied:$tag"
done
"$strata" verify "$work/copied" | grep -q ' 0 problems$' || fail "what was pulled"
podman --root "$work/containers" --runroot "$work/run" --storage-driver vfs pull --quiet --tls-verify=false "docker://$host/app:v2" >/dev/null
if from_go github.com/google/go-containerregistry/cmd/crane@v0.20.6 crane; then
  crane validate --insecure --fast --remote "$host/app:v2" >"$work/log" 2>&1 || { cat "$work/log"; fail "crane validate"; }
  crane pull --insecure --format oci "$host/app:v1" "$work/by-crane" 2>"$work/log" || { cat "$work/log"; fail "crane pull"; }
  same "$(jq -r '.manifests[0].digest' "$work/by-crane/index.json")" "$(crane digest --insecure "$host/app:v1")"
  same "$(crane ls --insecure "$host/app" | tr '\n' ' ')" "latest main v1 v2 "
  same "$(crane catalog --insecure "$host" | tr '\n' ' ')" "app archive big broken late slow "
fi

# What fails is an error that the client prints, with the end of Nix's log, and is tried again.
for _ in 1 2; do refused 404 broken/manifests/latest "the compiler found a mistake"; done
same "$(grep -c '^building broken for ' "$work/serve.log")" 2
if docker pull "$host/broken:latest" >"$work/log" 2>&1; then fail "a build that fails"; fi
grep -qF "the compiler found a mistake" "$work/log" || { cat "$work/log"; fail "docker prints no reason"; }
refused 404 wrong/manifests/latest "called without required argument 'name'"
refused 404 none/manifests/latest "the flake has no package none for x86_64-linux"
refused 404 app/manifests/none "the flake has no branch, tag or commit none"
refused 403 hello/manifests/latest "hello for x86_64-linux is not an image of strata; --attribute hello serves it"
refused 403 shell/hello/manifests/latest "--shell allows it"
refused 404 'a$%7Bb/manifests/latest' "is not the name of a repository"
refused 404 app/manifests/sha256:0000000000000000000000000000000000000000000000000000000000000000 "unknown manifest"
get app/manifests/v1 --request PUT >/dev/null
same "$(status)" 405
stop
# Nothing keeps what it built.
[[ ! $(ls "$work/cache/strata/served") ]] || fail "roots are left: $(ls "$work/cache/strata/served")"

# Limits: attributes, time, memory, kept images.
serve --flake "$work/flake" --attribute 'a*' --build-timeout 1 --keep 1
same "$(get _catalog | jq -c .repositories)" '["app","archive"]'
refused 403 broken/manifests/latest "broken is not among the attributes that are served"
get app/manifests/v1 >"$work/manifest"
layer=$(jq -r '.layers[0].digest' "$work/manifest")
same "$(get "app/blobs/$layer" | sha256sum | cut -d ' ' -f 1)" "$(cut -d : -f 2 <<<"$layer")"
same "$(ls "$work"/cache/strata/served/*/ | grep -vx lock | wc -l)" 2
config=$(jq -r '.config.digest' "$work/manifest")
get app/manifests/v2 >/dev/null
get "app/blobs/$config" >/dev/null
same "$(status)" 404
same "$(ls "$work"/cache/strata/served/*/ | grep -vx lock | wc -l)" 2
stop
sed -i 's/sleep 3/sleep 30/' "$work/flake/flake.nix"
serve --flake "$work/flake" --build-timeout 1
refused 404 slow/manifests/latest "it takes longer than 1 s"
stop
serve --flake "$work/flake" --eval-memory 16
refused 404 app/manifests/latest "evaluating app failed: Nix ended with"
stop
if "$strata" serve --flake github:a/b 2>"$work/log"; then fail "a flake of others"; fi
grep -qF -- "--allow-remote-flake" "$work/log" || { cat "$work/log"; fail "no way out"; }

# One build at a time: the second begins when the first has ended.
sed -i "s/sleep 30;/sleep 3;/; s/$run_id/&-again/g" "$work/flake/flake.nix"
serve --flake "$work/flake" --max-builds 1
printf 'url = %s\noutput = %s\n' "http://$host/v2/slow/manifests/latest" "$work/first" "http://$host/v2/late/manifests/latest" "$work/second" >"$work/requests"
curl --silent --show-error --fail --parallel --parallel-immediate --config "$work/requests" || { cat "$work/serve.log"; fail "two pulls"; }
same "$(sed -nE 's/^(building|built) .*/\1/p' "$work/serve.log" | tr '\n' ' ')" "building built building built "
stop

# Asked to end, the server ends its builds, and the client gets an answer.
sed -i 's/sleep 3;/sleep 600;/g; s/-again/-ended/g' "$work/flake/flake.nix"
serve --flake "$work/flake"
get slow/manifests/latest >"$work/body" &
client=$!
wait_for "$client" grep -q ' building .*-slow.drv' "$work/serve.log"
pgrep -f "sleep 600" >/dev/null || fail "the builder does not run"
stop
wait "$client" || fail "the client gets no answer"
grep -qF "strata is stopping" "$work/body" || { cat "$work/body"; fail "the answer has no reason"; }
if pgrep -f "sleep 600" >"$work/log" || pgrep --session 0 -x "nix.*" >"$work/log"; then
  xargs ps -f -p <"$work/log"
  fail "processes are left"
fi
[[ ! $(ls "$work/cache/strata/served") ]] || fail "roots are left: $(ls "$work/cache/strata/served")"

# Several systems are one multi-platform image.
serve --flake "$work/flake" --system x86_64-linux --system aarch64-linux
same "$(get app/manifests/v2 | jq -c '[.manifests[].platform.architecture] | sort')" '["amd64","arm64"]'
stop
# A shell is composed of packages.
serve --flake "$work/flake" --shell
docker pull --quiet "$host/shell/hello/jq:latest" >/dev/null
same "$(run "$host/shell/hello/jq:latest" hello)" "Hello, world!"
docker rmi "$host/shell/hello/jq:latest" >/dev/null
refused 404 shell/nonesuch/manifests/latest "nixpkgs has no package nonesuch"
# A branch is evaluated without access to the files of the machine.
git -C "$work/flake" checkout --quiet -b reads
sed -i 's|^    packages.x86_64-linux = {|    lib.mkLib = _: throw (builtins.readFile "/etc/passwd");\n&|' "$work/flake/flake.nix"
git -C "$work/flake" commit --quiet -a -m reads
git -C "$work/flake" checkout --quiet main
refused 404 shell/hello/manifests/reads "access to "
if grep -qF "root:" "$work/body"; then fail "the flake of a branch reads /etc/passwd"; fi
stop

# An empty store and a cache that has the detached recipes: the closures do not come, and 1 GB passes through.
git -C "$work/flake" checkout --quiet -- .
git -C "$work/flake" checkout --quiet v2
for attribute in app big; do
  detached=$(nix build --no-link --print-out-paths "$work/flake#packages.x86_64-linux.$attribute.detached" 2>/dev/null ||
    nix-store --realise "$(nix eval --raw "$work/flake#packages.x86_64-linux.$attribute.detached.drvPath" 2>/dev/null)" 2>/dev/null)
  nix copy --no-check-sigs --to "file://$work/binary?compression=zstd" "$(jq -r .recipe "$detached")" "$detached" 2>"$work/log" || { cat "$work/log"; fail "nix copy"; }
done
mkdir -p "$work/fresh/store" "$work/fresh/var/nix"
apart=(unshare --mount --propagation private)
((EUID == 0)) || apart+=(--user --map-root-user)
serve_from_empty_store() {
  NIX_CONFIG="${NIX_CONFIG-}"$'\n'"substituters = file://$work/binary"$'\n'"require-sigs = false" \
    exec "${apart[@]}" bash -c 'mount --bind "$0" /nix; exec "$@"' "$work/fresh" "$strata" serve --listen 127.0.0.1:0 --flake "$work/flake"
}
serve_from_empty_store >"$work/address" 2>"$work/serve.log" &
server=$!
wait_for "$server" test -s "$work/address" || { cat "$work/serve.log"; fail "serve ends"; }
host=$(<"$work/address")
docker pull --quiet "$host/app:v2" >/dev/null
same "$(run "$host/app:v2")" TWO
docker rmi "$host/app:v2" >/dev/null
get big/manifests/v2 >"$work/manifest"
layer=$(jq -r '[.layers[] | select(.size > 1000000000)][0].digest' "$work/manifest")
same "$(get "big/blobs/$layer" | sha256sum | cut -d ' ' -f 1)" "${layer#*:}"
stop
for name in big app hello; do
  if compgen -G "$work/fresh/store/*-$name" >/dev/null; then fail "the closure came: $(ls "$work/fresh/store")"; fi
done
(($(du -sm "$work/fresh" | cut -f 1) < 400)) || fail "the store has $(du -sm "$work/fresh")"
