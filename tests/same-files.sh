# Sourced by tests that compare the container of `strata run` with that of the loaded image. Expects the variables
# engine, transport (of `strata copy`) and busybox (a store path).

# Lists type, mode, owner, target and content of every file in a container, without the files of the engine.
list='bb=/busybox/bin/busybox
for top in /*; do
  case $top in /proc | /sys | /dev | /busybox) continue ;; esac
  $bb find "$top" ! -path /etc/hosts ! -path /etc/hostname ! -path /etc/resolv.conf ! -path /etc/mtab -exec $bb stat -c "%A %u:%g %N" {} +
  $bb find "$top" -type f ! -path /etc/hosts ! -path /etc/hostname ! -path /etc/resolv.conf -exec $bb sha256sum {} +
done'
# Mounted store paths have the owner of the store, which is the user of a Nix without a daemon.
without_owners() { if ((EUID == 0)); then cat; else sed -E 's/^([^ ]+) [0-9]+:[0-9]+ /\1 /'; fi; }
# same_files IMAGE: expects that the container of a run has the files of the loaded image.
same_files() {
  local name lists=(--user 0 --network none --volume "$busybox:/busybox:ro" --entrypoint /busybox/bin/busybox)
  name=$("$strata" copy "$1" "$transport:compared:t" --quiet)
  "$engine" run --rm "${lists[@]}" "$name" sh -c "$list" | without_owners | LC_ALL=C sort >"$work/loaded"
  "$strata" run --engine "$engine" "$1" "${lists[@]}" -- sh -c "$list" | without_owners | LC_ALL=C sort >"$work/mounted"
  (($(wc -l <"$work/loaded") > 3)) || fail "the listing is empty"
  diff "$work/loaded" "$work/mounted" >"$work/diff" || { head -n 20 "$work/diff"; fail "the files of $1 differ"; }
  "$engine" rmi "$name" >/dev/null
}
