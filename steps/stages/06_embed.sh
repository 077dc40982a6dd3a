# shellcheck shell=bash disable=SC2154,SC2034
# Stage 6, embed: every utterance of every set becomes one vector.
# Reads the model and the features; makes exp/NAME/embeddings/<set>/xvector.{ark,scp}, means and deviations of features
# beside them (statistics.scp, the baseline), and <set>/<protocol>/xvector.scp for each of --protocols. With
# --allow-missing, exp/NAME/embedded/<set>: the data directory and the trials of the utterances that have an embedding.
# --dev-conf first makes sets dev_<condition> of the speakers held out of training, in <feats>/dev_<egs-conf> (or
# exp/NAME/dev where a model is given or trained further): each utterance with draws of its own, beside what was drawn.

option dev-conf "" "files: YAML of conditions that speakers held out of training are tested under, in quotes, such as conf/condition/other_device.yaml"
option protocols "" "how else to test, several in quotes: len1s, len1.5s, tta10x400, tta5x3s+full (default: whole utterances)"

stage_embed() {
  local name vad last
  find_missing
  make_dev_sets
  for name in $(units 6 | grep -v '^dev_'); do
    if [ "$name" = embedded ]; then
      leave_out_missing
      continue
    fi
    vad=() last=""
    [ "$name" != embed_protocols ] || vad=("$vad_conf")
    if unit "$name" "$embeddings" in "$model/final.pt" "{data}/feats.scp" "${vad[@]}" out "{output}.scp" \
      with ${missing[0]:+"${missing[*]}"}; then
      while next_row; do
        if [ "$name" = embed_protocols ]; then
          [ "$set" != "$last" ] || continue # one pass for all of a set
          last=$set
          launch steps/extract_embeddings.py "$model" "$data_dir" "${output%/*/*}/xvector" --protocols "[$protocol_list]" \
            --vad "$vad_conf" --device "$device" "${missing[@]}" --nj "$nj"
        elif [ "$task" = statistics ]; then
          steps/extract_statistics.py "$data_dir" "$output" ${normalize:+--normalize "$normalize"} "${missing[@]}" --nj "$nj"
        else
          launch steps/extract_embeddings.py "$model" "$data_dir" "$output" --protocol "$kind" --device "$device" \
            "${missing[@]}" --nj "$nj"
        fi
      done 9< <(rows "$name")
    fi
  done
}

leave_out_missing() { # what is said of utterances without an embedding
  local lists
  mapfile -t lists < <(while next_row; do find "$data_dir/" -maxdepth 1 -name 'trials*'; done 9< <(rows embedded) | sort)
  if unit embedded "$embedded" in "{vectors}" "{data}/utt2spk" "${lists[@]}" out "{output}/utt2spk"; then
    while next_row; do
      steps/subset_data_dir.py "$data_dir" "$output" --utt-list "$vectors"
    done 9< <(rows embedded)
  fi
}

make_dev_sets() {
  local name
  find_held_out
  find_sources test
  for name in $(units 6 | grep '^dev_' || true); do
    next_row 9< <(rows "$name")
    case "$name" in
      dev_held_out)
        ! unit "$name" "$dev" in "$manifest" "$data_dir/wav.scp" out "$output/wav.scp" ||
          steps/make_calibration_trials.py "$data_dir" "$output" "${whose[@]}" --whole false --draw.max_utts 20
        ;;
      dev_audio_*)
        ! unit "$name" "$dev" in "$data_dir/wav.scp" "$with" "${source_inputs[@]}" out "$output/wav.scp" ||
          steps/preprocess_audio.py "$data_dir" "$output" --config "$with" "${source_options[@]}" --nj "$nj"
        ;;
      *) ! unit "$name" "$dev" in "$data_dir/wav.scp" "$feats_conf" "$vad_conf" out "$output"/{feats,vad}.scp || make_features ;;
    esac
  done
}
