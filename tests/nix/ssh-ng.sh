# A build on another machine with `nix build --store ssh-ng://…`: packages and image are built there, and stay there.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command ssh
need_command jq
start_far "$work/far" || fail "sshd does not answer"
trap 'kill $far_pid' EXIT

image="makeContainerImage { name = \"far\"; layers = [ pkgs.hello ]; config.Labels.run = \"$(date +%s%N)\"; }"
nix build --no-link --json --impure --expr "$(expression "$image")" --eval-store auto --store "$far" >"$work/built" 2>"$work/log" ||
  { tail -n 50 "$work/log" "$work/far.ssh/log" >&2; fail "the image is not built on the other machine"; }
archive=$(jq -r '.[0].outputs.out' "$work/built")
[[ -f $work/far$archive ]] || fail "$archive is not there"
[[ ! -e $archive ]] || fail "$archive came here"
same "$("$strata" inspect --json "$work/far$archive" | jq -r '.[0].reference')" far:latest
path=$(nix-instantiate --eval --expr "$(expression pkgs.hello.outPath)" | tr -d '"')
[[ -d $work/far$path ]] || fail "$path was not built there"
