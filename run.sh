#!/usr/bin/env bash
# Timbre: from a corpus to error rates, DET curves and a model to decide with, in numbered stages.
#
# The stages are the files steps/stages/NN_NAME.sh: each says what it reads and makes, declares its options and holds
# its commands. What they are written in is steps/stages/engine.sh; what goes where is planned in steps/timbre/recipe/
# and can be read in exp/NAME/plan.tsv.
#
#   ./run.sh --help          all options, by stage          ./run.sh --help train     one stage
#   ./run.sh --plan          what would run, and why        ./run.sh --stage 6        from one stage on
# shellcheck disable=SC2154,SC2034 # options are variables; the stages use what is set here
set -euo pipefail
caller=$PWD # relative paths on the command line are from here
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=steps/stages/engine.sh
. steps/stages/engine.sh
# shellcheck source=steps/stages/study.sh
. steps/stages/study.sh
# shellcheck source=steps/stages/rehearsal.sh
. steps/stages/rehearsal.sh

option name "" "name of the run, whose files go to exp/NAME (default: CORPUS_NETWORK)"
option stage 0 "number: first stage to run"
option stop-stage "" "number: last stage to run (default: 9, or the last one that is asked for)"
option nj "$(nproc)" "number: jobs at once"
option cluster "" "file: YAML of the cluster that the --nj jobs run on, such as conf/cluster/slurm.yaml (default: this machine)"
option ngpu "" "number: GPUs to train on and extract embeddings with; 0: the CPU (default: all, as far as the batch can be shared)"
option force false "true/false: run the stages even if they are up to date, and train from the start"
option systems "" "names with commas: of a study (a --config with sections, conf/study/), those to run (default: all)"
option system "" "name: one system of a study alone, as exp/NAME/SYSTEM, without the table"
option plan false "true/false: only say what would run, and why"
option dress-rehearsal false "true/false: the same options on a small made corpus for a few updates, in exp/NAME_rehearsal (voxceleb, cnceleb)"
option test false "true/false: run the tests instead"

usage() {
  cat << 'END'
Usage: ./run.sh [options]

Runs the stages that are not up to date: a stage is skipped when what it makes is there and neither its inputs nor its
options have changed. ./run.sh --help STAGE tells what a stage does. Results: exp/NAME/report.html, RESULTS.md, scores/;
logs: exp/NAME/log/. --config FILE reads options as lines `some-option=value` (conf/run/).

all stages:
END
}

last_stage() { # of those that are asked for
  case "$export$explain$diarize" in
    true*) echo 12 ;;
    falsetrue*) echo 11 ;;
    *true) echo 10 ;;
    *) echo 9 ;;
  esac
}

main() { # ARGS OF run.sh
  . ./path.sh
  [ -n "$stop_stage" ] || stop_stage=$(last_stage)
  [ -n "$ngpu" ] || ngpu=$(gpus_to_use)
  [ "$nodes" = 1 ] || [ -n "$batch" ] || die "--nodes $nodes needs --batch conf/cluster/batch/slurm.sh"
  device=$([ "$ngpu" = 0 ] && echo cpu || echo cuda)
  export TIMBRE_COMMAND_SECONDS=${command_seconds:-${TIMBRE_COMMAND_SECONDS:-}}
  export TIMBRE_COMMAND_MB=${command_mb:-${TIMBRE_COMMAND_MB:-}}
  make_plan
  [ "$export" = false ] || [ "$calibrate$given" = truefalse ] ||
    die "--export takes the decision pack of a run, which one with --calibrate makes, of features of its own"
  says=("${rehearsal_says[@]}" "${says[@]}")
  start_run "$@"
  say_once
  for stage_name in "${stage_names[@]}"; do
    run_stage "$stage_name"
  done
  if [ "$plan" = true ]; then
    python -m timbre.recipe.cost <<< "$given_settings"
  elif ((stop_stage >= 9)); then
    python -m timbre.recipe.last_lines "$exp"
    [ "$dress_rehearsal" = false ] || echo "A dress rehearsal: it all goes through, and no figure of it is a result"
  fi
}

recipe data audio features egs train fine_tune embed back_end score results diarize explain export
parse_options "$@"
[ "$dress_rehearsal" = false ] || rehearse
check_files
[ "$test" = false ] || { . ./path.sh && exec pytest -n $((nj < 8 ? nj : 8)); exit 1; }
if [ ${#study_systems[@]} != 0 ] && [ -z "$system" ]; then supervise run_study "$@"; fi
[ -z "$systems" ] || [ -n "$system" ] || die "--systems $systems: no --config has sections [SYSTEM]"
supervise main "$@"
