# The configuration of an image: merged with that of its base as in a Dockerfile, checked, with warnings for keys that
# engines ignore.
. "$root/tests/lib.sh"
need_command jq

config() { jq -c '.["image-config"]' "$(build "$1")"; }
same "$(config 'buildImage { name = "x"; config = { ExposedPorts."80/tcp" = null; Volumes."/d" = null; Labels = null; }; }')" \
  '{"ExposedPorts":{"80/tcp":{}},"Volumes":{"/d":{}}}'

# With a base image. (buildkit: frontend/dockerfile/dockerfile2llb/convert.go)
base='buildImage { name = "base"; config = { Entrypoint = [ "/base" ]; Cmd = [ "serve" ]; OnBuild = [ "RUN make" ];
  Labels = { a = "1"; b = "1"; }; Volumes."/a" = { }; ExposedPorts."80/tcp" = { }; User = "me"; }; }'
on_base() { config "buildImage { name = \"x\"; fromImage = $base; inheritConfig = true; config = { $1 }; }"; }
same "$(on_base 'Entrypoint = [ "/own" ]; Labels.b = "2"; Volumes."/b" = { }; ExposedPorts."443/tcp" = { };')" \
  '{"User":"me","ExposedPorts":{"443/tcp":{},"80/tcp":{}},"Entrypoint":["/own"],"Volumes":{"/a":{},"/b":{}},"Labels":{"a":"1","b":"2"}}'
same "$(on_base 'Volumes = { }; Labels = null; User = "";')" '{"ExposedPorts":{"80/tcp":{}},"Entrypoint":["/base"],"Cmd":["serve"]}'

# Values with which no container starts.
for case in 'WorkingDir = "srv";|config.WorkingDir is "srv"; it must begin with /' 'Env = [ "=x" ];|a variable without a name' \
  'ExposedPorts."70000" = { };|config.ExposedPorts has "70000"' 'Healthcheck.Test = "curl";|config.Healthcheck.Test is "curl"' \
  'Healthcheck.Interval = "30s";|a number of nanoseconds' 'Env = { A = "1"; };|config.Env must be a list, not an attribute set' \
  'ExposedPorts = [ "80" ];|config.ExposedPorts must be an attribute set, not a list' 'StopTimeout = "1";|config.StopTimeout must be a number, not "1"'; do
  build_fails "buildImage { name = \"x\"; config = { ${case%%|*} }; }" "argument config: config." "${case#*|}"
  build_fails "makeContainerImage { config = { ${case%%|*} }; }" "${case#*|}"
done
build 'buildImage { name = "x"; config = { Workdir = "/x"; Command = [ "x" ]; }; }' >/dev/null
grep -qF 'warning: config.Workdir is not a key of image configurations, and engines ignore it; use WorkingDir' "$work/log" ||
  { cat "$work/log"; fail "no warning of Workdir"; }
grep -qF 'use Cmd' "$work/log" || fail "no warning of Command"
for image in 'buildImage { name = "x"; arch' 'makeContainerImage { architecture' 'dockerTools.buildLayeredImage { name = "x"; architecture' \
  'pullImage { imageName = "x"; imageDigest = "sha256:0"; sha256 = ""; arch' 'ociImageConfig { extraConfig.architecture'; do
  build_fails "$image = \"x86_64\"; }" 'is "x86_64"; OCI'"'"'s name of it is "amd64"'
done

# Packages that are moved although other packages refer to them. (nix2container moves them too)
tool='(pkgs.writeTextDir "bin/tool" "echo")'
user="(pkgs.writeTextDir \"bin/user\" \"\${$tool}/bin/tool\")"
warns() { grep -qE "$1" "$work/log" || { cat "$work/log" >&2; fail "no warning: $1"; }; }
build "buildImage { name = \"warned\"; copyToRoot = [ $tool $user ]; }" >/dev/null
warns 'warning: argument copyToRoot: /nix/store/[^ ]*-user refers to /nix/store/[^ ]*-tool, which is not there in the image.*pkgs.buildEnv'
build "buildImage { name = \"warned-config\"; copyToRoot = $tool; config.Cmd = [ \"\${$tool}/bin/tool\" ]; }" >/dev/null
warns 'warning: argument copyToRoot: config refers to /nix/store/[^ ]*-tool,'
for image in "buildImage { name = \"quiet\"; copyToRoot = pkgs.buildEnv { name = \"root\"; paths = [ $tool $user ]; }; }" \
  "buildImage { name = \"quiet-2\"; copyToRoot = $tool; layers = [ (buildLayer { deps = [ $tool $user ]; }) ]; }"; do
  build "$image" >/dev/null
  lacks warning "$work/log"
done

# The same package twice causes no warning, and errors name the argument of the user.
build "dockerTools.buildLayeredImage { name = \"twice\"; contents = [ $tool $tool (pkgs.symlinkJoin { name = \"joined\"; paths = [ $tool ]; }) ]; }" >/dev/null
lacks Keeping "$work/log"
file='(pkgs.writeText "text" "x")'
build_fails "dockerTools.buildLayeredImage { name = \"x\"; contents = [ $file ]; }" "argument contents: /nix/store/" "is a file"
build_fails "makeContainerImage { layers = [ $file ]; }" "argument layers: /nix/store/"
build_fails "makeContainerImage { layered = false; layers = [ $file ]; }" "argument layers: /nix/store/"
build_fails "dockerTools.buildImage { name = \"x\"; copyToRoot = [ $file ]; }" "argument copyToRoot: /nix/store/"
build_fails "buildLayer { deps = [ $tool ]; perms = [ { path = $tool; regex = 1; } ]; }" "argument perms, element 1, regex must be a string, not 1"
