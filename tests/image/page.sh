# The page of `strata explain` in a real browser, with 6,000 store paths: search, keyboard, clicks, a narrow screen, dark
# mode, and nothing in the console.
. "$root/tests/lib.sh"
need_command jq
need_command chromium
# PyPI's playwright contains the Node.js that it runs on. The browser is Debian's.
version=1.65.2
playwright=$cache/playwright-$version
if [[ ! -d $playwright ]]; then
  online /usr/bin/python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$work/playwright" \
    "playwright==$version" >"$work/log" 2>&1 || { cat "$work/log"; skip "playwright cannot be installed from PyPI"; }
  mv "$work/playwright" "$playwright"
fi
driver=$playwright/playwright/driver

python3 "$root/tests/image/page.py" 6000 >"$work/image.json"
"$strata" explain "$work/image.json" --html "$work/many.html"
# The references of these store paths are unknown.
jq 'del(.closure) | .layers |= .[:2] | .layers[1].paths |= .[:5]' "$work/image.json" >"$work/unknown.json"
"$strata" explain "$work/unknown.json" --html "$work/unknown.html"
mkdir "$work/shots"
"$driver/node" "$root/tests/image/page.mjs" "$driver/package/index.mjs" "$work/many.html" "$work/unknown.html" "$work/shots"
