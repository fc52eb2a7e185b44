# The same image in every engine, and run there: loaded by strata, and by the engine's own command from what it streams.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_engines
trap stop_engines EXIT
export XDG_CACHE_HOME=$work/cache
image=$(greeter loaded:t one)
streamed=$work/image.tar
"$strata" stream "$image" >"$streamed"

for engine in docker20 docker29; do
  "start_$engine" "$work/$engine" || fail "$engine does not start"
  docker info --format '{{.DriverStatus}}' >"$work/driver"
  if [[ $engine == docker29 ]]; then
    grep -q io.containerd.snapshotter "$work/driver" || fail "Docker 29 does not keep images in containerd's store"
  fi
  same "$(load <"$streamed")" loaded:t
  same "$(run loaded:t)" one
  docker rmi loaded:t >/dev/null
  "$strata" copy "$image" docker-daemon: --quiet >/dev/null
  same "$(run loaded:t)" one
done

start_containerd "$work/containerd" || fail "containerd does not start"
export PATH=$engines:$PATH
ctr plugins ls | grep -q '^io.containerd.grpc.v1  *cri .* ok' || fail "containerd runs without its CRI plug-in"
ctr -n k8s.io images import "$streamed" >"$work/log"
same "$(ctr -n k8s.io run --rm docker.io/library/loaded:t greeter)" one

use_podman "$work/podman"
podman load --quiet --input "$streamed" >/dev/null
same "$(podman run --rm --network none loaded:t)" one
