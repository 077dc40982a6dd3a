# shellcheck shell=bash disable=SC2154,SC2034
# Stage 8, score: every trial list by every system, as exp/NAME/plan.tsv lists them.
# Reads embeddings, back-ends and trials; makes exp/NAME/scores/<list>.<system>: cosine, plda (the name of the
# back-end), each with AS-norm (_asnorm) and calibrated (_llr; with --quality also _quality, by the measures that are
# put into exp/NAME/quality/<set>), their fusion, and the baseline (statistics); and of each of --protocols
# <list>.<system>@<protocol>, plain and with AS-norm, by a cohort of whole utterances. With --adapt-dir cosine_adapted
# and plda_adapted stand beside, with AS-norm by the adaptation set, if that is large enough, and calibrated as what is
# not adapted. A network that was trained with a head that compares pairs scores by it as well (siamese). Lists without
# labels (`pairs` of an evaluation set) are scored in exp/NAME/pairs/.

option top-n 300 "number: cohort scores that AS-norm keeps"
option quality false "true/false: calibration with quality measures as well (_quality): seconds of speech, noise, bandwidth, length of the embedding, nearness of the cohort"
option quality-conditions false "true/false: that calibration is learnt under the conditions of --dev-conf too, where measures move the slope as well; so is the decision pack"

stage_score() {
  local inputs=() more=()
  [ "$quality$quality_conditions" = falsefalse ] || more=("quality${pooled:+ under conditions}")
  [ "$has_train" = false ] || inputs=("$backend/backend.yaml")
  [ "$baseline" = false ] || inputs+=("$backend/statistics/transform.mat")
  [ "$siamese" = false ] || inputs+=("$model/final.pt")
  [ -z "$backend_train" ] || inputs+=("$backend_train/xvector.scp") more+=("cohort $cohort")
  [ -z "$adapted" ] || inputs+=("$adapted" "$adapted/backend.yaml" "$embeddings/adapt/xvector.scp") more+=("cohort $adapted_cohort")
  if [ "$has_trials$calibrate" = falsefalse ]; then
    log "stage 8 score: the evaluation sets have no trial lists with labels"
  elif unit score "$exp/scores" in "{vectors}" "{trials}" "${inputs[@]}" \
    out "$exp/scores" with "top-n $top_n" ${protocols:+"protocols $protocols"} "calibrate $calibrate" "${more[@]}"; then
    rm -rf "$exp/scores" "$calibration"/{,pooled/,adapted/}scores "$exp/quality"
    mkdir "$exp/scores"
    score_rows score
  fi
  [ "$calibrate" = false ] || inputs+=("$exp/scores") # what is learnt for them
  if [ -n "$(rows score-pairs)" ] && unit score-pairs "$exp/pairs" in "{vectors}" "{trials}" "${inputs[@]}" \
    out "$exp/pairs" with "top-n $top_n" ${protocols:+"protocols $protocols"} "calibrate $calibrate" "${more[@]}"; then
    rm -rf "$exp/pairs"
    mkdir "$exp/pairs"
    score_rows score-pairs
  fi
}

score_rows() { # UNIT
  local models_of measures
  while next_row; do
    models_of=(${models:+--enroll-spk2utt "$models"})
    measures=()
    if [ -n "$data_dir" ]; then
      measures=("$data_dir"/utt2{logdur,snr,band,magnitude,cohort})
      [ -f "$data_dir/utt2band" ] || measures=("$data_dir"/utt2{logdur,snr,magnitude,cohort})
      measures=(--measures "[$(IFS=, && echo "${measures[*]}")]")
    fi
    case "$task" in
      score)
        steps/score_trials.py "$trials" "$vectors" "$vectors" "$output" ${with:+--backend-dir "$with"} --nj "$nj" "${models_of[@]}"
        ;;
      siamese)
        steps/score_siamese.py "$trials" "$vectors" "$vectors" "$with" "$output" --device "$device" --nj "$nj" "${models_of[@]}"
        ;;
      normalize)
        steps/normalize_scores.py "$trials" "$from" "$vectors" "$vectors" "$cohort" "$output" --backend-dir "$with" \
          --cohort-utt2spk "$cohort_utt2spk" --top-n "$top_n" --nj "$nj" "${models_of[@]}"
        ;;
      normalize-adapted)
        steps/normalize_scores.py "$trials" "$from" "$vectors" "$vectors" "$adapted_cohort" "$output" --backend-dir "$with" \
          ${adapted_cohort_utt2spk:+--cohort-utt2spk "$adapted_cohort_utt2spk"} --top-n "$top_n" --nj "$nj" "${models_of[@]}"
        ;;
      normalize-like-adapted)
        steps/normalize_scores.py "$trials" "$from" "$vectors" "$vectors" "$cohort" "$output" --backend-dir "$with" \
          --cohort-utt2spk "$cohort_utt2spk" --cohort-like "$adapted_cohort" --top-n "$top_n" --nj "$nj"
        ;;
      measure)
        steps/subset_data_dir.py "$data_dir" "$output" --utt-list "$from"
        rm -f "$output/utt2band" # of conditions a label; the measure is made next, but not of every kind of features
        steps/make_quality.py "$output" "$output" --embeddings "$vectors" --cohort-scp "$cohort" \
          --cohort-utt2spk "$cohort_utt2spk" --mean "$with/mean.vec" --top-n "$top_n" --nj "$nj"
        ;;
      learn) steps/train_calibration.py "$trials" "$from" "$output" "${measures[@]}" ;;
      learn-scaled) steps/train_calibration.py "$trials" "$from" "$output" "${measures[@]}" --scaled true ;;
      calibrate | calibrate-adapted)
        [ "$task" = calibrate ] || measures=(--adapted true)
        steps/calibrate_scores.py "$with" "$trials" "$from" "$output" "${models_of[@]}" "${measures[@]}"
        ;;
      crops)
        steps/score_crops.py "$trials" "$vectors" "$vectors" "$output" --measure "$kind" ${with:+--mean "$with"} \
          --nj "$nj" "${models_of[@]}"
        ;;
    esac
  done 9< <(rows "$1")
}
