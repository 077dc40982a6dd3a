# shellcheck shell=bash disable=SC2154
# What run.sh is written in: options, log lines, and stages that know whether they are up to date. Sourced by run.sh only,
# whose option variables (stage, force, plan, ...) and settings (exp, data, sets) it uses.

# Options are the lines `some_name=default  # help` of run.sh between "# Options" and "# End of options".
# --some-name VALUE sets some_name; --config FILE reads lines `some-name=value` (# comments, no code); the command line wins.
# A help text that begins with "true/false:" or "number:" has its value checked. Local names here begin with opt_, so
# that none can hide an option.

declare -A opt_help=()
opt_names=()

declare_options() { # SCRIPT
  local opt_line opt_pattern='^([a-z_]+)=[^#]* # (.*)$'
  while IFS= read -r opt_line; do
    [[ $opt_line =~ $opt_pattern ]] || continue
    opt_names+=("${BASH_REMATCH[1]//_/-}")
    opt_help[${BASH_REMATCH[1]//_/-}]=${BASH_REMATCH[2]}
  done < <(sed -n '/^# Options/,/^# End of options/p' "$1")
}

die() {
  echo "run.sh: error: $*" >&2
  exit 1
}

set_option() { # NAME VALUE WHERE
  [[ -v opt_help[$1] ]] || die "$3: unknown option '$1' (./run.sh --help lists them)"
  case "${opt_help[$1]}" in
    true/false:*) [[ $2 == true || $2 == false ]] || die "$3: $1 takes true or false, not '$2'" ;;
    number:*) [[ $2 =~ ^[0-9]+$ ]] || die "$3: $1 takes a number, not '$2'" ;;
  esac
  printf -v "${1//-/_}" '%s' "$2"
}

read_config() { # FILE
  local opt_line opt_number=0
  [ -f "$1" ] || die "--config $1: no such file"
  while IFS= read -r opt_line || [ -n "$opt_line" ]; do
    opt_number=$((opt_number + 1))
    opt_line=${opt_line%%#*}
    opt_line=${opt_line%"${opt_line##*[![:space:]]}"}
    [ -n "$opt_line" ] || continue
    [[ $opt_line == *=* ]] || die "$1:$opt_number: expected some-option=value, found '$opt_line'"
    set_option "${opt_line%%=*}" "${opt_line#*=}" "$1:$opt_number"
  done < "$1"
}

parse_options() { # ARGS OF run.sh; a true/false option alone means true
  local opt_name opt_given=()
  while [ $# -gt 0 ]; do # first the config files, then what overrides them
    case "$1" in
      -h | --help) print_help && exit 0 ;;
      --config) [ $# -ge 2 ] || die "option --config needs a file" ;;&
      --config) read_config "$2" && shift ;;
      --config=*) read_config "${1#*=}" ;;
      *) opt_given+=("$1") ;;
    esac
    shift
  done
  set -- "${opt_given[@]}"
  while [ $# -gt 0 ]; do
    opt_name=${1#--}
    case "$1" in
      --*=*) set_option "${opt_name%%=*}" "${1#*=}" "command line" ;;
      --*)
        [[ -v opt_help[$opt_name] ]] || die "unknown option '$1' (./run.sh --help lists them)"
        if [[ ${opt_help[$opt_name]} == true/false:* && ${2:-} != true && ${2:-} != false ]]; then
          set_option "$opt_name" true "command line"
        else
          [ $# -ge 2 ] || die "option $1 needs a value"
          set_option "$opt_name" "$2" "command line"
          shift
        fi
        ;;
      *) die "'$1' is not an option (./run.sh --help lists them)" ;;
    esac
    shift
  done
}

print_options() {
  local opt_name opt_variable opt_text
  for opt_name in "${opt_names[@]}"; do
    opt_variable=${opt_name//-/_}
    opt_text=${opt_help[$opt_name]#true/false: }
    printf '  --%-14s %s' "$opt_name" "${opt_text#number: }"
    [ -n "${!opt_variable}" ] && printf ' [%s]' "${!opt_variable}"
    printf '\n'
  done
}

save_settings() { # FILE: every option as it stands, readable with --config
  local opt_name opt_variable
  for opt_name in "${opt_names[@]}"; do
    [[ $opt_name == @(force|plan|test|stage|stop-stage) ]] && continue
    opt_variable=${opt_name//-/_}
    echo "$opt_name=${!opt_variable}"
  done > "$1.tmp" && mv "$1.tmp" "$1"
}

# Stages: `if stage N NAME FOLDER in FILES... out FILES... with TEXTS...; then ...; fi`, and at the end end_stage.
# A stage runs when it lies between --stage and --stop-stage and is not up to date. Its stamp FOLDER/.done/NAME is
# written when the next stage begins: under `set -e` that is reached only if every command of the stage went well.

running="" # the stage that is running: "N NAME"
planned=() # with --plan: what stages that would run would make

log() {
  local line
  line="$(date +%H:%M:%S) $*"
  echo "$line" >&5
  [ "$plan" = true ] || echo "$line" >> "$exp/log/run.log"
}

start_run() { # ARGS OF run.sh: makes exp/NAME, keeps others out of it, saves the command line and the settings
  [ "$plan" = false ] || return 0
  mkdir -p "$exp/log" "$data" 2> /dev/null || die "cannot make $exp/log and $data"
  { exec 8>> "$exp/.lock"; } 2> /dev/null || die "cannot write to $exp"
  flock -w 3 8 || die "$exp is in use by another run.sh (process $(tail -n 1 "$exp/.lock")); choose another --name or wait"
  echo $$ > "$exp/.lock"
  echo "$(date '+%F %T') ./run.sh$(printf ' %q' "$@")" >> "$exp/command"
  save_settings "$exp/settings.conf"
  exec 7>> "$data/.lock" # many runs may read $data at once; one that writes to it does so alone
  flock -s -n 7 || { log "waiting for another run.sh that prepares $data" && flock -s 7; }
}

stage() { # N NAME FOLDER in FILES... out FILES... with TEXTS...; {set} in a file stands for every set
  end_stage
  local number=$1 name=$2 folder=$3 word set list=""
  stage_inputs=() stage_outputs=() stage_options=()
  shift 3
  for word in "$@"; do
    case "$word" in
      in | out | with) list=$word ;;
      *) case "$list" in
        in) for set in $(every_set "$word"); do stage_inputs+=("${word//\{set\}/$set}"); done ;;
        out) for set in $(every_set "$word"); do stage_outputs+=("${word//\{set\}/$set}"); done ;;
        with) stage_options+=("$word") ;;
      esac ;;
    esac
  done
  ((number >= stage && number <= stop_stage)) || return 1
  stamp=$folder/.done/$name
  local reason
  reason=$(fingerprint check "$stamp" --remade "${planned[@]}") || die "stage $number $name: $reason"
  if [ "$force" = true ]; then reason=${reason:---force}; fi
  if [ -z "$reason" ]; then
    log "stage $number $name: up to date"
    return 1
  fi
  if [ "$plan" = true ]; then
    log "stage $number $name: would run ($reason)"
    planned+=("${stage_outputs[@]}")
    return 1
  fi
  if [[ $folder == "$data"* ]] && ! flock -n 7; then
    log "stage $number $name: waiting for other runs that use $data"
    flock 7
    reason=$(fingerprint check "$stamp") # the other may have done it
    [ -n "$reason" ] || { log "stage $number $name: up to date" && flock -s 7 && return 1; }
  fi
  for word in "${stage_inputs[@]}"; do
    [ -e "$word" ] || die "stage $number $name needs $word, which does not exist: run the stages before it first"
  done
  rm -f "$stamp"
  running="$number $name"
  began=$(date +%s)
  stage_log=$exp/log/$number-$name.log
  log "stage $number $name: running ($reason)"
  # On a terminal the progress bars stay on it; steps copy their log lines to TIMBRE_LOG. Elsewhere all goes to the log.
  if [ -t 6 ]; then
    export TIMBRE_LOG=$stage_log
    exec > "$stage_log"
  else
    exec > "$stage_log" 2>&1
  fi
}

every_set() { # WORD: the sets its {set} stands for; one word if it has none
  case "$1" in
    *'{set}'*) echo "$sets" ;;
    *) echo - ;;
  esac
}

end_stage() { # ends the stage that is running, if one is
  [ -n "$running" ] || return 0
  fingerprint write "$stamp" || exit 1
  local seconds=$(($(date +%s) - began))
  exec >&5 2>&6
  unset TIMBRE_LOG
  flock -s 7
  log "stage $running: done in $(printf '%d:%02d' $((seconds / 60)) $((seconds % 60)))"
  running=""
}

fingerprint() { # check|write STAMP ...
  python -m timbre.utils.fingerprint "$@" --in "${stage_inputs[@]}" --out "${stage_outputs[@]}" --with "${stage_options[@]}"
}

report_failure() { # on exit
  local status=$?
  [ -n "$running" ] || return 0
  exec >&5 2>&6
  echo "run.sh: stage $running failed (exit status $status); its log: $stage_log" >&2
  [ -t 6 ] || tail -n 5 "$stage_log" >&2
}
exec 5>&1 6>&2
trap report_failure EXIT

launch() { # COMMAND ...: on every GPU of --ngpu
  if ((ngpu > 1)); then
    torchrun --standalone --nproc_per_node "$ngpu" "$@"
  else
    "$@"
  fi
}
