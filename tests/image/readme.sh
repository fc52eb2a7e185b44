# The first command of the README, and its documented effect.
. "$root/tests/lib.sh"
cd "$root"
dev/nix build .#image --out-link "$work/result" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
same "$(docker load --quiet <"$work/result")" "Loaded image: hello:latest"
same "$(run hello)" "Hello, world!"
docker rmi hello >/dev/null
