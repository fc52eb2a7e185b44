# Other tools accept archives of strata, and verify finds damaged ones.
. "$root/tests/lib.sh"
need_command jq
archive=$(build 'makeContainerImage { name = "accepted"; layers = [ pkgs.hello ]; config.Cmd = [ "/bin/hello" ]; }')
image=$(build 'buildImage { name = "accepted"; tag = "latest"; maxLayers = 1; config.Cmd = [ "${pkgs.hello}/bin/hello" ]; }')
"$strata" stream "$image" >"$work/plain.tar"
gzip -1 <"$work/plain.tar" >"$work/gzip.tar.gz"

for file in "$archive" "$work/plain.tar"; do
  "$strata" verify "$file" | grep -q ' 0 problems$' || fail "verify finds problems in $file"
  for transport in docker-archive oci-archive; do
    # Some releases of skopeo cannot read compressed docker-archives; gzip(1) shows whether this one can.
    if [[ $transport$file == docker-archive*.gz ]] && ! skopeo inspect "docker-archive:$work/gzip.tar.gz" >/dev/null 2>&1; then
      skip_part "this skopeo reads no docker-archive that gzip(1) compressed"
      continue
    fi
    same "$(skopeo inspect --config "$transport:$file" | jq -r '.config.Cmd[0]' | sed 's|.*/bin|/bin|')" /bin/hello
  done
  podman=(podman --root "$work/containers" --runroot "$work/run" --runtime runc --storage-driver vfs)
  "${podman[@]}" load --quiet --input "$file" >"$work/log" 2>&1 || { cat "$work/log"; fail "podman load"; }
  name=$(sed -n 's/^Loaded image[^:]*: *//p' "$work/log")
  [[ $name == */accepted:latest ]] || fail "podman loaded it as $name"
  same "$("${podman[@]}" run --rm --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 --network none "$name" 2>"$work/log" \
    || cat "$work/log")" "Hello, world!"
  "${podman[@]}" rmi --all --force >/dev/null
done

mkdir "$work/layout"
tar -x -C "$work/layout" -f "$work/plain.tar"
"$strata" verify "$work/layout" | grep -q ' 0 problems$' || fail "verify finds problems in the layout"
umoci unpack --rootless --image "$work/layout:latest" "$work/bundle" >/dev/null
"$work/bundle/rootfs$(nix-build --no-out-link -E "(import $root/tests/hostpkgs { }).hello" 2>/dev/null)/bin/hello" \
  | grep -qx "Hello, world!"
chmod -R u+w "$work/bundle"

# verify finds a flipped byte in a layer, and names the layer.
layer=$(tar -xOf "$work/plain.tar" manifest.json | jq -r '.[0].Layers[0]')
offset=$(grep -abo -F 'Hello, world!' "$work/plain.tar" | head -n 1 | cut -d : -f 1)
printf J | dd of="$work/plain.tar" bs=1 seek="$offset" conv=notrunc status=none
if "$strata" verify "$work/plain.tar" 2>"$work/problems"; then fail "verify misses a flipped byte"; fi
grep -qF "$layer (layer 1)" "$work/problems" || { cat "$work/problems"; fail "verify does not name the layer"; }
cp "$archive" "$work/damaged.tar.gz"
chmod u+w "$work/damaged.tar.gz"
size=$(stat -c %s "$archive")
printf '\377' | dd of="$work/damaged.tar.gz" bs=1 seek=$((size / 2)) conv=notrunc status=none
status=0
"$strata" verify "$work/damaged.tar.gz" >"$work/log" 2>&1 || status=$?
same "$status" 2
grep -q 'blobs/sha256/' "$work/log" || { cat "$work/log"; fail "verify does not say where the archive is damaged"; }

# A reader that closes the pipe early ends strata without an error.
"$strata" stream "$image" | head -c 10000 >/dev/null
