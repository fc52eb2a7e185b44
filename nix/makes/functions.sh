# The functions that Makes gives to scripts: messages on stderr, and copies that can be written to.
info() { printf '[INFO] %s\n' "$*" >&2; }
debug() { if [[ ${MAKES_DEBUG-} ]]; then printf '[DEBUG] %s\n' "$*" >&2; fi; }
warn() { printf '[WARN] %s\n' "$*" >&2; }
error() { printf '[ERROR] %s\n' "$*" >&2; return 1; }
critical() { printf '[CRITICAL] %s\n' "$*" >&2; exit 1; }
copy() { cp --no-target-directory --recursive "$@" && chmod --recursive u+w "${@: -1}"; }
require_env_var() { [[ ${!1-} ]] || critical "Env var is required but is empty or not present: $1"; }
running_in_ci_cd_provider() { [[ ${CI-} || ${GITHUB_ACTIONS-} || ${GITLAB_CI-} ]]; }
prompt_user_input() { local answer; read -r -p "$1 (default: $2) " answer; echo "${answer:-$2}"; }
prompt_user_for_confirmation() { local answer; read -r -p "Continue? (yes/no) " answer; [[ $answer == yes ]] || critical "Aborted"; }
