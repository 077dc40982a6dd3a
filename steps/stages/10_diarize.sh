# shellcheck shell=bash disable=SC2154,SC2034
# Stage 10, diarize (with --diarize): who speaks when in conversations made of the evaluation speakers.
# Reads the audio, the model and the back-end; makes exp/NAME/diarization/<set>/ with the conversations and their truth,
# the windows, the speakers found (<method>/rttm), der.json and plots. Thresholds are tuned on conversations of the
# speakers that training held out.

option diarize false "true/false: at the end diarize conversations made of the evaluation speakers"
option diarize-method spectral "ahc, spectral or vbx"
option diarize-vad-conf conf/feats/vad_conversation.yaml "file: YAML that says how speech is found in conversations (conf/feats/vad_silero.yaml)"
option conversations-conf "" "file: YAML of them: conversations, speakers, lengths, pauses, overlaps (default: 20 of 90 s)"

stage_diarize() {
  [ "$diarize" = true ] || return 0
  local diar=$exp/diarization
  if unit diarize "$diar" in "$model/final.pt" "$backend/backend.yaml" "{data}/wav.scp" \
    ${conversations_conf:+"$conversations_conf"} "$diarize_vad_conf" out "$diar/tuned/$diarize_method.yaml" with "method $diarize_method"; then
    rm -rf "$diar"
    while next_row; do simulate_and_embed; done 9< <(rows diarize)
    while next_row; do [ "$set" = dev ] || find_speakers; done 9< <(rows diarize)
  fi
}

simulate_and_embed() {
  local speakers=()
  [ "$set" != dev ] || speakers=(--speakers "$egs/manifest.json") # those that were held out of training
  steps/simulate_conversations.py "$data_dir" "$output" "${speakers[@]}" --conversations.prefix "$set-" \
    ${conversations_conf:+--conversations "$conversations_conf"} ${noise_dir:+--noise-dir "$noise_dir"} --nj "$nj"
  "steps/make_$features.py" "$output" "--$features" "$feats_conf" --nj "$nj"
  steps/compute_vad.py "$output" --vad "$diarize_vad_conf" --nj "$nj"
  steps/make_windows.py "$output" "$output/windows" --windows conf/diar/windows_vad.yaml
  steps/extract_windows.py "$model" "$output" "$output/windows" "$output/windows/xvector" --device "$device"
}

too_many_speakers() { # SET: where VBx starts from, SET/first/labels
  steps/cluster_windows.py "$1/windows" "$1/windows/xvector.scp" "$1/first" --ahc.threshold 5 --backend-dir "$backend" --nj "$nj"
}

find_speakers() {
  local found=$output/$diarize_method windows=("$output/windows" "$output/windows/xvector.scp") dev=$exp/diarization/dev
  local tuned=$exp/diarization/tuned/$diarize_method.yaml grid first=()
  case "$diarize_method" in
    ahc) grid='{threshold: [-20, -10, -5, 0, 5]}' ;;
    spectral) grid='{keep: [0.05, 0.1, 0.15, 0.2, 0.3]}' ;;
    vbx)
      grid='{fa: [0.1, 0.3, 0.6], fb: [5, 10, 17]}' first=(--labels "$dev/first/labels")
      too_many_speakers "$dev"
      too_many_speakers "$output"
      ;;
  esac
  steps/tune_diarization.py "$dev/windows" "$dev/windows/xvector.scp" "$dev/rttm" "$output/rttm" "$exp/diarization/tuned" \
    --method "$diarize_method" --values "$grid" --backend-dir "$backend" "${first[@]}" --nj "$nj"
  case "$diarize_method" in
    vbx) steps/resegment_vbx.py "${windows[@]}" "$output/first/labels" "$backend" "$found" --vbx "$tuned" --nj "$nj" ;;
    *)
      steps/cluster_windows.py "${windows[@]}" "$found" --method "$diarize_method" "--$diarize_method" "$tuned" \
        --backend-dir "$backend" --nj "$nj"
      ;;
  esac
  steps/score_der.py "$output/rttm" "$found/rttm" --out "$found/der.json" --tuned-on "$dev/rttm" --plot-dir "$output/plots"
}
