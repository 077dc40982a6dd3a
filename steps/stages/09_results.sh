# shellcheck shell=bash disable=SC2154,SC2034
# Stage 9, results: error rates with 95 % intervals over speakers, plots, one page, a decision pack.
# Reads the scores and the trial lists; makes exp/NAME/{results.json,RESULTS.md,report.html,analysis/,plots/}, decision/
# (with calibration) and identification/<set> (with --identify).

option identify false "true/false: identification as well: half of the speakers of each evaluation set are a gallery, the others strangers"

stage_results() {
  local left_out=${embedded:+, without utterances that lack an embedding (--allow-missing $allow_missing)}
  local made="network $network, objective $objective, features $feats_conf, egs $egs_conf, training $train_conf"
  [ -n "$trained$tuned_from" ] || made="model $model, features $feats_conf"
  [ -z "$tuned_from" ] || made+=", fine-tuned from $tuned_from by $fine_tune_conf${mix_dir:+ with $mix_dir}"
  [ -z "$init_model" ] || made="features $feats_conf, fine-tuned from $tuned_from by $fine_tune_conf${mix_dir:+ with $mix_dir}"
  [ "$dress_rehearsal" = false ] || made="NOT A RESULT but a dress rehearsal, of made sounds and a few updates; $made"
  [ "$has_trials" = true ] || return 0
  if unit results "$exp" in "$exp/scores" "{trials}" out "$exp/results.json" "$exp/RESULTS.md" "$exp/report.html"; then
    rm -rf "$exp/analysis"
    while next_row; do
      [ "$task" != analyze ] || steps/analyze_trials.py "$trials" "$from" "$output" --data-dir "$data_dir" --nj "$nj"
    done 9< <(rows results)
    steps/make_results.py "$exp" "[$trial_dirs]" --llr "[$llr]" --nj "$nj" \
      --settings "$made$left_out"
    while next_row; do
      [ "$task" != map ] || steps/plot_embeddings.py "$vectors" "$output" --labels "$data_dir" --max-labels 18
    done 9< <(rows results)
    steps/make_report.py "$exp"
  fi
  if [ "$calibrate" = true ] && [ "$given" = false ] && unit decision "$exp/decision" in "$model/final.pt" \
    "$backend/backend.yaml" "$calibration/trials" "$vad_conf" out "$exp/decision/pack.yaml" with "top-n $top_n"; then
    steps/make_decision_pack.py "$model" "$feats/train" "$backend" "$calibration/trials" "$embeddings/train/xvector.scp" \
      "$exp/decision" --vad "$vad_conf" ${audio_conf:+--audio-conf "$audio_conf"} --cohort-scp "$cohort" \
      --cohort-utt2spk "$feats/train/utt2spk" --top-n "$top_n" --nj "$nj"
  fi
  if [ "$identify" = true ] && unit identify "$exp/identification" in "{vectors}" "{with}/backend.yaml" \
    out "{output}/identification.json" with "top-n $top_n"; then
    while next_row; do
      steps/make_gallery.py "$data_dir" "$output" --known 0.5
      steps/identify_probes.py "$output/enroll.spk2utt" "$output/utt2spk" "$vectors" "$vectors" "$with" "$output" \
        --cohort-scp "$cohort" --cohort-utt2spk "$feats/train/utt2spk" --top-n "$top_n" --nj "$nj"
    done 9< <(rows identify)
  fi
}
