# shellcheck shell=bash disable=SC2154,SC2034
# The options of run.sh: how stages declare them, and how the command line and --config set them. Sourced by engine.sh.

# Options: `option some-name DEFAULT HELP` sets some_name, and --some-name VALUE sets it otherwise; --config FILE reads
# lines `some-name=value` (# comments, no code); the command line wins. HELP may begin with the kind of value, which is
# checked: "true/false:", "number:", "some:" (a number, or 2%), "file:", "files:" (several in quotes), "directory:"; or
# not here: "path:" (it may not be there yet), "corpora:" (NAME=DIR). On the command line, all these are relative to the
# folder it was typed in, run.sh's $caller; elsewhere, to that of run.sh. A FILE with sections [SYSTEM] is a study: what
# comes before the first is for all systems (study.sh). Local names here begin with opt_, so that none can hide an option.

declare -A opt_help=() opt_default=()
opt_names=()     # in order, with a word like =data where the options of stage `data` begin
stage_names=()   # in order; stage number N is the function stage_NAME of steps/stages/NN_NAME.sh
study_systems=() # in order
study_lines=()   # SYSTEM, FILE:LINE and some-option=value, with tabs between them
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

closest() { # WORD NAME...: "; did you mean NAME?", if one is like WORD
  "${PYTHON:-python3}" -I "$(dirname "${BASH_SOURCE[0]}")/../timbre/utils/spelling.py" "$@" 2> /dev/null || true
}

unknown_option() { # WHAT NAME
  local opt_name opt_known=()
  for opt_name in "${!opt_help[@]}" config help; do opt_known+=("${2%%[!-]*}$opt_name"); done
  die "$1'$2'$(closest "$2" "${opt_known[@]}") (./run.sh --help lists them)"
}

from_caller() { # PATH: as the caller means it; what the clone alone has of conf/, data/ and exp/ may be named as there
  if [[ $1 == @(/*|"") || $caller == "$PWD" ]] || [[ ! -e $caller/$1 && -e $1 && $1 == @(conf|data|exp)/* ]]; then
    echo "$1"
  else
    echo "$caller/$1"
  fi
}

all_from_caller() { # NAME VALUE: VALUE of the option NAME, with paths as the caller means them
  local opt_word opt_words=()
  [ "$caller" != "$PWD" ] || { echo "$2" && return; }
  case "${opt_help[$1]}" in
    file:* | directory:* | path:*) from_caller "$2" ;;
    files:*)
      for opt_word in $2; do opt_words+=("$(from_caller "$opt_word")"); done
      echo "${opt_words[*]}"
      ;;
    corpora:*) # in quotes, which xargs understands as the plan does
      while IFS= read -r opt_word; do
        [[ $opt_word == *=* ]] || { echo "$2" && return; }
        opt_word=${opt_word%%=*}=$(from_caller "${opt_word#*=}")
        opt_words+=("'${opt_word//\'/\'\\\'\'}'")
      done < <(xargs printf '%s\n' <<< "$2" 2> /dev/null)
      echo "${opt_words[*]:-$2}"
      ;;
    *) echo "$2" ;;
  esac
}

set_option() { # NAME VALUE WHERE
  [[ -v opt_help[$1] ]] || unknown_option "$3: unknown option " "$1"
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
      file:*) [ -z "${!opt_variable}" ] || [ -f "${!opt_variable}" ] || no_such_file "${!opt_variable}" ;;
      directory:*) [ -z "${!opt_variable}" ] || [ -d "${!opt_variable}" ] || die "${!opt_variable}: no such directory$(maker_of "${!opt_variable}")" ;;
      files:*)
        read -ra opt_files <<< "${!opt_variable}"
        for opt_file in "${opt_files[@]}"; do [ -f "$opt_file" ] || no_such_file "$opt_file"; done
        ;;
    esac
  done
}

maker_of() { # DIRECTORY that conf/run names: what makes it
  local opt_corpus
  for opt_corpus in musan rirs; do
    [[ $1 != "data/$opt_corpus/"* ]] || echo ": local/prepare_$opt_corpus.py makes it, of the corpus, in data/$opt_corpus"
  done
}

no_such_file() { # FILE [OPTION]
  die "${2:-}$1: no such file$(closest "$1" "$(dirname "$1")"/* conf/*/*)"
}

read_config() { # FILE
  local opt_line opt_number=0
  [ -f "$1" ] || no_such_file "$1" "--config "
  while IFS= read -r opt_line || [ -n "$opt_line" ]; do
    opt_number=$((opt_number + 1))
    opt_line=${opt_line%%#*}
    opt_line=${opt_line%"${opt_line##*[![:space:]]}"}
    [ -n "$opt_line" ] || continue
    if [[ $opt_line =~ ^\[([A-Za-z0-9_-]+)\]$ ]]; then
      study_systems+=("${BASH_REMATCH[1]}")
      continue
    fi
    [[ $opt_line == *=* ]] || die "$1:$opt_number: expected some-option=value, found '$opt_line'"
    if [ ${#study_systems[@]} = 0 ]; then
      set_option "${opt_line%%=*}" "${opt_line#*=}" "$1:$opt_number"
    else
      study_lines+=("${study_systems[-1]}"$'\t'"$1:$opt_number"$'\t'"$opt_line")
    fi
  done < "$1"
}

choose_system() { # NAME: sets the options of a system of the study; {OTHER} in them stands for the run of another one
  local opt_system opt_where opt_line opt_other
  [ -n "$name" ] || die "a study needs a name: name=... in the file of --config"
  [[ " ${study_systems[*]} " == *" $1 "* ]] ||
    die "no system $1 in the --config files${study_systems[*]:+, which have ${study_systems[*]}}$(closest "$1" "${study_systems[@]}")"
  for opt_line in "${study_lines[@]}"; do
    IFS=$'\t' read -r opt_system opt_where opt_line <<< "$opt_line"
    [ "$opt_system" = "$1" ] || continue
    for opt_other in "${study_systems[@]}"; do opt_line=${opt_line//"{$opt_other}"/exp/$name/$opt_other}; done
    set_option "${opt_line%%=*}" "${opt_line#*=}" "$opt_where"
  done
}

parse_options() { # ARGS OF run.sh; a true/false option alone means true
  local opt_name opt_given=()
  while [ $# -gt 0 ]; do # first the config files, then what overrides them
    case "$1" in
      -h | --help) print_help "${2:-}" && exit 0 ;;
      --config) [ $# -ge 2 ] || die "option --config needs a file" ;;&
      --config) read_config "$(from_caller "$2")" && shift ;;
      --config=*) read_config "$(from_caller "${1#*=}")" ;;
      *) opt_given+=("$1") ;;
    esac
    shift
  done
  set_given "${opt_given[@]}"
  if [ -n "${system:-}" ]; then
    choose_system "$system"
    set_given "${opt_given[@]}"
    name+=/$system
  fi
  given_settings=$(settings) # the plan fills in what was left open, in variables of the same names
}

set_given() { # ARGS: options of the command line
  local opt_name
  while [ $# -gt 0 ]; do
    opt_name=${1#--}
    case "$1" in
      --*=*)
        opt_name=${opt_name%%=*}
        [[ -v opt_help[$opt_name] ]] || unknown_option "unknown option " "--$opt_name"
        set_option "$opt_name" "$(all_from_caller "$opt_name" "${1#*=}")" "command line"
        ;;
      --*)
        [[ -v opt_help[$opt_name] ]] || unknown_option "unknown option " "$1"
        if [[ ${opt_help[$opt_name]} == true/false:* && ${2:-} != true && ${2:-} != false ]]; then
          set_option "$opt_name" true "command line"
        else
          [ $# -ge 2 ] || die "option $1 needs a value"
          set_option "$opt_name" "$(all_from_caller "$opt_name" "$2")" "command line"
          shift
        fi
        ;;
      *) die "'$1' is not an option (./run.sh --help lists them)" ;;
    esac
    shift
  done
}

print_help() { # [STAGE, by name or number]: all options by stage, or what one stage does and its options
  local opt_name opt_stage="" opt_only=""
  for opt_name in "${stage_names[@]}"; do
    [[ $1 != "$opt_name" && $1 != "$(stage_number "$opt_name")" ]] || opt_only=$opt_name
  done
  [[ -z $1 || $1 == -* || -n $opt_only ]] ||
    die "--help $1: the stages are ${stage_names[*]}$(closest "$1" "${stage_names[@]}")"
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
  local opt_variable=${1//-/_} opt_text=${opt_help[$1]} opt_kind opt_line opt_shown=--$1
  for opt_kind in true/false number some file files directory path corpora; do opt_text=${opt_text#"$opt_kind": }; done
  fold -s -w 97 <<< "$opt_text${!opt_variable:+ [${!opt_variable}]}" | while IFS= read -r opt_line; do
    printf '  %-20s %s\n' "$opt_shown" "${opt_line%"${opt_line##*[! ]}"}"
    opt_shown=""
  done
}

settings() { # every option as it stands, readable with --config
  local opt_name opt_variable
  for opt_name in "${opt_names[@]}"; do
    [[ $opt_name == @(=*|force|plan|test|stage|stop-stage|system|systems) ]] && continue
    opt_variable=${opt_name//-/_}
    echo "$opt_name=${!opt_variable}"
  done
}
