# strata serve --flake: images are evaluated and built once for all clients, when they are pulled.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command curl
export XDG_CACHE_HOME=$work/cache GIT_CONFIG_GLOBAL=$work/gitconfig
git config --global user.name x
git config --global user.email x@example.org

# Each run of this script builds new images.
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
      myApp = images.buildImage { name = "myApp"; config.Cmd = [ "\${pkgs.hello}/bin/hello" "--greeting=capitals" ]; };
      "my app" = images.buildImage { name = "unserved"; };
      inherit (pkgs) hello;
      read = throw "the word is \${import ./read.nix}";
    };
    packages.aarch64-linux.app = images.buildImage { name = "app"; tag = "any"; arch = "arm64"; config.Cmd = [ "\${pkgs.hello}/bin/hello" ]; };
  };
}
NIX
echo '"none"' >"$work/flake/read.nix"
git -C "$work/flake" init --quiet --initial-branch main
git -C "$work/flake" add .
git -C "$work/flake" commit --quiet -m unlocked
git -C "$work/flake" tag unlocked
nix flake lock "$work/flake" >"$work/log" 2>&1 || { cat "$work/log"; fail "nix flake lock"; }
git -C "$work/flake" add .
git -C "$work/flake" commit --quiet -m one
git -C "$work/flake" tag v1
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
# logged TEXT: the server's log has it.
logged() { grep -qF -- "$1" "$work/serve.log" || { tail -n 40 "$work/serve.log"; fail "the log lacks: $1"; }; }

serve --flake "$work/flake"
trap 'status=$?; stop; ((status == 0)) || tail -n 30 "$work/serve.log"; exit $status' EXIT
# 200 concurrent pulls of an image that is not built cause one build, and all of them succeed.
for ((at = 0; at < 200; at++)); do echo "url = http://$host/v2/slow/manifests/latest"; echo "output = $work/slow.$at"; done >"$work/requests"
curl --silent --show-error --fail --parallel --parallel-immediate --parallel-max 200 --config "$work/requests" || { cat "$work/serve.log"; fail "200 pulls"; }
same "$(sha256sum "$work"/slow.* | cut -d ' ' -f 1 | sort | uniq -c | awk '{ print $1 }')" 200
same "$(grep -c '^building slow of ' "$work/serve.log")" 1
same "$(grep -c ' building .*-slow.drv' "$work/serve.log")" 1
same "sha256:$(sha256sum <"$work/slow.0" | cut -d ' ' -f 1)" "$(sed -n 's/^built slow in .*: //p' "$work/serve.log")"

# Lists.
same "$(get _catalog | jq -c .repositories)" '["app","archive","big","broken","late","myapp","slow"]'
same "$(get app/tags/list | jq -c .tags)" '["latest","main","unlocked","v1","v2"]'
refused 404 hello/tags/list "the flake has no image hello"
if "$strata" inspect "docker://$host/app:nonesuch" --tls-verify=false >"$work/out" 2>"$work/log"; then fail "a version that the flake lacks"; fi
grep -qF "the registry has no nonesuch: MANIFEST_UNKNOWN: " "$work/log" || { cat "$work/log"; fail "the message of the registry is missing"; }
refused 403 shell/hello/tags/list "--shell allows it"
# Repositories have no capitals.
same "$(get myapp/tags/list | jq -c .tags)" '["latest","main","unlocked","v1","v2"]'
docker pull --quiet "$host/myapp:latest" >/dev/null
same "$(run "$host/myapp:latest")" capitals
docker rmi "$host/myapp:latest" >/dev/null
refused 404 myApp/manifests/latest "myApp is not the name of a repository"

# Clients pull and run images. TAG is the checkout, a branch, a tag or a commit.
same "$(docker pull --quiet "$host/app:latest")" "$host/app:latest"
same "$(run "$host/app:latest")" TWO
commit=$(git -C "$work/flake" rev-parse v1)
same "$(get app/manifests/v1)" "$(get "app/manifests/$commit")"
same "$(get app/manifests/main)" "$(get app/manifests/v2)"
docker pull --quiet "$host/app:v1" >/dev/null
same "$(run "$host/app:v1")" ONE
docker rmi "$host/app:latest" "$host/app:v1" >/dev/null
# A change without a commit.
sed -i 's/"TWO"/"THREE"/' "$work/flake/flake.nix"
docker pull --quiet "$host/app:latest" >/dev/null
same "$(run "$host/app:latest")" THREE
docker rmi "$host/app:latest" >/dev/null
same "$(get app/manifests/latest | sha256sum)" "$(nix build --no-link --json "$work/flake#app" 2>/dev/null | jq -r '.[0].outputs.out' | xargs -I{} "$strata" inspect {} --manifest | sha256sum)"
for tag in archive:latest app:v2; do
  skopeo copy --quiet --src-tls-verify=false "docker://$host/$tag" "oci:$work/copied:$tag"
done
"$strata" verify "$work/copied" | grep -q ' 0 problems$' || fail "the copied image has problems"
podman --root "$work/containers" --runroot "$work/run" --storage-driver vfs pull --quiet --tls-verify=false "docker://$host/app:v2" >/dev/null
if from_go github.com/google/go-containerregistry/cmd/crane@v0.20.6 crane; then
  crane validate --insecure --fast --remote "$host/app:v2" >"$work/log" 2>&1 || { cat "$work/log"; fail "crane validate"; }
  crane pull --insecure --format oci "$host/app:v1" "$work/by-crane" 2>"$work/log" || { cat "$work/log"; fail "crane pull"; }
  same "$(jq -r '.manifests[0].digest' "$work/by-crane/index.json")" "$(crane digest --insecure "$host/app:v1")"
  same "$(crane ls --insecure "$host/app" | tr '\n' ' ')" "latest main unlocked v1 v2 "
  same "$(crane catalog --insecure "$host" | tr '\n' ' ')" "app archive big broken late myapp slow "
fi

# Errors are printed by the client, with the end of Nix's log, and are retried.
for _ in 1 2; do refused 404 broken/manifests/latest "the compiler found a mistake"; done
same "$(grep -c '^building broken for ' "$work/serve.log")" 2
if docker pull "$host/broken:latest" >"$work/log" 2>&1; then fail "a build that fails"; fi
grep -qF "the compiler found a mistake" "$work/log" || { cat "$work/log"; fail "docker prints no reason"; }
refused 404 wrong/manifests/latest "evaluating wrong failed; the log of the server has the reason"
logged "called without required argument 'name'"
refused 404 app/manifests/unlocked "evaluating app failed"
logged "flake.lock has no input nixpkgs; run nix flake lock, and commit flake.lock"
refused 404 none/manifests/latest "the flake has no package none for x86_64-linux"
refused 404 app/manifests/none "the flake has no branch, tag or commit none"
refused 403 hello/manifests/latest "hello for x86_64-linux is not an image of strata; --attribute hello serves it"
refused 403 shell/hello/manifests/latest "--shell allows it"
refused 404 'a$%7Bb/manifests/latest' "is not the name of a repository"
refused 404 app/manifests/sha256:0000000000000000000000000000000000000000000000000000000000000000 "unknown manifest"
get app/manifests/v1 --request PUT >/dev/null
same "$(status)" 405
digest=sha256:$(get app/manifests/latest | sha256sum | cut -d ' ' -f 1)
same "$digest" "$(<"$(nix-store --realise "$(nix eval --raw "$work/flake#app.digest" --apply 'digest: (digest.override { compression = "none"; }).drvPath' 2>/dev/null)" 2>/dev/null)")"
stop
# After the server has ended, the store paths can be collected.
silent ls "$work/cache/strata/served"

# The digest of an image that was not pulled by its tag is served.
serve --flake "$work/flake" --attribute 'A*'
same "sha256:$(get "app/manifests/$digest" | sha256sum | cut -d ' ' -f 1)" "$digest"
refused 403 "slow/manifests/$digest" "slow is not among the attributes that are served"
stop

# Limits of attributes, time, memory, and kept images.
for limit in --build-timeout --eval-memory --keep --max-builds; do
  for value in 0 18446744073709551615; do
    if "$strata" serve --flake "$work/flake" "$limit" "$value" 2>"$work/log"; then fail "$limit $value"; fi
    grep -qF -- "invalid value '$value' for '$limit" "$work/log" || { cat "$work/log"; fail "the message of $limit $value"; }
  done
done
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
refused 404 app/manifests/latest "evaluating app failed"
logged "evaluating app failed: Nix ended with"
stop
mkdir "$work/empty"
if "$strata" serve --flake "$work/empty" 2>"$work/log"; then fail "a directory without a flake"; fi
grep -qF "$work/empty has no flake.nix; name the directory of a flake" "$work/log" || { cat "$work/log"; fail "the message without flake.nix"; }
if "$strata" serve --flake github:a/b 2>"$work/log"; then fail "a flake of others"; fi
grep -qF -- "--allow-remote-flake" "$work/log" || { cat "$work/log"; fail "no way out"; }

# One build at a time: the second one begins after the first.
sed -i "s/sleep 30;/sleep 3;/; s/$run_id/&-again/g" "$work/flake/flake.nix"
serve --flake "$work/flake" --max-builds 1
printf 'url = %s\noutput = %s\n' "http://$host/v2/slow/manifests/latest" "$work/first" "http://$host/v2/late/manifests/latest" "$work/second" >"$work/requests"
curl --silent --show-error --fail --parallel --parallel-immediate --config "$work/requests" || { cat "$work/serve.log"; fail "two pulls"; }
same "$(sed -nE 's/^(building|built) .*/\1/p' "$work/serve.log" | tr '\n' ' ')" "building built building built "
stop

# A server that is terminated ends its builds, and the client gets a response.
sed -i 's/sleep 3;/sleep 600;/g; s/-again/-ended/g' "$work/flake/flake.nix"
serve --flake "$work/flake"
get slow/manifests/latest >"$work/body" &
client=$!
wait_for "$client" pgrep -f "sleep 600" || fail "the builder does not run"
stop
wait "$client" || fail "the client gets no answer"
grep -qF "strata is stopping" "$work/body" || { cat "$work/body"; fail "the answer has no reason"; }
if pgrep -f "sleep 600" >"$work/log" || pgrep --session 0 -x "nix.*" >"$work/log"; then
  xargs ps -f -p <"$work/log"
  fail "processes are left"
fi
silent ls "$work/cache/strata/served"

# Several systems result in one multi-platform image.
serve --flake "$work/flake" --system x86_64-linux --system aarch64-linux
same "$(get app/manifests/v2 | jq -c '[.manifests[].platform.architecture] | sort')" '["amd64","arm64"]'
stop
# A shell is composed of packages.
serve --flake "$work/flake" --shell
docker pull --quiet "$host/shell/hello/jq:latest" >/dev/null
same "$(run "$host/shell/hello/jq:latest" hello)" "Hello, world!"
docker rmi "$host/shell/hello/jq:latest" >/dev/null
refused 404 shell/nonesuch/manifests/latest "nixpkgs has no package nonesuch"
same "$(get shell/hello/jq/tags/list | jq -c .tags)" '["latest","main","unlocked","v1","v2"]'
refused 404 shell/hello/nonesuch/tags/list "nixpkgs has no package nonesuch"
refused 404 'shell/a$%7Bb/tags/list' "is not the name of a repository"
stop

# Another checkout of this user, and a directory that only this user may read.
mkdir "$work/other" "$work/private"
echo "private-word" | tee "$work/other/word" >"$work/private/word"
echo '{ outputs = _: { }; }' | tee "$work/other/flake.nix" >"$work/private/flake.nix"
git -C "$work/other" init --quiet --initial-branch main
git -C "$work/other" add .
git -C "$work/other" commit --quiet -m other
other_commit=$(git -C "$work/other" rev-parse HEAD)
private_hash=$(nix hash path --type sha256 "$work/private")
# commit BRANCH: commits the changes of the checkout on a new branch, and returns to main.
commit() {
  git -C "$work/flake" checkout --quiet -b "$1"
  git -C "$work/flake" add .
  git -C "$work/flake" commit --quiet -m "$1"
  git -C "$work/flake" checkout --quiet main
}
# attack BRANCH TEXT: the branch is refused, for the reason TEXT, and neither the client nor the log has the word.
attack() {
  local before
  before=$(wc -l <"$work/serve.log")
  refused 404 "read/manifests/$1" "failed"
  tail -n +$((before + 1)) "$work/serve.log" >"$work/log"
  grep -qF -- "$2" "$work/log" || { cat "$work/log"; fail "$1: the log lacks: $2"; }
  lacks -F private-word "$work/body" "$work/serve.log"
}
# reads BRANCH EXPRESSION: a branch whose package `read` reads something. The error of the package has it.
reads() {
  echo "$2" >"$work/flake/read.nix"
  commit "$1"
}
git -C "$work/flake" checkout --quiet -- .
reads itself 'builtins.readFile ./flake.lock'
reads file "builtins.readFile $work/private/word"
reads variable '"<${builtins.getEnv "PRIVATE"}>"'
reads hashed "builtins.path { path = $work/private; sha256 = \"$private_hash\"; }"
reads link 'builtins.readFile ./link'
git -C "$work/flake" checkout --quiet link
ln -s "$work/private/word" "$work/flake/link"
git -C "$work/flake" add .
git -C "$work/flake" commit --quiet --amend -m link
git -C "$work/flake" checkout --quiet main
reads flake "toString (builtins.getFlake \"git+file://$work/other?rev=$other_commit\")"
reads tree "builtins.readFile (builtins.fetchTree { type = \"git\"; url = \"file://$work/other\"; rev = \"$other_commit\"; } + \"/word\")"
reads git "builtins.readFile (builtins.fetchGit { url = \"file://$work/other\"; rev = \"$other_commit\"; } + \"/word\")"
reads git-path "builtins.readFile (builtins.fetchGit { url = \"$work/other\"; rev = \"$other_commit\"; } + \"/word\")"
reads url "builtins.readFile (builtins.fetchurl \"file://$work/private/word\")"
# Results of builds that are imported. A builder that does not run in the sandbox reads files.
reads builder "import (derivation { name = \"read\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; args = [ \"-c\" \"read word <$work/private/word; echo '\\\"'\$word'\\\"' >\$out\" ]; })"
# locks BRANCH LOCKED: a branch whose lock file has a further input.
locks() {
  jq --argjson locked "$2" '.nodes.evil = { locked: $locked, original: $locked } | .nodes[.root].inputs.evil = "evil"' "$work/flake/flake.lock" >"$work/lock"
  cp "$work/lock" "$work/flake/flake.lock"
  sed -i "s|^  outputs = .*strata }:|  inputs.evil.url = \"path:$work/private\"; outputs = { self, nixpkgs, strata, evil }:|" "$work/flake/flake.nix"
  echo 'builtins.readFile ((import ./flake.nix).inputs.evil.url + "/word")' >"$work/flake/read.nix"
  commit "$1"
}
locks locked-path "{ \"type\": \"path\", \"path\": \"$work/private\", \"narHash\": \"$private_hash\" }"
locks locked-git "{ \"type\": \"git\", \"url\": \"file://$work/other\", \"rev\": \"$other_commit\" }"
locks locked-ssh "{ \"type\": \"git\", \"url\": \"ssh://git@127.0.0.1/other\", \"rev\": \"$other_commit\" }"
sed -i "s|^  outputs = .*strata }:|  inputs.evil.url = \"path:$work/private\"; outputs = { self, nixpkgs, strata, evil }:|" "$work/flake/flake.nix"
commit not-locked
rm "$work/flake/flake.lock"
ln -s "$work/private/word" "$work/flake/flake.lock"
commit linked-lock
# An image that is a link to a layout of this user.
"$strata" copy "$(build 'buildImage { name = "private"; }')" "oci:$work/layout:latest" 2>"$work/log" >&2 || { cat "$work/log"; fail "a layout"; }
sed -i "s|^    packages.x86_64-linux = {|&\n      linked = let image = pkgs.runCommand \"linked\" { } \"ln -s $work/layout \\\\\$out\"; in image // { imageName = \"linked\"; imageTag = \"latest\"; detached = image; };|" "$work/flake/flake.nix"
commit linked

PRIVATE=private-word NIX_CONFIG="${NIX_CONFIG-}"$'\nsandbox = false' serve --flake "$work/flake" --max-builds 2
refused 404 read/manifests/latest "evaluating read failed"
logged "the word is none"
attack itself 'the word is {'
attack file "access to "
attack variable "the word is <>"
attack hashed "access to "
attack link "access to "
# Without the experimental feature, Nix 2.8 lacks the first function, and refuses the second one.
attack flake 'builtins.getFlake "git+file'
attack tree "experimental Nix feature"
for tag in git git-path url; do attack "$tag" "access to "; done
attack builder "builder for "
for tag in locked-path locked-git locked-ssh; do attack "$tag" "the input evil of type "; done
attack not-locked "flake.lock has no input evil; run nix flake lock"
attack linked-lock "is not a file in "
refused 404 linked/manifests/linked "which is not in the store"

# One client builds images that take long. Another client is served.
sed -i 's/sleep 3;/sleep 600;/g; s/echo slowly/: other/' "$work/flake/flake.nix"
for name in slow late; do get "$name/manifests/latest" >/dev/null & done
wait_for "$server" pgrep -f "sleep 600" || fail "the builder does not run"
same "$(get app/manifests/v1 --interface 127.0.0.2 --max-time 300 | jq .schemaVersion)" 2
stop
git -C "$work/flake" checkout --quiet -- .

# A tag replaces the version of a reference with parameters. A branch whose name may be a commit of a forge is found through git.
git -C "$work/flake" checkout --quiet -- .
git -C "$work/flake" branch 2024 v1
git config --global "url.file://$work/flake.insteadOf" https://github.com/a/b
serve --flake "git+file://$work/flake?ref=refs/heads/main"
same "$(get app/manifests/2024)" "$(get app/manifests/v1)"
latest=$(get app/manifests/latest)
same "$(jq .schemaVersion <<<"$latest")" 2
[[ $latest != "$(get app/manifests/v1)" ]] || fail "ref is ignored"
stop
NIX_CONFIG="${NIX_CONFIG-}"$'\ndownload-attempts = 1\nconnect-timeout = 1' serve --flake github:a/b --allow-remote-flake
refused 404 app/manifests/2024 "reading the flake of 2024 failed"
logged "$commit"
refused 404 app/manifests/beef "the flake has no branch, tag or commit beef"
stop
git config --global --unset-all "url.file://$work/flake.insteadOf"

# The name of a directory has characters that URLs encode.
git clone --quiet "$work/flake" "$work/a b#c?d&e"
# Nix 2.8 reads it as a remote repository with a branch master.
git -C "$work/a b#c?d&e" branch master
serve --flake "$work/a b#c?d&e"
for tag in latest v1; do
  get "app/manifests/$tag" >"$work/body"
  same "$(status)" 200
done
stop

# An empty store, and a cache with the detached recipes: the closures are not copied, and 1 GB is streamed.
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
