# Failing engines: killed in the middle, disk full, two loads at once, and removal of an image whose layers a load
# relies on. The image is complete or absent, and repeating the command completes it.
. "$root/tests/lib.sh"
. "$root/tests/engines.sh"
need_engines
need_command python3
export XDG_CACHE_HOME=$work/cache
mounted=()
finish() {
  stop_engines
  local at
  for at in "${mounted[@]}"; do umount --lazy --recursive "$at" || true; done
}
trap finish EXIT
first=$(greeter faults:t one)
second=$(greeter faults:t two)
cp "$root/tests/image/broken.py" "$work/broken.py"
docker20=docker-daemon docker29=docker-daemon containerd=containerd podman=containers-storage
# Each engine has another name for the same commands.
start() {
  case $1 in
    podman) use_podman "$2" ;;
    *) "start_$1" "$2" || fail "$1 does not start" ;;
  esac
}
ctr() { "$engines/ctr" --namespace k8s.io "$@"; }
client_of() {
  case $1 in containerd) echo "$engines/ctr --namespace k8s.io" ;; podman) echo podman ;; *) echo docker ;; esac
}
# copied ENGINE IMAGE TAG [OPTIONS…]
copied() { "$strata" copy "$2" "${!1}:faults:$3" --json "${@:4}" >"$work/out" 2>"$work/log"; }
namespaced() { [[ $1 != containerd || $* == *--via* ]] || echo "--namespace k8s.io"; }
completes() {
  copied "$1" "$2" "$3" $(namespaced "$1") || { cat "$work/log"; fail "$1: the same command does not complete it"; }
}
# output_of ENGINE TAG: runs the image and prints its output.
output_of() {
  case $1 in
    containerd) CONTAINERD_NAMESPACE=k8s.io run_with_ctr "docker.io/library/faults:$2" "faults$RANDOM" ;;
    podman) podman run --rm --network none "faults:$2" ;;
    *) docker run --rm --network none "faults:$2" ;;
  esac
}
# check_output ENGINE TAG WORD: expects the output WORD.
check_output() { same "$1 $2: $(output_of "$1" "$2")" "$1 $2: $3"; }
# has_image ENGINE TAG: whether the engine has the image.
has_image() {
  case $1 in
    # The output is read to its end: ctr dies of a pipe that grep -q closes.
    containerd) grep -qx "docker.io/library/faults:$2" <<<"$(ctr images ls -q)" ;;
    podman) podman image exists "faults:$2" ;;
    *) docker image inspect "faults:$2" >/dev/null 2>&1 ;;
  esac
}
# drop ENGINE TAG: prints the command that removes the image.
drop() {
  case $1 in
    containerd) echo "$engines/ctr --namespace k8s.io images rm --sync docker.io/library/faults:$2" ;;
    *) echo "$(client_of "$1") rmi faults:$2" ;;
  esac
}
no_leftovers() {
  local all
  case $1 in containerd) all=$(ctr images ls -q) ;; *) all=$($(client_of "$1") images --all) ;; esac
  if grep -E 'strata-incoming|<none>' <<<"$all"; then fail "$1: left behind"; fi
}

for engine in docker20 docker29 containerd podman; do
  echo "$engine"
  at=$work/$engine killed=0
  start "$engine" "$at"
  # The engine is killed after half of the image.
  rm -f "$work/once"
  victim=CHILD
  [[ $engine == podman ]] || victim=$engine_pid
  if copied "$engine" "$first" t --via "python3 $work/broken.py 'cut:3000000:kill -KILL $victim' $(client_of "$engine")"; then
    fail "$engine: a killed engine causes no error"
  fi
  [[ -e $work/once ]] || { cat "$work/log"; fail "$engine: it was not killed"; }
  [[ $engine == podman ]] || { stop_engine; start "$engine" "$at"; }
  if has_image "$engine" t; then check_output "$engine" t one; fi
  completes "$engine" "$first" t
  check_output "$engine" t one
  no_leftovers "$engine"

  # The image with the shared layers is removed after they were found.
  rm -f "$work/once"
  copied "$engine" "$second" u --via "python3 $work/broken.py 'before:$(drop "$engine" t)' $(client_of "$engine")" ||
    { cat "$work/log"; fail "$engine: an image was removed meanwhile"; }
  [[ -e $work/once ]] || fail "$engine: no image was removed"
  has_image "$engine" t && fail "$engine: the image is still there"
  check_output "$engine" u two
  no_leftovers "$engine"

  # Two loads at once, of different images and of the same.
  third=$(greeter faults:t three)
  for pair in "$first v one $third w three" "$third x three $third x three"; do
    read -r one tag1 word1 two tag2 word2 <<<"$pair"
    "$strata" copy "$one" "${!engine}:faults:$tag1" $(namespaced "$engine") --quiet >/dev/null 2>"$work/log1" &
    background=$!
    completes "$engine" "$two" "$tag2"
    wait "$background" || { cat "$work/log1"; fail "$engine: two at once"; }
    check_output "$engine" "$tag1" "$word1"
    check_output "$engine" "$tag2" "$word2"
  done
  no_leftovers "$engine"

  # strata itself is killed at any moment. The name then stands for the old image, the new one or nothing.
  for tag in u v w x; do $(drop "$engine" "$tag") >/dev/null; done
  begun=${EPOCHREALTIME/./}
  completes "$engine" "$first" k
  lasts=$((${EPOCHREALTIME/./} - begun))
  for ((round = 1; round <= ${STRATA_KILLS:-3}; round++)); do
    $(drop "$engine" k) >/dev/null
    ((round % 2)) || completes "$engine" "$third" k
    after=$((RANDOM * lasts / 32768))
    timeout --foreground --signal=KILL "$(printf '%d.%06d' $((after / 1000000)) $((after % 1000000)))" \
      "$strata" copy "$first" "${!engine}:faults:k" $(namespaced "$engine") --quiet >/dev/null 2>&1 || killed=$((killed + 1))
    # Only one check: the engine may still be processing what it received.
    if has_image "$engine" k; then
      [[ $(output_of "$engine" k) =~ ^(one|three)$ ]] || fail "$engine: the image is neither the old nor the new"
    elif ((round % 2 == 0)); then fail "$engine: the old image is gone"; fi
    completes "$engine" "$first" k
    check_output "$engine" k one
    # Engines keep an image that lost its name to another.
    ((round % 2)) || [[ $engine == containerd ]] || $(client_of "$engine") image prune --force >/dev/null
    no_leftovers "$engine"
  done
  echo "$engine: $killed of ${STRATA_KILLS:-3} copies were killed on their way"
  [[ $engine == podman ]] && podman rmi --all --force >/dev/null || stop_engine

  # The file system has no space for the image.
  at=$work/small-$engine
  mkdir "$at"
  mount -t tmpfs -o size=12m strata-test "$at" || fail "no tmpfs can be mounted"
  mounted+=("$at")
  start "$engine" "$at"
  if copied "$engine" "$first" t $(namespaced "$engine"); then fail "$engine: a full disk causes no error"; fi
  grep -qi 'no space left\|disk full\|ENOSPC' "$work/log" || { cat "$work/log"; fail "$engine: it does not say why"; }
  if has_image "$engine" t; then fail "$engine: half an image has the name"; fi
  mount -o remount,size=800m "$at"
  completes "$engine" "$first" t
  check_output "$engine" t one
  no_leftovers "$engine"
  [[ $engine == podman ]] && podman rmi --all --force >/dev/null || stop_engine
done
