# copy --also and serve --also zstd:chunked: one tag with two manifests of the same platform. Clients run one of them: docker,
# containerd, crane, and podman, buildah and skopeo of Debian 12 the first one; those of Debian 13 the one of zstd layers.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_command docker-registry
need_command jq
need_command curl
need_command podman
need_command skopeo
need_command buildah
need_engines
export XDG_CACHE_HOME=$work/cache
server='' counters=''
finish() {
  # shellcheck disable=SC2086
  kill $counters $server 2>/dev/null || true
  stop_engines
  stop_registry
}
trap finish EXIT
start_registry "$work/registry"
image=$(greeter app:t one)
other=$(greeter app:t two)
push() { "$strata" copy --quiet "$@" 2>"$work/log" || { cat "$work/log"; fail "it is not pushed"; }; }
digest=$("$strata" copy "$image" "docker://$registry/app:t" --also zstd:chunked 2>"$work/log") || { cat "$work/log"; fail "it is not pushed"; }
grep -q 'containerd fetches the layers of both manifests' "$work/log" || { cat "$work/log"; fail "the note is missing"; }
index() { curl --silent --fail --header 'Accept: application/vnd.oci.image.index.v1+json' "http://$registry/v2/app/manifests/$1"; }
index t >"$work/index"
same "sha256:$(sha256sum <"$work/index" | cut -d ' ' -f 1)" "$digest"
read -r first marked < <(jq -r '[.manifests[].digest] | join(" ")' "$work/index")
same "$(jq -c '[.manifests[] | [.platform.os, .annotations]]' "$work/index")" \
  '[["linux",null],["linux",{"io.github.containers.compression.zstd":"true"}]]'
# The manifests are those of two pushes.
same "$(push "$image" "docker://$registry/app:gzip")" "$first"
same "$(push "$image" "docker://$registry/app:chunked" --compression zstd:chunked)" "$marked"
"$strata" verify "docker://$registry/app:t" --tls-verify=false >"$work/out" || { cat "$work/out"; fail "verify finds problems"; }

# The image in the registry, and the same image of a server, whose first manifest has uncompressed layers.
start_server --also zstd:chunked "app:t=$image"
served=$host
read -r uncompressed also < <(curl --silent --fail "http://$served/v2/app/manifests/t" | jq -r '[.manifests[].digest] | join(" ")')
same "$also" "$marked"
declare -A hosts logs firsts=([registry]=$first [serve]=$uncompressed)
start_counter "${registry##*:}"
counters=$counter hosts[registry]=$counted logs[registry]=$counts
start_counter "${served##*:}"
counters+=" $counter" hosts[serve]=$counted logs[serve]=$counts
# at PLACE: sets host, the host of the image, and counts, the requests to it.
at() { place=$1 host=${hosts[$1]} counts=${logs[$1]}; }

# chooses CLIENT EXPECTED COMMAND…: expects which manifests the client requests.
chooses() {
  local client="$1 of $place" expected=$2 before requested=""
  shift 2
  before=$(requests | wc -l)
  "$@" >"$work/out" 2>"$work/log" || { cat "$work/out" "$work/log"; fail "$client does not pull the image"; }
  requests | tail -n +"$((before + 1))" >"$work/requests"
  if grep -q "GET /v2/app/manifests/${firsts[$place]}" "$work/requests"; then requested+="first "; fi
  if grep -q "GET /v2/app/manifests/$marked" "$work/requests"; then requested+="marked "; fi
  same "$client: $requested" "$client: $expected "
}
crane=
if from_go github.com/google/go-containerregistry/cmd/crane@v0.20.6 crane; then crane=crane; fi
for place in registry serve; do
  at "$place"
  chooses "strata" first "$strata" copy --quiet "docker://$host/app:t" "oci:$work/one-$place:t" --src-tls-verify=false
  chooses "strata --all" "first marked" "$strata" copy --quiet --all "docker://$host/app:t" "oci:$work/all-$place:t" --src-tls-verify=false
  chooses "skopeo $(skopeo --version)" first skopeo copy --src-tls-verify=false "docker://$host/app:t" "dir:$work/skopeo-$place"
  [[ ! $crane ]] || chooses crane first crane pull --insecure --platform linux/amd64 "$host/app:t" "$work/crane.tar"
done
same "$(jq -r '.manifests[].digest' "$work/all-registry/index.json")" "$digest"

push "$other" "docker://$registry/lazy:t" --lazy --also zstd:chunked >/dev/null
use_podman "$work/podman"
for place in registry serve; do
  at "$place"
  chooses "$(podman --version)" first podman pull --quiet --tls-verify=false "$host/app:t"
  same "$(podman run --rm --network none "$host/app:t")" one
  podman rmi --all --force >/dev/null
  chooses "$(buildah --version)" first buildah pull --quiet --tls-verify=false "$host/app:t"
  buildah rmi --all --force >/dev/null
done
for engine in docker20 docker29; do
  engine_network=shared "start_$engine" "$work/$engine" || fail "$engine does not start"
  for place in registry serve; do
    at "$place"
    chooses "$engine" first docker pull --quiet "$host/app:t"
    same "$(docker run --rm --network none "$host/app:t")" one
    docker rmi "$host/app:t" >/dev/null
  done
  # Debian's docker 20.10 is the command line of both, and its `run` has no --quiet.
  [[ $engine == docker20 ]] || { docker pull --quiet "$registry/lazy:t" >/dev/null && same "$(docker run --rm --network none "$registry/lazy:t")" two; }
  stop_engine
done
engine_network=shared start_containerd "$work/containerd" || fail "containerd does not start"
ctr() { "$engines/ctr" --address "$CONTAINERD_ADDRESS" "$@"; }
# containerd fetches all manifests of the platform with their layers, and runs the first one: its transfer service has no limit
# (core/transfer/image/imagestore.go, ImageFilter).
for place in registry serve; do
  at "$place"
  chooses containerd "first marked" ctr images pull --plain-http "$host/app:t"
  same "$(run_with_ctr "$host/app:t" "one-$place")" one
  ctr images rm --sync "$host/app:t" >/dev/null
done
# With --lazy, both manifests have the same layers, and each is fetched once.
at registry
before=$(requests | wc -l)
ctr images pull --plain-http "$host/lazy:t" >"$work/log" 2>&1 || { cat "$work/log"; fail "containerd does not pull the image"; }
same "$(run_with_ctr "$host/lazy:t" two)" two
requests | tail -n +"$((before + 1))" | sed -n 's|^GET /v2/lazy/blobs/||p' | sort >"$work/fetched"
[[ -s $work/fetched ]] || fail "no blob is fetched"
silent uniq -d "$work/fetched"

if debian13=$(online "$root/dev/debian13" 2>"$work/log"); then
  cat >"$work/in13.conf" <<CONF
[storage]
driver = "overlay"
graphroot = "$work/containers-13"
runroot = "$work/run-13"
CONF
  in13() { "$root/dev/debian13" run env CONTAINERS_STORAGE_CONF="$work/in13.conf" "$@"; }
  for place in registry serve; do
    at "$place"
    chooses "podman 5" marked in13 podman pull --quiet --tls-verify=false "$host/app:t"
    same "$(in13 podman run --rm --network none "$host/app:t" 2>"$work/log")" one
    chooses "skopeo of Debian 13" marked in13 skopeo copy --src-tls-verify=false "docker://$host/app:t" "dir:$work/skopeo13-$place"
    in13 podman rmi --all --force >/dev/null 2>&1
    chooses "$(in13 buildah --version)" marked in13 buildah pull --quiet --tls-verify=false "$host/app:t"
    in13 buildah rmi --all --force >/dev/null
  done
  same "$(in13 podman run --quiet --rm --network none --tls-verify=false "$registry/lazy:t" 2>"$work/log")" two
else
  tail -n 3 "$work/log"
  skip_part "mmdebstrap cannot make a Debian 13 here"
fi

# Nothing is sent twice: after a change of one line, each manifest has one new layer.
at registry
blobs() { requests | grep -c '^PUT /v2/app/blobs/uploads/' || :; }
before=$(blobs)
push "$other" "docker://$host/app:t" --also zstd:chunked >/dev/null
sent=$(($(blobs) - before))
((sent > 0 && sent <= 4)) || fail "$sent blobs were sent for a change of one line"

# Lazy pulls with stargz-snapshotter, and partial pulls with podman.
push "$image" "docker://$registry/app:lazy" --lazy --also zstd:chunked >/dev/null
same "$(index lazy | jq -r '.manifests[1].digest')" "$marked"

# Several platforms; layers that are compressed already; flags that contradict each other.
"$strata" copy --quiet "docker://$registry/app:gzip" "oci:$work/gzip:t" --src-tls-verify=false >/dev/null
refused() {
  local why=$1
  shift
  "$strata" copy --quiet "$@" >"$work/out" 2>&1 && fail "it is not refused: $*"
  grep -qF -- "$why" "$work/out" || { cat "$work/out"; fail "no reason: $why"; }
}
refused 'every layer is compressed already' "oci:$work/gzip:t" "docker://$registry/app:u" --also zstd:chunked
refused 'are zstd:chunked already' "$image" "docker://$registry/app:u" --also zstd:chunked --compression zstd:chunked
refused 'write --lazy --also zstd:chunked' "$image" "docker://$registry/app:u" --also lazy
refused 'push to another tag with `strata copy --nix-node`' "$image" "docker://$registry/app:u" --also nix-node
refused '--also' "$image" "oci:$work/two:t" --also zstd:chunked
refused '--referrers' "$image" "docker://$registry/app:u" --also zstd:chunked --referrers
