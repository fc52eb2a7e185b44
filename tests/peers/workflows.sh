# The workflows for hosted CI, which cannot run here: actionlint and the schemas of GitHub and GitLab accept them, actions are
# pinned, permissions are declared, and each command is one that the tests run or that is in the list below.
. "$root/tests/lib.sh"
cd "$root"
github=(.github/workflows/*.yml templates/github-actions/.github/workflows/*.yml)

# workflow KIND FILE: prints the actions (uses) or the commands (run) of all jobs, a line each.
workflow() {
  /usr/bin/python3 -c '
import sys, yaml
kind, name = sys.argv[1:]
with open(name) as file:
    workflow = yaml.safe_load(file)
for job in workflow.get("jobs", workflow).values():
    if isinstance(job, dict):
        lines = [step[kind] for step in job.get("steps", []) if kind in step]
        for line in lines + (job.get("before_script", []) + job.get("script", []) if kind == "run" else []):
            print(line.rstrip("\n"))' "$@"
}

# Those of this repository and of the template name each action by its commit, and grant a job only what it declares.
for file in .github/workflows/*.yml .forgejo/workflows/*.yml templates/github-actions/.github/workflows/*.yml; do
  workflow uses "$file" >"$work/uses"
  [[ -s $work/uses || $file == .forgejo/* ]] || fail "$file uses no actions"
  lacks -vE '@[0-9a-f]{40}$' "$work/uses"
  same "$(grep -cE 'uses: .*@[0-9a-f]{40} # v[0-9.]+$' "$file")" "$(wc -l <"$work/uses")"
  [[ $file == .forgejo/* ]] || grep -qx 'permissions: {}' "$file" || fail "$file grants the default permissions"
done

# Commands of the Rust code are those of dev/test, and commands of this repository exist. The others install programs, or need
# GitHub's runner; dev/test installs the same versions in another way.
others='apt-get -qq update
apt-get -qq update && apt-get -qq -y install --no-install-recommends ca-certificates curl git sudo
apt-get -qq -y install --no-install-recommends build-essential ca-certificates curl git sudo
git config --system --add safe.directory "$GITHUB_WORKSPACE"
git init --quiet .
git fetch --quiet "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY" "$GITHUB_SHA"
git checkout --quiet --detach FETCH_HEAD
curl --proto '\''=https'\'' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile default
echo "$HOME/.cargo/bin" >>"$GITHUB_PATH"
export PATH="$HOME/.cargo/bin:$PATH"
rustup component add clippy rustfmt
rustup toolchain install nightly --profile minimal
rustup toolchain install --profile minimal "$(sed -n '\''s/^rust-version = "\(.*\)"/\1/p'\'' Cargo.toml)"
cargo "+$(sed -n '\''s/^rust-version = "\(.*\)"/\1/p'\'' Cargo.toml)" build --locked --all-features
version=$(sed -n '\''s/^rust-version = "\(.*\)"/\1/p'\'' Cargo.toml)
rustup toolchain install --profile minimal "$version"
cargo "+$version" build --locked --all-features
cargo install --locked cargo-deny --version '"$(sed -n 's/^deny_version=//p' dev/env.sh)"'
cargo deny --locked check
sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
nix flake check --print-build-logs'
sed 's/ --quiet//' dev/test >"$work/checks"
for file in .github/workflows/*.yml .forgejo/workflows/*.yml .gitlab-ci.yml; do
  workflow run "$file" >"$work/commands"
  [[ -s $work/commands ]] || fail "$file has no commands"
  while IFS= read -r command; do
    case $command in
      "cargo fmt"* | "cargo clippy"* | "cargo doc"* | "RUSTDOCFLAGS="*)
        command=${command#RUSTDOCFLAGS=\"-D warnings\" }
        grep -qF -- " $command" "$work/checks" || fail "$file: dev/test does not run: $command"
        ;;
      dev/*) [[ -x ${command%% *} ]] || fail "$file: ${command%% *} is no program" ;;
      *) grep -qxF -- "$command" <<<"$others" || fail "$file: run this command, and add it to this test: $command" ;;
    esac
  done <"$work/commands"
done
[[ $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) =~ ^1\.[0-9]+$ ]] || fail "the workflows find no version of Rust in Cargo.toml"

# The checkout of each of Forgejo's jobs, from this repository instead of a server.
same "$(workflow run .forgejo/workflows/ci.yml | grep -c '^git init')" "$(grep -c 'runs-on: docker' .forgejo/workflows/ci.yml)"
workflow run .forgejo/workflows/ci.yml | sed -n 1,3p >"$work/checkout"
mkdir "$work/checked-out"
(
  cd "$work/checked-out"
  export GITHUB_SERVER_URL=file://${root%/*} GITHUB_REPOSITORY=${root##*/} GITHUB_SHA
  GITHUB_SHA=$(git -C "$root" rev-parse HEAD)
  bash -euo pipefail "$work/checkout"
  same "$(git rev-parse HEAD) $(git rev-parse --is-shallow-repository)" "$GITHUB_SHA false"
)

# actionlint does not know Forgejo's runners. Shell commands are checked above, and those of the
# template are run by tests/image/templates.sh.
if from_go github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 actionlint; then
  mkdir -p "$work/forgejo/.github/workflows"
  cp .forgejo/workflows/ci.yml "$work/forgejo/.github/workflows/"
  echo 'self-hosted-runner: { labels: [docker] }' >"$work/actionlint.yaml"
  actionlint -shellcheck= -pyflakes= "${github[@]}" || fail "actionlint"
  actionlint -shellcheck= -pyflakes= -config-file "$work/actionlint.yaml" "$work/forgejo/.github/workflows/ci.yml" || fail "actionlint, Forgejo"
  # A mistake is found.
  sed 's/runs-on: ubuntu-24.04$/runs-on: [ubuntu-24.04, windows-2025]/' .github/workflows/fuzz.yml >"$work/mistake.yml"
  if actionlint -shellcheck= -pyflakes= "$work/mistake.yml" >"$work/log"; then fail "actionlint accepts conflicting runners"; fi
fi

# The schemas that GitHub's and GitLab's editors use, as check-jsonschema distributes them.
schemas=$cache/check-jsonschema-0.39.0
if [[ ! -d $schemas ]]; then
  online /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$schemas.new" check-jsonschema==0.39.0 >"$work/log" 2>&1 ||
    skip "the schemas cannot be installed from PyPI: $(tail -n 1 "$work/log")"
  mv "$schemas.new" "$schemas"
fi
valid() {
  /usr/bin/python3 - "$schemas/check_jsonschema/builtin_schemas/vendor/$1.json" "${@:2}" <<'PY'
import json, sys, jsonschema, yaml

class Loader(yaml.SafeLoader):
    """YAML 1.2 has no boolean `on`."""

Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
with open(sys.argv[1]) as file:
    schema = json.load(file)
for name in sys.argv[2:]:
    with open(name) as file:
        jsonschema.validate(yaml.load(file, Loader), schema, jsonschema.Draft7Validator)
PY
}
valid github-workflows "${github[@]}" .forgejo/workflows/ci.yml || fail "GitHub's schema"
valid github-issue-forms .github/ISSUE_TEMPLATE/{bug,feature}.yml || fail "the schema of issue forms"
valid github-issue-config .github/ISSUE_TEMPLATE/config.yml || fail "the schema of the configuration of issue forms"
valid gitlab-ci .gitlab-ci.yml templates/gitlab-ci/.gitlab-ci.yml || fail "GitLab's schema"
sed 's/^  timeout: 2 hours/  timeuot: 2 hours/' .gitlab-ci.yml >"$work/mistake.yml"
if valid gitlab-ci "$work/mistake.yml" 2>"$work/log"; then fail "GitLab's schema accepts an unknown key"; fi
grep -q timeuot "$work/log" || { cat "$work/log"; fail "another error than that of the key"; }
