# docs/reference.md is generated from the doc comments, and has an example for each function.
. "$root/tests/lib.sh"
"$root/dev/reference" >"$work/reference"
diff "$root/docs/reference.md" "$work/reference" || fail "docs/reference.md is old: dev/reference > docs/reference.md"
# makeContainerImage has the defaults of dockerTools, except those that Makes sets.
silent awk '
  /^## / { section = $2 }
  /^### / { part = $0 }
  /^\| `/ && section == "makeContainerImage" { own[$0] = 1 }
  /^\| `/ && section == "dockerTools" && part == "### Arguments of the functions that make images" && !/`(name|tag|maxLayers|contents)`/ { upstream[$0] = 1 }
  END { for (row in upstream) if (!(row in own)) print row }' "$root/docs/reference.md"
public=$(nix-instantiate --eval --strict --json --expr "$(expression 'builtins.attrNames strata')" | jq -r '.[]' | grep -vxE 'm|overrideScope|platform')
for name in $public; do
  grep -q '^### Example' <<<"$(sed -n "/^## $name\$/,/^## /p" "$root/docs/reference.md")" || fail "docs/reference.md has no example of $name"
done
