# The console blocks and workflows of the manual, run unchanged, page by page: with Nix over the fixture's packages,
# docker, podman, and a registry at localhost:5000.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
export XDG_CACHE_HOME=$work/cache CONTAINERS_STORAGE_CONF=$work/storage.conf CONTAINERS_CONF=$work/containers.conf
printf '[storage]\ndriver = "vfs"\ngraphroot = "%s"\nrunroot = "%s"\n' "$work/containers" "$work/run" >"$work/storage.conf"
printf '[containers]\ndefault_ulimits=["nofile=1024:1024","nproc=1024:1024"]\n[engine]\nruntime="runc"\n' >"$work/containers.conf"

# The flake in the pages is this checkout, and its nixpkgs is the fixture.
mkdir "$work/bin"
cat >"$work/bin/nix" <<SH
#!/bin/sh
word=\$1; shift
if [ "\$word \$1 \$3" = "flake init github:strata-images/strata" ]; then exec $(command -v nix) flake init --template "git+file://$root"
elif [ "\$1 \$2 \$3" = "--inputs-from . strata" ]; then shift 3; set -- "git+file://$root" --override-input nixpkgs "path:$cache/hostpkgs/flake" "\$@"
elif [ "\$1" = github:strata-images/strata ]; then shift; set -- "git+file://$root" --override-input nixpkgs "path:$cache/hostpkgs/flake" "\$@"
else
  if grep -q nixpkgs.url flake.nix; then set -- --override-input nixpkgs "path:$cache/hostpkgs/flake" "\$@"; fi
  set -- --override-input strata "git+file://$root" --override-input strata/nixpkgs "path:$cache/hostpkgs/flake" "\$@"
fi
exec $(command -v nix) "\$word" --no-write-lock-file "\$@"
SH
chmod +x "$work/bin/nix"
ln -s "$strata" "$work/bin/strata"
export PATH=$work/bin:$PATH
# Variables of CI runners.
export IMAGE=localhost:5000/app CI_REGISTRY_IMAGE=localhost:5000/group/app CI_COMMIT_SHA=1234 \
  CI_REGISTRY_USER=user CI_REGISTRY_PASSWORD=password GITHUB_SHA=1234 GITHUB_ACTOR=user PASSWORD=password \
  GITHUB_REPOSITORY=Group/App GITHUB_ENV=$work/environment

registry_port=5000 start_registry "$work/registry"
trap 'stop_registry' EXIT

# step COMMAND EXPECTED: runs the command, and expects each line of EXPECTED in the output. `…` stands for any text.
# strata diff may exit with 1.
step() {
  local status=0 line
  echo "\$ $1" >>"$work/transcript"
  bash -euo pipefail -c "$1" >"$work/out" 2>&1 || status=$?
  [[ $1 != "strata diff "* || $status != 1 ]] || status=0
  ((status == 0)) || { cat "$work/out"; fail "$page: $1: exit status $status"; }
  while IFS= read -r line; do
    [[ ! $line ]] || grep -qxE -- "$(sed 's/[][\.*^$+?(){}|]/\\&/g; s/…/.*/g' <<<"$line")" "$work/out" ||
      { cat "$work/out"; fail "$page: $1: the output lacks: $line"; }
  done <<<"$2"
}
for page in README docs/{getting-started,layers,engines,serve,ci,caches,supply-chain,hardening,commands}; do
  mkdir -p "$work/$page"
  cd "$work/$page"
  /usr/bin/python3 "$root/tests/manual.py" nix "$root/$page.md" .
  /usr/bin/python3 "$root/tests/manual.py" script "$root/$page.md" >"$work/script"
  [[ -s $work/script ]] || fail "$page has no commands"
  . "$work/script"
done
