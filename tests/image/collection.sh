# An image with many unusual features: names with any bytes, 100,000 files, large files with holes, images on images,
# committed containers with removed files, volumes, setuid programs.
. "$root/tests/lib.sh"
need_command jq
[[ ${docker-} ]] || skip "no docker daemon"

# Names of every kind, the longest possible ones, and many.
cat >"$work/names.sh" <<'SH'
mkdir -p "$out/names" "$out/many"
cd "$out/names"
for name in $'new\nline' $'tab\t' $'\xff\xfe' $'\xc3\xa4' 'two words' -n '"' "'" '\' '\n' '$HOME' '*' '%s' '.hidden' '~nix~' \
  "$(printf 'x%.0s' {1..255})" "$(printf 'ä%.0s' {1..127})"; do
  printf %s "$name" >"./$name"
  ln -s -- "./$name" "link to ${name:0:100}"
done
deep=.
for level in {1..12}; do deep=$deep/$(printf "$level%.0s" {1..60}); mkdir "$deep"; done
echo deep >"$deep/file"
cd "$out/many"
for ((at = 1; at <= 100000; at++)); do : >"$at"; done
SH
# A base made by hand: a committed container that removed and replaced files.
base=$(build 'dockerTools.buildImage { name = "by-hand"; tag = "t"; copyToRoot = [ pkgs.busybox (pkgs.runCommand "files" { } "mkdir -p $out/etc/kept $out/etc/emptied $out/etc/gone; for at in kept emptied gone; do echo > $out/etc/$at/file; done; echo > $out/etc/replaced") ];
  config.Env = [ "PATH=/bin" ]; }')
name=$(load <"$base")
docker run --name by-hand --network none "$name" sh -c 'rm -rf /etc/gone /etc/emptied/file /etc/replaced; mkdir /etc/replaced; echo new >/etc/replaced/file; echo x >/etc/added'
docker commit by-hand committed:t >/dev/null
docker rm by-hand >/dev/null
docker save committed:t -o "$work/committed.tar"
docker rmi committed:t "$name" >/dev/null

# Twelve images on top of each other, each with one file. The highest has everything else.
expression='let
  level = number: below: dockerTools.buildImage { name = "level"; tag = "t"; compressor = "none"; fromImage = below;
    copyToRoot = [ (pkgs.writeTextDir "levels/${toString number}" "${toString number}") ]; };
  levels = builtins.foldl'"'"' (below: number: level number below) '"$work"'/committed.tar (builtins.genList (number: number + 1) 12);
  names = pkgs.runCommand "names" { } (builtins.readFile '"$work"'/names.sh);
  holes = pkgs.runCommand "holes" { } "mkdir $out; truncate -s 3G $out/holes; echo end >> $out/holes";
in '
top=$(build "$expression dockerTools.buildImage { name = \"collection\"; tag = \"t\"; compressor = \"none\"; fromImage = levels; copyToRoot = [ names ];
  runAsRoot = ''mkdir /data /own; echo kept > /data/file; echo x > /own/tool; chown 12:34 /own/tool; chmod 6755 /own/tool; mkdir -m 1777 /shared; rm -r /etc/kept'';
  config = { Env = [ \"PATH=/bin\" ]; Volumes.\"/data\" = { }; User = \"7:8\"; WorkingDir = \"/shared\"; }; }")
"$strata" verify "$top" | tail -n 1
same "$(load <"$top")" collection:t
check_output() { same "$1: $(run collection:t sh -c "$1")" "$1: $2"; }
names=$(build "$expression names")
run collection:t sh -c 'cd /names && find . -print0' | LC_ALL=C sort -z >"$work/there"
(cd "$names/names" && find . -print0) | LC_ALL=C sort -z | cmp - "$work/there"
run collection:t sh -c 'cd /names && find . -type f -maxdepth 1 -print0 | sort -z | xargs -0 cat' | sha256sum >"$work/sums"
(cd "$names/names" && find . -maxdepth 1 -type f -print0 | LC_ALL=C sort -z | xargs -0 cat) | sha256sum | cmp - "$work/sums"
check_output 'ls /many | wc -l' 100000
check_output 'cat $(find /names -name file)' deep
check_output 'cat /levels/* | tr -d "\n"' 110111223456789
check_output 'ls -A /etc | grep -v -e host -e resolv -e mtab | tr "\n" " "; ls -A /etc/emptied /etc/replaced | tr "\n" " "; cat /etc/replaced/file' \
  $'added emptied replaced /etc/emptied:  /etc/replaced: file new'
check_output 'stat -c "%a %u:%g %n" /own/tool /shared; id -u; pwd; cat /data/file' $'6755 12:34 /own/tool\n1777 0:0 /shared\n7\n/shared\nkept'
same "$(docker image inspect collection:t | jq -c '.[0].Config.Volumes')" '{"/data":{}}'
# Images on this one after docker has saved it, made by each of the functions.
docker save collection:t -o "$work/again.tar"
docker rmi collection:t >/dev/null
for image in 'makeContainerImage { compressor = "none"; layers' 'dockerTools.buildLayeredImage { name = "x"; compressor = "none"; contents'; do
  path=$(build "$image = [ pkgs.hello ]; tag = \"t\"; maxLayers = 100; fromImage = $work/again.tar; config.Env = [ \"PATH=/bin\" ]; }")
  name=$(load <"$path")
  same "$(run "$name" sh -c 'ls /many | wc -l; ls /etc/kept 2>&1; stat -c %a /own/tool; hello')" $'100000\nls: /etc/kept: No such file or directory\n6755\nHello, world!'
  docker rmi "$name" >/dev/null
done

# 3 GB of holes are hashed exactly, in constant memory. Neither archives nor docker keep holes, so the image is not
# written.
image=$(build "$expression buildImage { name = \"holes\"; copyToRoot = [ holes ]; }")
(ulimit -v 4000000; "$strata" verify "$image" | tail -n 1)
layer=$(jq -r '.layers[0].digest | sub("sha256:"; "blobs/sha256/")' "$image")
"$strata" stream "$image" | tar -xO "$layer" | tar -tvP >"$work/listing"
grep -qE ' 3221225476 .* /holes$' "$work/listing" || { cat "$work/listing"; fail "the file is not in it"; }
