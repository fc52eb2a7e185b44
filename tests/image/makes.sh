# `m`: examples/makes as a new user would use it, and the documented behaviour of its functions.
. "$root/tests/lib.sh"

m=$(build m)/bin/m
home=$HOME
export HOME=$work/home XDG_CACHE_HOME=
mkdir "$HOME"
git config --global user.name test
git config --global user.email test@example.com
project=$work/project
cp -r "$root/examples/makes" "$project"
cd "$project"
git init --quiet
git add --intent-to-add .

# m_prints STATUS STDOUT ARGUMENTS…: runs m, and compares its status and output. Standard error is in $work/log.
m_prints() {
  local status=0 out
  out=$("$m" "${@:3}" 2>"$work/log") || status=$?
  [[ $status == "$1" ]] || { cat "$work/log" >&2; fail "m ${*:3} ended with $status, not $1"; }
  [[ $out == "$2" ]] || fail "m ${*:3} prints: $out"$'\n'"it should print: $2"
}
# m_logs TEXT: expects TEXT on standard error of the last run.
m_logs() { grep -qF -- "$1" "$work/log" || { cat "$work/log" >&2; fail "stderr lacks: $1"; }; }
# job NAME TEXT: adds a main.nix.
job() {
  mkdir -p "makes/$1"
  echo "$2" >"makes/$1/main.nix"
  git add --intent-to-add "makes/$1/main.nix"
}
# root_of PROJECT JOB: the link that keeps the last result of a job.
root_of() { echo "$HOME/.cache/strata/m/$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)/%2F$2"; }
# built JOB: prints the path that m prints.
built() { "$m" . "$1" 2>"$work/log" || { cat "$work/log" >&2; fail "m . $1"; }; }

m_prints 0 "/base          image base:latest
/example       image container-image:latest
/greet         program greet
/multi-layer   image multi-layer:latest
/single-layer  image single-layer:latest" .

# The examples in Makes' documentation, with the documented output.
archive=$(built /example)
[[ $archive == /nix/store/*-container-image.tar.gz ]] || fail "m . /example prints $archive"
number=0
while read -r line; do
  number=$((number + 1))
  case $line in
    "Creating layer $number from paths: ['/nix/store/"*"]" | "Creating layer $number with customisation...") ;;
    "Adding manifests..." | "Done.") ;;
    *) fail "unexpected line in the log: $line" ;;
  esac
done < <(nix-store --read-log "$archive")
same "$(nix-store --read-log "$archive" | tail -n 2 | tr '\n' ' ')" "Adding manifests... Done. "
same "$(docker load --quiet <"$archive")" "Loaded image: container-image:latest"
same "$(run container-image:latest pwd)" /working-dir
same "$(run container-image:latest ls .)" my-file
same "$(run container-image:latest cat my-file)" my-file-contents
same "$(run container-image:latest ls / | grep -xE 'bin|dev|etc|working-dir' | tr '\n' ' ')" "bin dev etc working-dir "
# The usual limit of open files of a user. A script of single-layer starts with more files that have owners.
ulimit -S -n 1024
for name in multi-layer single-layer; do
  same "$(docker load --quiet <"$(built /$name)")" "Loaded image: $name:latest"
done
same "$(run multi-layer)" "Hello, world!"
same "$(run multi-layer bash -c 'echo from the base')" "from the base"
same "$(run single-layer)" "made by root"
same "$(run single-layer stat -c '%u:%g' my-file)" 1000:1000
docker rmi container-image multi-layer single-layer >/dev/null
# A second build has the same result.
for name in example multi-layer single-layer; do
  nix-build --no-out-link --check "$(nix-store --query --deriver "$(built /$name)")" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "/$name is not reproducible"; }
done

# Programs get the other arguments, and m exits with their status.
m_prints 0 "Hello, world!" . /greet
m_prints 0 "Hello, --help me!" . /greet "--help me"
m_prints 0 "Hello, --!" . /greet -- x
job status '{ makeScript, ... }: makeScript { name = "status"; entrypoint = "info told; false; echo never"; }'
m_prints 1 "" . /status
m_logs "[INFO] told"
# A script without a package is a program too.
job bare '{ inputs, ... }: inputs.nixpkgs.writeShellScript "bare" "echo bare $1"'
m_prints 0 "bare x" . /bare x
job stream '{ dockerTools, inputs, ... }: dockerTools.streamLayeredImage { name = "streamed"; tag = "t"; config.Cmd = [ "${inputs.nixpkgs.hello}/bin/hello" ]; }'
same "$("$m" . /stream 2>"$work/log" | docker load --quiet)" "Loaded image: streamed:t"
same "$(run streamed:t)" "Hello, world!"
docker rmi streamed:t >/dev/null

# Scripts see the environment, except for search paths and home directories.
job sees '{ inputs, makeScript, makeSearchPaths, ... }: makeScript {
  name = "sees";
  entrypoint = ./entrypoint.sh;
  replace = { __argText__ = "it'"'"'s"; __argNumber__ = 1; __argYes__ = true; __argNo__ = false; __argList__ = [ ./entrypoint.sh "two" ]; };
  searchPaths = {
    bin = [ inputs.nixpkgs.jq (inputs.nixpkgs.writeShellScriptBin "twice" "echo first") (inputs.nixpkgs.writeShellScriptBin "twice" "echo last") ];
    export = [ [ "MORE" inputs.nixpkgs.hello "/bin" ] ];
    source = [ (makeSearchPaths { rpath = [ inputs.nixpkgs.hello ]; }) [ (inputs.nixpkgs.writeText "source" "SOURCED=$1") "an argument" ] ];
  };
}'
cat >makes/sees/entrypoint.sh <<'SH'
echo "__argText__ $SECRET $# $SOURCED ${PYTHONPATH-none}"
[[ $HOME_IMPURE == "$1" && $HOME != "$1" && -d $HOME && -z $(ls -A "$HOME") && -d $STATE ]]
touch "$HOME/file" "$STATE/file"
[[ $(command -v jq) == /nix/store/*-jq-*/bin/jq ]]
[[ $(twice) == last ]]
[[ "__argNumber__ __argYes__ __argNo__ __argList__" == "1 1  /nix/store/"*"-entrypoint.sh two" ]]
[[ ! $(command -v git) ]]
[[ $MORE == /nix/store/*-hello-*/bin && $LD_LIBRARY_PATH == /nix/store/*-hello-*/lib64:/nix/store/*-hello-*/lib ]]
SH
git add --intent-to-add makes
export SECRET=seen PYTHONPATH=/elsewhere
m_prints 0 "it's seen 1 an argument none" . /sees "$HOME"
m_prints 0 "it's seen 1 an argument none" . /sees "$HOME"
unset SECRET PYTHONPATH
job keeps '{ makeScript, ... }: makeScript { name = "keeps"; aliases = [ "kept" ]; persistState = true; entrypoint = "echo >> $STATE/file; wc -l < $STATE/file"; }'
m_prints 0 1 . /keeps
m_prints 0 2 . /keeps
same "$("$(nix-store --query --outputs "$(nix-store --query --deriver "$(root_of "$project" keeps)")")/bin/kept")" 3
job shares '{ makeScript, ... }: makeScript { name = "shares"; globalState = true; entrypoint = "cat $STATE/keeps/file | wc -l"; }'
m_prints 0 3 . /shares

job made '{ inputs, makeDerivation, outputs, projectPath, ... }: makeDerivation {
  name = "made";
  env = { envText = "text"; envSource = projectPath "/makes/made"; envOther = outputs."/example"; };
  searchPaths.bin = [ inputs.nixpkgs.jq ];
  builder = "copy $envSource $out; echo $envText | jq --raw-input . > $out/text; [[ $envOther == *-container-image.tar.gz ]]; copy $out/text $out/text2";
}'
same "$(cat "$(built /made)"/text{,2})" $'"text"\n"text"'
cmp "$(built /made)/main.nix" makes/made/main.nix
# action, help, envFiles, and names that are invalid in the store.
job acts '{ inputs, makeDerivation, ... }: makeDerivation {
  name = "/acts here";
  envFiles.envLong = "a text\nof lines";
  help = ./help.md;
  action = "echo \"$(cat $1/long) $2\"";
  builder = "mkdir $out; tail -n 1 $envLongPath > $out/long";
}'
echo "# How it acts" >makes/acts/help.md
git add makes
m_prints 0 "of lines x" . /acts x
m_prints 0 "of lines --help" . /acts -- --help
m_prints 0 "# How it acts" . /acts --help
job helps '{ makeScript, ... }: makeScript { name = "/helps"; help = ./help.md; entrypoint = "echo $GEM_PATH $1"; searchPaths.rubyGemPath = [ "/gems" ]; }'
echo "# How it helps" >makes/helps/help.md
git add makes
m_prints 0 "# How it helps" . /helps --help
m_prints 0 "/gems/ x" . /helps x
job ignores '{ makeContainerImage, ... }: makeContainerImage { layered = false; maxLayers = 3; config = null; }'
built /ignores >/dev/null
job ignores '{ makeContainerImage, ... }: makeContainerImage { runAsRoot = null; extraCommands = ""; }'
built /ignores >/dev/null
job fails '{ makeDerivation, ... }: makeDerivation { name = "fails"; builder = "echo said; false; mkdir $out"; }'
m_prints 2 "" . /fails
m_logs "said"
m_logs "building job /fails failed; see the log above"

# makes.nix adds jobs of its own, and inputs.
cat >makes.nix <<'NIX'
{ fetchNixpkgs, inputs, outputs, ... }: {
  formatNix.enable = true;
  inputs = { answer = "42"; unused = fetchNixpkgs { rev = "x"; sha256 = ""; }; };
  extendingMakesDirs = [ "/makes" "/more" ];
  jobs."/a/b" = inputs.nixpkgs.writeText "answer" inputs.answer;
  jobs."/broken" = throw "it is broken";
}
NIX
mkdir -p more/c
echo '{ inputs, ... }: inputs.nixpkgs.writeText "c" inputs.answer' >more/c/main.nix
git add --intent-to-add more
same "$(cat "$(built /a/b)" "$(built /c)")" 4242
m_logs "makes.nix: formatNix: not known here, and left out"
"$m" . >"$work/list" 2>/dev/null
grep -qE '^/broken +does not evaluate$' "$work/list" || { cat "$work/list"; fail "a broken job is not listed"; }
grep -qE '^/c +c$' "$work/list" || { cat "$work/list"; fail "jobs of another directory are not listed"; }

# A list of jobs reads the project alone, and builds nothing: the user has not chosen a job yet.
echo "private-word" >"$work/private"
echo "private-word" >ignored-secret
hostile() {
  job hostile "$1"
  m_prints 2 "" .
  m_logs "$2"
  m_logs "m DIR /JOB evaluates a job without these restrictions"
  lacks -F private-word "$work/log"
}
hostile "_: { name = throw (builtins.readFile $work/private); drvPath = null; }" "access to "
hostile "_: throw (builtins.readFile $project/ignored-secret)" "access to "
hostile '_: builtins.fetchurl "http://127.0.0.1:1/x"' "access to "
hostile "_: builtins.readFile (builtins.fetchGit $project)" "access to "
hostile "{ inputs, ... }: import (derivation { name = \"x\"; system = \"x86_64-linux\"; builder = \"/bin/sh\"; args = [ \"-c\" \"echo > $work/ran\" ]; })" "import-from-derivation"
[[ ! -e $work/ran ]] || fail "a list of jobs runs a builder"
job hostile '_: { imageName = "<${builtins.getEnv "SECRET"}>"; imageTag = "t"; }'
SECRET=private-word "$m" . >"$work/list" 2>"$work/log" || { cat "$work/log"; fail "a variable"; }
grep -qE '^/hostile +image <>:t$' "$work/list" || { cat "$work/list"; fail "the variable is visible"; }
# A job that the user names reads files.
job hostile "{ inputs, ... }: inputs.nixpkgs.writeText \"x\" (builtins.readFile $work/private)"
same "$(cat "$(built /hostile)")" private-word
git rm --quiet --cached makes/hostile/main.nix
rm -r makes/hostile ignored-secret

# Mistakes, and the suggested commands.
m_prints 2 "" . /exampel
m_logs "strata: . has no job /exampel; similar names: /example. Files that git does not track are not seen: git add them"
m_prints 2 "" . example
m_logs "similar names: /example"
m_prints 2 "" . /zzz
m_logs "m . lists them all"
m_prints 2 "" . /example more
m_logs "job /example is not a program and takes no arguments: m . /example"
m_prints 2 "" ./nosuch /example
m_logs "./nosuch is neither a directory nor a reference like github:OWNER/REPO"
m_prints 2 ""
m_logs "Usage: m SOURCE [/JOB"
job asks '{ makePythonEnvironment, ... }: makePythonEnvironment { }'
m_prints 2 "" . /asks
m_logs "/asks/main.nix uses makePythonEnvironment; the names are __nixpkgs__, buildImage,"
refused() {
  job refused "$1"
  m_prints 2 "" . /refused
  m_logs "$2"
}
refused '{ makeDerivation, ... }: makeDerivation { name = "x"; builder = ""; env.PATH = "/"; }' "argument env of makeDerivation: names start with env, and PATH does not"
refused '{ makeScript, ... }: makeScript { name = "x"; entrypoint = ""; replace.x = "/"; }' "argument replace of makeScript: names are as __argName__, and x is not"
refused '{ makeScript, ... }: makeScript { name = "x"; entrypoint = ""; searchPaths.bins = [ ]; }' "makeSearchPaths has no argument bins; did you mean bin? It has append, bin,"
refused '{ projectPath, ... }: projectPath "x"' 'projectPath takes a path from the project'"'"'s top on: projectPath "/x"'
refused '"text"' "job /refused is a string, which cannot be built"

# Projects in other places: committed, below a git work tree, without git, by reference, and an empty one.
git add .
git commit --quiet --message all
echo untracked >makes/a-file
same "$(cat "$("$m" "$project" /c 2>/dev/null)")" 42
mkdir "$work/outer"
git -C "$work/outer" init --quiet
cp -r more "$work/outer/makes"
sed -i 's/inputs.answer/"outer"/' "$work/outer/makes/c/main.nix"
cp -r "$work/outer/makes" "$work/outer/below"
mkdir -p "$work/outer/sub dir" "$work/outer/sub"
cp -r "$work/outer/makes" "$work/outer/sub dir/makes"
mv "$work/outer/below" "$work/outer/sub/makes"
m_prints 0 "" "$work/outer"
m_logs "has no jobs; add one as makes/NAME/main.nix. Files that git does not track are not seen: git add them"
m_prints 0 "" "$work/outer/sub dir"
m_logs "has no jobs"
git -C "$work/outer" add .
same "$(cat "$("$m" "$work/outer/sub dir" /c 2>/dev/null)")" outer
m_prints 0 "/c  c" "$work/outer/sub"

# Only files that git tracks are copied into the store, for any path of the project. If git fails, no file is copied.
secret="$work/a pröject; \$(x)"
mkdir -p "$secret"/makes/{a,b/c}
git -C "$secret" init --quiet
echo '{ projectSrc, inputs, ... }: inputs.nixpkgs.runCommand "sources" { } "cp -r ${projectSrc} $out"' >"$secret/makes/a/main.nix"
echo '{ projectPath, inputs, ... }: inputs.nixpkgs.runCommand "part" { } "cp -r ${projectPath "/makes"} $out"' >"$secret/makes/b/c/main.nix"
echo .env >"$secret/.gitignore"
echo password >"$secret/.env"
git -C "$secret" add .
sources=$("$m" "$secret" /a 2>"$work/log") || { cat "$work/log" >&2; fail "a path with blanks"; }
same "$(cd "$sources" && find . -mindepth 1 | LC_ALL=C sort | tr '\n' ' ')" "./.gitignore ./makes ./makes/a ./makes/a/main.nix ./makes/b ./makes/b/c ./makes/b/c/main.nix "
same "$(ls "$("$m" "$secret" /b/c 2>/dev/null)")" $'a\nb'
as_root chown -R 12345 "$secret"
m_prints 2 "" "$secret" /a
m_logs "git cannot list the files it tracks in $secret: fatal: detected dubious ownership"
m_logs "git config --global --add safe.directory"
as_root chown -R "$EUID" "$secret"
mkdir "$work/no-git"
for tool in nix-instantiate nix-store; do ln -s "$(type -p "$tool")" "$work/no-git"; done
if PATH=$work/no-git "$m" "$secret" /a 2>"$work/log"; then fail "without git"; fi
m_logs "is a git work tree, but git is not in PATH; install git, or use a copy without .git"
rm -rf "$work/outer/.git"
m_prints 0 "/c  c" "$work/outer/sub"
# Without a network: no registry is asked.
same "$(cat "$("$m" "git+file://$project" /c 2>"$work/log" || cat "$work/log" >&2)")" 42
# Nix runs git in a changed work tree, too, without the file system monitor and the hooks of the project's
# configuration.
git config core.fsmonitor "touch $work/ran; false"
printf '#!/bin/sh\ntouch %q\n' "$work/ran" >.git/hooks/post-index-change
chmod +x .git/hooks/post-index-change
echo "# changed" >>more/c/main.nix
same "$(cat "$("$m" "git+file://$project" /c 2>"$work/log" || cat "$work/log" >&2)")" 42
same "$(cat "$("$m" "$project" /c 2>"$work/log" || cat "$work/log" >&2)")" 42
[[ ! -e $work/ran ]] || fail "the project's git configuration runs programs"
git config --unset core.fsmonitor
rm .git/hooks/post-index-change
mkdir -p sub
cp -r more sub/makes
sed -i 's/inputs.answer/"sub"/' sub/makes/c/main.nix
git add sub
same "$(cat "$("$m" "git+file://$project?dir=sub" /c 2>"$work/log" || cat "$work/log" >&2)")" sub
m_prints 2 "" "git+file://$work/nosuch" /c
m_logs "git+file://$work/nosuch cannot be fetched"
same "$(cat "$("$m" "path:$project" /c 2>"$work/log" || cat "$work/log" >&2)")" 42

# The last results stay until they are built again.
[[ $(readlink "$(root_of "$project" example)") == "$archive" ]] || fail "the result of /example is not kept"
# Results of another project or job do not replace them.
mkdir -p "$work/twin/makes"/{a/b,a-b}
for name in a/b a-b; do echo '{ inputs, ... }: inputs.nixpkgs.writeText "x" "'$name'"' >"$work/twin/makes/$name/main.nix"; done
for name in a/b a-b; do "$m" "$work/twin" "/$name" >/dev/null 2>&1 || fail "the twin's /$name"; done
same "$(cat "$(root_of "$work/twin" a%2Fb)" "$(root_of "$work/twin" a-b)")" a/ba-b
same "$(cat "$(root_of "$project" a%2Fb)")" 42

# The flake has `m` and the template.
cd "$root"
HOME=$home XDG_CACHE_HOME=$work/cache
same "$(dev/nix run .#m -- examples/makes /greet 2>"$work/log" || cat "$work/log" >&2)" "Hello, world!"
mkdir "$work/new"
(cd "$work/new" && "$root/dev/nix" flake init --template "$root#makes" >"$work/log" 2>&1) || { cat "$work/log" >&2; fail "the template"; }
diff -r examples/makes "$work/new"
