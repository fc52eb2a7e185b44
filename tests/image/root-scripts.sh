# Scripts that run as root reach nothing of the machine: its devices, kernel settings and store, with and without Nix's
# sandbox. Without a sandbox, Nix as root without build users runs scripts as the machine's root.
. "$root/tests/lib.sh"
need_command jq

# Each line of /reached is an attack that succeeded.
attack='
  victim=$(dirname ${pkgs.hello})/$(basename ${pkgs.hello})
  reach() { local what=$1; shift; if "$@" 2>/dev/null; then echo "$what" >>/reached; fi; }
  : >/reached
  ls /dev | sort | tr "\n" " " >/devices
  [ -c /dev/null ] && [ -c /dev/zero ] && [ -d /dev/shm ] && [ -e /dev/ptmx ]
  echo x >/dev/shm/file; echo x >/dev/null; head -c 1 /dev/urandom >/dev/full 2>/dev/null || echo full >/full
  reach "mode of a device" chmod 600 /dev/null
  rm -rf /dev/* 2>/dev/null || :
  reach "kernel settings" bash -c ": >>/proc/sys/kernel/core_pattern"
  reach "read-only kernel settings" mount -o remount,bind,rw /proc/sys
  reach "removed mount over kernel settings" umount /proc/sys
  find /proc -regextype posix-extended -regex "/proc/[0-9]+" -prune -o -type f -writable -print >>/reached 2>/dev/null || :
  reach "new store path" mkdir /nix/store/evil
  reach "mode of a store path" chmod 755 $victim
  reach "removed store path" rm -rf $victim
  reach "writable store" mount -o remount,bind,rw /nix/store
  reach "removed mount over the store" umount /nix/store
  reach "file system of the machine" ls /proc/1/root/MARK
  ls ${pkgs.hello}/bin/hello >/store'

# unpack EXPR [OPTIONS…]: unpacks the image's top layer to $work/top.
unpack() {
  local archive
  archive=$(build "$@")
  # Directories of store paths are read-only.
  [[ ! -e $work/top ]] || chmod -R u+w "$work/top"
  rm -rf "$work/top"
  mkdir "$work/top"
  tar -xOf "$archive" "$(tar -xOf "$archive" manifest.json | jq -r '.[0].Layers[-1]')" | tar -xC "$work/top" --no-same-owner --no-same-permissions
}
# run_attack EXPR [OPTIONS…]: builds an image with the attack as its script.
run_attack() {
  unpack "$1" "${@:2}"
  silent cat "$work/top/reached"
  same "$(cat "$work/top/devices")" "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero "
  [[ -s $work/top/full && -s $work/top/store ]] || fail "the script did not come to its end"
  [[ ! -e $work/top/dev/shm/file ]] || fail "/dev is in the image"
}
touch "$work/mark"
attack=${attack//MARK/$work/mark}
images=("dockerTools.buildImage { name = \"x\"; tag = \"t\"; compressor = \"none\"; runAsRoot = ''$attack''; }"
  "dockerTools.buildLayeredImage { name = \"x\"; tag = \"t\"; compressor = \"none\"; enableFakechroot = true; fakeRootCommands = ''$attack''; }")
for image in "${images[@]}"; do run_attack "$image"; done

# The script may set the host name, which is that of its namespace.
unpack 'dockerTools.buildImage { name = "x"; tag = "t"; compressor = "none"; runAsRoot = "
  ${pkgs.python3}/bin/python3 -c \"import socket; socket.sethostname(\\\"named\\\"); print(socket.gethostname())\" >/name"; }'
same "$(cat "$work/top/name")" named

# Without a sandbox: in a mount namespace, whose /dev has copies.
if ((EUID)); then
  skip_part "builds without a sandbox are attacked as root only"
else
  export -f build run_attack unpack expression same silent fail
  export attack work
  unsandboxed() {
    set -euo pipefail
    mkdir "$work/dev"
    mount -n -t tmpfs tmpfs "$work/dev"
    cp -a /dev/{null,zero,full,random,urandom,tty} "$work/dev"
    mkdir "$work/dev"/{pts,shm}
    mount -n -t devpts -o newinstance,ptmxmode=0666 devpts "$work/dev/pts"
    ln -s pts/ptmx "$work/dev/ptmx"
    mount -n --move "$work/dev" /dev
    ls -l /dev >"$work/before"
    (umask 077; mkdir "$work/build")
    export TMPDIR=$work/build
    run_attack "$1" --option sandbox false
    [[ $(<"$work/top/where") == "$work/build"/* ]] || fail "built in a sandbox"
    ls -l /dev >"$work/after"
    diff "$work/before" "$work/after" || fail "the devices of the machine changed"
  }
  export -f unsandboxed
  for image in "${images[@]}"; do
    rm -rf "$work/dev" "$work/build"
    unshare --mount --propagation private bash -c 'unsandboxed "$1"' bash "${image//: >\/reached/: >\/reached; echo "\$NIX_BUILD_TOP" >\/where}" >"$work/log2" 2>&1 || { cat "$work/log2"; fail "without a sandbox"; }
  done
fi
