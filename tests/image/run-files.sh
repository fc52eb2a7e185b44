# The container of strata run has the files of the loaded image, for the unusual images of other scripts: random bases,
# contents and scripts (random.sh), and names of every kind on a base with removed files, owners and setuid programs
# (collection.sh).
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
. "$root/tests/same-files.sh"
need_command python3
need_command jq
[[ ${docker-} ]] || command -v podman >/dev/null || skip "there is neither a docker daemon nor podman"
export XDG_CACHE_HOME=$work/cache
busybox=$(build pkgs.busybox)

cases=${STRATA_CASES:-20} seed=${STRATA_SEED:-run}
mkdir "$work/cases"
python3 "$root/tests/image/random_images.py" make "$work/cases" "$cases" "$seed"
build "builtins.genList (at: (import ($work/cases + \"/\${toString at}.nix\") { inherit pkgs strata; }).recipe) $cases" >"$work/recipes"
same "$(wc -l <"$work/recipes")" "$cases"
mounted=0 images=()
while read -r recipe; do
  images+=("$recipe")
  if jq -e 'any(.layers[]; has("paths"))' "$recipe" >/dev/null; then mounted=$((mounted + 1)); fi
done <"$work/recipes"

cat >"$work/names.sh" <<'SH'
mkdir -p "$out/names"
cd "$out/names"
for name in $'new\nline' $'tab\t' $'\xff\xfe' $'\xc3\xa4' 'two words' -n '"' "'" '\' '\n' '$HOME' '*' '%s' '.hidden' '~nix~' \
  "$(printf 'x%.0s' {1..255})" "$(printf 'ä%.0s' {1..127})"; do
  printf %s "$name" >"./$name"
  ln -s -- "./$name" "link to ${name:0:100}"
done
chmod 555 ./-n
truncate -s 20M holes
SH
names="pkgs.runCommand \"names\" { } (builtins.readFile $work/names.sh)"
base='makeContainerImage { name = "base"; compressor = "none"; layers = [ pkgs.hello ]; fakeRootCommands = "mkdir -p data own gone; echo x >own/tool; chown 12:34 own/tool; chmod 6755 own/tool; mkdir -m 1777 shared; mkfifo own/fifo"; }'
for image in \
  "buildImage { name = \"names\"; maxLayers = 4; layers = [ (buildLayer { deps = [ names pkgs.hello ]; }) ]; copyToRoot = [ names ]; fromImage = $base; }" \
  "(makeContainerImage { name = \"scripted\"; layers = [ names pkgs.hello ]; maxLayers = 9; fromImage = $base; extraCommands = \"mkdir later\"; }).recipe"; do
  images+=("$(build "let names = $names; in $image")")
  mounted=$((mounted + 1))
done
if [[ ${docker-} ]]; then
  engine=docker transport=docker-daemon
  for image in "${images[@]}"; do same_files "$image"; done
fi
if command -v podman >/dev/null; then
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/containers" "$work/run" >"$work/storage.conf"
  printf '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n[engine]\nruntime="runc"\n' >"$work/containers.conf"
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
  engine=podman transport=containers-storage
  for image in "${images[@]}"; do same_files "$image"; done
fi
echo "$mounted images have store paths"
