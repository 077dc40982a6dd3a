# shellcheck shell=bash disable=SC2154,SC2034
# Stage 7, back-end: transforms and PLDA of the training embeddings, and the trials that scores are calibrated on.
# Reads exp/NAME/embeddings/train; makes exp/NAME/backend/{backend.yaml,mean.vec,transform.mat,plda}, the same of cosine
# and of the baseline in cosine/ and statistics/ below it, and exp/NAME/calibration/{trials,others.scp}: a list of the
# speakers that training held out, and the embeddings of all others, which alone the back-end and the cohort are made of.
# With --quality-conditions its pooled/ has the list of these speakers as they are and under each of --dev-conf.
# With --backend-augment these are in exp/NAME/backend_train, with those of the copies (of the others alone). With
# --adapt-dir the back-ends are adapted to its embeddings in exp/NAME/backend_adapted: the mean of n utterances gets
# weight n / (n + 10), the rest is that of training, and their covariance n / (n + adapt-covar-utts), if n is no less.

option backend-conf conf/backend/plda.yaml "file: YAML of the back-end beside cosine: transforms, and a kind of PLDA (or cosine alone)"
option calibrate auto "true/false: calibrate and fuse on the speakers held out of training, and make a decision pack (auto: where 4 are)"
option baseline auto "true/false: score means and deviations of features beside the embeddings (auto: up to 100,000 training utterances)"
option cohort-copies true "true/false: the cohort of AS-norm has the copies of --backend-augment too, in the mean of each speaker"
option adapt-method kaldi "how PLDA is adapted to --adapt-dir: kaldi, coral, coral+ (steps/adapt_plda.py), or mean: only means are"
option adapt-covar-utts 100 "number: utterances from which on covariances are adapted too (and more than PLDA has dimensions)"
option adapt-cohort-utts 100 "number: utterances from which on those of --adapt-dir are the cohort of what is adapted"

find_held_out() { # who is held out of training: the option of the step, and the file that tells
  whose=(--egs-dir "${tuning_egs:-$egs}") manifest=${tuning_egs:-$egs}/manifest.json
  [ -n "$trained$tuned_from" ] || whose=(--model-dir "$model") manifest=$model/spk2int
}

stage_back_end() {
  [ "$has_train" = true ] || return 0
  find_held_out
  if [ "$calibrate" = true ] && unit held-out "$calibration" in "$manifest" "{data}/utt2spk" \
    "$embeddings/train/xvector.scp" out "$calibration/trials" "$calibration/others.scp"; then
    steps/make_calibration_trials.py "${embedded:-$feats}/train" "$calibration" "${whose[@]}"
    steps/filter_scp.py "$calibration/held_out" "$embeddings/train/xvector.scp" "$calibration/others.scp" --exclude
  fi
  if [ -n "$pooled" ] && unit pool "$pooled" in "{data}/trials" "{data}/feats.scp" "{vectors}" out "{output}/trials"; then
    local pooled_dirs=() pooled_vectors=()
    while next_row; do
      pooled_dirs+=("$data_dir") pooled_vectors+=("$vectors")
    done 9< <(rows pool)
    steps/pool_conditions.py "[$(IFS=, && echo "${pooled_dirs[*]}")]" "[$(IFS=, && echo "${pooled_vectors[*]}")]" "$pooled"
  fi
  if [ -n "$backend_train" ] && unit back-end-data "$backend_train" in "{vectors}" "{from}" "{with}" "{data}/utt2uniq" \
    "$feats/train/utt2spk" out "{output}/xvector.scp" "{output}/utt2spk"; then
    next_row 9< <(rows back-end-data)
    steps/combine_embeddings.py "$from" "$feats/train" "$vectors" "$data_dir" "$output" ${with:+--held-out "$with"}
  fi
  if unit back-end "$backend" in "{vectors}" "{with}" out "{output}/backend.yaml"; then
    rm -rf "$backend"
    while next_row; do
      steps/train_backend.py "$vectors" "$data_dir" "$output" --backend "$with"
    done 9< <(rows back-end)
  fi
  if [ -n "$adapted" ] && unit adapt "$adapted" in "{vectors}" "{from}" "{from}/backend.yaml" \
    out "{output}/backend.yaml" with "$adapt_method" "from $adapt_covar_utts"; then
    rm -rf "$adapted"
    while next_row; do
      local method=("$adapt_method" --few.covar_prior_utts "$adapt_covar_utts" --few.min_utts "$adapt_covar_utts")
      [ "$task" = adapt ] || method=(mean)
      steps/adapt_plda.py "$from" "$vectors" "$output" --method "${method[@]}" --few.prior_utts 10
    done 9< <(rows adapt)
  fi
}
