# shellcheck shell=bash disable=SC2154
# Dress rehearsals (--dress-rehearsal): the options of a run, all of them, on small made corpora in the layout of the
# true ones, for a few updates, to exp/NAME_rehearsal: whether all of it goes through. Sourced by run.sh.

rehearsal_says=() # what is reduced

rehearse() { # changes the options to those of timbre/recipe/rehearsal.py, and makes what they name
  local line text keep=()
  . ./path.sh
  [ "$(visible_gpus)" = 0 ] || [ "$ngpu" = 0 ] || keep=(--keep-batches)
  text=$(python -m timbre.recipe.rehearsal "${keep[@]}" <<< "$given_settings") || exit 1
  while IFS= read -r line; do
    if [[ $line == say=* ]]; then
      rehearsal_says+=("${line#say=}")
    else
      set_option "${line%%=*}" "${line#*=}" "dress rehearsal"
    fi
  done <<< "$text"
  given_settings=$(settings)
  local name
  for name in musan rirs; do
    [ -d "data/rehearsal_$name" ] || "local/prepare_$name.py" "data/rehearsal_trees/$name" "data/rehearsal_$name" --partial true 2> /dev/null
  done
}
