# A build on another machine, as `nix build --store ssh-ng://…` asks for it: packages and image are built there, and stay there.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command ssh
need_command jq
# Debian's PATH of users lacks it.
PATH=$PATH:/usr/sbin
need_command sshd
me=$(id -un)

# The other machine: a store of its own behind Debian's sshd. (`localhost` would bypass it.)
far=$work/far
mkdir -p "$far" "$work/ssh"
as_root mkdir -p /run/sshd
ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/host"
ssh-keygen -q -t ed25519 -N '' -f "$work/ssh/key"
# sshd gives programs an environment of its own.
{
  echo '#!/bin/bash'
  declare -px PATH NIX_CONFIG
  echo "exec nix-daemon --store 'local?root=$far' \"\$@\""
} >"$work/ssh/nix-daemon"
chmod +x "$work/ssh/nix-daemon"
port=2222
cat >"$work/ssh/config" <<CONFIG
Port $port
ListenAddress 127.0.0.1
HostKey $work/ssh/host
AuthorizedKeysFile $work/ssh/key.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile none
CONFIG
"$(command -v sshd)" -D -e -f "$work/ssh/config" 2>"$work/ssh/log" &
sshd=$!
trap 'kill $sshd' EXIT
export NIX_SSHOPTS="-p $port -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"
wait_for "$sshd" ssh $NIX_SSHOPTS -i "$work/ssh/key" "$me@127.0.0.1" true || { cat "$work/ssh/log" >&2; fail "sshd does not answer"; }

image="makeContainerImage { name = \"far\"; layers = [ pkgs.hello ]; config.Labels.run = \"$(date +%s%N)\"; }"
nix build --no-link --json --impure --expr "$(expression "$image")" --eval-store auto \
  --store "ssh-ng://$me@127.0.0.1?ssh-key=$work/ssh/key&remote-program=$work/ssh/nix-daemon" >"$work/built" 2>"$work/log" ||
  { tail -n 50 "$work/log" "$work/ssh/log" >&2; fail "the image is not built on the other machine"; }
archive=$(jq -r '.[0].outputs.out' "$work/built")
[[ -f $far$archive ]] || fail "$archive is not there"
[[ ! -e $archive ]] || fail "$archive came here"
same "$("$strata" inspect --json "$far$archive" | jq -r '.[0].reference')" far:latest
path=$(nix-instantiate --eval --expr "$(expression pkgs.hello.outPath)" | tr -d '"')
[[ -d $far$path ]] || fail "$path was not built there"
