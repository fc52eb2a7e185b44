# Fleets: every distinct blob is sent once and mounted elsewhere; a killed run can be repeated; a fleet can be split
# into shards.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
export XDG_CACHE_HOME=$work/cache
start_registry "$work/registry"
trap 'stop_registry' EXIT

# Eight images with shared layers. The last two have the same digest.
images=$(build 'let image = number: (buildImage { name = "fleet-${toString number}"; tag = "t"; maxLayers = 3; compressed = "gzip";
    layers = [ (buildLayer { deps = [ pkgs.bash pkgs.coreutils ]; compressed = "gzip"; }) ]; config.Cmd = [ "${pkgs.writeShellScript "greet" "echo ${toString number}"}" ]; }).detached;
  in pkgs.writeText "fleet" (builtins.concatStringsSep "\n" (map (number: builtins.toJSON { attr = "image-${toString number}"; outputs.out = "${image number}"; }) [ 1 2 3 4 5 6 7 8 ]))')
blobs=$(jq -r '.outputs.out' "$images" | xargs jq -r '.layers[].digest' | sort -u | wc -l)
fleet() { "$strata" copy --fleet "$@" 2>"$work/log"; }
fleet_succeeds() { fleet "$@" || { cat "$work/log" >&2; fail "copy --fleet $*"; }; }
counted() { jq -s "[.[].$1 // 0] | add" "$2"; }

fleet_succeeds "$images" --to "docker://$registry/{name}:{tag}" --journal "$work/first"
same "$(jq -s 'length' "$work/first")" 8
# Each layer is sent once, and a config for each image.
same "$(counted blobs "$work/first")" "$((blobs + 8))"
for number in 1 8; do "$strata" manifest "$registry/fleet-$number:t" >/dev/null; done
fleet_succeeds - --to "docker://$registry/{name}:{tag}" --journal "$work/second" --quiet <"$images"
same "$(counted blobs "$work/second")" 0
same "$(jq -s 'map(.digest) | sort' "$work/first")" "$(jq -s 'map(.digest) | sort' "$work/second")"

# The shards together push all images. The second shard finds the blobs of the first in their home repositories, on
# another machine.
for part in 1/2 2/2; do
  XDG_CACHE_HOME=$work/$part fleet_succeeds "$images" --to "docker://$registry/shard/{attr}:{tag}" --shard $part --shard-wait 0 --journal "$work/shards"
done
same "$(jq -s 'map(.attr) | sort' "$work/shards")" "$(jq -s 'map(.attr) | sort' "$images")"
same "$(counted blobs "$work/shards")" "$((blobs + 8))"
# Both shards at once: each waits for the blobs of the other.
parts=()
for part in 1 2; do
  XDG_CACHE_HOME=$work/once/$part "$strata" copy --fleet "$images" --to "docker://$registry/once/{attr}:{tag}" --shard $part/2 --shard-wait 600 \
    --journal "$work/once-$part" 2>"$work/once-$part.log" &
  parts+=($!)
done
for part in "${parts[@]}"; do wait "$part" || { cat "$work"/once-*.log >&2; fail "a part fails"; }; done
cat "$work/once-1" "$work/once-2" >"$work/once.journal"
same "$(counted blobs "$work/once.journal")" "$((blobs + 8))"

# A run that was killed is repeated, and sends the missing blobs.
XDG_CACHE_HOME=$work/empty "$strata" copy --fleet "$images" --to "docker://$registry/killed/{name}:{tag}" --journal "$work/killed" 2>/dev/null &
pid=$!
until [[ -s $work/killed ]] || ! kill -0 $pid 2>/dev/null; do sleep 0.01; done
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
fleet_succeeds "$images" --to "docker://$registry/killed/{name}:{tag}" --journal "$work/again"
same "$(jq -s 'map(.digest) | sort' "$work/again")" "$(jq -s 'map(.digest) | sort' "$work/first")"

# One image fails, and the others are pushed.
{ cat "$images"; echo; echo '{"attr":"broken","error":"infinite recursion"}'; echo "$work/missing.json docker://$registry/missing:t"; } >"$work/some"
status=0
fleet "$work/some" --to "docker://$registry/some/{name}:{tag}" --journal "$work/third" || status=$?
same "$status" 1
grep -q "these images were not copied: .*broken" "$work/log" || { cat "$work/log"; fail "no names"; }
same "$(jq -s '[.[] | select(.digest)] | length' "$work/third")" 8
if fleet "$images"; then fail "no destination"; fi
grep -q "it has no destination" "$work/log" || { cat "$work/log"; fail "no reason"; }
