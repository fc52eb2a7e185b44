# erofs-cache: containerd 2.4 with the erofs snapshotter mounts the layers of the cache. A pull fetches the manifest and the config
# alone, and the files of a container are those that it has with overlayfs. Then layers are changed, missing and damaged.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command docker-registry
need_command jq
need_command mkfs.erofs
need_engines
grep -q erofs /proc/filesystems || modprobe erofs 2>/dev/null || skip "this kernel has no EROFS"
use_containerd v2.4.2 || exit 77
export XDG_CACHE_HOME=$work/cache
finish() {
  stop_engines
  [[ ! ${counter-} ]] || kill "$counter" 2>/dev/null || true
  stop_registry
}
trap finish EXIT
start_registry "$work/registry"
layers=$work/layers

# Everything except what containers get from the runtime. The entry of / is changed by the runtime's directories.
cat >"$work/tree" <<'SCRIPT'
stat -c '%A %u:%g' /
look() { find / -mindepth 1 \( -path /proc -o -path /sys -o -path /dev -o -path /run \) -prune -o "$@"; }
look -type d -printf 'd %p %m %U:%G %T@\n' -o -type l -printf 'l %p %l %U:%G %T@\n' -o -printf '%y %p %m %U:%G %T@ %s\n' | sort
look -type f -exec sha256sum {} + | sort -k 2
SCRIPT
# image WORD: an image with deleted files and directories, and a file with WORD.
image() {
  build '(buildImage {
    name = "app"; tag = "t"; maxLayers = 6;
    fromImage = dockerTools.buildImage {
      name = "second";
      fromImage = dockerTools.buildImage {
        name = "first";
        copyToRoot = map (name: pkgs.writeTextDir name "text of ${name}\n") [ "etc/kept" "etc/gone" "srv/again/old" ];
      };
      runAsRoot = "rm -r /etc/gone /srv/again; mkdir /srv/again; echo new >/srv/again/new";
    };
    layers = [
      (buildLayer { deps = [ pkgs.bash pkgs.coreutils pkgs.findutils ]; })
      (buildLayer { deps = [ pkgs.hello ]; perms = [ { path = pkgs.hello; regex = "/bin/hello$"; mode = "4500"; uid = 7; gid = 8; } ]; })
    ];
    copyToRoot = pkgs.writeTextDir "etc/word" "'"$1"'\n";
    config = {
      Env = [ "PATH=${pkgs.coreutils}/bin:${pkgs.findutils}/bin:${pkgs.bash}/bin" ];
      Cmd = [ "${pkgs.bash}/bin/bash" "${pkgs.writeText "tree" (builtins.readFile '"$work/tree"')}" ];
    };
  })'
}
one=$(image one)
two=$(image two)
diff_ids() { jq -r '.layers[].diff_ids' "$1"; }
count=$(diff_ids "$one" | wc -l)
new=$(comm -13 <(diff_ids "$one" | sort) <(diff_ids "$two" | sort) | wc -l)
((new >= 1 && new < count)) || fail "$new of $count layers are new"
# file DIFF_ID
file() {
  local hex=${1#sha256:}
  echo "$layers/sha256/${hex:0:2}/$hex.erofs"
}
strata() { "$strata" "$@" 2>"$work/log" || { cat "$work/log"; fail "strata $*"; }; }
strata copy "$one" "docker://$registry/app:one" >/dev/null
strata copy "$two" "docker://$registry/app:two" >/dev/null
manifest() { curl --silent --fail --header 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$registry/v2/app/manifests/$1"; }
# blobs TAG FILTER: the blobs of the image that the jq FILTER selects, in the order of `fetched`.
blobs() { manifest "$1" | jq -r "$2 | .digest" | sort; }
# fill IMAGE WRITTEN: fills the cache; WRITTEN layers are new.
fill() {
  strata copy "$1" "erofs-cache:$layers" >/dev/null
  grep -q "^$((count - $2)) layers were already present, $2 written" "$work/log" || { cat "$work/log"; fail "other than $2 layers are written"; }
}

# The programs of the machine without mkfs.erofs.
mkdir "$work/programs"
ln -sf -t "$work/programs" /usr/sbin/* /usr/bin/*
rm "$work/programs/mkfs.erofs"
# The configuration is that of docs/nodes.md.
awk '/^```toml/ { text = ""; inside = 1; next } /^```/ { if (inside && text ~ /layer_content_caches/) printf "%s", text; inside = 0 }
  inside { text = text $0 "\n" }' "$root/docs/nodes.md" |
  sed "s|/var/lib/layers|$layers|; s|linux/amd64|linux/$(jq -r .arch "$one")|" >"$work/node.toml"
grep -q layer_content_caches "$work/node.toml" || fail "docs/nodes.md has no configuration"
printf '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "linux/%s"\nsnapshotter = "overlayfs"\n' "$(jq -r .arch "$one")" >>"$work/node.toml"

ctr() { "$engines/ctr" "$@"; }
# start_node NAME [PATH [CONFIG]], and stop_node, which sets bytes and writes the list of blobs: what the node fetched.
start_node() {
  start_counter "${registry##*:}"
  PATH=${2:-$work/programs} engine_network=shared start_containerd "$work/$1" "$(<"${3:-$work/node.toml}")" || fail "containerd does not start"
}
stop_node() {
  stop_engine
  bytes=$(received)
  kill "$counter"
  requests | sed -n 's|^GET /v2/app/blobs/||p' | sort >"$work/fetched"
}
milliseconds() { echo $(($(date +%s%N) / 1000000)); }
pulls() { ctr images pull --plain-http --snapshotter "${2:-erofs}" "$counted/app:$1" >"$work/log" 2>&1; }
# pull TAG [SNAPSHOTTER], and run TAG TREE [SNAPSHOTTER], which writes the tree of a container; they set the times.
pull() {
  local started
  started=$(milliseconds)
  pulls "$@" || { cat "$work/log"; tail -n 5 "$engine_log"; fail "$1 is not pulled"; }
  pulled=$(($(milliseconds) - started))
}
run() {
  local started
  started=$(milliseconds)
  run_with_ctr --snapshotter "${3:-erofs}" "$counted/app:$1" "node$RANDOM" >"$work/$2.tree" 2>"$work/log" ||
    { cat "$work/log"; tail -n 5 "$engine_log"; fail "$1 does not run"; }
  ran=$(($(milliseconds) - started))
}
report() { echo "$1: $bytes bytes, pull $pulled ms, run $ran ms"; }
same_trees() { diff "$work/$1.tree" "$work/$2.tree" || fail "$2 has other files than $1"; }

# overlayfs fetches everything.
start_node overlayfs
pull one overlayfs
run one overlayfs overlayfs
stop_node
report "overlayfs"
same "$(<"$work/fetched")" "$(blobs one '.config, .layers[]')"
for text in 'd /srv/again 755' 'f /srv/again/new 644' 'f /etc/kept ' '/bin/hello 4500 7:8'; do
  grep -qF -- "$text" "$work/overlayfs.tree" || { cat "$work/overlayfs.tree"; fail "the tree lacks $text"; }
done
lacks -E ' /(etc/gone|srv/again/old) ' "$work/overlayfs.tree"

# With all layers in the cache: the manifest and the config. The snapshots are still there after a restart of containerd.
fill "$one" "$count"
start_node node
pull one
run one erofs
stop_node
report "erofs, $count layers in the cache, no mkfs.erofs"
same "$(<"$work/fetched")" "$(blobs one .config)"
((bytes < 20000)) || fail "$bytes bytes"
same_trees overlayfs erofs

# So does Kubernetes.
if from_go sigs.k8s.io/cri-tools/cmd/crictl@v1.34.0 crictl; then
  start_node kubernetes
  started=$(milliseconds)
  crictl --runtime-endpoint "unix://$CONTAINERD_ADDRESS" --image-endpoint "unix://$CONTAINERD_ADDRESS" pull "$counted/app:one" >"$work/log" 2>&1 ||
    { cat "$work/log"; fail "crictl does not pull the image"; }
  pulled=$(($(milliseconds) - started)) ran=-
  stop_node
  report "erofs, CRI"
  same "$(<"$work/fetched")" "$(blobs one .config)"
fi

# A changed image, of which the cache gets the new layers.
fill "$two" "$new"
start_node node
pull two
run two two
# Containers write to a layer of their own.
same "$(run_with_ctr --snapshotter erofs "$counted/app:two" writes bash -c 'echo x >/etc/word; rm /etc/kept; cat /etc/word; ls /etc' | tr '\n' ' ')" "x word "
stop_node
report "erofs, $new layers changed"
same "$(<"$work/fetched")" "$(blobs two .config)"
same "$(diff "$work/erofs.tree" "$work/two.tree" | grep -c '^> .*/etc/word' || :)" 1

# One layer is missing: containerd fetches it with the layers above it. It cannot convert them without mkfs.erofs.
mapfile -t diff_id < <(diff_ids "$one")
mapfile -t blob < <(manifest one | jq -r '.layers[].digest')
for missing in $((count - 1)) 1; do
  rm "$(file "${diff_id[missing]}")"
  start_node "without-$missing"
  if pulls one; then fail "a layer is converted without mkfs.erofs"; fi
  grep -q 'mkfs.erofs' "$work/log" || { cat "$work/log"; fail "the reason is another one"; }
  stop_node
  start_node "with-$missing" "$PATH"
  pull one
  run one "missing-$missing"
  stop_node
  report "erofs, layer $((missing + 1)) of $count is not in the cache"
  same "$(<"$work/fetched")" "$({ blobs one .config; printf '%s\n' "${blob[@]:missing}"; } | sort)"
  same_trees overlayfs "missing-$missing"
  fill "$one" 1
  # The node that failed gets the image after the layer is written.
  start_node "without-$missing"
  pull one
  run one again
  stop_node
  same_trees overlayfs again
done

# The erofs differ passes tars to mkfs.erofs, which crashes before 1.9 if they have an entry `/` (erofs/erofs-utils#29), as those of strata.
if use_mkfs_of_debian13 "$work/debian13"; then
  sed 's/"walking"/"erofs"/' "$work/node.toml" >"$work/differ.toml"
  rm "$(file "${diff_id[count - 1]}")"
  start_node differ "$work/debian13:$PATH" "$work/differ.toml"
  if pulls one; then fail "mkfs.erofs of Debian 13 does not crash: correct docs/nodes.md"; fi
  grep -q 'erofs apply failed' "$work/log" || { cat "$work/log"; fail "the reason is another one"; }
  fill "$one" 1
  pull one
  run one differ
  stop_node
  same_trees overlayfs differ
fi

# Damaged layers: containerd mounts them, and strata writes them again.
damaged=
for id in "${diff_id[@]}"; do
  if grep -qa 'text of etc/kept' "$(file "$id")"; then damaged=$(file "$id"); fi
done
[[ $damaged ]] || fail "no layer has the text"
cp "$damaged" "$work/intact"
sed -i 's|text of etc/kept|TEXT OF etc/kept|' "$damaged"
start_node damaged
pull one
run one damaged
same "$(diff "$work/overlayfs.tree" "$work/damaged.tree" | grep -c '^> .*/etc/kept$' || :)" 1
fill "$one" 1
cmp "$damaged" "$work/intact"
run one repaired
same_trees overlayfs repaired
stop_node
truncate -s 0 "$damaged"
start_node empty
pull one
if run_with_ctr --snapshotter erofs "$counted/app:one" empty >"$work/log" 2>&1; then fail "an empty layer is mounted"; fi
sed 's/^/an empty layer: /' "$work/log"
fill "$one" 1
run one mounted
same_trees overlayfs mounted
stop_node
