# Errors of builds name the operation and the object, and leave no partial result.
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
message_has() { grep -qF -- "$1" "$work/message" || { cat "$work/message" >&2; fail "the message lacks: $1"; }; }

attempt layers '{ "grouping": { "maxLayers": 0 } }'
message_has "argument maxLayers is 0"
attempt layers '{ "grouping": { "maxLayers": "many" } }'
message_has "argument maxLayers must be a number, not \"many\""
attempt layers '{ "grouping": { "maxLayer": 1 } }'
message_has "unknown field \`maxLayer\`"
attempt nonsense '{ }'
message_has '"nonsense" is unknown'
attempt layers '{ "grouping": { "maxLayers": 1 } }' '[ { "path": "/etc/passwd", "references": [ ] } ]'
message_has '"/etc/passwd" is not a store path'

# A relative destination.
attempt layers "{ \"grouping\": { \"maxLayers\": 1, \"rewrites\": [ { \"path\": \"$hello\", \"regex\": \"^$hello\", \"repl\": \"opt\" } ] } }" \
  "[ { \"path\": \"$hello\", \"references\": [ ] } ]"
message_has "a destination is absolute"

# A missing store path.
gone=/nix/store/00000000000000000000000000000000-gone
attempt layers '{ "grouping": { "maxLayers": 1 } }' "[ { \"path\": \"$gone\", \"references\": [ ] } ]"
message_has "reading $gone: No such file or directory"

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
  message_has "No space left on device"
  same "$(find "$work/small" -type f | wc -l)" 0
  # No space for unpacking a compressed archive: the error names the file system, and the variable that changes it.
  archive=$(build 'makeContainerImage { name = "x"; layers = [ pkgs.glibc ]; }')
  status=0
  TMPDIR=$work/small "$strata" copy "$archive" "dir:$work/copied" 2>"$work/message" || status=$?
  same "$status" 2
  message_has "temporary files are in $work/small, on the file system $work/small; set TMPDIR to a directory with more room"
  "$strata" copy "$archive" "dir:$work/copied" >/dev/null 2>&1
  # An endless archive leaves space for other programs.
  as_root mount -o remount,size=100m "$work/small"
  gzip -1 </dev/urandom | TMPDIR=$work/small "$strata" copy /dev/stdin "dir:$work/endless" 2>"$work/message" || status=$?
  message_has "of the file system are free: temporary files are in $work/small"
else
  skip_part "no tmpfs can be mounted: the full disk is not tried"
fi

# Wrong usage and errors have exit code 2.
status=0; "$strata" explode 2>"$work/message" || status=$?
same "$status" 2
status=0; "$strata" verify "$work/nothing" 2>"$work/message" || status=$?
same "$status" 2
message_has "opening $work/nothing"
status=0; "$strata" build 2>"$work/message" </dev/null || status=$?
same "$status" 2
message_has "use \`nix build\`"
echo text >"$work/text"
"$strata" inspect "$work/text" 2>"$work/message" && fail "a text is not an image"
message_has "neither an image.json"
