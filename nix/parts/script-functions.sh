# What users' scripts find beside programs, as stdenv gives it: `substitute` and its like.
# (nixpkgs: pkgs/stdenv/generic/setup.sh)
#
#   substitute IN OUT OPTIONS…           --replace-fail OLD NEW, --replace-warn, --replace-quiet,
#   substituteInPlace FILE… OPTIONS…     --subst-var NAME (@NAME@ becomes $NAME), --subst-var-by NAME NEW
#   substituteAll IN OUT                 each exported variable whose name starts with a lower-case letter
#   substituteAllInPlace FILE

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
