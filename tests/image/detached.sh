# Detached recipes: no references, the same image.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
export XDG_CACHE_HOME=$work/cache
start_registry "$work/registry"
trap 'stop_registry' EXIT

image='(buildImage { name = "'"$registry"'/Detached"; maxLayers = 4; compressed = "gzip"; labels.word = "${pkgs.jq}"; annotations.word = "${pkgs.jq}";
  layers = [ (buildLayer { deps = [ pkgs.bash ]; compressed = "gzip"; }) ]; copyToRoot = [ pkgs.coreutils ]; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; })'
path=$(build "$image")
detached=$(build "$image.detached")

# The recipe has no closure, and its image is unchanged.
same "$(nix-store -qR "$detached")" "$detached"
same "$(nix-store -q --references "$path" | grep -c -- -hello-)" 1
same "$(jq -S 'del(.recipe)' "$detached")" "$(jq -S . "$path")"
same "$(jq -r .recipe "$detached")" "$path"
same "$(nix-instantiate --eval --expr "$(expression "$image.detached.imageName + \":\" + $image.detached.imageTag")")" \
  "\"$(jq -r '.name + ":" + .tag' "$path")\""

# Each layer records its compressed digest; layers of buildLayer record that of the layer.
same "$(jq '[.layers[] | select(.compressed.gzip.digest == null)] | length' "$path")" 0
layer=$(build 'buildLayer { deps = [ pkgs.bash ]; compressed = "gzip"; }')
same "$(jq -c '.[0].compressed' "$layer/layers.json")" "$(jq -c '.layers[0].compressed' "$path")"
build_fails 'buildLayer { deps = [ ]; compressed = "xz"; }' "argument compressed of buildLayer must be null, gzip, zstd, zstd:chunked, not xz"

# All destinations accept it, and a push has the recorded digests.
program=$(build "$image.detached.copyToRegistry")
"$program/bin/copy-to-registry" --quiet >"$work/digest"
manifest=$("$strata" manifest "$(jq -r '.name + ":" + .tag' "$path")")
same "$(jq -c '[.layers[].digest]' <<<"$manifest")" "$(jq -c '[.layers[].compressed.gzip.digest]' "$path")"
"$strata" copy "$detached" "oci:$work/one" --quiet >"$work/one.digest"
"$strata" copy "$path" "oci:$work/two" --quiet >"$work/two.digest"
same "$(<"$work/one.digest")" "$(<"$work/two.digest")"

# Its program refers only to strata, whichever machine builds it.
same "$(nix-store -q --references "$program" | sort)" "$({ echo "$detached"; nix-store -q --references "$(build "$image.copyTo")" | grep -vxF "$path"; } | sort)"
same "$(nix-store -q --references "$program" | wc -l)" 2

# On a machine that never pushed it, with a tag without the layers, the recipe knows the blobs of its layers.
name=$(jq -r .name "$path")
XDG_CACHE_HOME=$work/empty "$strata" copy "$detached" "docker://$name:again" 2>"$work/log" >/dev/null
[[ ! -s $work/log ]] || { cat "$work/log"; fail "blobs were sent"; }

# Images of other functions, with results of scripts. Names and tags are those of the image.
for expression in 'makeContainerImage { name = "Made"; layers = [ pkgs.hello ]; }' \
  'dockerTools.buildImage { name = "single"; copyToRoot = pkgs.hello; }' \
  'dockerTools.buildLayeredImage { name = "layered"; tag = "t"; contents = [ pkgs.hello ]; extraCommands = "echo 1 >file"; }' \
  'dockerTools.streamLayeredImage { name = "streamed"; contents = [ pkgs.jq ]; }'; do
  detached=$(build "($expression).detached")
  same "$(nix-store -qR "$detached")" "$detached"
  same "$(jq '.name + ":" + .tag' "$detached")" \
    "$(nix-instantiate --eval --expr "$(expression "let image = $expression; in image.imageName + \":\" + image.imageTag")")"
  "$strata" copy "$detached" "docker-archive:$work/detached.tar" --quiet >"$work/one.digest"
  # An archive is the same image, unless its tag is its own hash.
  recipe=$(build "(($expression).stream or ($expression)).recipe")
  "$strata" copy "$recipe" "docker-archive:$work/recipe.tar" --quiet >"$work/two.digest"
  same "$(<"$work/one.digest")" "$(<"$work/two.digest")"
done
for function in ociImageLayout ociImageManifest dockerTools.mergeImages; do
  argument='{ }'
  [[ $function != *.mergeImages ]] || argument='[ ]'
  build_fails "($function $argument).detached" "a result of $function holds the bytes of its layers, and cannot be detached"
done
