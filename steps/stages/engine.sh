# shellcheck shell=bash disable=SC2154,SC2034
# What run.sh and the stages are written in: options with their help (options.sh), the plan of a run, units of work that
# know whether they are up to date, and signals. Sourced by run.sh, whose options (stage, force, plan, ...) it uses.

# shellcheck source=steps/stages/options.sh
. "$(dirname "${BASH_SOURCE[0]}")/options.sh"

exec 5>&1 6>&2 # for people; 1 and 2 of what a unit runs are its log

# Signals: a shell hears them only when its command has ended. So run.sh itself does nothing but wait, and what it runs
# is a process group of its own. SIGINT, SIGTERM and SIGHUP reach all of that group as SIGTERM, upon which training
# saves and the other steps tidy up; if run.sh is killed, the group hears it from the end of a pipe.

supervise() { # COMMAND ...
  local status signal=0 heard group
  set -m # what is started in the background now is a group, and Ctrl-C on a terminal is not sent to it
  coproc run { in_group "$@"; } >&5
  set +m
  group=$run_PID
  trap 'heard=true signal=129; kill -TERM -- "-$group" 2> /dev/null' HUP
  trap 'heard=true signal=130; kill -TERM -- "-$group" 2> /dev/null' INT
  trap 'heard=true signal=143; kill -TERM -- "-$group" 2> /dev/null' TERM
  trap 'heard=true; kill -STOP -- "-$group"; kill -STOP $$; kill -CONT -- "-$group"' TSTP
  until
    heard=false
    wait "$group" && status=0 || status=$?
    [ "$heard" = false ] # by wait, which ends then
  do :; done
  ((status == 0 || signal == 0)) || status=$signal
  exit "$status"
}

in_group() { # COMMAND ...
  set +m
  trap 'exit 143' HUP INT TERM
  trap report_end EXIT
  exec 3<&0 < /dev/null
  { read -r -u 3 || kill -TERM 0; } > /dev/null 2>&1 5>&- 6>&- & # nothing is ever written: it ends with run.sh
  exec 3<&-
  "$@"
}

report_end() { # on exit
  local status=$?
  exec >&5 2>&6
  stop_cluster
  if ((status == 143)); then
    echo "run.sh: stopped${running:+ in stage $running, whose log is $unit_log}; the same command goes on" >&2
  elif [ -n "$running" ]; then
    echo "run.sh: stage $running failed (exit status $status); its log: $unit_log" >&2
    [ -t 6 ] || tail -n 5 "$unit_log" >&2
  fi
}

# The cluster of --cluster: a process beside the run holds its scheduler, whose address steps find in TIMBRE_CLUSTER. It
# is in no group that is sent a signal, for steps tidy up there first, and ends when the pipe it reads from does.

start_cluster() { # once, before the first unit that runs
  [ -n "${cluster:-}" ] && [ -z "${cluster_pipe:-}" ] || return 0
  local told=$exp/log/cluster
  mkdir -p "$told"
  rm -f "$told/address" && mkfifo "$told/address"
  exec {cluster_pipe}> >(
    for lock in 5 6 8 "${data_locks[@]}" "${making_locks[@]}"; do exec {lock}>&-; done
    exec setsid python -m timbre.utils.cluster_server "$cluster" "$nj" "$told" > "$told/address" 2> "$told/server.log"
  )
  cluster_server=$!
  read -r TIMBRE_CLUSTER < "$told/address" || die "the cluster did not start: $(tail -n 1 "$told/server.log")"
  rm "$told/address"
  export TIMBRE_CLUSTER
}

stop_cluster() {
  [ -n "${cluster_pipe:-}" ] || return 0
  exec {cluster_pipe}>&-
  wait "$cluster_server" || echo "run.sh: the cluster: $(tail -n 1 "$exp/log/cluster/server.log")" >&2
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

declare -A data_locks=() making_locks=() said=()
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
  flock -w 3 8 || wait_for_lock
  echo "$$ $BASHPID $HOSTNAME" > "$exp/.lock"
  echo "$(date '+%F %T') ./run.sh$(printf ' %q' "$@")" >> "$exp/command"
  echo "$given_settings" > "$exp/settings.conf.tmp" && mv "$exp/settings.conf.tmp" "$exp/settings.conf"
  # Many runs may use one of data/ at once. One that adds to it (a unit without a stamp, which no run uses) holds
  # .making as well; one that makes again what others may be reading has .lock for itself, and gives up its share first.
  local root lock making
  for root in "${roots[@]}"; do
    { exec {lock}>> "$root/.lock" || exec {lock}< "$root/.lock" || continue; } 2> /dev/null # it may be read-only
    flock -s -n "$lock" || { log "waiting for another run.sh that makes what is in $root again" && flock -s "$lock"; }
    data_locks[$root]=$lock
    { exec {making}>> "$root/.making" || exec {making}< "$root/.making" || continue; } 2> /dev/null
    making_locks[$root]=$making
  done
  save_plan
}

wait_for_lock() { # of exp/NAME: for what a run.sh that was killed has left, which is ending; not for one that is alive
  local run group host file line fields holder=""
  read -r run group host < "$exp/.lock" || true
  if [ "$host" = "$HOSTNAME" ] && ! [[ -e /proc/$run && $(< "/proc/$run/stat") != *') Z '* ]]; then
    for file in /proc/[0-9]*/stat; do
      { read -r line < "$file"; } 2> /dev/null || continue
      read -ra fields <<< "${line##*) }"
      [ "${fields[2]}" != "$group" ] || holder=${file//[!0-9]/}
    done
  fi
  [ "$host" = "$HOSTNAME" ] || run+=" on $host"
  [ -n "$holder" ] || die "$exp is in use by another run.sh (process $run); choose another --name or wait"
  echo "run.sh: waiting for process $holder, which a run.sh that was killed has left running" >&2
  flock -w 60 8 || die "$exp is in use by process $holder, left by a run.sh that was killed"
}

root_of() { # FOLDER: the directory of data/ that it lies in, if it lies in one
  local root
  for root in "${!data_locks[@]}"; do
    [[ $1 != "$root" && $1 != "$root"/* ]] || echo "$root"
  done
}

lock_unit() { # NUMBER NAME FOLDER: for the one who makes it; fails if another run has made it meanwhile
  local root waits
  root=$(root_of "$3")
  [ -n "$root" ] || return 0
  if [ -e "$stamp" ]; then
    unit_lock=${data_locks[$root]} made_lock=-s waits="other runs that use $3" # a share again, once it is made
  else
    unit_lock=${making_locks[$root]-} made_lock=-u waits="another run.sh that prepares $root"
  fi
  if [ -z "$unit_lock" ] || flock -n "$unit_lock"; then return 0; fi
  log "stage $1 $2: waiting for $waits"
  flock "$unit_lock"
  reason=$(fingerprint check "$stamp")
  [ -z "$reason" ] || return 0
  log "stage $1 $2: up to date"
  unlock_unit
  return 1
}

unlock_unit() { # others may use what has been made
  [ -z "$unit_lock" ] || flock "$made_lock" "$unit_lock"
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
  word=$folder
  while [ ! -e "$word" ]; do word=$(dirname "$word"); done
  [ -w "$word" ] || die "stage $number $name has to run ($reason), and $word cannot be written to"
  unit_lock=""
  lock_unit "$number" "$name" "$folder" || return 1
  for word in "${unit_inputs[@]}"; do
    [ -e "$word" ] || die "stage $number $name needs $word, which does not exist: run the stages before it first"
  done
  rm -f "$stamp"
  start_cluster
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
  unlock_unit
  log "stage $running: done in $(printf '%d:%02d' $((seconds / 60)) $((seconds % 60)))"
  running=""
}

fingerprint() { # check|write STAMP ...
  python -m timbre.utils.fingerprint "$@" --plan "$plan" --in "${unit_inputs[@]}" --out "${unit_outputs[@]}" --with "${unit_options[@]}"
}

visible_gpus() { # how many GPUs there are, or CUDA_VISIBLE_DEVICES leaves of them
  local number listed
  number=$(nvidia-smi -L 2> /dev/null | grep -c '^GPU' || true)
  if ((number > 0)) && [[ -v CUDA_VISIBLE_DEVICES ]]; then
    IFS=, read -ra listed <<< "${CUDA_VISIBLE_DEVICES%%-1*}"
    number=${#listed[@]}
  fi
  echo "$number"
}

launch() { # COMMAND ...: on every GPU of --ngpu; with --batch, as a batch job on --nodes nodes
  if [ -n "${batch:-}" ]; then
    steps/launch.py --template "$batch" --log "$exp/log/${running// /-}.job.log" --nodes "$nodes" --ngpu "$ngpu" \
      --max-restarts "${max_restarts:-3}" -- "$@"
  elif ((ngpu > 1)); then # when one process fails all begin again: training from its checkpoint, embeddings with the parts
    TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 \
      torchrun --standalone --nproc_per_node "$ngpu" --max-restarts "${max_restarts:-1}" "$@"
  else
    "$@"
  fi
}
