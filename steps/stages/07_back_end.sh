# shellcheck shell=bash disable=SC2154,SC2034
# Stage 7, back-end: transforms and PLDA of the training embeddings, and the trials that scores are calibrated on.
# Reads exp/NAME/embeddings/train; makes exp/NAME/backend/{backend.yaml,mean.vec,transform.mat,plda}, the same of cosine
# and of the baseline in cosine/ and statistics/ below it, and exp/NAME/calibration/{trials,others.scp}: a list of the
# speakers that training held out, and the embeddings of all others, which alone the back-end and the cohort are made of.

option backend-conf conf/backend/plda.yaml "file: YAML of the back-end beside cosine: transforms, and a kind of PLDA (or cosine alone)"
option calibrate auto "true/false: calibrate and fuse on the speakers held out of training, and make a decision pack (auto: where 4 are)"
option baseline auto "true/false: score means and deviations of features beside the embeddings (auto: up to 100,000 training utterances)"

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
  if unit back-end "$backend" in "{vectors}" "{with}" out "{output}/backend.yaml"; then
    rm -rf "$backend"
    while next_row; do
      steps/train_backend.py "$vectors" "$data_dir" "$output" --backend "$with"
    done 9< <(rows back-end)
  fi
}
