# Every template of the flake except makes, which tests/image/makes.sh tests: instantiated, built, checked, copied and
# run. The commands of the CI templates run as in a runner.
. "$root/tests/lib.sh"
. "$root/tests/services.sh"
need_command docker-registry
export XDG_CACHE_HOME=$work/cache
start_registry "$work/registry"
trap 'stop_registry' EXIT

# The inputs of the templates are this checkout and the fixture.
mkdir "$work/bin"
cat >"$work/bin/nix" <<SH2
#!/bin/sh
command=\$1; shift
if [ "\$1 \$2 \$3" = "--inputs-from . strata" ]; then shift 3; set -- "git+file://$root" --override-input nixpkgs "path:$cache/hostpkgs/flake" "\$@"
else set -- "\$@" --override-input nixpkgs "path:$cache/hostpkgs/flake" --override-input strata "git+file://$root" --no-write-lock-file; fi
exec $(command -v nix) "\$command" "\$@"
SH2
chmod +x "$work/bin/nix"
real_nix=$(command -v nix)

# instantiate NAME: creates the template in a new directory.
instantiate() {
  mkdir "$work/$1"
  cd "$work/$1"
  "$real_nix" flake init --template "git+file://$root#$1" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "template $1"; }
  # Flakes in git contain only tracked files.
  git init --quiet
  git add .
}
nix_in_template() { "$work/bin/nix" "$@" 2>"$work/log" || { cat "$work/log" >&2; fail "nix $*"; }; }

instantiate default
nix_in_template build .#image
nix_in_template build .#checks.x86_64-linux.image --out-link check
grep -q ' 0 problems' check || fail "the check"
nix_in_template build .#checks.x86_64-linux.tested
# The log is kept with a result of an earlier run.
nix_in_template log .#checks.x86_64-linux.tested >"$work/tested"
grep -q 'ok   Command Test: greets' "$work/tested" || { cat "$work/tested"; fail "the test of the image"; }
nix_in_template build .#image.copyToDockerDaemon --out-link copy
copy/bin/copy-to-docker-daemon --quiet >/dev/null
same "$(run app:latest)" "Hello, world!"
docker rmi app:latest >/dev/null

# The flakes of the CI templates are that of the default template: `nix flake init` does not copy links.
for template in github-actions gitlab-ci; do
  diff <(grep -v description "$root/templates/default/flake.nix") <(grep -v description "$root/templates/$template/flake.nix") || fail "$template/flake.nix differs"
done

# workflow FILE: prints the commands of all jobs in order.
workflow() {
  /usr/bin/python3 -c '
import sys, yaml
with open(sys.argv[1]) as file:
    workflow = yaml.safe_load(file)
for job in workflow.get("jobs", workflow).values():
    if isinstance(job, dict):
        for command in [step["run"] for step in job.get("steps", []) if "run" in step] + job.get("script", []):
            print(command)' "$1"
}
nix key generate-secret --key-name cache.example.com-1 >"$work/key"
CACHE_PUBLIC_KEY=$(nix key convert-secret-to-public <"$work/key")
export CACHE_PUBLIC_KEY RUNNER_TEMP=$work/temporary GITHUB_REPOSITORY=Group/App GITHUB_ENV=$work/environment
mkdir "$RUNNER_TEMP"
export IMAGE=$registry/app CI_REGISTRY_IMAGE=$registry/group/app GITHUB_SHA=1234 CI_COMMIT_SHA=1234 CI_REGISTRY_USER=user CI_REGISTRY_PASSWORD=password GITHUB_ACTOR=user PASSWORD=password
for template in github-actions gitlab-ci; do
  instantiate "$template"
  export CACHE=file://$work/cache-of-$template
  export CACHE_SECRET_KEY
  # GitHub has the contents of the secret in the variable, and GitLab the name of a file.
  if [[ $template == github-actions ]]; then
    file=.github/workflows/image.yml CACHE_SECRET_KEY=$(<"$work/key")
  else
    file=.gitlab-ci.yml CACHE_SECRET_KEY=$work/key
  fi
  workflow "$file" >"$work/commands"
  same "$(grep -cE '(^|\| )nix ' "$work/commands")" 4
  while IFS= read -r command; do
    # Without a network, Nix uses substituters only with this setting.
    PATH=$work/bin:$PATH NIX_CONFIG="${NIX_CONFIG-}"$'\nsubstitute = true' bash -euo pipefail -c "$command" >"$work/log" 2>&1 </dev/null || { cat "$work/log"; fail "$template: $command"; }
    # The second job is on another runner, which takes the recipe from the cache.
    if [[ $command == "nix copy "* ]]; then
      recipe=$(for result in result*; do [[ $(nix-store --query --references "$result") ]] || readlink "$result"; done)
      rm result*
      nix-store --delete "$recipe" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "$template: the recipe is not deleted"; }
    fi
  done <"$work/commands"
  nix path-info --sigs ./detached >"$work/signatures"
  grep -q 'cache.example.com-1:' "$work/signatures" || { cat "$work/signatures"; fail "$template: the recipe does not come from the cache"; }
  rm detached
done
same "$(<"$GITHUB_ENV")" "IMAGE=ghcr.io/group/app"
for repository in app group/app; do
  for tag in 1234 latest; do "$strata" manifest "$registry/$repository:$tag" >/dev/null; done
done

# For another system, the fixture returns the packages of this one.
instantiate multi-platform
NIX_CONFIG="${NIX_CONFIG-}"$'\nextra-platforms = aarch64-linux' nix_in_template build
"$strata" copy --all result "docker://$registry/multi:v1" --quiet >/dev/null
same "$("$strata" manifest --index "$registry/multi:v1" | jq -c '[.manifests[].platform.architecture] | sort')" '["amd64","arm64"]'
"$strata" copy "docker://$registry/multi:v1" docker-daemon:multi:v1 --quiet >/dev/null
same "$(run multi:v1)" "Hello, world!"
docker rmi multi:v1 >/dev/null

# tests/peers/callers.sh evaluates this template with the modules of NixOS. Here the image of the template's module is
# loaded and run.
instantiate nixos
mkdir "$work/nixos-nixpkgs"
echo "{ outputs = _: { lib.nixosSystem = machine: machine; legacyPackages.x86_64-linux = import $cache/hostpkgs/flake { }; }; }" >"$work/nixos-nixpkgs/flake.nix"
drv=$("$real_nix" eval --raw --impure --no-write-lock-file --override-input nixpkgs "path:$work/nixos-nixpkgs" --override-input strata "git+file://$root" \
  .#nixosConfigurations.machine --apply "machine: (builtins.elemAt machine.modules 2 { pkgs = import $cache/hostpkgs/flake { }; }).virtualisation.oci-containers.containers.app.image.copyToDockerDaemon.drvPath" \
  2>"$work/log") || { cat "$work/log"; fail "nixos"; }
name=$("$(nix-store --realise "$drv" 2>"$work/log")/bin/copy-to-docker-daemon" --quiet | tail -n 1) || { cat "$work/log"; fail "nixos: the image"; }
same "$(run "$name")" "Hello, world!"
docker rmi --force "$name" >/dev/null

if [[ ${STRATA_FLAKE_PARTS-} && ${STRATA_NIXPKGS_LIB-} ]]; then
  instantiate flake-parts
  # The fixture with nixpkgs' lib.
  mkdir "$work/nixpkgs"
  echo "{ outputs = _: {
    _type = \"flake\";
    lib = import $STRATA_NIXPKGS_LIB // { version = \"26.05\"; };
    legacyPackages.x86_64-linux = import $cache/hostpkgs/flake { };
  }; }" >"$work/nixpkgs/flake.nix"
  inputs=(--impure --no-write-lock-file --override-input nixpkgs "path:$work/nixpkgs" --override-input strata "git+file://$root"
    --override-input flake-parts "path:$STRATA_FLAKE_PARTS")
  "$real_nix" build "${inputs[@]}" .#checks.x86_64-linux.app-verified --out-link check 2>"$work/log" || { cat "$work/log"; fail "flake-parts: the check"; }
  grep -q " 0 problems" check || fail "flake-parts: the check"
  "$real_nix" build "${inputs[@]}" .#app.copyToDockerDaemon --out-link copy 2>"$work/log" || { cat "$work/log"; fail "flake-parts"; }
  copy/bin/copy-to-docker-daemon --quiet >/dev/null
  same "$(run app:latest)" "Hello, world!"
  docker rmi app:latest >/dev/null
else
  skip_part "STRATA_FLAKE_PARTS and STRATA_NIXPKGS_LIB name no checkouts"
fi
