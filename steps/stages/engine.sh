# shellcheck shell=bash disable=SC2154,SC2034
# What run.sh and the stages are written in: options with their help, the plan of a run, and units of work that know
# whether they are up to date. Sourced by run.sh, whose options (stage, force, plan, ...) it uses.

# Options: `option some-name DEFAULT HELP` sets some_name, and --some-name VALUE sets it otherwise; --config FILE reads
# lines `some-name=value` (# comments, no code); the command line wins. HELP may begin with the kind of value, which is
# checked: "true/false:", "number:", "some:" (a number, or 2%), "file:", "files:" (several in quotes), "directory:".
# Local names here begin with opt_, so that none can hide an option.

declare -A opt_help=() opt_default=()
opt_names=()     # in order, with a word like =data where the options of stage `data` begin
stage_names=()   # in order; stage number N is the function stage_NAME of steps/stages/NN_NAME.sh
declare -A stage_files=()

recipe() { # NAME...: reads the files of these stages, which declare their options
  local name file
  for name in "$@"; do
    for file in steps/stages/[0-9][0-9]_"$name".sh; do
      stage_names+=("$name") stage_files[$name]=$file opt_names+=("=$name")
      # shellcheck source=/dev/null
      . "$file"
    done
  done
}

option() { # NAME DEFAULT HELP
  opt_names+=("$1") opt_help[$1]=$3 opt_default[$1]=$2
  printf -v "${1//-/_}" '%s' "$2"
}

die() {
  echo "run.sh: error: $*" >&2
  exit 1
}

set_option() { # NAME VALUE WHERE
  [[ -v opt_help[$1] ]] || die "$3: unknown option '$1' (./run.sh --help lists them)"
  if [ "$2" != "${opt_default[$1]}" ]; then
    case "${opt_help[$1]}" in
      true/false:*) [[ $2 == true || $2 == false ]] || die "$3: $1 takes true or false, not '$2'" ;;
      number:*) [[ $2 =~ ^[0-9]+$ ]] || die "$3: $1 takes a number, not '$2'" ;;
      some:*) [[ $2 =~ ^([0-9]+|[0-9]+([.][0-9]+)?%)$ ]] || die "$3: $1 takes a number or a share such as 2%, not '$2'" ;;
    esac
  fi
  printf -v "${1//-/_}" '%s' "$2"
}

check_files() { # every option that names files or a directory names what is there
  local opt_name opt_variable opt_file opt_files
  for opt_name in "${opt_names[@]}"; do
    opt_variable=${opt_name//-/_}
    case "${opt_help[$opt_name]:-}" in
      file:*) [ -z "${!opt_variable}" ] || [ -f "${!opt_variable}" ] || die "${!opt_variable}: no such file" ;;
      directory:*) [ -z "${!opt_variable}" ] || [ -d "${!opt_variable}" ] || die "${!opt_variable}: no such directory" ;;
      files:*)
        read -ra opt_files <<< "${!opt_variable}"
        for opt_file in "${opt_files[@]}"; do [ -f "$opt_file" ] || die "$opt_file: no such file"; done
        ;;
    esac
  done
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
      -h | --help) print_help "${2:-}" && exit 0 ;;
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
  given_settings=$(settings) # the plan fills in what was left open, in variables of the same names
}

print_help() { # [STAGE, by name or number]: all options by stage, or what one stage does and its options
  local opt_name opt_stage="" opt_only=""
  for opt_name in "${stage_names[@]}"; do
    [[ $1 != "$opt_name" && $1 != "$(stage_number "$opt_name")" ]] || opt_only=$opt_name
  done
  [[ -z $1 || $1 == -* || -n $opt_only ]] || die "--help $1: the stages are ${stage_names[*]}"
  if [ -n "$opt_only" ]; then
    sed -n '2,/^$/s/^# \{0,1\}//p' "${stage_files[$opt_only]}"
    echo
  else
    usage
  fi
  for opt_name in "${opt_names[@]}"; do
    if [[ $opt_name == =* ]]; then
      opt_stage=${opt_name#=}
      [ -n "$opt_only" ] || printf '\nstage %s, %s:\n' "$(stage_number "$opt_stage")" "$opt_stage"
    elif [ -z "$opt_only" ] || [ "$opt_only" = "$opt_stage" ]; then
      print_option "$opt_name"
    fi
  done
}

stage_number() { # NAME
  local file=${stage_files[$1]##*/}
  echo $((10#${file%%_*}))
}

print_option() { # NAME
  local opt_variable=${1//-/_} opt_text=${opt_help[$1]} opt_kind
  for opt_kind in true/false number some file files directory; do opt_text=${opt_text#"$opt_kind": }; done
  printf '  --%-18s %s' "$1" "$opt_text"
  [ -z "${!opt_variable}" ] || printf ' [%s]' "${!opt_variable}"
  printf '\n'
}

settings() { # every option as it stands, readable with --config
  local opt_name opt_variable
  for opt_name in "${opt_names[@]}"; do
    [[ $opt_name == @(=*|force|plan|test|stage|stop-stage) ]] && continue
    opt_variable=${opt_name//-/_}
    echo "$opt_name=${!opt_variable}"
  done
}

# The plan: timbre/recipe/plan.py says, from the options and from what lies in data/, where everything goes (bash
# variables: exp, data, feats, ...) and what each unit of the stages does, a row each: exp/NAME/plan.tsv.

plan_rows=()
plan_fields=(stage unit task set kind trials models data vectors from with output)

make_plan() { # again after stage 0, which makes the sets
  local line in_table=false text
  text=$(python -m timbre.recipe.plan <<< "$given_settings") || exit 1
  plan_rows=() roots=() says=()
  while IFS= read -r line; do
    if [ "$in_table" = true ]; then
      plan_rows+=("$line")
    elif [[ $line == stage$'\t'* ]]; then
      in_table=true
    elif [[ $line == root=* ]]; then
      roots+=("${line#root=}")
    elif [[ $line == say=* ]]; then
      says+=("${line#say=}")
    else
      printf -v "${line%%=*}" '%s' "${line#*=}"
    fi
  done <<< "$text"
}

units() { # STAGE: the units that it has in the plan
  local line fields found=" "
  for line in "${plan_rows[@]}"; do
    IFS=$'\t' read -ra fields <<< "$line"
    if [[ ${fields[0]} == "$1" && $found != *" ${fields[1]} "* ]]; then
      found+="${fields[1]} "
      echo "${fields[1]}"
    fi
  done
}

next_row() { # sets task, set, kind, ... to the next row of a loop `while next_row; do ... done 9< <(rows UNIT)`
  IFS=$'\t' read -r -u 9 _ _ task set kind trials models data_dir vectors from with output || return 1
  local field
  for field in task set kind trials models data_dir vectors from with output; do
    [ "${!field}" != - ] || printf -v "$field" '%s' ""
  done
}

folder_of() { # UNIT: the folder that the folders it makes lie in
  next_row 9< <(rows "$1")
  dirname "$output"
}

rows() { # UNIT
  local line
  for line in "${plan_rows[@]}"; do
    [[ $line != *([!$'\t'])$'\t'"$1"$'\t'* ]] || echo "$line"
  done
}

expand() { # UNIT WORD: WORD, with {FIELD} replaced by what every row of the unit has there, without repetitions
  local field index line fields
  if [[ $2 != *'{'* ]]; then
    echo "$2"
    return
  fi
  field=${2#*\{} field=${field%%\}*}
  for index in "${!plan_fields[@]}"; do [ "${plan_fields[index]}" != "$field" ] || break; done
  while IFS= read -r line; do
    IFS=$'\t' read -ra fields <<< "$line"
    [ "${fields[index]}" = - ] || echo "${2/"{$field}"/"${fields[index]}"}"
  done < <(rows "$1") | awk '!seen[$0]++'
}

# Units: `if unit N NAME FOLDER in FILES... out FILES... with TEXTS...; then ...; fi`. A unit runs when its stage lies
# between --stage and --stop-stage and it is not up to date. Its stamp FOLDER/.done/NAME is written when the next one
# begins (or the stage ends): under `set -e` that is reached only if every command of it went well.

declare -A data_locks=() said=()
running="" # the unit that is running: "N NAME"
planned=() # with --plan: what units that would run would make

log() {
  local line
  line="$(date +%H:%M:%S) $*"
  echo "$line" >&5
  [ "$plan" = true ] || echo "$line" >> "$exp/log/run.log"
}

say_once() { # what the plan has to tell a person
  local line
  for line in "${says[@]}"; do
    [[ -v said[$line] ]] || log "$line"
    said[$line]=1
  done
}

start_run() { # ARGS OF run.sh: makes exp/NAME, keeps others out of it, saves the command line, the settings, the plan
  [ "$plan" = false ] || return 0
  mkdir -p "$exp/log" "${roots[@]}" 2> /dev/null || die "cannot make $exp/log and ${roots[*]}"
  { exec 8>> "$exp/.lock"; } 2> /dev/null || die "cannot write to $exp"
  flock -w 3 8 || die "$exp is in use by another run.sh (process $(tail -n 1 "$exp/.lock")); choose another --name or wait"
  echo $$ > "$exp/.lock"
  echo "$(date '+%F %T') ./run.sh$(printf ' %q' "$@")" >> "$exp/command"
  echo "$given_settings" > "$exp/settings.conf.tmp" && mv "$exp/settings.conf.tmp" "$exp/settings.conf"
  local root lock
  for root in "${roots[@]}"; do # many runs may read one of data/ at once; one that writes to it does so alone
    exec {lock}>> "$root/.lock"
    flock -s -n "$lock" || { log "waiting for another run.sh that prepares $root" && flock -s "$lock"; }
    data_locks[$root]=$lock
  done
  save_plan
}

lock_of() { # FOLDER: the descriptor of the lock of the directory of data/ that it lies in, if it lies in one
  local root
  for root in "${!data_locks[@]}"; do
    [[ $1 != "$root" && $1 != "$root"/* ]] || echo "${data_locks[$root]}"
  done
}

save_plan() { # exp/NAME/plan.tsv, for people
  [ "$plan" = false ] || return 0
  { (IFS=$'\t' && echo "${plan_fields[*]}") && printf '%s\n' "${plan_rows[@]}"; } > "$exp/plan.tsv.tmp"
  mv "$exp/plan.tsv.tmp" "$exp/plan.tsv"
}

run_stage() { # NAME
  local number
  number=$(stage_number "$1")
  if ((number >= stage && number <= stop_stage)); then
    this_stage=$number
    "stage_$1"
    end_unit
  fi
}

unit() { # NAME FOLDER in FILES... out FILES... with TEXTS...; {FIELD} in a file stands for that field of its rows
  end_unit
  local name=$1 folder=$2 word one list="" number=$this_stage
  unit_inputs=() unit_outputs=() unit_options=()
  shift 2
  for word in "$@"; do
    case "$word" in
      in | out | with) list=$word ;;
      *) case "$list" in
        in) while IFS= read -r one; do unit_inputs+=("$one"); done < <(expand "$name" "$word") ;;
        out) while IFS= read -r one; do unit_outputs+=("$one"); done < <(expand "$name" "$word") ;;
        with) unit_options+=("$word") ;;
      esac ;;
    esac
  done
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
    planned+=("${unit_outputs[@]}")
    return 1
  fi
  unit_lock=$(lock_of "$folder")
  if [ -n "$unit_lock" ] && ! flock -n "$unit_lock"; then
    log "stage $number $name: waiting for other runs that use $folder"
    flock "$unit_lock"
    reason=$(fingerprint check "$stamp") # the other may have done it
    [ -n "$reason" ] || { log "stage $number $name: up to date" && flock -s "$unit_lock" && return 1; }
  fi
  for word in "${unit_inputs[@]}"; do
    [ -e "$word" ] || die "stage $number $name needs $word, which does not exist: run the stages before it first"
  done
  rm -f "$stamp"
  running="$number $name"
  began=$(date +%s)
  unit_log=$exp/log/$number-$name.log
  log "stage $number $name: running ($reason)"
  # On a terminal the progress bars stay on it; steps copy their log lines to TIMBRE_LOG. Elsewhere all goes to the log.
  if [ -t 6 ]; then
    export TIMBRE_LOG=$unit_log
    exec > "$unit_log"
  else
    exec > "$unit_log" 2>&1
  fi
}

end_unit() { # ends the unit that is running, if one is
  [ -n "$running" ] || return 0
  fingerprint write "$stamp" || exit 1
  local seconds=$(($(date +%s) - began))
  exec >&5 2>&6
  unset TIMBRE_LOG
  [ -z "$unit_lock" ] || flock -s "$unit_lock"
  log "stage $running: done in $(printf '%d:%02d' $((seconds / 60)) $((seconds % 60)))"
  running=""
}

fingerprint() { # check|write STAMP ...
  python -m timbre.utils.fingerprint "$@" --plan "$plan" --in "${unit_inputs[@]}" --out "${unit_outputs[@]}" --with "${unit_options[@]}"
}

report_failure() { # on exit
  local status=$?
  [ -n "$running" ] || return 0
  exec >&5 2>&6
  echo "run.sh: stage $running failed (exit status $status); its log: $unit_log" >&2
  [ -t 6 ] || tail -n 5 "$unit_log" >&2
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
