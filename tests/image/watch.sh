# strata run --watch: a change of the flake's files starts a new container, which replaces the old one when it is up.
# After a failure the old one stays, and nothing remains at the end.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
export XDG_CACHE_HOME=$work/cache
busybox=$(build pkgs.busybox)/bin/busybox
mkdir "$work/flake" "$work/bin" "$work/gates"
cat >"$work/flake/flake.nix" <<NIX
{
  outputs = _: {
    packages.x86_64-linux.image =
      let
        pkgs = import $root/tests/hostpkgs { };
      in
      (import $root/nix { inherit pkgs; }).buildImage {
        name = "watched"; tag = "t";
        config.Cmd = [ "\${pkgs.writeScript "program" ("#!\${pkgs.busybox}/bin/busybox sh\nword=" + builtins.readFile ./word + builtins.readFile $work/program)}" ];
      };
  };
}
NIX
# Each version prints its word, listens after its gate is opened, and prints again when it is stopped.
cat >"$work/program" <<SH
trap 'echo stopped \$word; exit 0' TERM
echo started \$word
[ \$word != crashes ] || exit 3
while [ ! -e /gates/\$word ]; do $busybox sleep 0.05; done
$busybox nc -ll -p 8080 -e $busybox true &
while :; do $busybox sleep 0.05; done
SH
# Counts builds.
nix=$(command -v nix)
printf '#!/bin/sh\n[ "$3" != build ] || echo build >>"%s"\nexec %s "$@"\n' "$work/builds" "$nix" >"$work/bin/nix"
chmod +x "$work/bin/nix"
# Clients of the engines, which wait before `run` while $work/hold exists.
for name in docker podman; do
  real=$(command -v "$name") || continue
  cat >"$work/bin/$name" <<SH
#!/bin/sh
if [ "\$1" = run ] && [ -e "$work/hold" ]; then
  echo "\$1" >>"$work/held"
  while [ -e "$work/hold" ]; do sleep 0.05; done
fi
exec $real "\$@"
SH
  chmod +x "$work/bin/$name"
done
has_held() { [[ -e $work/held ]] && (($(wc -l <"$work/held") == $1)); }
has_built() { (($(grep -c build "$work/builds") >= $1)); }
cd "$work/flake"
set_word() { echo "$1" >"$work/word.new" && mv "$work/word.new" word; }
has_printed() { grep -qx "$1" "$work/out"; }
has_logged() { grep -qF -- "$1" "$work/log"; }
containers() { "$engine" ps --quiet --filter label=strata.run; }
has_containers() {
  local found
  found=$(containers) && (($(wc -w <<<"$found") == $1))
}
# An engine removes a container after its end, and images only after their containers.
has_none_stopped() { local found; found=$("$engine" ps --all --quiet --filter label=strata.run) && [[ ! $found ]]; }
has_one_image() { (($("$engine" images --format '{{.Repository}}' | grep -c strata-run/watched) == 1)); }
# until CONDITION…: waits for the condition while strata runs.
wait_until() { wait_for "$pid" "$@" || { cat "$work/out" "$work/log"; fail "strata ended, and never: $*"; }; }
watch() {
  rm -f "$work/gates/"* "$work/builds" "$work/out" "$work/log"
  set_word one
  touch "$work/gates/one"
  PATH=$work/bin:$PATH "$strata" run .#image --nix-arg=--impure --engine "$engine" --watch --network none \
    -v "$work/gates:/gates:ro" "$@" >"$work/out" 2>"$work/log" &
  pid=$!
  wait_until has_printed 'started one'
}

check_engine() {
  # Without a condition, a running container is up.
  watch
  touch "$work/gates/two"
  set_word two
  wait_until has_printed 'started two'
  wait_until has_printed 'stopped one'
  wait_until has_containers 1
  wait_until has_one_image
  same "$(grep -c build "$work/builds")" 2
  # A change that does not affect the image starts no container.
  echo ignored >.gitignore
  wait_until has_built 3
  # After a failed build the container stays.
  cp flake.nix "$work/flake.nix"
  echo broken >flake.nix
  wait_until has_logged 'nix build failed; its messages are above; the old one goes on'
  cp "$work/flake.nix" flake.nix
  set_word three
  wait_until has_printed 'stopped two'
  same "$(grep -c started "$work/out")" 3
  kill -TERM "$pid"
  wait "$pid" || fail "the program of the last container ends with 0"
  has_printed 'stopped three' || { cat "$work/out"; fail "the signal was not passed on"; }
  has_containers 0 || fail "a container is left"
  rm .gitignore

  # With a port, the old container continues until the new one listens.
  watch --ready-port 8080
  wait_until has_logged 'strata: the container is up'
  set_word two
  wait_until has_printed 'started two'
  has_containers 2 || fail "the old container was stopped before the new one was up"
  ! has_printed 'stopped one' || fail "the old container was stopped before the new one was up"
  # A newer version replaces one that is not up yet.
  set_word crashes
  wait_until has_printed 'stopped two'
  wait_until has_logged 'the new container ended with status 3 before it was up; the old one goes on'
  ! has_printed 'stopped one' || fail "the old container was stopped for one that crashed"
  touch "$work/gates/three"
  set_word three
  wait_until has_printed 'stopped one'
  wait_until has_containers 1
  # A version that is replaced before the engine has created its container.
  touch "$work/hold" "$work/gates/four" "$work/gates/five"
  rm -f "$work/held"
  set_word four
  wait_until has_held 1
  set_word five
  wait_until has_held 2
  rm "$work/hold"
  wait_until has_printed 'started five'
  wait_until has_printed 'stopped three'
  wait_until has_containers 1
  # If strata is killed, the container ends.
  kill -KILL "$pid"
  wait "$pid" || true
  wait_for $$ has_none_stopped
  "$engine" images --quiet | sort -u | xargs --no-run-if-empty "$engine" rmi --force >/dev/null
}

# A flake of another machine, and options that two containers cannot share.
refuses() {
  "$strata" run --watch "$@" --nix-arg=--impure 2>"$work/log" && fail "strata run --watch $* is accepted"
  grep -qF -- "$message" "$work/log" || { cat "$work/log"; fail "no message: $message"; }
}
message='--name: --watch runs an old and a new container at the same time; omit it' refuses .#image --name x
message='-i: --watch runs an old and a new container at the same time; omit it' refuses .#image -it
message="--publish: a container in the host's network publishes no ports" refuses .#image -p 8080:80 --network host
message='--publish 1:2/udp: --watch takes single TCP ports' refuses .#image -p 1:2/udp

if [[ ${docker-} ]]; then
  engine=docker
  check_engine
  # The network of a container on another machine is not visible here.
  for option in --publish --ready-port; do
    value=8080
    [[ $option == --ready-port ]] || value=8080:80
    on_another_machine "$strata" run .#image --nix-arg=--impure --engine docker --watch "$option" "$value" 2>"$work/log" &&
      fail "strata run --watch $option is accepted with an engine of another machine"
    has_logged "$option $value: --watch needs an engine on this machine: the docker daemon at" || { cat "$work/log"; fail "no message"; }
  done
  # With a health check in the engine's options.
  mkdir "$work/health"
  touch "$work/health/good"
  watch -v "$busybox:/bin/sh:ro" -v "$work/health:/health:ro" --health-cmd 'test -e /health/good' --health-interval 100ms
  wait_until has_logged 'strata: the container is up'
  rm "$work/health/good"
  touch "$work/gates/two"
  set_word two
  wait_until has_printed 'started two'
  has_containers 2 || fail "the old container was stopped before the new one was healthy"
  touch "$work/health/good"
  wait_until has_printed 'stopped one'
  kill -TERM "$pid"
  wait "$pid"
  has_containers 0 || fail "a container is left"
fi
if command -v podman >/dev/null; then
  printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/containers" "$work/run" >"$work/storage.conf"
  printf '[containers]\ndefault_ulimits=["nofile=4096:4096","nproc=4096:4096"]\n[engine]\nruntime="runc"\n' >"$work/containers.conf"
  export CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
  engine=podman
  check_engine
fi
