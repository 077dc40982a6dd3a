# shellcheck shell=bash disable=SC2154
# Studies: several systems that differ in some options, each a run of its own, and the table of them all. Their options
# are the sections [SYSTEM] of the file that --config names (conf/study/). Sourced by run.sh.

run_study() { # ARGS OF run.sh: exp/NAME/SYSTEM/ for each of --systems, then exp/NAME/TABLE.md
  local chosen=("${study_systems[@]}") one other runs=() classifiers=()
  [ -z "$systems" ] || IFS=, read -ra chosen <<< "$systems"
  for one in "${chosen[@]}"; do (choose_system "$one"); done
  for one in "${chosen[@]}"; do
    other=$(not_there_for "$one")
    if [ "$plan" = true ] && [ -n "$other" ]; then
      echo "system $one: would run after $other"
      continue
    fi
    echo "system $one: exp/$name/$one"
    (cd "$caller" && "$OLDPWD/run.sh" "$@" --system "$one")
  done
  [ "$plan" = false ] && ((${stop_stage:-9} >= 9)) || return 0
  for one in "${study_systems[@]}"; do # those of earlier commands too
    [ ! -f "exp/$name/$one/RESULTS.md" ] || runs+=("exp/$name/$one")
    [ ! -f "exp/$name/$one/CLASSIFICATION.md" ] || classifiers+=("exp/$name/$one")
  done
  [ -n "${runs[*]}${classifiers[*]}" ] || { echo "no table: no system has results on lists with labels" && return 0; }
  . ./path.sh
  [ -z "${classifiers[*]}" ] || steps/compare_classifiers.py "${classifiers[@]}" --out "exp/$name/CLASSIFICATION.md"
  [ -z "${runs[*]}" ] || steps/compare_runs.py "${runs[@]}" --grid "exp/$name/TABLE.md"
}

not_there_for() { # SYSTEM: the first {OTHER} in its options that has not been run
  local one line
  for one in "${study_systems[@]}"; do
    for line in "${study_lines[@]}"; do
      [[ $line != "$1"$'\t'*"{$one}"* || -e exp/$name/$one ]] || { echo "$one" && return; }
    done
  done
}
