# `m`: examples/makes as a newcomer would use it, and what its functions promise.
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

# m_says STATUS STDOUT ARGUMENTS…: what m prints; what goes to stderr is in $work/log.
m_says() {
  local status=0 out
  out=$("$m" "${@:3}" 2>"$work/log") || status=$?
  [[ $status == "$1" ]] || { cat "$work/log" >&2; fail "m ${*:3} ended with $status, not $1"; }
  [[ $out == "$2" ]] || fail "m ${*:3} prints: $out"$'\n'"it should print: $2"
}
# m_tells TEXT: on stderr, the last time.
m_tells() { grep -qF -- "$1" "$work/log" || { cat "$work/log" >&2; fail "stderr lacks: $1"; }; }
# job NAME TEXT: a further main.nix.
job() {
  mkdir -p "makes/$1"
  echo "$2" >"makes/$1/main.nix"
  git add --intent-to-add "makes/$1/main.nix"
}
# root_of PROJECT JOB: the link that keeps a job's last result.
root_of() { echo "$HOME/.cache/strata/m/$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)/%2F$2"; }
# built JOB: the path that m prints.
built() { "$m" . "$1" 2>"$work/log" || { cat "$work/log" >&2; fail "m . $1"; }; }

m_says 0 "/base          image base:latest
/example       image container-image:latest
/greet         program greet
/multi-layer   image multi-layer:latest
/single-layer  image single-layer:latest" .

# Makes' documented examples, and what their documentation says that the commands print.
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
for name in multi-layer single-layer; do
  same "$(docker load --quiet <"$(built /$name)")" "Loaded image: $name:latest"
done
same "$(run multi-layer)" "Hello, world!"
same "$(run multi-layer bash -c 'echo from the base')" "from the base"
same "$(run single-layer)" "made by root"
same "$(run single-layer stat -c '%u:%g' my-file)" 1000:1000
docker rmi container-image multi-layer single-layer >/dev/null
# Twice the same.
for name in example multi-layer single-layer; do
  nix-build --no-out-link --check "$(nix-store --query --deriver "$(built /$name)")" >/dev/null 2>"$work/log" || { cat "$work/log"; fail "/$name is not reproducible"; }
done

# Programs get the rest of the arguments, and give their status back.
m_says 0 "Hello, world!" . /greet
m_says 0 "Hello, --help me!" . /greet "--help me"
m_says 0 "Hello, --!" . /greet -- x
job status '{ makeScript, ... }: makeScript { name = "status"; entrypoint = "info told; false; echo never"; }'
m_says 1 "" . /status
m_tells "[INFO] told"
# A script without a package around it is a program too.
job bare '{ inputs, ... }: inputs.nixpkgs.writeShellScript "bare" "echo bare $1"'
m_says 0 "bare x" . /bare x
job stream '{ dockerTools, inputs, ... }: dockerTools.streamLayeredImage { name = "streamed"; tag = "t"; config.Cmd = [ "${inputs.nixpkgs.hello}/bin/hello" ]; }'
same "$("$m" . /stream 2>"$work/log" | docker load --quiet)" "Loaded image: streamed:t"
same "$(run streamed:t)" "Hello, world!"
docker rmi streamed:t >/dev/null

# What scripts see: the environment, but search paths and homes of their own.
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
m_says 0 "it's seen 1 an argument none" . /sees "$HOME"
m_says 0 "it's seen 1 an argument none" . /sees "$HOME"
unset SECRET PYTHONPATH
job keeps '{ makeScript, ... }: makeScript { name = "keeps"; aliases = [ "kept" ]; persistState = true; entrypoint = "echo >> $STATE/file; wc -l < $STATE/file"; }'
m_says 0 1 . /keeps
m_says 0 2 . /keeps
same "$("$(nix-store --query --outputs "$(nix-store --query --deriver "$(root_of "$project" keeps)")")/bin/kept")" 3
job shares '{ makeScript, ... }: makeScript { name = "shares"; globalState = true; entrypoint = "cat $STATE/keeps/file | wc -l"; }'
m_says 0 3 . /shares

job made '{ inputs, makeDerivation, outputs, projectPath, ... }: makeDerivation {
  name = "made";
  env = { envText = "text"; envSource = projectPath "/makes/made"; envOther = outputs."/example"; };
  searchPaths.bin = [ inputs.nixpkgs.jq ];
  builder = "copy $envSource $out; echo $envText | jq --raw-input . > $out/text; [[ $envOther == *-container-image.tar.gz ]]; copy $out/text $out/text2";
}'
same "$(cat "$(built /made)"/text{,2})" $'"text"\n"text"'
cmp "$(built /made)/main.nix" makes/made/main.nix
# action, help, envFiles, and names that no store path may have.
job acts '{ inputs, makeDerivation, ... }: makeDerivation {
  name = "/acts here";
  envFiles.envLong = "a text\nof lines";
  help = ./help.md;
  action = "echo \"$(cat $1/long) $2\"";
  builder = "mkdir $out; tail -n 1 $envLongPath > $out/long";
}'
echo "# How it acts" >makes/acts/help.md
git add makes
m_says 0 "of lines x" . /acts x
m_says 0 "of lines --help" . /acts -- --help
m_says 0 "# How it acts" . /acts --help
job helps '{ makeScript, ... }: makeScript { name = "/helps"; help = ./help.md; entrypoint = "echo $GEM_PATH $1"; searchPaths.rubyGemPath = [ "/gems" ]; }'
echo "# How it helps" >makes/helps/help.md
git add makes
m_says 0 "# How it helps" . /helps --help
m_says 0 "/gems/ x" . /helps x
job ignores '{ makeContainerImage, ... }: makeContainerImage { layered = false; maxLayers = 3; config = null; }'
built /ignores >/dev/null
job ignores '{ makeContainerImage, ... }: makeContainerImage { runAsRoot = null; extraCommands = ""; }'
built /ignores >/dev/null
job fails '{ makeDerivation, ... }: makeDerivation { name = "fails"; builder = "echo said; false; mkdir $out"; }'
m_says 2 "" . /fails
m_tells "said"
m_tells "building job /fails failed; see the log above"

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
m_tells "makes.nix: formatNix: not known here, and left out"
"$m" . >"$work/list" 2>/dev/null
grep -qE '^/broken +does not evaluate$' "$work/list" || { cat "$work/list"; fail "a broken job is not listed"; }
grep -qE '^/c +c$' "$work/list" || { cat "$work/list"; fail "jobs of another directory are not listed"; }

# Mistakes, and what to type next.
m_says 2 "" . /exampel
m_tells "strata: . has no job /exampel; similar names: /example. Files that git does not track are not seen: git add them"
m_says 2 "" . example
m_tells "similar names: /example"
m_says 2 "" . /zzz
m_tells "m . lists them all"
m_says 2 "" . /example more
m_tells "job /example is not a program and takes no arguments: m . /example"
m_says 2 "" ./nosuch /example
m_tells "./nosuch is neither a directory nor a reference like github:OWNER/REPO"
m_says 2 ""
m_tells "Usage: m SOURCE [/JOB"
job asks '{ makePythonEnvironment, ... }: makePythonEnvironment { }'
m_says 2 "" . /asks
m_tells "/asks/main.nix uses makePythonEnvironment; the names are __nixpkgs__, buildImage,"
refused() {
  job refused "$1"
  m_says 2 "" . /refused
  m_tells "$2"
}
refused '{ makeDerivation, ... }: makeDerivation { name = "x"; builder = ""; env.PATH = "/"; }' "argument env of makeDerivation: names start with env, and PATH does not"
refused '{ makeScript, ... }: makeScript { name = "x"; entrypoint = ""; replace.x = "/"; }' "argument replace of makeScript: names are as __argName__, and x is not"
refused '{ makeScript, ... }: makeScript { name = "x"; entrypoint = ""; searchPaths.bins = [ ]; }' "makeSearchPaths has no argument bins; did you mean bin? It has append, bin,"
refused '{ projectPath, ... }: projectPath "x"' 'projectPath takes a path from the project'"'"'s top on: projectPath "/x"'
refused '"text"' "job /refused is a string, which cannot be built"

# Projects in other places: committed, below a git work tree, without git, by reference, with nothing.
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
m_says 0 "" "$work/outer"
m_tells "has no jobs; add one as makes/NAME/main.nix. Files that git does not track are not seen: git add them"
m_says 0 "" "$work/outer/sub dir"
m_tells "has no jobs"
git -C "$work/outer" add .
same "$(cat "$("$m" "$work/outer/sub dir" /c 2>/dev/null)")" outer
m_says 0 "/c  c" "$work/outer/sub"

# Only what git tracks is copied into the store, whatever the project's path is; where git refuses, nothing is.
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
m_says 2 "" "$secret" /a
m_tells "git cannot list the files it tracks in $secret: fatal: detected dubious ownership"
m_tells "git config --global --add safe.directory"
as_root chown -R "$EUID" "$secret"
mkdir "$work/no-git"
for tool in nix-instantiate nix-store; do ln -s "$(type -p "$tool")" "$work/no-git"; done
if PATH=$work/no-git "$m" "$secret" /a 2>"$work/log"; then fail "without git"; fi
m_tells "is a git work tree, but git is not in PATH; install git, or use a copy without .git"
rm -rf "$work/outer/.git"
m_says 0 "/c  c" "$work/outer/sub"
# Without a network: no registry is asked.
same "$(cat "$("$m" "git+file://$project" /c 2>"$work/log" || cat "$work/log" >&2)")" 42
# Nix runs git too, in a changed work tree: without the file system monitor and the hooks that the project configures.
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
m_says 2 "" "git+file://$work/nosuch" /c
m_tells "git+file://$work/nosuch cannot be fetched"
same "$(cat "$("$m" "path:$project" /c 2>"$work/log" || cat "$work/log" >&2)")" 42

# The last results stay until they are built again.
[[ $(readlink "$(root_of "$project" example)") == "$archive" ]] || fail "the result of /example is not kept"
# Those of another project or job take no other's place.
mkdir -p "$work/twin/makes"/{a/b,a-b}
for name in a/b a-b; do echo '{ inputs, ... }: inputs.nixpkgs.writeText "x" "'$name'"' >"$work/twin/makes/$name/main.nix"; done
for name in a/b a-b; do "$m" "$work/twin" "/$name" >/dev/null 2>&1 || fail "the twin's /$name"; done
same "$(cat "$(root_of "$work/twin" a%2Fb)" "$(root_of "$work/twin" a-b)")" a/ba-b
same "$(cat "$(root_of "$project" a%2Fb)")" 42

# The flake has it, and the template.
cd "$root"
HOME=$home XDG_CACHE_HOME=$work/cache
same "$(dev/nix run .#m -- examples/makes /greet 2>"$work/log" || cat "$work/log" >&2)" "Hello, world!"
mkdir "$work/new"
(cd "$work/new" && "$root/dev/nix" flake init --template "$root#makes" >"$work/log" 2>&1) || { cat "$work/log" >&2; fail "the template"; }
diff -r examples/makes "$work/new"
