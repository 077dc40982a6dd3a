# shellcheck shell=bash disable=SC2154,SC2034
# Stage 2, features: fbank, MFCC or spectrograms, and VAD; with --audit, a look at the corpus.
# Reads the wav.scp of every set; makes <audio>/<feats-conf>/<set>/{feats.scp,vad.scp} and, with --audit,
# <audio>/audit/AUDIT.md. A corpus that brings features and no audio keeps its own, without VAD.

option features "" "fbank, mfcc, spectrogram or melspec (default: what the network is counted at, such as 64 fbank)"
option feats-conf "" "file: YAML with their options (default: that of the model of another toolkit, or the one of conf/feats/ with as many dimensions)"
option vad-conf conf/feats/vad.yaml "file: YAML that says how speech is found: by energy, or by a network (conf/feats/vad_silero.yaml)"
option compression "" "of features: none, CM (one byte a value), CM2 (two) or CM3 (one) (default: none, and CM2 beyond 100,000 training utterances)"
option feats-device cpu "cpu or cuda: where features are computed (a GPU gives them to rounding)"
option allow-missing 0 "some: utterances of a set, or a share (2%), that may lack audio, features or an embedding; they are listed and left out"
option audit false "true/false: audit the corpus before training: faults, overlap of sets, channel leak"
option audit-strict false "true/false: stop when the audit has a serious finding"
option audit-conf conf/feats/mfcc30.yaml "file: YAML of the MFCC that the audit hears by (telephone: conf/feats/mfcc23_8k.yaml)"

find_missing() { # sets missing, the option of steps that go on without some of the utterances
  missing=()
  [ "$allow_missing" = 0 ] || missing=(--allow-missing "$allow_missing")
}

make_features() { # of a row: features and VAD, but of a corpus that brings features
  local extra=(--nj "$nj" ${compression:+--compression "$compression"} "${missing[@]}")
  [ "$feats_device" = cpu ] || extra+=(--device "$feats_device")
  steps/copy_data_dir.py "$data_dir" "$output"
  [ "$kind" != given ] || return 0
  "steps/make_$kind.py" "$output" "--$kind" "$feats_conf" "${extra[@]}"
  steps/compute_vad.py "$output" --vad "$vad_conf" "${missing[@]}" --nj "$nj"
  [ "$allow_missing" = 0 ] || steps/fix_data_dir.py "$output" # without those that are missing
}

stage_features() {
  local name vad where=()
  find_missing
  [ "$feats_device" = cpu ] || where=("device $feats_device")
  for name in $(units 2); do
    vad=(in "$feats_conf" "$vad_conf" out "{output}/vad.scp")
    [[ $name != given* ]] || vad=()
    if unit "$name" "$(folder_of "$name")" in "{from}" "${vad[@]}" out "{output}/feats.scp" \
      with ${compression:+"compression $compression"} "${where[@]}" ${missing[0]:+"${missing[*]}"}; then
      while next_row; do
        make_features
      done 9< <(rows "$name")
    fi
  done
  if [ "$audit" = true ] && [ "$given" = false ]; then
    mapfile -t lists < <(find "$data"/eval* -maxdepth 1 -name 'trials*' | sort)
    if unit audit "$audio/audit" in "$audio"/{train,eval*}/wav.scp "$audio"/{train,eval*}/utt2spk "${lists[@]}" \
      "$audit_conf" "$vad_conf" out "$audio/audit/AUDIT.md" "$audio/audit/audit.json" with "strict $audit_strict"; then
      steps/audit_data.py "$audio" "$audio/audit" --mfcc "$audit_conf" --vad "$vad_conf" --strict "$audit_strict" --nj "$nj"
    fi
  fi
}
