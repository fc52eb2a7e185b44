# A binary cache has finished archives: a machine without the packages substitutes the archive and builds nothing.
. "$root/tests/lib.sh"
image='makeContainerImage { name = "cached"; layers = [ pkgs.hello ]; }'
archive=$(build "$image")
recipe=$(build "($image).recipe")
nix copy --to "file://$work/cache" "$archive" "$recipe" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
drv=$(nix-instantiate --expr "$(expression "$image")" 2>/dev/null)
other="local?root=$work/other"
nix copy --derivation --to "$other" "${drv%\!*}" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
nix-store --store "$other" --realise "${drv%\!*}" --max-jobs 0 --option substituters "file://$work/cache" --option require-sigs false \
  >"$work/path" 2>"$work/log" || { cat "$work/log" >&2; fail "the archive was not substituted"; }
same "$(<"$work/path")" "$archive"
cmp "$archive" "$work/other$archive"
[[ ! -e $work/other$(build pkgs.hello) ]] || fail "an archive brings its packages along"
