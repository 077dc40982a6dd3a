# shellcheck shell=bash disable=SC2154,SC2034
# Stage 1, audio: resampled and filtered copies, augmented copies of `train`, evaluation sets under other conditions.
# Reads data/<corpus>/<set>/wav.scp; makes, where asked to, data/<corpus>/<audio-conf>/<set>, .../<augment-conf>/train,
# .../backend_<backend-augment> (copies of utterances of train that the back-end alone is trained on),
# .../conditions/<condition>/<set>_<condition>, and impulse responses of simulated rooms in data/<corpus>/rooms and, for
# conditions, data/<corpus>/rooms_test.

option command-seconds "" "number: seconds that a \"cmd |\" of wav.scp may take (default: 600)"
option command-mb "" "number: megabytes that it may write (default: 4096)"
option audio-conf "" "file: YAML for steps/preprocess_audio.py: resample, filter (default: audio as it is)"
option augment-conf "" "file: YAML of augmented copies of train, such as conf/augment/offline.yaml (default: none)"
option train-augment "" "file: YAML of effects while training on waveforms, such as conf/augment/online.yaml (default: none)"
option backend-augment "" "file: YAML of effects or of copies, such as conf/condition/telephone_wide.yaml: the back-end and the cohort are made of augmented copies of train too (default: none)"
option backend-copies 100% "some: copies for it, a number or a share of the utterances: 100% is one of each, by one drawn of the file's copies"
option noise-dir "" "directory: data dir or folder of noises for augmentation"
option music-dir "" "directory: data dir or folder of music for augmentation"
option speech-dir "" "directory: data dir or folder of voices for babble (default: train)"
option rir-dir "" "directory: data dir or folder of impulse responses (default: simulated rooms)"
option test-conf "" "files: YAML of effects to test under as well, several in quotes, such as conf/condition/noise10.yaml"
option test-noise-dir "" "directory: data dir or folder of noises for them, best not those of training (default: noise-dir)"
option test-rir-dir "" "directory: data dir or folder of impulse responses for them (default: simulated rooms, others than those of training)"

find_sources() { # [test]: what effects take noise, rooms, ... from: options of the steps, and the tables or folders behind
  local source directory
  source_options=() source_inputs=()
  [ -n "$augment_conf$train_augment$backend_augment$test_conf$dev_conf" ] || return 0
  for source in noise music speech rir; do
    directory=${source}_dir
    [ "${1:-}$source" != testrir ] && { [ "${1:-}$source" != testnoise ] || [ -z "$test_noise_dir" ]; } ||
      directory=test_$directory
    directory=${!directory}
    [ -n "$directory" ] || continue
    source_options+=("--$source-dir" "$directory")
    source_inputs+=("$([ -f "$directory/wav.scp" ] && echo "$directory/wav.scp" || echo "$directory")")
  done
}

stage_audio() {
  local name
  find_missing
  for name in $(units 1 | grep '^audio' || true); do
    if unit "$name" "$(folder_of "$name")" in "{data}/wav.scp" "$audio_conf" out "{output}/wav.scp"; then
      while next_row; do
        steps/preprocess_audio.py "$data_dir" "$output" --config "$with" "${missing[@]}" --nj "$nj"
      done 9< <(rows "$name")
    fi
  done
  if [ "$rir_dir" = "$data/rooms" ] && unit rooms "$rir_dir" out "$rir_dir/wav.scp"; then
    steps/simulate_rooms.py "$rir_dir" --nj "$nj"
  fi
  if [ "$test_rir_dir" = "$data/rooms_test" ] && unit rooms_test "$test_rir_dir" out "$test_rir_dir/wav.scp"; then
    steps/simulate_rooms.py "$test_rir_dir" --seed 1 --nj "$nj"
  fi
  find_sources
  if [ -n "$augment_conf" ] && unit augment "$(dirname "$train")" in "$audio/train/wav.scp" "$augment_conf" \
    "${source_inputs[@]}" out "$train/wav.scp" with "sources ${source_options[*]}"; then
    steps/augment_data_dir.py "$audio/train" "$train" --augment-conf "$augment_conf" "${source_options[@]}" \
      "${missing[@]}" --nj "$nj"
  fi
  for name in $(units 1 | grep '^backend_' || true); do
    if unit "$name" "$(folder_of "$name")" in "{data}/wav.scp" "{with}" "${source_inputs[@]}" out "{output}/wav.scp" \
      with "sources ${source_options[*]}"; then
      next_row 9< <(rows "$name")
      steps/augment_data_dir.py "$data_dir" "$output" --augment-conf "$with" --draw "$backend_copies" \
        "${source_options[@]}" "${missing[@]}" --nj "$nj"
    fi
  done
  find_sources test
  for name in $(units 1 | grep '^condition_' || true); do
    if unit "$name" "$(folder_of "$name")" in "{data}/wav.scp" "{with}" "${source_inputs[@]}" out "{output}/wav.scp"; then
      while next_row; do
        steps/preprocess_audio.py "$data_dir" "$output" --config "$with" "${source_options[@]}" "${missing[@]}" --nj "$nj"
      done 9< <(rows "$name")
    fi
  done
}
