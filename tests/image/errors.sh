# What goes wrong while building says what and where, and leaves nothing half written.
. "$root/tests/lib.sh"
need_command jq
hello=$(build pkgs.hello)
mkdir "$work/store"

# attributes KIND REQUEST [CLOSURE]: runs `strata build` outside of a sandbox.
attempt() {
  jq -n --arg out "$work/out-path" --arg kind "$1" --argjson request "$2" --argjson closure "${3:-[]}" \
    '{ outputs: { out: $out }, strata: { version: 1, kind: $kind, request: $request }, closure: $closure }' >"$work/attrs.json"
  local status=0
  NIX_ATTRS_JSON_FILE=$work/attrs.json NIX_BUILD_TOP=$work NIX_STORE=${store:-/nix/store} "$strata" build 2>"$work/message" || status=$?
  same "$status" 2
  [[ ! -e $work/out-path ]] || fail "something is left at the output path"
}
says() { grep -qF -- "$1" "$work/message" || { cat "$work/message" >&2; fail "the message lacks: $1"; }; }

attempt layers '{ "grouping": { "maxLayers": 0 } }'
says "argument maxLayers is 0"
attempt layers '{ "grouping": { "maxLayers": "many" } }'
says "argument maxLayers must be a number, not \"many\""
attempt layers '{ "grouping": { "maxLayer": 1 } }'
says "unknown field \`maxLayer\`"
attempt nonsense '{ }'
says '"nonsense" is unknown'
attempt layers '{ "grouping": { "maxLayers": 1 } }' '[ { "path": "/etc/passwd", "references": [ ] } ]'
says '"/etc/passwd" is not a store path'

# A relative destination.
attempt layers "{ \"grouping\": { \"maxLayers\": 1, \"rewrites\": [ { \"path\": \"$hello\", \"regex\": \"^$hello\", \"repl\": \"opt\" } ] } }" \
  "[ { \"path\": \"$hello\", \"references\": [ ] } ]"
says "a destination is absolute"

# A store path that is not there.
gone=/nix/store/00000000000000000000000000000000-gone
attempt layers '{ "grouping": { "maxLayers": 1 } }' "[ { \"path\": \"$gone\", \"references\": [ ] } ]"
says "reading $gone: No such file or directory"

# A full disk: the archive does not fit.
if mkdir "$work/small" && as_root mount -t tmpfs -o size=1m,mode=777 strata-test "$work/small" 2>/dev/null; then
  trap 'as_root umount "$work/small"' EXIT
  echo '{}' >"$work/config"
  config=$(nix-store --add "$work/config")
  config_path=/nix/store/$(basename "$config")
  jq -n --arg out "$work/small/out" --arg config "$config_path" --arg hello "$(build pkgs.glibc)" \
    '{ outputs: { out: $out }, closure: [ { path: $hello, references: [ ] } ], strata: { version: 1, kind: "archive",
       request: { placed: { contents: [ ], placing: "link" }, maxLayers: 5, config: $config, arch: "amd64", created: "1970-01-01T00:00:01Z", name: "x", tag: "y" } } }' \
    >"$work/attrs.json"
  status=0
  NIX_ATTRS_JSON_FILE=$work/attrs.json NIX_BUILD_TOP=$work "$strata" build 2>"$work/message" || status=$?
  same "$status" 2
  says "No space left on device"
  same "$(find "$work/small" -type f | wc -l)" 0
  # No room to unpack a compressed archive: which file system, and how to take another.
  archive=$(build 'makeContainerImage { name = "x"; layers = [ pkgs.glibc ]; }')
  status=0
  TMPDIR=$work/small "$strata" copy "$archive" "dir:$work/copied" 2>"$work/message" || status=$?
  same "$status" 2
  says "temporary files are in $work/small, on the file system $work/small; set TMPDIR to a directory with more room"
  "$strata" copy "$archive" "dir:$work/copied" >/dev/null 2>&1
  # An archive without end leaves space to other programs.
  as_root mount -o remount,size=100m "$work/small"
  gzip -1 </dev/urandom | TMPDIR=$work/small "$strata" copy /dev/stdin "dir:$work/endless" 2>"$work/message" || status=$?
  says "of the file system are free: temporary files are in $work/small"
else
  skip_part "no tmpfs can be mounted: the full disk is not tried"
fi

# Wrong usage and errors are 2.
status=0; "$strata" explode 2>"$work/message" || status=$?
same "$status" 2
status=0; "$strata" verify "$work/nothing" 2>"$work/message" || status=$?
same "$status" 2
says "opening $work/nothing"
status=0; "$strata" build 2>"$work/message" </dev/null || status=$?
same "$status" 2
says "use \`nix build\`"
echo text >"$work/text"
"$strata" inspect "$work/text" 2>"$work/message" && fail "a text is not an image"
says "neither an image.json"
