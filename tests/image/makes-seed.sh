# The first example of Makes' makeContainerImage.
. "$root/tests/lib.sh"
[[ ${docker-} ]] || skip "no dockerd can run here"
image='makeContainerImage {
  config = { Env = [ "PATH=/bin" ]; WorkingDir = "/working-dir"; };
  layers = [
    pkgs.coreutils
    (pkgs.runCommand "custom-layer" { } "mkdir -p $out/working-dir && echo my-file-contents > $out/working-dir/my-file")
  ];
}'
archive=$(build "$image")
[[ $archive == /nix/store/*-container-image.tar.gz ]] || fail "unexpected name: $archive"

grep -E '^(Creating|Adding|Done)' "$work/log" >"$work/lines" || nix-store --read-log "$archive" >"$work/lines"
number=0
while read -r line; do
  number=$((number + 1))
  case $line in
    "Creating layer $number from paths: ['/nix/store/"*"']" | "Creating layer $number with customisation...") ;;
    "Adding manifests..." | "Done.") ;;
    *) fail "unexpected line in the log: $line" ;;
  esac
done <"$work/lines"
same "$(tail -n 2 "$work/lines" | tr '\n' ' ')" "Adding manifests... Done. "

same "$(load <"$archive")" container-image:latest
same "$(run container-image pwd)" /working-dir
same "$(run container-image ls .)" my-file
same "$(run container-image cat my-file)" my-file-contents
listing=" $(run container-image ls / | tr '\n' ' ')"
[[ $listing == *" bin "*" working-dir "* ]] || fail "ls / shows $listing"
docker rmi container-image >/dev/null
