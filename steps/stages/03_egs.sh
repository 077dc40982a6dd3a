# shellcheck shell=bash disable=SC2154,SC2034
# Stage 3, egs: normalised, voiced, random-length chunks of features (or waveforms), shuffled into sequential arks.
# Reads <feats>/train/{feats.scp,vad.scp}; makes <feats>/egs_<egs-conf>/, with manifest.json last.

option egs-conf conf/egs/cpu.yaml "file: YAML with the options of the training examples; of waveforms: conf/egs/waveform.yaml"
option normalize-conf "" "file: YAML of CMN and VAD, such as conf/normalize/utterance.yaml (default: CMN over 3 s, voiced frames)"
option egs-compression "" "of egs: none, CM2 or CM3 (default: as the egs-conf says, and not none beyond 100,000 training utterances)"

stage_egs() {
  [ "$has_train" = true ] && [ -n "$trained" ] || return 0 # --model, --init-model: nothing is trained on them
  local vad=()
  [ "$given" = true ] || vad=("$feats/train/vad.scp")
  if unit egs "$egs" in "$feats/train/feats.scp" "${vad[@]}" "$egs_conf" ${normalize:+"$normalize"} \
    out "$egs/manifest.json" ${egs_compression:+with "compression $egs_compression"}; then
    steps/get_egs.py "$feats/train" "$egs" --egs "$egs_conf" ${normalize:+--normalize "$normalize"} \
      ${egs_compression:+--egs.compression "$egs_compression"} --nj "$nj"
  fi
}
