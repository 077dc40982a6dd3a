# shellcheck shell=bash disable=SC2154,SC2034
# Stage 8, score: every trial list by every system, as exp/NAME/plan.tsv lists them.
# Reads embeddings, back-ends and trials; makes exp/NAME/scores/<list>.<system>: cosine, plda (the name of the
# back-end), each with AS-norm (_asnorm) and calibrated (_llr), their fusion, and the baseline (statistics); and of each
# of --protocols <list>.<system>@<protocol>, plain and with AS-norm, by a cohort of whole utterances.

option top-n 300 "number: cohort scores that AS-norm keeps"

stage_score() {
  local models_of inputs=()
  [ "$has_train" = false ] || inputs=("$backend/backend.yaml")
  [ "$baseline" = false ] || inputs+=("$backend/statistics/transform.mat")
  if [ "$has_trials$calibrate" = falsefalse ]; then
    log "stage 8 score: the evaluation sets have no trial lists"
    return 0
  fi
  if unit score "$exp/scores" in "{vectors}" "{trials}" "${inputs[@]}" \
    out "$exp/scores" with "top-n $top_n" ${protocols:+"protocols $protocols"} "calibrate $calibrate"; then
    rm -rf "$exp/scores" "$calibration/scores"
    mkdir "$exp/scores"
    while next_row; do
      models_of=(${models:+--enroll-spk2utt "$models"})
      case "$task" in
        score)
          steps/score_trials.py "$trials" "$vectors" "$vectors" "$output" ${with:+--backend-dir "$with"} --nj "$nj" "${models_of[@]}"
          ;;
        normalize)
          steps/normalize_scores.py "$trials" "$from" "$vectors" "$vectors" "$cohort" "$output" --backend-dir "$with" \
            --cohort-utt2spk "$feats/train/utt2spk" --top-n "$top_n" --nj "$nj" "${models_of[@]}"
          ;;
        learn) steps/train_calibration.py "$trials" "$from" "$output" ;;
        calibrate) steps/calibrate_scores.py "$with" "$trials" "$from" "$output" "${models_of[@]}" ;;
        crops)
          steps/score_crops.py "$trials" "$vectors" "$vectors" "$output" --measure "$kind" ${with:+--mean "$with"} \
            --nj "$nj" "${models_of[@]}"
          ;;
      esac
    done 9< <(rows score)
  fi
}
