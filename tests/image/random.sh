# Modes, owners, links and contents in containers equal those of a model, for random bases, contents and scripts.
# STRATA_SEED and STRATA_CASES select other cases, and a failure prints the case.
. "$root/tests/lib.sh"
need_command python3
[[ ${docker-} ]] || skip "no docker daemon"

cases=${STRATA_CASES:-60} seed=${STRATA_SEED:-strata}
mkdir "$work/cases"
python3 "$root/tests/image/random_images.py" make "$work/cases" "$cases" "$seed"
build "builtins.genList (at: import ($work/cases + \"/\${toString at}.nix\") { inherit pkgs strata; }) $cases" >"$work/archives"
at=0
while read -r archive; do
  name=$(load <"$archive")
  container=$(docker create "$name" none)
  docker export "$container" >"$work/export.tar"
  docker rm "$container" >/dev/null
  docker rmi "$name" >/dev/null
  python3 "$root/tests/image/random_images.py" check "$work/cases" "$at" "$work/export.tar" || fail "seed $seed, case $at"
  at=$((at + 1))
done <"$work/archives"
same "$at" "$cases"
