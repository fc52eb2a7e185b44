# Images in every engine: docker with both stores, containerd with CRI, podman. After a change of one line, only its
# layer is sent. Layers that only seem to exist are detected and sent before the name changes.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_engines
export XDG_CACHE_HOME=$work/cache
trap stop_engines EXIT
first=$(greeter loaded:t one)
second=$(greeter loaded:t two)
third=$(greeter loaded:t three)
layers=$(jq '.layers | length' "$first")
base=$(jq -r '.layers[0].digest' "$first")
"$strata" stream "$first" >"$work/image.tar"

# copy_to DESTINATION IMAGE [OPTIONS…]: copies the image, and sets name (the last line), there, bytes and repaired.
copy_to() {
  local destination=$1 image=$2
  shift 2
  "$strata" copy "$image" "$destination" --json "$@" >"$work/out" 2>"$work/event" ||
    { cat "$work/event"; fail "copy to $destination"; }
  name=$(tail -n 1 "$work/out")
  there=$(jq .layersPresent "$work/event") bytes=$(jq .bytes "$work/event") repaired=$(jq .repaired "$work/event")
}
# changed: expects that the last copy sent one layer and the documents.
changed() {
  same "$there of $layers layers, repaired: $repaired" "$((layers - 1)) of $layers layers, repaired: null"
  ((bytes < 65536)) || fail "$bytes bytes for a change of one line"
}
# The temporary name of loads is gone.
no_leftovers() {
  local names
  names=$("$@")
  [[ $names != *strata-incoming* && $names != *'<none>'* ]] || fail "left behind: $names"
}

for engine in docker20 docker29; do
  "start_$engine" "$work/$engine" || fail "$engine does not start"
  docker info --format '{{.DriverStatus}}' >"$work/driver"
  if [[ $engine == docker29 ]]; then
    grep -q io.containerd.snapshotter "$work/driver" || fail "Docker 29 does not keep images in containerd's store"
  fi
  # docker load first, and then only changes.
  same "$(load <"$work/image.tar")" loaded:t
  same "$(run loaded:t)" one
  copy_to docker-daemon:loaded:u "$second"
  changed
  same "$name" loaded:u
  same "$(run "$name")" two
  copy_to docker-daemon:loaded:v "$second"
  same "$there" "$layers"
  docker save loaded:u >"$work/saved.tar"
  "$strata" verify "$work/saved.tar" >/dev/null || fail "the archive that $engine saves is incomplete"
  # One image is removed, another one with the same layers stays.
  docker rmi loaded:t loaded:u >/dev/null
  same "$(run loaded:v)" two
  copy_to docker-daemon:loaded:w "$third"
  changed
  same "$(run loaded:w)" three
  no_leftovers docker images --all
done

export PATH=$engines:$PATH
# Docker 29 has the files of a layer whose blob is missing.
store=(ctr --address "$work/docker29/exec/containerd/containerd.sock" --namespace moby)
docker rmi loaded:v >/dev/null
"${store[@]}" content rm "$base" >/dev/null 2>&1
copy_to docker-daemon:loaded:u "$second"
[[ $repaired != null ]] || fail "a blob that is gone is not missed"
docker save loaded:u >"$work/saved.tar"
"$strata" verify "$work/saved.tar" >/dev/null || fail "the blob that was gone is not sent"
# That happened only once: the next change is small again.
docker rmi loaded:w >/dev/null
copy_to docker-daemon:loaded:w "$third"
changed
no_leftovers docker images --all

# Layers of an image that was pulled from a registry exist as compressed blobs, and a loaded image can be pushed.
inside() { nsenter --target "$(pgrep -P "$engine_pid")" --net "$@"; }
start_inside() { REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY=$work/registry inside docker-registry serve "$1" >"$work/registry.log" 2>&1 & registry_pid=$!; }
cat >"$work/registry.yml" <<YAML
version: 0.1
storage: { filesystem: { rootdirectory: $work/registry } }
http: { addr: "127.0.0.1:5000" }
YAML
start_inside "$work/registry.yml"
wait_for "$registry_pid" inside curl -sf http://127.0.0.1:5000/v2/ || fail "the registry does not start"
docker tag loaded:w 127.0.0.1:5000/pushed:w
docker push --quiet 127.0.0.1:5000/pushed:w >/dev/null || fail "the loaded image cannot be pushed"
docker rmi --force $(docker images --quiet | sort -u) >/dev/null
inside "$strata" copy "$first" docker://127.0.0.1:5000/pulled:t --tls-verify=false --quiet >/dev/null
docker pull --quiet 127.0.0.1:5000/pulled:t >/dev/null
copy_to docker-daemon:loaded:u "$second"
same "$(run loaded:u)" two
docker save loaded:u >"$work/saved.tar"
"$strata" verify "$work/saved.tar" >/dev/null || fail "layers that were pulled compressed are not sent"
stop_registry

start_containerd "$work/containerd" || fail "containerd does not start"
grep -q '^io.containerd.grpc.v1  *cri .* ok' <<<"$(ctr plugins ls)" || fail "containerd runs without its CRI plug-in"
k8s=(ctr --namespace k8s.io)
ran() { "${k8s[@]}" run --rm "$1" "greeter$RANDOM"; }
"${k8s[@]}" images import "$work/image.tar" >/dev/null
same "$(ran docker.io/library/loaded:t)" one
copy_to containerd:loaded:u "$second" --namespace k8s.io
changed
same "$name" docker.io/library/loaded:u
same "$(ran "$name")" two
# CRI lists the image.
"${k8s[@]}" images ls "name==$name" | grep -q io.cri-containerd.image=managed || fail "CRI does not manage the image"
"${k8s[@]}" images check "name==$name" | grep -q ' complete ' || fail "the image is not complete"
# The namespace in the command, as for kind, k3s and minikube.
copy_to containerd:loaded:w "$third" --via "env CONTAINERD_NAMESPACE=k8s.io ctr"
changed
same "$(ran "$name")" three
no_leftovers "${k8s[@]}" images ls
# A blob is collected between the listing and the import.
cat >"$work/collect" <<SH
#!/bin/sh
case "\$*" in *import*) [ -e "$work/collected" ] || ctr -n k8s.io content rm "$base" >"$work/collected" 2>&1 ;; esac
exec ctr -n k8s.io "\$@"
SH
chmod +x "$work/collect"
copy_to containerd:loaded:x "$second" --via "$work/collect"
[[ $repaired != null ]] || fail "a blob that is collected is not missed"
"${k8s[@]}" images check "name==$name" | grep -q ' complete ' || fail "the blob that was collected is not sent"
# A node that discards layers after unpacking.
"${k8s[@]}" images rm --sync $("${k8s[@]}" images ls -q) >/dev/null
"${k8s[@]}" images import --local --discard-unpacked-layers "$work/image.tar" >/dev/null
copy_to containerd:loaded:u "$second" --namespace k8s.io
"${k8s[@]}" images check "name==$name" | grep -q ' complete ' || fail "layers that were discarded are not sent"
same "$(ran "$name")" two
# The short forms of --via, with stand-ins for the programs that reach the nodes. A kind cluster may have several nodes.
mkdir "$work/bin"
cat >"$work/bin/k3s" <<SH
#!/bin/sh
echo "k3s \$*" >>"$work/calls"
exec "\$1" -n k8s.io "\${@:2}"
SH
cat >"$work/bin/minikube" <<SH
#!/bin/sh
echo "minikube \$*" >>"$work/calls"
while [ "\$1" != sudo ]; do shift; done
shift
exec "\$@"
SH
cat >"$work/bin/docker" <<SH
#!/bin/sh
echo "docker \$*" >>"$work/calls"
case "\$1" in
  ps) printf '%s\n' "other-control-plane control-plane" "other-external-load-balancer external-load-balancer" "other-worker worker" ;;
  exec) shift 3; exec "\$@" ;;
esac
SH
sed -i 's/^#!\/bin\/sh/#!\/bin\/bash/' "$work/bin"/*
chmod +x "$work/bin"/*
check_address() {
  rm -f "$work/calls"
  PATH=$work/bin:$PATH "$1" "${@:2}" >"$work/out" 2>"$work/log" || { cat "$work/log"; fail "$*"; }
  same "$(<"$work/out")" docker.io/library/loaded:t
  same "$(ran docker.io/library/loaded:t)" "$word"
}
word=two
check_address "$(greeter loaded:t two copyToK3s)/bin/copy-to-k3s"
grep -q '^k3s ctr images import -$' "$work/calls" || fail "k3s is not asked"
word=three
check_address "$(greeter loaded:t three copyToKind)/bin/copy-to-kind" --via kind:other
grep -q -- '--filter label=io.x-k8s.kind.cluster=other' "$work/calls" || fail "the cluster's nodes are not looked up"
# Each node receives the contents, and then the name.
same "$(sed -n 's/^docker exec -i \(.*\) ctr -n k8s.io images import -$/\1/p' "$work/calls" | uniq | tr '\n' ' ')" "other-control-plane other-worker "
# One line for each node.
same "$(grep -c 'layers were already present' "$work/log")" 2
word=one
check_address "$(greeter loaded:t one copyToContainerd)/bin/copy-to-containerd" --via minikube:other
grep -q '^minikube -p other ssh -- sudo ctr -n k8s.io images import -$' "$work/calls" || fail "minikube is not asked"

# containerd is in its original state.
"$strata" copy containerd:loaded:u "oci:$work/left:x" --namespace k8s.io >"$work/digest"
same "$(<"$work/digest")" "$("$strata" inspect --json "$second" | jq -r '.[0].digest')"

use_podman "$work/podman"
podman load --quiet --input "$work/image.tar" >/dev/null
same "$(podman run --rm --network none loaded:t)" one
copy_to containers-storage:loaded:u "$second"
changed
same "$name" localhost/loaded:u
same "$(podman run --rm --network none "$name")" two
podman rmi --all --force >/dev/null
