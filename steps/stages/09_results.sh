# shellcheck shell=bash disable=SC2154,SC2034
# Stage 9, results: error rates with 95 % intervals over speakers, plots, one page, a decision pack.
# Reads the scores and the trial lists; makes exp/NAME/{results.json,RESULTS.md,TEST_SETS.md,report.html,analysis/,
# plots/}, decision/ (with calibration), identification/<set> (with --identify) and, with --classify,
# classification/<set>/predictions.tsv and CLASSIFICATION.md. Where an evaluation set is a list of pairs that is to be
# answered (local/prepare_dacon.py) or a corpus wants the names of speakers, submission.csv: the pairs are decided at the
# threshold of the held-out speakers, by the siamese head or else by the system that analyses are made of. Lists without
# labels have no error rates.

option identify false "true/false: identification as well: half of the speakers of each evaluation set are a gallery, the others strangers"
option accuracy false "true/false: accuracy and F1 as well, at the threshold of the held-out speakers (with calibration)"
option fill label "label or score: what submission.csv, the answers to a list of pairs, is filled with"
option classify false "true/false: closed-set classification as well: of the evaluation sets, and of what training held out, with its accuracy"
option published-accuracy "" "accuracy of --classify that others have published, such as 0.93, to be shown beside"

stage_results() {
  local left_out=${embedded:+, without utterances that lack an embedding (--allow-missing $allow_missing)}
  local decided=()
  [ "$accuracy$calibrate" != truetrue ] || decided=(--held-out "$calibration")
  local made="network $network, objective $objective, features $feats_conf, egs $egs_conf, training $train_conf"
  [ -n "$trained$tuned_from" ] || made="model $model, features $feats_conf"
  [ -z "$tuned_from" ] || made+=", fine-tuned from $tuned_from by $fine_tune_conf${mix_dir:+ with $mix_dir}"
  [ -z "$init_model" ] || made="features $feats_conf, fine-tuned from $tuned_from by $fine_tune_conf${mix_dir:+ with $mix_dir}"
  [ "$dress_rehearsal" = false ] || made="NOT A RESULT but a dress rehearsal, of made sounds and a few updates; $made"
  if [ -n "$(rows submission)" ] && unit submission "$exp" in "{data}" "{from}" "{with}" out "{output}" with "fill $fill"; then
    while next_row; do
      steps/make_submission.py "$data_dir" "$from" "$output" --held-out-trials "$trials" --held-out-scores "$with" --fill "$fill"
    done 9< <(rows submission)
  fi
  [ "$classify" = false ] || name_speakers
  [ "$has_trials" = true ] || return 0
  local page=("$exp/report.html")
  [ "$explain" = false ] || page=() # stage 11 makes it anew
  if unit results "$exp" in "$exp/scores" "{trials}" out "$exp/results.json" "$exp/RESULTS.md" "$exp/TEST_SETS.md" "${page[@]}" \
    with ${decided[0]:+"accuracy"}; then
    rm -rf "$exp/analysis" "$exp/explain"
    while next_row; do
      [ "$task" != analyze ] || steps/analyze_trials.py "$trials" "$from" "$output" --data-dir "$data_dir" --nj "$nj"
    done 9< <(rows results)
    steps/make_results.py "$exp" "[$trial_dirs]" --llr "[$llr]" "${decided[@]}" --nj "$nj" \
      --settings "$made$left_out"
    while next_row; do
      [ "$task" != map ] || steps/plot_embeddings.py "$vectors" "$output" --labels "$data_dir" --max-labels 18
    done 9< <(rows results)
    steps/make_report.py "$exp"
  fi
  local conditions=() vectors_of=() measures_of=() learnt=("$calibration/trials" "$embeddings/train/xvector.scp") by=()
  while next_row; do
    conditions+=("$data_dir") vectors_of+=("$vectors")
    [ -z "$from" ] || measures_of+=("$from")
  done 9< <(rows decision)
  if [ -n "$pooled" ]; then
    learnt=("$pooled/trials" "$pooled/xvector.scp")
    by=("$exp/quality/train/"utt2{logdur,snr,band,magnitude})
    [ -f "${by[2]}" ] || unset "by[2]"
    by=(--measures "[$(IFS=, && echo "${by[*]}")]" --condition-measures "[$(IFS=, && echo "${measures_of[*]}")]" --scaled true)
  fi
  if [ "$calibrate" = true ] && [ "$given" = false ] && unit decision "$exp/decision" in "$model/final.pt" \
    "$backend/backend.yaml" "${learnt[0]}" "$vad_conf" "${conditions[@]/%//trials}" "${vectors_of[@]}" \
    out "$exp/decision/pack.yaml" with "top-n $top_n" ${by[0]:+"quality"}; then
    steps/make_decision_pack.py "$model" "$feats/train" "$backend" "${learnt[@]}" "$exp/decision" "${by[@]}" \
      --vad "$vad_conf" ${audio_conf:+--audio-conf "$audio_conf"} --cohort-scp "$cohort" \
      --cohort-utt2spk "$cohort_utt2spk" --top-n "$top_n" --nj "$nj" \
      --conditions "[$(IFS=, && echo "${conditions[*]}")]" \
      --condition-embeddings "[$(IFS=, && echo "${vectors_of[*]}")]"
  fi
  if [ "$identify" = true ] && unit identify "$exp/identification" in "{vectors}" "{with}/backend.yaml" \
    out "{output}/identification.json" with "top-n $top_n"; then
    while next_row; do
      steps/make_gallery.py "$data_dir" "$output" --known 0.5
      steps/identify_probes.py "$output/enroll.spk2utt" "$output/utt2spk" "$vectors" "$vectors" "$with" "$output" \
        --cohort-scp "$cohort" --cohort-utt2spk "$cohort_utt2spk" --top-n "$top_n" --nj "$nj"
    done 9< <(rows identify)
  fi
}

name_speakers() { # every utterance of a set by the classes of the network
  local held=(in "$egs/manifest.json" out "$exp/CLASSIFICATION.md")
  [ -n "$trained" ] || held=()
  unit classify "$exp" in "$model/final.pt" "{vectors}" "{from}" "${held[@]}" out "{output}/predictions.tsv" "{with}" \
    with "published $published_accuracy" || return 0
  while next_row; do
    if [ "$task" = held-out ]; then
      steps/classify.py "$model" "$vectors" "$output" --labels "$data_dir" --egs-dir "$egs" \
        ${published_accuracy:+--published "$published_accuracy"}
      steps/compare_classifiers.py "$exp" --out "$exp/CLASSIFICATION.md"
    else
      steps/classify.py "$model" "$vectors" "$output" ${with:+--rows "$from" --submission "$with"}
    fi
  done 9< <(rows classify)
}
