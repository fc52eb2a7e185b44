# copyToRoot, perms, nested layers, maxLayers and names, checked in the tars.
. "$root/tests/lib.sh"
use_nix2container
need_command jq

image=$(build '
  let
    one = buildLayer { deps = [ pkgs.bash ]; };
    two = buildLayer { deps = [ pkgs.hello ]; layers = [ one ]; };
    etc = pkgs.writeTextDir "etc/secret" "x";
  in buildImage {
    name = "Registry.example.com/Some/Name";
    tag = "Tag";
    layers = [ two ];
    copyToRoot = [ etc (pkgs.writeTextDir "etc/other" "y") ];
    perms = [ { path = etc; regex = "/etc/secret$"; mode = "0600"; uid = 1000; gid = 100; uname = "me"; gname = "us"; } ];
    config.Cmd = [ "${pkgs.coreutils}/bin/ls" "-ln" "/etc" ];
    maxLayers = 3;
  }')
json=$("$strata" inspect --json "$image")
same "$(jq -r '.[0].reference' <<<"$json")" registry.example.com/some/name:Tag
same "$(jq '.[0].layers | length' <<<"$json")" 5
same "$(jq -r '[.[0].layers[].paths[]] | length' <<<"$json")" "$(jq -r '[.[0].layers[].paths[]] | unique | length' <<<"$json")"

"$strata" stream "$image" | tar -x -C "$work"
last=$(jq -r '.[0].Layers[-1]' "$work/manifest.json")
tar -tvf "$work/$last" --numeric-owner -P >"$work/listing"
grep -qE '^-rw------- 1000/100 +1 1970-01-01 00:00 /etc/secret$' "$work/listing" || { cat "$work/listing"; fail "perms"; }
grep -qE '^-r--r--r-- 0/0 +1 1970-01-01 00:00 /etc/other$' "$work/listing" || { cat "$work/listing"; fail "copyToRoot"; }
same "$(sed -n 's/.* //p' "$work/listing" | head -n 1)" /

untagged=$(build 'buildImage { name = "untagged"; }')
same "$("$strata" inspect --json "$untagged" | jq -r '.[0].reference')" "untagged:$(basename "$untagged" | cut -c 1-32)"
same "$(nix-instantiate --eval --expr "$(expression '(buildImage { name = "untagged"; }).imageTag')")" \
  "\"$(basename "$untagged" | cut -c 1-32)\""

# nix2container's old argument names result in the same store path.
old=$(build 'buildImage { name = "old"; contents = [ pkgs.hello ]; isolatedDeps = [ (buildLayer { deps = [ pkgs.bash ]; }) ]; }')
same "$old" "$(build 'buildImage { name = "old"; copyToRoot = pkgs.hello; layers = [ (buildLayer { deps = [ pkgs.bash ]; }) ]; }')"
same "$(build '(buildImage { name = "old"; }).pushToDockerDeamon')" "$(build '(buildImage { name = "old"; }).copyToDockerDaemon')"

# A chain of thirteen layers results in thirteen layers.
chain=$(build '
  let chain = n: if n == 0 then [ ] else let below = chain (n - 1); in below ++ [ (buildLayer {
    deps = [ (pkgs.writeText "link-${toString n}" "${toString n}") ]; layers = below; }) ];
  in buildImage { name = "chain"; layers = chain 13; }')
same "$("$strata" inspect --json "$chain" | jq '.[0].layers | length')" 13

# layersFile: the layers are those of its lists.
hello=$(build pkgs.hello)
nix-store -qR "$hello" | grep -v -- "$hello" | jq -R . | jq -s --arg hello "$hello" '[[$hello], .]' >"$work/split.json"
made="buildLayer { deps = [ pkgs.hello ]; layersFile = $work/split.json; }"
same "$(jq -c '[.[].paths | map(.path)] | map(sort)' "$(build "$made")/layers.json")" "$(jq -c 'map(sort)' "$work/split.json")"
# Store paths of a layer below are not repeated.
same "$(jq -c '[.[].paths[].path] | contains(["'"$hello"'"])' "$(build "buildLayer { deps = [ pkgs.hello ]; layersFile = $work/split.json; layers = [ (buildLayer { deps = [ pkgs.hello ]; }) ]; }")/layers.json")" false
split_fails() {
  jq "$1" "$work/split.json" >"$work/wrong.json"
  build_fails "buildLayer { deps = [ pkgs.hello ]; layersFile = $work/wrong.json; }" "argument layersFile: " "$2"
}
split_fails '[[.[0][0], .[0][0]], .[1]]' "list 1 has $hello, which is listed already"
split_fails '[.[0], .[1], []]' "list 3 of"
split_fails '[.[1]]' "has $hello, which is in the closure"
split_fails "[[\"$(build pkgs.jq)\"]] + ." "which is not in the closure"
split_fails '.[0]' "is not a list of lists of store paths"
build_fails 'buildLayer { layersFile = "split.json"; }' "argument layersFile of buildLayer must be a JSON file of lists of store paths, not a string"

# fromTar: the owners and modes of the archive, which no store keeps. perms take precedence. ensureDirs adds missing
# directories. (nix2container: pull requests 231 and 232, TestEnsureDirs)
packed=$(
  cat <<'NIX'
(pkgs.runCommand "packed" { nativeBuildInputs = [ pkgs.gnutar pkgs.coreutils ]; } ''
  mkdir -p $out root/etc root/var; echo x > root/etc/shadow; ln -s shadow root/etc/link; echo y > root/etc/plain
  chmod 640 root/etc/plain root/etc/shadow
  tar --sort=name --owner=7 --group=8 --numeric-owner -C root -cf $out/layer.tar .'')
NIX
)
made="let packed = $packed; in buildLayer { copyToRoot = packed; fromTar = [ { path = packed; tar = \"\${packed}/layer.tar\"; } ];
  perms = [ { path = packed; regex = \"/etc/plain\$\"; uid = 9; gid = 9; } ];
  ensureDirs = [ { path = packed; dir = \"var\"; uid = 1; } { path = packed; dir = \"./var/empty/x\"; uid = 65534; gid = 65534; mode = \"0700\"; }
    { path = packed; dir = \"nix/store\"; uid = 999; } ]; }"
layer=$(build "$made")
same "$(jq 'length' "$layer/layers.json")" 1
listed() { tar -tvPf "$(jq -r '.[0]."layer-path"' "$1/layers.json")" --numeric-owner | sed -E 's/^(\S+) +(\S+) .* [0-9:]+ (\/.*)/\1 \2 \3/'; }
same "$(listed "$layer")" 'drwxr-xr-x 0/0 /
drwxr-xr-x 7/8 /etc
lrwxrwxrwx 7/8 /etc/link -> shadow
-rw-r----- 9/9 /etc/plain
-rw-r----- 7/8 /etc/shadow
drwxr-xr-x 0/0 /nix
drwxr-xr-x 999/0 /nix/store
drwxr-xr-x 7/8 /var
drwxr-xr-x 0/0 /var/empty
drwx------ 65534/65534 /var/empty/x'
# nix2container's buildLayer keeps the times of the archive, rounded to seconds. Files outside of the archive have
# strata's time. (pull request 231)
times() { TZ=UTC tar --full-time -tvPf "$(jq -r '.[0]."layer-path"' "$1/layers.json")" | awk '{ print $4, $5, $6 }'; }
timed='(pkgs.runCommand "timed" { nativeBuildInputs = [ pkgs.gnutar pkgs.coreutils ]; } "mkdir -p $out root/etc; echo x >root/etc/a; ln -s a root/etc/b
  touch -h -d @1000000000.6 root/etc/a root/etc/b; touch -d 2300-01-01T00:00:00Z root/etc; tar --format=pax --sort=name -C root -cf $out/layer.tar etc")'
timed_layer() { build "let timed = $timed; in $1 { copyToRoot = timed; fromTar = [ { path = timed; tar = \"\${timed}/layer.tar\"; } ]; ensureDirs = [ { path = timed; dir = \"new\"; } ]; }"; }
same "$(times "$(timed_layer nix2container.buildLayer)")" '1970-01-01 00:00:01 /
2300-01-01 00:00:00 /etc
2001-09-09 01:46:41 /etc/a
2001-09-09 01:46:41 /etc/b
1970-01-01 00:00:01 /new'
same "$(times "$(timed_layer strata.buildLayer)" | awk '{ print $1, $2 }' | sort -u)" '1970-01-01 00:00:01'
# A store path at its original location, and a path that is not an archive. A push without the closure has the stored
# tar.
same "$(listed "$(build "let packed = pkgs.writeTextDir \"bin/x\" \"1\"; in buildLayer { deps = [ packed ]; ensureDirs = [ { path = packed; dir = \"run\"; mode = \"1777\"; } ]; }")" | sed 's,/nix/store/[^/]*,STORE,')" \
  'drwxr-xr-x 0/0 /
drwxr-xr-x 0/0 /nix
drwxr-xr-x 0/0 /nix/store
dr-xr-xr-x 0/0 STORE
dr-xr-xr-x 0/0 STORE/bin
-r--r--r-- 0/0 STORE/bin/x
drwxrwxrwt 0/0 STORE/run'
image=$(build "buildImage { name = \"from-tar\"; tag = \"t\"; layers = [ ($made) ]; }")
"$strata" copy "$image" "oci:$work/from-tar" --quiet >/dev/null
"$strata" verify "$work/from-tar" | grep -q ' 0 problems$' || fail "verify finds problems in a layer from a tar"
build_fails "buildLayer { fromTar = [ { path = pkgs.hello; tar = $work/split.json; } ]; }" "argument fromTar: " "is not among the store paths of these layers; put it in deps or copyToRoot"
build_fails "buildLayer { deps = [ pkgs.hello ]; fromTar = [ { path = pkgs.hello; tar = $work/split.json; } ]; }" "argument fromTar: "
# excludes: the layer is that of a copy without these files. (nix2container, pull request 227)
tree='(pkgs.runCommand "tree" { } "mkdir -p $out/bin $out/share/doc $out/share/docs; for at in bin/f bin/g share/doc/a share/docs/b; do echo x >$out/$at; done; ln -s share $out/link")'
pruned=$(build "buildLayer { deps = [ $tree ]; excludes = [ { path = $tree; excludes = [ \"share/doc\" \"bin/f\" ]; } ]; }")
same "$(listed "$pruned" | grep -oE '[^/]*-tree.*' | sed 's/^[^-]*-//' | sort | tr '\n' ' ')" "tree tree/bin tree/bin/g tree/link -> share tree/share tree/share/docs tree/share/docs/b "
for exclude in share/other link/doc; do
  build_fails "buildLayer { deps = [ $tree ]; excludes = [ { path = $tree; excludes = [ \"$exclude\" ]; } ]; }" "argument excludes: /nix/store/" "it has no $exclude"
done
build_fails "buildLayer { deps = [ $tree ]; excludes = [ { path = $tree; excludes = [ \"../x\" ]; } ]; }" "write it like share/doc"
build_fails "buildLayer { excludes = [ { path = $tree; excludes = [ ]; } ]; }" "is not among the store paths of these layers"
build_fails "buildLayer { deps = [ pkgs.hello ]; ensureDirs = [ { path = pkgs.hello; dir = \"../x\"; } ]; }" 'a directory is named without `..`'

# Different files at one path in different layers are an error too.
for layers in 1 2 64; do
  build_fails 'buildImage { name = "x"; maxLayers = '"$layers"'; layering = "popularity"; copyToRoot = [ (pkgs.writeTextDir "etc/x" "1") (pkgs.writeTextDir "etc/x" "2") ]; }' \
    "two sources want /etc/x in the image"
done
# Owners and modes of a directory may differ between layers.
build 'let tmp = pkgs.writeTextDir "tmp/x" ""; in buildImage { name = "x"; maxLayers = 9; layering = "popularity"; copyToRoot = [ tmp (pkgs.writeTextDir "tmp/y" "") ];
  perms = [ { path = tmp; regex = ".*"; mode = "0777"; } ]; }' >/dev/null
