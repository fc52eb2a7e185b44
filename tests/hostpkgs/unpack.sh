# Builds one unit: unpacks $debs into $out, and replaces paths by store paths.
#
#   usr/X and X    → $out/X
#   ELF files      → interpreter and RUNPATH of the dependencies; a missing library fails the build
#   #!/usr/bin/X   → the dependency that has bin/X
#   /usr/… links   → the dependency that has the target
#
# Runs in the Nix sandbox with busybox: $tools has busybox, patchelf and the libraries of patchelf.
set -eu
bb=$tools/bin/busybox
PATH=$tools/applets
export PATH
patchelf() { "$tools/lib/ld.so" --library-path "$tools/lib" "$tools/lib/patchelf" "$@"; }
# Prints $1 in the first unit that has it, among this unit and its dependencies.
owner() { for owner in $out $dependencies; do [ -e "$owner/$1" ] && echo "$owner" && return; done; return 1; }

mkdir -p "$out" x
cd x
for deb in $debs; do
  $bb ar p "$deb" data.tar.xz > ../data.tar.xz
  # The sandbox cannot set setuid bits, and tar reports that. All other errors count.
  unxz -c ../data.tar.xz | tar -x -o -f - 2> ../errors || { grep -v "chmod" ../errors && exit 1; }
done
chmod -R u+rwX .
[ ! -d usr ] || cp -a usr/. .
rm -rf usr
cp -a . "$out"
cd "$out"

find . -type l | while read -r link; do
  target=$(readlink "$link")
  case $target in
    /*) path=${target#/}; path=${path#usr/}
        if found=$(owner "$path"); then ln -sfn "$found/$path" "$link"; fi ;;
  esac
done

case $name in glibc-*) exit 0 ;; esac
if [ -n "$propagate" ]; then
  mkdir -p nix-support
  echo $dependencies > nix-support/propagated
fi
loader=$(ls "${glibc}"/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2)
find . -type f | while read -r file; do
  case $(head -c 4 "$file" | od -An -c | tr -d ' ') in
    '177ELF')
      needed=$(patchelf --print-needed "$file" 2> /dev/null) || continue
      [ -n "$needed" ] || continue
      runpath=
      for library in $needed; do
        directory=
        for root in $out $dependencies; do
          for at in "$root/lib" "$root/lib/x86_64-linux-gnu" "$root/lib/x86_64-linux-gnu/${name%-*}" \
            "$root/lib/x86_64-linux-gnu/systemd" "$root/lib/x86_64-linux-gnu/libfakeroot"; do
            [ -e "$at/$library" ] && directory=$at && break 2
          done
        done
        [ -n "$directory" ] || directory=$(dirname "$(find "$out" $dependencies -name "$library" | head -n 1)")
        [ "$directory" != . ] || { echo "$name: $file needs $library, which no dependency has"; exit 1; }
        case ":$runpath:" in *":$directory:"*) ;; *) runpath=${runpath:+$runpath:}$directory ;; esac
      done
      chmod u+w "$file"
      patchelf --set-rpath "$runpath" "$file"
      ! patchelf --print-interpreter "$file" > /dev/null 2>&1 || patchelf --set-interpreter "$loader" "$file" ;;
    '#!'*)
      interpreter=$(head -n 1 "$file" | sed -n 's|^#! *\(/usr\)*/\(bin/[^ ]*\).*|\2|p')
      [ "$interpreter" != bin/env ] || continue
      [ -z "$interpreter" ] || ! found=$(owner "$interpreter") || sed -i "1s|^#! *[^ ]*|#!$found/$interpreter|" "$file" ;;
  esac
done
eval "$extra"
