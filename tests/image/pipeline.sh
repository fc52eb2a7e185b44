# layeringPipeline: the layer of each store path, removed paths, the log, and errors.
. "$root/tests/lib.sh"
need_command jq

# layers IMAGE: prints the names of each layer's store paths, one layer per line. The last layer is the customisation
# layer.
layers() { jq -r '.layers[:-1][] | [.paths[].path[44:]] | sort | join(" ")' "$1/image.json"; }
# image STEPS [MORE]: an image of python3 and hello with these steps.
image() { build "(dockerTools.buildLayeredImage { name = \"piped\"; tag = \"t\"; contents = [ pkgs.python3 pkgs.hello ]; $2 layeringPipeline = $1; }).recipe"; }

python=$(nix-instantiate --eval --expr "$(expression 'pkgs.python3.name')" | tr -d '"')
hello=$(nix-instantiate --eval --expr "$(expression 'pkgs.hello.name')" | tr -d '"')
glibc=$(nix-instantiate --eval --expr "$(expression 'pkgs.glibc.name')" | tr -d '"')

# One layer for each path. glibc is needed by most.
popular=$(layers "$(image '[ [ "popularity_contest" ] ]' '')")
count=$(wc -l <<<"$popular")
same "$(layers "$(image '[ [ "popularity_contest" ] [ "reverse" ] ]' '')")" "$(tac <<<"$popular")"
same "$(layers "$(image '[ [ "popularity_contest" ] [ "limit_layers" 2 ] ]' '')" | wc -l)" 2
# The pipeline decides alone: maxLayers has no effect, and may be 1. (nixpkgs: pkgs/build-support/docker/default.nix)
for max in 1 4; do same "$(layers "$(image '[ [ "popularity_contest" ] ]' "maxLayers = $max;")")" "$popular"; done
# A list of steps, or a file of them, means the same as `layering`.
same "$(layers "$(build '(dockerTools.buildLayeredImage { name = "piped"; tag = "t"; contents = [ pkgs.python3 pkgs.hello ]; maxLayers = 4; layering = [ [ "popularity_contest" ] ]; }).recipe')")" "$popular"
# As a strategy of strata's functions, it makes at most maxLayers layers. The last one has all other paths.
same "$(jq '.layers | length' "$(build 'buildImage { name = "x"; maxLayers = 3; layering = [ [ "popularity_contest" ] ]; config.entrypoint = [ "${pkgs.python3}/bin/python3" ]; }')")" 3

# Paths that only Python needs, paths that hello needs too, and hello.
split=$(layers "$(image '[ [ "split_paths" [ pkgs.python3 ] ] ]' '')")
same "$(wc -l <<<"$split")" 3
grep -qw -- "$python" <<<"$(sed -n 1p <<<"$split")" || fail "python3 is not in the first layer: $split"
grep -qw -- "$glibc" <<<"$(sed -n 2p <<<"$split")" || fail "glibc is not in the second layer: $split"
same "$(sed -n 3p <<<"$split")" "$hello"

# Paths that need glibc, selected by a pattern. The file was written by another tool.
file='(builtins.toFile "pipeline.json" (builtins.toJSON [ [ "subcomponent_in" { regex = ".*-hello-"; } ] [ "over" "rest" [ "popularity_contest" ] ] ]))'
same "$(layers "$(image "$file" '')")" "$(echo "$hello"; grep -vxF -- "$hello" <<<"$popular")"

# Removed paths are neither in the image nor in its database.
removed=$(image '[ [ "remove_paths" [ pkgs.hello ] ] [ "popularity_contest" ] ]' 'includeNixDB = true;')
same "$(layers "$removed" | wc -l)" $((count - 1))
left=$(layers "$removed"; jq -r '.closure[].path' "$removed/image.json")
[[ $left == *-glibc-* && $left != *"$hello"* ]] || fail "hello is still there: $left"
mkdir "$work/root"
tar -xf "$removed/customisation.tar" -C "$work/root"
strings=$(tr -c '[:print:]' '\n' <"$work/root/nix/var/nix/db/db.sqlite")
grep -qF -- "-$glibc" <<<"$strings" || fail "the database lacks glibc"
! grep -qF -- "-$hello" <<<"$strings" || fail "the database has hello"

# debug logs each step and its result.
nix-store --read-log "$(image '[ [ "popularity_contest" ] [ "limit_layers" 2 ] ]' 'debug = true;')" >"$work/messages"
for line in "layeringPipeline[0] popularity_contest: $count store paths (" \
  "layeringPipeline[1] limit_layers: list of $count with $count store paths → list of 2 with $count store paths" \
  "layer 1 of 2: 1 store paths ("; do
  grep -qF "$line" "$work/messages" || { cat "$work/messages"; fail "the log lacks: $line"; }
done

refused() { build_fails "dockerTools.buildLayeredImage { name = \"x\"; contents = [ pkgs.hello ]; layeringPipeline = $1; }" "$2"; }
refused '[ [ "popular" ] ]' 'layeringPipeline[0]: unknown step "popular"; the steps are flatten, limit_layers'
refused '[ [ "popularity_contest" ] [ "split_every" 2 ] ]' 'layeringPipeline[1]: split_every takes a graph, not a list; put [ "map" … ] around it'
refused '[ ]; layering = "auto"' 'dockerTools.buildLayeredImage has both layering and layeringPipeline'
refused '[ ]; weights.roots = 2' 'argument weights is for layering = "transfer"; a layeringPipeline ignores them'

# buildImage accepts the steps as `layering`, and `strata plan` compares them.
same "$(jq '.layers | length' "$(build 'buildImage { name = "x"; maxLayers = 9; layering = [ [ "popularity_contest" ] [ "limit_layers" 3 ] ]; config.entrypoint = [ "${pkgs.python3}/bin/python3" ]; }')")" 3
echo '[ [ "popularity_contest" ], [ "limit_layers", 3 ] ]' >"$work/steps.json"
"$strata" plan --strategy "$work/steps.json" --strategy auto "$removed/image.json" >"$work/plan"
grep -qE 'steps.json +3 ' "$work/plan" || { cat "$work/plan"; fail "plan does not try the steps"; }
