# copy --nix-node: containerd with nix-snapshotter pulls mount points, and mounts the store paths of the node, which it substitutes
# from a binary cache. The root file system is that of the ordinary image.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command docker-registry
need_command jq
need_engines
export XDG_CACHE_HOME=$work/cache
snapshotter=
finish() {
  stop_engines
  [[ ! $snapshotter ]] || kill "$snapshotter" 2>/dev/null || true
  [[ ! ${counter-} ]] || kill "$counter" 2>/dev/null || true
  stop_registry
}
trap finish EXIT
start_registry "$work/registry"
start_counter "${registry##*:}"

# Everything except what containers get from the runtime. The entry of / is changed by the runtime's directories.
cat >"$work/tree" <<'SH'
stat -c '%A %u:%g' /
look() { find / -mindepth 1 \( -path /proc -o -path /sys -o -path /dev -o -path /run \) -prune -o "$@"; }
look -type d -printf 'd %p %m %U:%G %T@\n' -o -type l -printf 'l %p %l %U:%G %T@\n' -o -printf '%y %p %m %U:%G %T@ %s\n' | sort
look -type f -exec sha256sum {} + | sort -k 2
SH
image() {
  echo '(buildImage {
    name = "app"; tag = "t"; maxLayers = 6; nixNode = true;
    fromImage = dockerTools.buildImage { name = "base"; copyToRoot = [ (pkgs.writeTextDir "etc/base" "base") ]; };
    layers = [
      (buildLayer { deps = [ pkgs.hello ]; perms = [ { path = pkgs.hello; regex = "/bin/hello$"; mode = "0500"; uid = 7; } ]; })
      (buildLayer { extraCommands = "mkdir -p srv; echo script >srv/file"; })
    ];
    # Not a link, which containerd 2.2 does not follow.
    copyToRoot = [ (pkgs.buildEnv { name = "root"; paths = [ pkgs.bash ]; }) (pkgs.writeTextDir "etc/passwd" "root:x:0:0::/:\napp:x:7:8::/:\n") ];
    config = {
      Env = [
        "PATH=${pkgs.coreutils}/bin:${pkgs.findutils}/bin:/bin"
        "ALIAS=${pkgs.runCommand "alias" { } "ln -s ${pkgs.findutils} $out"}"
        "NOTES=${pkgs.writeText "notes" "notes"}"
      ];
      Cmd = [ "${pkgs.bash}/bin/bash" "${pkgs.writeText "tree" (builtins.readFile '"$work/tree"')}" ];
      '"${2-}"'
    };
  })'"${1-}"
}
thin=$(build "$(image)")
closure=$(build "$(image .nixClosure)")

# The list of mounted paths: files first, since containerd looks for users in the last one; no links and no modified paths.
same "$(jq -r .nixNode.closure "$thin")" "$closure"
mapfile -t mounts <"$closure/store-paths"
[[ -d ${mounts[-1]} && ! -L ${mounts[-1]} && -f ${mounts[0]} ]] || fail "the files are not first: ${mounts[*]}"
for path in $(jq -r '.layers[].paths[]?.path' "$thin" | sort -u); do
  case $path in
    *-alias | *-hello-* | *-root | *-passwd | *-layer-customisation) ! grep -qx "$path" "$closure/store-paths" || fail "$path is mounted" ;;
    *) grep -qx "$path" "$closure/store-paths" || fail "$path is not mounted" ;;
  esac
done
nix-store --query --references "$closure" | sort >"$work/references"
sort "$closure/store-paths" | diff - "$work/references" || fail "Nix does not find the references of the list"
# An image without the argument has neither the key nor the output, and the same layers.
plain=$(build 'buildImage { name = "plain"; config.Cmd = [ "${pkgs.coreutils}/bin/true" ]; }')
lacks nixNode "$plain"
same "$(jq -c .layers "$plain")" "$(jq -c .layers "$(build 'buildImage { name = "plain"; nixNode = true; config.Cmd = [ "${pkgs.coreutils}/bin/true" ]; }')")"
build_fails 'buildImage { name = "none"; nixNode = true; config.Cmd = [ "${pkgs.writeText "only" "x"}" ]; }' "argument nixNode: no store path"

tags() { curl --silent "http://$registry/v2/app/tags/list" | jq -c '.tags // []'; }
cache=file://$work/binary
# refused TEXT… -- FLAGS…: the push fails with each TEXT, and no tag moves.
refused() {
  local before text texts=()
  while [[ $1 != -- ]]; do texts+=("$1"); shift; done
  before=$(tags)
  if "$strata" copy "$thin" "docker://$registry/app:refused" --nix-node "${@:2}" >"$work/out" 2>"$work/log"; then fail "it is pushed"; fi
  for text in "${texts[@]}"; do grep -qF -- "$text" "$work/log" || { cat "$work/log"; fail "the message lacks $text"; }; done
  same "$(tags)" "$before"
}
mkdir "$work/binary"
refused "no binary cache has" "$closure" "--push-closure" -- --substituter "$cache"
refused "no binary cache is configured" --
digest=$("$strata" copy "$thin" "docker://$registry/app:t" --nix-node --push-closure "$cache" 2>"$work/log" | tail -n 1) || { cat "$work/log"; fail "it is not pushed"; }
pushed=$("$(build "$(image .copyToRegistry)")/bin/copy-to-registry" "docker://$registry/app:program" --substituter "$cache" 2>"$work/log" | tail -n 1) || { cat "$work/log"; fail "the copy program"; }
same "${pushed##*@}" "${digest##*@}"
same "$(<"$(build "$(image .digest)")")" "${digest##*@}"
gone=$(grep -- -coreutils "$closure/store-paths")
hash=${gone#/nix/store/} hash=${hash%%-*}
mv "$work/binary/$hash.narinfo" "$work/gone"
refused "$gone" -- --substituter "$cache"
# A build of the path with other contents.
sed 's/^NarSize: .*/NarSize: 1/' "$work/gone" >"$work/binary/$hash.narinfo"
refused "$gone (the cache has another build of it)" -- --substituter "$cache"
mv "$work/gone" "$work/binary/$hash.narinfo"

# The base layer is unchanged; the top layer has the annotation.
curl --silent --header 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$registry/v2/app/manifests/t" >"$work/manifest"
same "$(jq -r '.layers[-1].annotations["containerd.io/snapshot/nix-closure"]' "$work/manifest")" "$closure"
same "$(jq '[.layers[] | select(.annotations)] | length' "$work/manifest")" 1
"$strata" copy "$thin" "docker://$registry/app:plain" >/dev/null 2>"$work/log"
curl --silent --header 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$registry/v2/app/manifests/plain" >"$work/plain"
same "$(jq -r '.layers[0].digest' "$work/manifest")" "$(jq -r '.layers[0].digest' "$work/plain")"

# A detached recipe is pushed from the cache on a machine with an empty store, with the same digest.
cp "$(build "$(image .detached)")" "$work/detached.json"
nix copy --no-check-sigs --to "$cache" "$thin"
mkdir "$work/empty"
same "$(unshare --mount --propagation private bash -c 'mount --bind "$0" /nix/store; exec "$@"' "$work/empty" \
  "$strata" copy "$work/detached.json" "oci:$work/layout:t" --nix-node --substituter "$cache" --quiet)" \
  "$("$strata" copy "$thin" "oci:$work/other:t" --nix-node --substituter "$cache" --quiet)"

# A node: containerd and nix-snapshotter with another store, which is empty at first.
node=$work/node
mkdir -p "$node/nix"
cat >"$node/snapshotter.toml" <<TOML
address = "$node/nix.sock"
root = "$node/snapshots"
[image_service]
containerd_address = "$node/containerd.sock"
TOML
NIX_CONFIG="substituters = $cache"$'\nrequire-sigs = false\nbuild-users-group =' \
  unshare --mount --propagation private sh -c 'mount --bind "$0" /nix && exec "$@"' "$node/nix" \
  "$engines/nix-snapshotter" --config "$node/snapshotter.toml" >"$node/snapshotter.log" 2>&1 &
snapshotter=$!
wait_for "$snapshotter" test -S "$node/nix.sock" || { cat "$node/snapshotter.log"; fail "nix-snapshotter does not start"; }
unpack_with() { printf '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "linux/%s"\nsnapshotter = "%s"\n' "$(jq -r .arch "$thin")" "$1"; }
engine_network=shared engine_store=$node/nix start_containerd "$node/containerd" "[proxy_plugins.nix]
type = \"snapshot\"
address = \"$node/nix.sock\"
$(unpack_with nix)
$(unpack_with overlayfs)" || fail "containerd does not start"
ctr() { "$engines/ctr" "$@"; }
# pull TAG SNAPSHOTTER, and runs TAG SNAPSHOTTER COMMAND…
pull() { ctr images pull --plain-http --snapshotter "$2" "$counted/app:$1" >"$work/log" 2>&1 || { cat "$work/log" "$node/snapshotter.log"; fail "$1 is not pulled"; }; }
runs() { run_with_ctr --snapshotter "$2" "$counted/app:$1" "node$RANDOM" "${@:3}" 2>"$work/log" || { cat "$work/log"; fail "$1 does not run"; }; }

pull t nix
[[ -e $node$closure ]] || { cat "$node/snapshotter.log"; fail "nix-snapshotter does not substitute the closure"; }
runs t nix >"$work/thin.tree"
pull plain overlayfs
runs plain overlayfs >"$work/plain.tree"
diff "$work/plain.tree" "$work/thin.tree" || fail "the trees differ"
for text in '/etc/base ' '/srv/file ' '/bin/bash ' '-hello-2.10/bin/hello 500 7:0' '-alias /nix/store/' '-notes 444 0:0' 'd /nix/store 755'; do
  grep -qF -- "$text" "$work/thin.tree" || fail "the tree lacks $text"
done

# The name of a user is a number, which needs no file.
user=$(build "$(image "" 'User = "app";')")
"$strata" copy "$user" "docker://$registry/app:user" --nix-node --push-closure "$cache" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "it is not pushed"; }
pull user nix
same "$(runs user nix "$gone/bin/id" -u):$(runs user nix "$gone/bin/id" -g)" 7:8

# With the closure on the node, the registry sends little.
small=$(build 'buildImage { name = "app"; nixNode = true; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; copyToRoot = pkgs.buildEnv { name = "root"; paths = [ pkgs.bash ]; }; }')
"$strata" copy "$small" "docker://$registry/app:small" --nix-node --push-closure "$cache" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "it is not pushed"; }
pull small nix
ctr images ls -q | xargs "$engines/ctr" images rm --sync >/dev/null
kill "$counter"
start_counter "${registry##*:}"
pull small nix
same "$(runs small nix)" "Hello, world!"
# A path that is gone from the node's store: the container does not start, and starts when Nix has repaired the store.
lost=$(grep -- -hello- "$(jq -r .nixNode.closure "$small")/store-paths")
mv "$node$lost" "$node/lost"
if run_with_ctr --snapshotter nix "$counted/app:small" lost >"$work/out" 2>&1; then fail "it runs without its store path"; fi
lacks "Hello, world!" "$work/out"
sed 's/^/without a store path: /' "$work/out"
mv "$node/lost" "$node$lost"
same "$(runs small nix)" "Hello, world!"
# A connection is counted after its end.
stop_engine
bytes=$(received)
echo "$bytes bytes from the registry"
((bytes > 0 && bytes < 50000)) || fail "$bytes bytes from the registry"
