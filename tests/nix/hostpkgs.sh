# The programs of the fixture run, and Nix records their references.
. "$root/tests/lib.sh"
program() {
  local package=$1 expected=$2 path
  shift 2
  path=$(build "pkgs.$package")
  same "$(env -i "$path/bin/$1" "${@:2}" 2>&1 | tail -n 1)" "$expected"
}
program hello "Hello, world!" hello
program bash hi bash -c "echo hi"
program coreutils 3 printf %s 3
program jq 2 jq -n "1+1"
program python3 '{"a": 1}' python3 -c 'import json, ssl, sqlite3; print(json.dumps({"a": 1}))'
program nix "$(nix-store --version | sed 's/.* //; s/^/nix (Nix) /')" nix --version
program nginx "nginx version: nginx/$(nix-instantiate --eval --expr "$(expression pkgs.nginx.version)" | tr -d '"')" nginx -v
[[ $(env -i "$(build pkgs.fakeroot)/bin/faked-sysv" --help 2>&1) == *"fakeroot"* ]] || fail "fakeroot"
nix-store -qR "$(build pkgs.jq)" | grep -q -- -libonig5 || fail "jq does not reference libonig"
# node reads /usr/share/nodejs, which an image has if node is at its root.
if [[ ${docker-} ]]; then
  same "$(load <"$(build 'makeContainerImage { name = "node"; layers = [ pkgs.nodejs ]; }')")" node:latest
  same "$(run node /bin/node -e 'console.log(6 * 7)')" 42
  docker rmi node >/dev/null
fi
