# Flake references as images: Nix builds them for every command that reads images, with the arguments of --nix-arg.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command jq
mkdir "$work/flake"
cat >"$work/flake/flake.nix" <<NIX
{
  inputs.word.url = "path:$work/one";
  inputs.word.flake = false;
  outputs = { word, ... }:
    {
      packages.x86_64-linux = rec {
        image = (import $root/nix { pkgs = import $root/tests/hostpkgs { }; }).buildImage {
          name = "referenced"; tag = "t"; config.Labels.word = builtins.readFile "\${word}/word";
        };
        default = image;
        broken = throw "this is broken";
      };
    };
}
NIX
mkdir "$work/one" "$work/two"
printf one >"$work/one/word"
printf two >"$work/two/word"
cd "$work/flake"
# The flake and the fixture read files that no lock file lists.
arguments=(--nix-arg=--impure)
word() { jq -r '.[0].config.config.Labels.word'; }
same "$("$strata" inspect .#image --json "${arguments[@]}" 2>"$work/log" | word)" one || cat "$work/log"
same "$("$strata" inspect "path:$work/flake" --json "${arguments[@]}" | word)" one
# Several arguments of Nix, one for each option. The digest of the image changes.
other=("${arguments[@]}" --nix-arg=--override-input --nix-arg=word --nix-arg="path:$work/two")
same "$("$strata" inspect .#image --json "${other[@]}" | word)" two
"$strata" copy .#image "oci:$work/layout:t" "${arguments[@]}" --quiet >/dev/null
"$strata" diff .#image "oci:$work/layout:t" "${arguments[@]}" >/dev/null || fail "the copy differs from the flake's image"
# The error of Nix is printed, and options of other programs are refused.
"$strata" inspect .#broken "${arguments[@]}" 2>"$work/log" && fail "a broken flake has no image"
grep -q 'this is broken' "$work/log" || { cat "$work/log"; fail "Nix's message is missing"; }
grep -q 'building .#broken: nix build failed; its messages are above' "$work/log" || { cat "$work/log"; fail "no summary"; }
"$strata" inspect "$work/layout" --nix-arg=--impure 2>"$work/log" && fail "an ignored option is accepted"
grep -q -e '--nix-arg: no flake reference is given; omit it' "$work/log" || { cat "$work/log"; fail "the option is not named"; }
# A flake of another author in a git repository: its configuration and hooks are not run.
cp -r "$work/flake" "$work/cloned"
git -C "$work/cloned" init --quiet
git -C "$work/cloned" add flake.nix
git -C "$work/cloned" config core.fsmonitor "touch $work/ran; false"
mkdir -p "$work/hooks"
printf '#!/bin/sh\ntouch %s/ran\n' "$work" | tee "$work/hooks/post-index-change" >"$work/hooks/reference-transaction"
chmod +x "$work/hooks"/*
git -C "$work/cloned" config core.hooksPath "$work/hooks"
rm -f "$work/ran"
same "$("$strata" inspect "$work/cloned#image" --json "${arguments[@]}" | word)" one
[[ ! -e $work/ran ]] || fail "a program of the repository's configuration ran"
git -C "$work/cloned" status >/dev/null
[[ -e $work/ran ]] || fail "git runs no program of this configuration: the test proves nothing"
# Every command in the help accepts references and the option, or no image at all. A new command must be added here.
printf '{ "images": {} }' >"$work/budget"
printf 'schemaVersion: 2.0.0\nmetadataTest: { labels: [ { key: word, value: one } ] }\n' >"$work/structure.yaml"
accepts() {
  local arguments=("$@")
  rm -rf "$work/copied"
  "$strata" "${arguments[@]}" --nix-arg=--impure >"$work/out" 2>"$work/log" || { cat "$work/log"; fail "strata $* fails"; }
  # The error is that of Nix.
  "$strata" "${arguments[@]//.#image/.#broken}" --nix-arg=--impure >/dev/null 2>"$work/log" && fail "strata $* builds a broken package"
  grep -q 'this is broken' "$work/log" || { cat "$work/log"; fail "strata $*: Nix's message is missing"; }
  grep -q 'building .#broken: nix build failed; its messages are above' "$work/log" || { cat "$work/log"; fail "strata $*: no summary"; }
}
commands=0
while read -r command; do
  commands=$((commands + 1))
  case $command in
    pull | manifest | list-tags | index | login | logout | lock | attach | completions | help) continue ;;
    # The flake to build again is an option: rebuild.sh has it.
    rebuild) continue ;;
    # The image has no patches, which only CycloneDX can express.
    vex) accepts vex .#image --format cyclonedx ;;
    copy) accepts copy .#image "oci:$work/copied:t" ;;
    diff) accepts diff .#image .#image ;;
    budget) accepts budget .#image "$work/budget" --update ;;
    check) accepts check .#image "$work/structure.yaml" ;;
    plan) accepts plan .#image --history .#image ;;
    sbom)
      accepts sbom .#image
      accepts sbom diff .#image .#image
      ;;
    serve)
      rm -f "$work/out" "$work/log"
      "$strata" serve --listen 127.0.0.1:0 name:t=.#image --nix-arg=--impure >"$work/out" 2>"$work/log" &
      server=$!
      wait_for "$server" test -s "$work/out" || { cat "$work/log"; fail "strata serve fails"; }
      kill "$server"
      wait "$server" || true
      "$strata" serve --listen 127.0.0.1:0 "git+file:$work/cloned?shallow=1#broken" --nix-arg=--impure >/dev/null 2>"$work/log" && fail "serve accepts a broken package"
      grep -q 'this is broken' "$work/log" || { cat "$work/log"; fail "strata serve: Nix's message is missing"; }
      ;;
    compose-mounts) [[ ! ${docker-} ]] || accepts compose-mounts .#image --service name ;;
    run) ;; # Below.
    *) accepts "$command" .#image ;;
  esac
done < <("$strata" --help | sed -nE '/^Commands:/,/^$/ s/^  ([a-z][a-z-]*).*/\1/p')
((commands > 20)) || fail "the help lists $commands commands"
# An existing file is a path and not a reference.
mkdir "$work/with#mark"
cp -r "$work/layout/." "$work/with#mark"
same "$("$strata" inspect "$work/with#mark" --json | word)" one
if [[ ${docker-} ]]; then
  # The image has no program, which the engine reports.
  "$strata" run .#image "${arguments[@]}" --network none -- /none 2>"$work/log" && fail "there is no such program"
  grep -q '/none.*no such file or directory' "$work/log" || { cat "$work/log"; fail "the container was not started"; }
  docker images --quiet | sort -u | xargs docker rmi --force >/dev/null
fi
