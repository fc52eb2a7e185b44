# The shell functions of stdenv that scripts of users call.
# (nixpkgs: pkgs/stdenv/generic/setup.sh, pkgs/build-support/setup-hooks/patch-shebangs.sh)
#
#   substitute IN OUT OPTIONS…           --replace-fail OLD NEW, --replace-warn, --replace-quiet,
#   substituteInPlace FILE… OPTIONS…     --subst-var NAME (@NAME@ becomes $NAME), --subst-var-by NAME NEW
#   substituteAll IN OUT                 each exported variable whose name starts with a lower-case letter
#   substituteAllInPlace FILE
#   patchShebangs [--update] PATH…       #! lines of executable files name programs of the PATH
#   isScript FILE, isELF FILE, stripHash STORE-PATH, unpackFile ARCHIVE-OR-DIRECTORY
#   addToSearchPath VARIABLE DIRECTORY, appendToVar VARIABLE WORD…, prependToVar VARIABLE WORD…
#   concatStringsSep SEPARATOR VARIABLE, printLines WORD…, printWords WORD…

substitute() {
  local input=$1 output=$2 text mode old new
  shift 2
  [[ -f $input ]] || { echo "substitute: $input is not a file" >&2; return 1; }
  if IFS= read -r -d '' text <"$input"; then echo "substitute: $input has null bytes; it is not text" >&2; return 1; fi
  while (($#)); do
    mode=$1
    case $mode in
      --replace | --replace-fail | --replace-warn | --replace-quiet | --subst-var-by)
        (($# >= 3)) || { echo "substitute: $mode takes two arguments" >&2; return 1; }
        old=$2 new=$3
        shift 3
        [[ $mode != --subst-var-by ]] || old=@$old@
        if [[ $text != *"$old"* ]]; then
          case $mode in
            --replace-fail) printf 'substitute: %s does not have %q\n' "$input" "$old" >&2; return 1 ;;
            --replace | --replace-warn) printf 'substitute: warning: %s does not have %q\n' "$input" "$old" >&2 ;;
          esac
        fi
        ;;
      --subst-var)
        [[ ${2-} =~ ^[a-zA-Z_][a-zA-Z0-9_]*$ ]] || { echo "substitute: ${2-} is not the name of a variable" >&2; return 1; }
        [[ ${!2+set} ]] || { echo "substitute: the variable $2 is not set" >&2; return 1; }
        old=@$2@ new=${!2}
        shift 2
        ;;
      *) echo "substitute: $mode is not an option; it takes --replace-fail, --replace-warn, --replace-quiet, --subst-var and --subst-var-by" >&2; return 1 ;;
    esac
    text=${text//"$old"/"$new"}
  done
  [[ ! -e $output ]] || chmod +w "$output"
  printf %s "$text" >"$output"
}

substituteInPlace() {
  local files=() file
  while (($#)) && [[ $1 != --* ]]; do files+=("$1"); shift; done
  ((${#files[@]})) || { echo "substituteInPlace: no files; they come before the options" >&2; return 1; }
  for file in "${files[@]}"; do substitute "$file" "$file" "$@" || return 1; done
}

substituteAll() {
  local name options=()
  while read -r name; do
    [[ ! $name =~ ^[a-z] ]] || options+=(--subst-var "$name")
  done < <(compgen -e)
  substitute "$1" "$2" "${options[@]}"
}

substituteAllInPlace() { substituteAll "$1" "$1"; }

# begins FILE BYTES
begins() {
  local start
  LC_ALL=C IFS= read -r -d '' -n ${#2} start <"$1" || :
  [[ $start == "$2" ]]
}
isScript() { begins "$1" '#!'; }
isELF() { LC_ALL=C begins "$1" $'\177ELF'; }

patchShebangs() {
  local update=
  while [[ ${1-} == -* ]]; do
    case $1 in
      # There is one PATH, of the machine that builds.
      --build | --host) ;;
      --update) update=1 ;;
      --) shift; break ;;
      *) echo "patchShebangs: $1 is not an option; it takes --build, --host and --update" >&2; return 1 ;;
    esac
    shift
  done
  (($#)) || { echo "patchShebangs: no files" >&2; return 0; }
  local file line old word rest new patched mode
  while IFS= read -r -d '' file; do
    isScript "$file" || continue
    IFS= read -r line <"$file" || [[ $line ]]
    read -r old word rest <<<"${line:2}"
    [[ $update || $old != "$NIX_STORE"/* ]] || continue
    case ${old:=/bin/sh} in
      */bin/env)
        case $word in
          -S)
            read -r word rest <<<"$rest"
            word=$(type -P "$word") || continue
            new="$(type -P env) -S $word" ;;
          -* | *=*) echo "patchShebangs: $file has options or variables of env: $line" >&2; return 1 ;;
          *) new=$(type -P "$word") || continue ;;
        esac ;;
      *)
        new=$(type -P "${old##*/}") || continue
        rest="$word${rest:+ $rest}" ;;
    esac
    new="#!$new${rest:+ $rest}"
    [[ $new != "$line" ]] || continue
    echo "$file: $line becomes $new"
    # The file stays the same one, with its mode and owner.
    # The root of an image may have no directory for temporary files.
    patched=$(mktemp 2>/dev/null || mktemp "$file.XXXXXX") mode=$(stat --format=%a "$file")
    { printf '%s\n' "$new"; tail -n +2 "$file"; } >"$patched"
    chmod u+w "$file"
    cat "$patched" >"$file"
    chmod "$mode" "$file"
    rm "$patched"
  done < <(find "$@" -type f -perm -0100 -print0)
}

stripHash() {
  local name=${1##*/}
  [[ ! $name =~ ^[a-z0-9]{32}- ]] || name=${name:33}
  printf '%s\n' "$name"
}

unpackFile() {
  local name
  name=$(stripHash "$1")
  case $1 in
    *.tar | *.tar.* | *.tgz | *.tbz2 | *.tbz | *.txz) tar -xf "$1" --mode=+w --warning=no-timestamp ;;
    *)
      [[ -d $1 ]] || { echo "unpackFile: $1 is no tar and no directory" >&2; return 1; }
      [[ ! -e $name ]] || { echo "unpackFile: $name is there already" >&2; return 1; }
      cp -r --preserve=timestamps -- "$1" "$name" ;;
  esac
}

addToSearchPath() {
  [[ ! -d $2 || :${!1-}: == *:$2:* ]] || export "$1=${!1:+${!1}:}$2"
}
# An array grows by elements, anything else by words. (The name of a reference must not be one that is given.)
appendToVar() {
  local -n _variable=$1
  shift
  if [[ ${_variable@a} == *a* ]]; then _variable+=("$@"); else _variable="${_variable-} $*"; fi
}
prependToVar() {
  local -n _variable=$1
  shift
  if [[ ${_variable@a} == *a* ]]; then _variable=("$@" "${_variable[@]}"); else _variable="$* ${_variable-}"; fi
}
concatStringsSep() {
  local -n _variable=$2
  local _words=() _word _between=
  if [[ ${_variable@a} == *a* ]]; then _words=("${_variable[@]}"); else read -r -a _words <<<"${_variable-}"; fi
  for _word in "${_words[@]}"; do
    printf %s "$_between$_word"
    _between=$1
  done
}
printLines() { ((!$#)) || printf '%s\n' "$@"; }
printWords() { ((!$#)) || printf '%s ' "$@"; }
