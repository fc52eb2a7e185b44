# docs/reference.md is what the doc comments say, and each function is in it with an example.
. "$root/tests/lib.sh"
"$root/dev/reference" >"$work/reference"
diff "$root/docs/reference.md" "$work/reference" || fail "docs/reference.md is old: dev/reference > docs/reference.md"
public=$(nix-instantiate --eval --strict --json --expr "$(expression 'builtins.attrNames strata')" | jq -r '.[]' | grep -vxE 'm|platform')
for name in $public; do
  sed -n "/^## $name\$/,/^## /p" "$root/docs/reference.md" | grep -q '^### Example' || fail "docs/reference.md has no example of $name"
done
