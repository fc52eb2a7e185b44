# strata copy IMAGE containerd: --snapshotter NAME: the image is unpacked for this snapshotter, through containerd's transfer service
# if its configuration has the snapshotter, and through the client otherwise. It stays when garbage is collected.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command jq
need_engines
export XDG_CACHE_HOME=$work/cache
trap stop_engines EXIT
first=$(greeter loaded:t one)
second=$(greeter loaded:t two)
layers=$(jq '.layers | length' "$first")
export PATH=$engines:$PATH
k8s() { ctr --namespace k8s.io "$@"; }
# copied IMAGE TAG [FLAG…]
copied() { "$strata" copy "$1" "containerd:loaded:$2" --namespace k8s.io --json "${@:3}" >"$work/out" 2>"$work/log"; }
completes() { copied "$@" || { cat "$work/log"; fail "copy $*"; }; }
# ran TAG SNAPSHOTTER: runs the image, which `ctr run` would unpack if it were not unpacked.
ran() { CONTAINERD_NAMESPACE=k8s.io run_with_ctr --snapshotter "$2" "docker.io/library/loaded:$1" "run$RANDOM"; }
# unpacked TAG SNAPSHOTTER: prints whether the image is complete and unpacked.
unpacked() { k8s images check --snapshotter "$2" "name==docker.io/library/loaded:$1" | awk 'NR == 2 { print $4, $NF }'; }
snapshots() { k8s snapshots --snapshotter "$1" ls | awk 'NR > 1 { print $1 }'; }
no_leftovers() { lacks strata-incoming <<<"$(k8s images ls -q)"; }
state() { { k8s images ls; k8s content ls -q; snapshots native; snapshots overlayfs; } | sort; }
# refused NAME IMAGE TAG WHY…: the copy fails, and changes no name and adds nothing. Blobs of earlier failures may be collected meanwhile.
refused() {
  local why name=$1 image=$2 tag=$3
  k8s images ls >"$work/names"
  state >"$work/before"
  if copied "$image" "$tag" --snapshotter "$name"; then fail "a copy for the snapshotter $name succeeds"; fi
  for why in "${@:4}"; do grep -qF -- "$why" "$work/log" || { cat "$work/log"; fail "the message lacks $why"; }; done
  state >"$work/after"
  silent comm -13 "$work/before" "$work/after"
  same "$(k8s images ls)" "$(<"$work/names")"
}

# The default configuration unpacks for overlayfs alone, and `ctr images import --snapshotter native` fails.
start_containerd "$work/containerd" "[proxy_plugins.dead]
type = \"snapshot\"
address = \"$work/no.sock\"" || fail "containerd does not start"
"$strata" stream "$first" >"$work/image.tar"
if k8s images import --snapshotter native "$work/image.tar" >"$work/log" 2>&1; then fail "containerd unpacks for native by itself"; fi
grep -q 'no unpack platforms defined' "$work/log" || { cat "$work/log"; fail "containerd has another message"; }
refused unknown "$first" t '--snapshotter unknown: containerd has no usable snapshotter' native overlayfs
refused devmapper "$first" t '--snapshotter devmapper: containerd has no usable snapshotter'
refused '' "$first" t 'containerd has no usable snapshotter'
# A snapshotter whose program has ended. CRI may have given the blobs a name of its own.
if copied "$first" t --snapshotter dead; then fail "a dead snapshotter causes no error"; fi
grep -q "$work/no.sock" "$work/log" || { cat "$work/log"; fail "the message does not name the socket"; }
lacks -e docker.io -e incoming <<<"$(k8s images ls -q)"
k8s images ls -q | xargs --no-run-if-empty "$engines/ctr" --namespace k8s.io images rm --sync >/dev/null

completes "$first" t --snapshotter native
same "$(tail -n 1 "$work/out")" docker.io/library/loaded:t
same "$(unpacked t native)" "complete true"
same "$(unpacked t overlayfs)" "complete false"
same "$(snapshots native | wc -l)" "$layers"
same "none: $(snapshots overlayfs)" "none: "
config=$(k8s content get "$("$strata" inspect --json "$first" | jq -r '.[0].digest')" | jq -r .config.digest)
chain=$(k8s content ls | grep "^$config" | grep -o 'containerd.io/gc.ref.snapshot.native=sha256:[0-9a-f]*' | cut -d = -f 2)
snapshots native | grep -qx "$chain" || fail "the config does not keep the snapshot $chain"
same "$(ran t native)" one
no_leftovers
# CRI lists the image.
grep -q io.cri-containerd.image=managed <<<"$(k8s images ls "name==docker.io/library/loaded:t")" || fail "CRI does not manage the image"

# Again: nothing is unpacked or sent. A change of one line: one layer. The name is moved.
completes "$first" t --snapshotter native
same "$(jq .layersPresent "$work/log")" "$layers"
same "$(snapshots native | wc -l)" "$layers"
completes "$second" t --snapshotter native
same "$(jq .layersPresent "$work/log")" "$((layers - 1))"
same "$(ran t native)" two
refused unknown "$first" t 'no usable snapshotter'
same "$(ran t native)" two

# Another snapshotter gets the image from the blobs that exist, and both are kept when garbage is collected.
completes "$second" t
same "$(jq .layersPresent "$work/log")" "$layers"
same "$(unpacked t overlayfs) $(unpacked t native)" "complete true complete true"
k8s images tag docker.io/library/loaded:t docker.io/library/other:t >/dev/null
k8s images rm --sync docker.io/library/other:t >/dev/null
same "$(unpacked t overlayfs) $(unpacked t native)" "complete true complete true"
same "$(ran t native) $(ran t overlayfs)" "two two"
# CRI has given the images names of its own.
k8s images rm --sync $(k8s images ls -q) >/dev/null
same "none: $(snapshots native)$(snapshots overlayfs)" "none: "

# Snapshots without blobs: a node that discards layers after unpacking.
k8s images import --local --discard-unpacked-layers --snapshotter native "$work/image.tar" >/dev/null
completes "$first" u --snapshotter native
same "$(unpacked u native)" "complete true"
same "$(ran u native)" one

# A fleet.
printf '%s containerd:loaded:v\n%s containerd:loaded:w\n' "$first" "$second" >"$work/fleet"
"$strata" copy --fleet "$work/fleet" --snapshotter native --namespace k8s.io --quiet 2>"$work/log" || { cat "$work/log"; fail "the fleet"; }
same "$(unpacked v native) $(unpacked w native)" "complete true complete true"
same "$(ran v native) $(ran w native)" "one two"
if "$strata" copy --fleet "$work/fleet" --snapshotter unknown --namespace k8s.io 2>"$work/log"; then fail "the fleet succeeds"; fi
same "$(grep -c 'no usable snapshotter' "$work/log")" 2
# Two copies at once, for two snapshotters.
copied "$second" x --snapshotter overlayfs &
background=$!
"$strata" copy "$second" containerd:loaded:y --namespace k8s.io --quiet --snapshotter native >/dev/null 2>"$work/log1" || { cat "$work/log1"; fail "two at once"; }
wait "$background" || { cat "$work/log"; fail "two at once"; }
same "$(unpacked x overlayfs) $(unpacked y native)" "complete true complete true"
no_leftovers
stop_engine

# With the snapshotter in its configuration, containerd itself unpacks: `ctr images import` gets no --local.
configured=$(printf '[[plugins."io.containerd.transfer.v1.local".unpack_config]]\nplatform = "linux/%s"\nsnapshotter = "%s"\n' \
  "$(jq -r .arch "$first")" native)
start_containerd "$work/configured" "$configured" || fail "containerd does not start"
cat >"$work/recorder" <<SH
#!/bin/sh
echo "\$*" >>"$work/calls"
exec ctr -n k8s.io "\$@"
SH
chmod +x "$work/recorder"
"$strata" copy "$first" containerd:loaded:t --via "$work/recorder" --snapshotter native --quiet >/dev/null 2>"$work/log" || { cat "$work/log"; fail "copy"; }
same "$(unpacked t native)" "complete true"
same "$(ran t native)" one
grep -q 'images import --snapshotter=native -$' "$work/calls" || { cat "$work/calls"; fail "the snapshotter is not named"; }
lacks -e --local "$work/calls"
no_leftovers

# Destinations without snapshotters refuse the flag, and so does a source.
for destination in docker-daemon: containers-storage: "oci:$work/layout:t" "docker://127.0.0.1:1/x:t"; do
  if "$strata" copy "$first" "$destination" --snapshotter native >"$work/out" 2>&1; then fail "$destination takes --snapshotter"; fi
  grep -qF -- '--snapshotter is for containerd:' "$work/out" || { cat "$work/out"; fail "no reason"; }
done
if "$strata" copy containerd:loaded:t "oci:$work/layout:t" --snapshotter native >"$work/out" 2>&1; then fail "a source takes --snapshotter"; fi
grep -qF -- '--snapshotter is for containerd:' "$work/out" || { cat "$work/out"; fail "no reason"; }
