# The store of another machine: a fleet is built there, and its detached recipes are fetched and pushed from this
# machine, which never has the closure.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
need_command jq
need_command ssh
export XDG_CACHE_HOME=$work/cache
start_registry "$work/registry"
trap 'stop_registry' EXIT
start_far "$work/there" || fail "sshd does not answer"
trap 'stop_registry; kill "$far_pid"' EXIT

salt=$(cat /proc/sys/kernel/random/uuid)
fleet='let image = word: buildImage { name = "'"$registry"'/remote-${word}"; tag = "t"; maxLayers = 3; compressed = "gzip";
    config.Cmd = [ "${pkgs.writeShellScript "only-there" "echo ${word} '"$salt"'"}" ]; }; in'
# build_remotely EXPR: builds on the other machine, and prints the path.
build_remotely() {
  nix build --eval-store auto --store "$far" --impure --expr "$(expression "$fleet $1")" --no-link 2>"$work/log" || { tail -n 50 "$work/log" "$work/there.ssh/log" >&2; fail "building there"; }
  nix-instantiate --eval --expr "$(expression "$fleet builtins.unsafeDiscardStringContext ($1).outPath")" 2>/dev/null | tr -d '"'
}
for word in one two; do
  recipe=$(build_remotely "image \"$word\"") detached=$(build_remotely "(image \"$word\").detached")
  [[ ! -e $recipe && ! -e $detached ]] || fail "it was built here"
  [[ -e $work/there$detached ]] || fail "it was not built there"
  nix copy --no-check-sigs --from "$far" --to "file://$work/binary?compression=zstd" "$recipe"
  nix copy --no-check-sigs --from "$far" "$detached"
  echo "$detached" "docker://$registry/remote-$word:t"
done >"$work/fleet"
"$strata" copy --fleet "$work/fleet" --substituter "file://$work/binary" 2>"$work/log" || { cat "$work/log" >&2; fail "copy --fleet"; }
for word in one two; do
  skopeo copy --quiet --src-tls-verify=false "docker://$registry/remote-$word:t" "oci:$work/pulled:$word"
done
"$strata" verify "$work/pulled" | grep -q ' 0 problems$' || fail "verify finds problems in the pushed image"
paths=$(cut -d ' ' -f 1 "$work/fleet" | xargs jq -r '.closure[].path' | grep -- -only-there)
for path in $paths; do
  [[ ! -e $path ]] || fail "$path is here"
  [[ -e $work/there$path ]] || fail "$path is not there"
done
