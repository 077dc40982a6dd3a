#!/usr/bin/env bash
# Timbre: from a corpus to error rates and DET curves, in numbered stages. ./run.sh --help tells the options.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=steps/stages/engine.sh
. steps/stages/engine.sh

# Options: --some-name sets some_name, and --help prints the comments
corpus=synth                             # corpus to run on: synth (made here), folder, kaldi, voxceleb, ... (local/prepare_*.py)
corpus_dir=                              # where the corpus lies on disk (not for synth)
download_dir=                            # archives of the corpus, fetched already, that are verified and unpacked into the former
corpus_conf=                             # YAML with options for local/prepare_CORPUS.py
name=                                    # name of the run, whose files go to exp/NAME (default: CORPUS_NETWORK)
features=fbank                           # features: fbank, mfcc or spectrogram
feats_conf=                              # YAML with their options (default: conf/feats/{fbank80,mfcc30,spectrogram257}.yaml)
audio_conf=                              # YAML for steps/preprocess_audio.py: resample, filter (default: audio as it is)
augment_conf=                            # YAML of augmented copies of train, such as conf/augment/offline.yaml (default: none)
train_augment=                           # YAML of effects while training on waveforms, such as conf/augment/online.yaml (default: none)
noise_dir=                               # data dir or folder of noises for augmentation
music_dir=                               # data dir or folder of music for augmentation
speech_dir=                              # data dir or folder of voices for babble (default: train)
rir_dir=                                 # data dir or folder of impulse responses (default: simulated rooms)
test_conf=                               # YAML of effects to test under as well, several in quotes, such as conf/condition/noise10.yaml
test_noise_dir=                          # data dir or folder of noises for them, best not those of training (default: noise_dir)
vad_conf=conf/feats/vad.yaml             # YAML with the options of the energy VAD
egs_conf=conf/egs/cpu.yaml               # YAML with the options of the training examples; of waveforms: conf/egs/waveform.yaml
network=conf/network/ecapa128.yaml       # YAML of the network
objective=conf/objective/aam.yaml        # YAML of the objective
train_conf=conf/train/cpu.yaml           # YAML with the options of training
audit=false                              # true/false: audit the corpus before training: faults, overlap of sets, channel leak
audit_strict=false                       # true/false: stop when the audit has a serious finding
audit_conf=conf/feats/mfcc30.yaml        # YAML of the MFCC that the audit hears by (telephone: conf/feats/mfcc23_8k.yaml)
backend_conf=conf/backend/plda.yaml      # YAML of the back-end beside cosine: transforms, and a kind of PLDA or cosine
calibrate=false                          # true/false: calibrate and fuse on the speakers held out of training, and make a decision pack
diarize=false                            # true/false: at the end diarize conversations made of the evaluation speakers (stage 10)
conversations_conf=                      # YAML of them: conversations, speakers, lengths, pauses, overlaps (default: 20 of 90 s)
protocols=                               # how else to test, several in quotes: len2s, tta10x400, tta5x3s+full (default: whole utterances)
top_n=300                                # number: cohort scores that AS-norm keeps
nj=$(nproc)                              # number: jobs at once
ngpu=                                    # number: GPUs to train on; 0: the CPU (default: 1 where there is one, else 0)
stage=0                                  # number: first stage to run
stop_stage=9                             # number: last stage to run
force=false                              # true/false: run the stages even if they are up to date, and train from the start
plan=false                               # true/false: only say what would run, and why
test=false                               # true/false: run the tests instead
# End of options

print_help() {
  cat << 'END'
Usage: ./run.sh [options]

Stages: 0 data   1 audio   2 features   3 egs   4 train   5 fine-tune (none yet)
        6 embed   7 back-end   8 score   9 results   10 diarize (with --diarize)
Each stage is skipped when what it makes is there and neither its inputs nor its options have changed.
With --audit, stage 2 also writes AUDIT.md, on what is wrong with the corpus, into data/<corpus>/audit/.
Results: exp/NAME/RESULTS.md, exp/NAME/results.json, exp/NAME/plots/. Logs: exp/NAME/log/.

Options (--config FILE reads any of them as lines `some-option=value`):
END
  print_options
}

declare_options run.sh
parse_options "$@"
[ -f "local/prepare_$corpus.py" ] || die "--corpus $corpus: there is no local/prepare_$corpus.py"
[ "$corpus" != synth ] || [ -z "$download_dir" ] || die "--download-dir: the corpus synth has no archives"
[ "$corpus" = synth ] || [ -n "$corpus_dir" ] || die "--corpus $corpus needs --corpus-dir DIR"
case "$features" in
  fbank) feats_conf=${feats_conf:-conf/feats/fbank80.yaml} ;;
  mfcc) feats_conf=${feats_conf:-conf/feats/mfcc30.yaml} ;;
  spectrogram) feats_conf=${feats_conf:-conf/feats/spectrogram257.yaml} ;;
  *) die "--features $features: not fbank, mfcc or spectrogram" ;;
esac
variant=${corpus_dir:+_$(basename -- "$corpus_dir")}${corpus_conf:+_$(basename "$corpus_conf" .yaml)}
ngpu=${ngpu:-$(nvidia-smi -L 2> /dev/null | head -n 1 | grep -c GPU || true)}
device=$([ "$ngpu" = 0 ] && echo cpu || echo cuda)
name=${name:-${corpus}_$(basename "$network" .yaml)}
[[ $name != */* && $name != .* ]] || die "--name $name: a name, not a path"
read -ra conditions <<< "$test_conf"
for file in "$feats_conf" "$vad_conf" "$egs_conf" "$network" "$objective" "$train_conf" "$corpus_conf" "$audio_conf" \
  "$audit_conf" "$augment_conf" "$train_augment" "$backend_conf" \
  "$conversations_conf" "${conditions[@]}"; do
  [ -z "$file" ] || [ -f "$file" ] || die "$file: no such file"
done

for directory in "$download_dir" "$noise_dir" "$music_dir" "$speech_dir" "$rir_dir" "$test_noise_dir"; do
  [ -z "$directory" ] || [ -d "$directory" ] || die "$directory: no such directory"
done

[ "$diarize" = false ] || ((stop_stage != 9)) || stop_stage=10

. ./path.sh
[ "$test" = false ] || exec pytest

backend_name=$(basename "$backend_conf" .yaml) # of its score files
[[ $backend_name != @(cosine|statistics|fusion|*_asnorm|*_llr) ]] || die "--backend-conf $backend_conf: that name is taken; copy it to another"
llr="cosine_llr,${backend_name}_llr,fusion$(grep -q 'class_path: *Cosine' "$backend_conf" || echo ",$backend_name")"

exp=exp/$name
data=data/$corpus$variant                                   # as the corpus has it
audio=$data${audio_conf:+/$(basename "$audio_conf" .yaml)}  # after pre-processing
feats=$audio${augment_conf:+/$(basename "$augment_conf" .yaml)}/$(basename "$feats_conf" .yaml) # with features
egs=$feats/egs_$(basename "$egs_conf" .yaml)
start_run "$@"

[ -z "$download_dir" ] || [ "$plan" = true ] || mkdir -p "$corpus_dir"
if stage 0 data "$data" in ${corpus_dir:+"$corpus_dir"} ${corpus_conf:+"$corpus_conf"} ${download_dir:+"$download_dir"} \
  out "$data/train/wav.scp" with "corpus $corpus"; then
  [ -z "$download_dir" ] || local/unpack.py "$download_dir" "$corpus_dir"
  case "$corpus" in
    synth) local/prepare_synth.py "$data" ${corpus_conf:+--synth "$corpus_conf"} --nj "$nj" ;;
    *) "local/prepare_$corpus.py" "$corpus_dir" "$data" ${corpus_conf:+--config "$corpus_conf"} ;;
  esac
fi
eval_sets=$(find "$data" -mindepth 1 -maxdepth 1 -name 'eval*' -printf '%f\n' 2> /dev/null | sort || true)
sets="train $eval_sets"
mapfile -t trial_lists < <(for set in $eval_sets; do find "$data/$set" -name 'trials*' | sort; done)

if [ -n "$audio_conf" ] && stage 1 audio "$audio" in "$data/{set}/wav.scp" "$audio_conf" \
  out "$audio/{set}/wav.scp"; then
  for set in $sets; do
    steps/preprocess_audio.py "$data/$set" "$audio/$set" --config "$audio_conf" --nj "$nj"
  done
fi

train=$audio/train # with its copies, if any
source_options=()  # of augmentation, and the tables or folders behind them
source_inputs=()
if [ -n "$augment_conf$train_augment$test_conf" ]; then
  if [ -z "$rir_dir" ]; then
    rir_dir=$data/rooms
    if stage 1 rooms "$rir_dir" out "$rir_dir/wav.scp"; then steps/simulate_rooms.py "$rir_dir" --nj "$nj"; fi
  fi
  speech_dir=${speech_dir:-$audio/train}
  for source in noise music speech rir; do
    directory=${source}_dir
    [ -n "${!directory}" ] || continue
    source_options+=("--$source-dir" "${!directory}")
    source_inputs+=("$([ -f "${!directory}/wav.scp" ] && echo "${!directory}/wav.scp" || echo "${!directory}")")
  done
fi
if [ -n "$augment_conf" ]; then
  train=$audio/$(basename "$augment_conf" .yaml)/train
  if stage 1 augment "$(dirname "$train")" in "$audio/train/wav.scp" "$augment_conf" "${source_inputs[@]}" \
    out "$train/wav.scp" with "sources ${source_options[*]}"; then
    steps/augment_data_dir.py "$audio/train" "$train" --augment-conf "$augment_conf" "${source_options[@]}" --nj "$nj"
  fi
fi

if stage 2 features "$feats" in "$audio/{set}/wav.scp" "$train/wav.scp" "$feats_conf" "$vad_conf" \
  out "$feats/{set}/feats.scp" "$feats/{set}/vad.scp"; then
  for set in $sets; do
    steps/copy_data_dir.py "$([ "$set" = train ] && echo "$train" || echo "$audio/$set")" "$feats/$set"
    "steps/make_$features.py" "$feats/$set" "--$features" "$feats_conf" --nj "$nj"
    steps/compute_vad.py "$feats/$set" --vad "$vad_conf" --nj "$nj"
  done
fi

if [ "$audit" = true ] && stage 2 audit "$audio/audit" in "$audio/{set}/wav.scp" "$audio/{set}/utt2spk" \
  "${trial_lists[@]}" "$audit_conf" "$vad_conf" out "$audio/audit/AUDIT.md" "$audio/audit/audit.json" \
  with "strict $audit_strict"; then
  steps/audit_data.py "$audio" "$audio/audit" --mfcc "$audit_conf" --vad "$vad_conf" --strict "$audit_strict" --nj "$nj"
fi

tested_sets=$sets trial_dirs=$data condition_lists=()
for condition in "${conditions[@]}"; do # each evaluation set SET once more as SET_CONDITION
  copy=$(basename "$condition" .yaml)
  [[ $copy =~ ^[A-Za-z0-9_.-]+$ ]] || die "--test-conf $condition: its name is to be part of others: letters, digits, _ . -"
  copies=$audio/conditions/$copy
  test_inputs=("$condition" "${source_inputs[@]}" ${test_noise_dir:+"$test_noise_dir"})
  sets=$eval_sets
  if stage 1 "$copy" "$copies" in "$audio/{set}/wav.scp" "${trial_lists[@]}" "${test_inputs[@]}" \
    out "$copies/{set}_$copy/wav.scp"; then
    for set in $sets; do
      steps/preprocess_audio.py "$audio/$set" "$copies/${set}_$copy" --config "$condition" --nj "$nj" \
        "${source_options[@]}" ${test_noise_dir:+--noise-dir "$test_noise_dir"}
    done
  fi
  if stage 2 "features_$copy" "$feats" in "$copies/{set}_$copy/wav.scp" "$feats_conf" "$vad_conf" \
    out "$feats/{set}_$copy/feats.scp" "$feats/{set}_$copy/vad.scp"; then
    for set in $sets; do
      steps/copy_data_dir.py "$copies/${set}_$copy" "$feats/${set}_$copy"
      "steps/make_$features.py" "$feats/${set}_$copy" "--$features" "$feats_conf" --nj "$nj"
      steps/compute_vad.py "$feats/${set}_$copy" --vad "$vad_conf" --nj "$nj"
    done
  fi
  for trials in "${trial_lists[@]}"; do
    set=$(basename "$(dirname "$trials")")
    condition_lists+=("$copies/${set}_$copy/$(basename "$trials")")
  done
  for set in $eval_sets; do tested_sets+=" ${set}_$copy"; done
  trial_dirs+=,$copies
done
sets=$tested_sets
trial_lists+=("${condition_lists[@]}")

if stage 3 egs "$egs" in "$feats/train/feats.scp" "$feats/train/vad.scp" "$egs_conf" out "$egs/manifest.json"; then
  steps/get_egs.py "$feats/train" "$egs" --egs "$egs_conf" --nj "$nj"
fi

train_inputs=("$egs/manifest.json" "$network" "$objective" "$train_conf")
online=() # options of augmentation while training
if [ -n "$train_augment" ]; then
  online=(--augment-conf "$train_augment" "${source_options[@]}")
  train_inputs+=("$train_augment" "${source_inputs[@]}")
fi
if stage 4 train "$exp/model" in "${train_inputs[@]}" out "$exp/model/final.pt" \
  with "ngpu $ngpu${online[*]:+ ${online[*]}}"; then
  [ "$force" = false ] || rm -rf "$exp/model"
  python -m timbre.utils.environment "$exp/environment.json"
  launch steps/train.py "$egs" "$exp/model" --network "$network" --objective "$objective" --train "$train_conf" \
    --train.device "$device" "${online[@]}"
  steps/plot_training.py "$exp/model"
fi

if stage 6 embed "$exp/embeddings" in "$exp/model/final.pt" "$feats/{set}/feats.scp" \
  out "$exp/embeddings/{set}/xvector.scp" "$exp/embeddings/{set}/statistics.scp"; then
  for set in $sets; do
    steps/extract_embeddings.py "$exp/model" "$feats/$set" "$exp/embeddings/$set/xvector" --device "$device" --nj "$nj"
    steps/extract_statistics.py "$feats/$set" "$exp/embeddings/$set/statistics" --nj "$nj"
  done
fi
sets=${tested_sets#train }
for protocol in $protocols; do
  if stage 6 "embed_$protocol" "$exp/embeddings" in "$exp/model/final.pt" "$feats/{set}/feats.scp" \
    out "$exp/embeddings/{set}/$protocol/xvector.scp"; then
    for set in $sets; do
      steps/extract_embeddings.py "$exp/model" "$feats/$set" "$exp/embeddings/$set/$protocol/xvector" --protocol "$protocol" \
        --device "$device" --nj "$nj"
    done
  fi
done
sets=$tested_sets

embeddings=$exp/embeddings backend=$exp/backend calibration=$exp/calibration
train_xvectors=$embeddings/train/xvector.scp # that back-end and cohort are made of
if [ "$calibrate" = true ]; then
  if stage 7 held-out "$calibration" in "$egs/manifest.json" "$feats/train/utt2dur" "$train_xvectors" \
    out "$calibration/trials" "$calibration/others.scp"; then
    steps/make_calibration_trials.py "$feats/train" "$calibration" --egs-dir "$egs"
    steps/filter_scp.py "$calibration/utt2spk" "$train_xvectors" "$calibration/others.scp" --exclude
  fi
  train_xvectors=$calibration/others.scp
fi

if stage 7 back-end "$backend" in "$train_xvectors" "$embeddings/train/statistics.scp" "$backend_conf" \
  out "$backend/backend.yaml" "$backend/cosine/mean.vec" "$backend/statistics/transform.mat"; then
  rm -rf "$backend"
  for kind in "$backend_conf" conf/backend/cosine.yaml; do
    steps/train_backend.py "$train_xvectors" "$feats/train/utt2spk" \
      "$backend$([ "$kind" = "$backend_conf" ] || echo /cosine)" --backend "$kind"
  done
  steps/train_backend.py "$embeddings/train/statistics.scp" "$feats/train/utt2spk" "$backend/statistics" \
    --backend conf/backend/statistics.yaml
fi

score() { # TRIALS XVECTORS STEM OPTIONS...: STEM.cosine, STEM.plda (the name of the back-end), each with AS-norm too
  local kind system
  for kind in "$backend/cosine" "$backend"; do
    system=$3.$([ "$kind" = "$backend" ] && echo "$backend_name" || echo cosine)
    steps/score_trials.py "$1" "$2" "$2" "$system" --backend-dir "$kind" "${@:4}"
    steps/normalize_scores.py "$1" "$system" "$2" "$2" "$train_xvectors" "${system}_asnorm" --backend-dir "$kind" \
      --cohort-utt2spk "$feats/train/utt2spk" --top-n "$top_n" "${@:4}"
  done
}

if stage 8 score "$exp/scores" in "$backend/backend.yaml" "$backend/statistics/transform.mat" \
  "$embeddings/{set}/xvector.scp" "${trial_lists[@]}" out "$exp/scores" with "top-n $top_n" "scored as $backend_name" \
  ${protocols:+"protocols $protocols"} "calibrate $calibrate"; then
  rm -rf "$exp/scores" "$calibration/scores"
  if [ "$calibrate" = true ]; then
    dev=$calibration/scores/dev
    score "$calibration/trials" "$embeddings/train/xvector.scp" "$dev" --nj "$nj"
    for kind in cosine "$backend_name"; do
      steps/train_calibration.py "$calibration/trials" "$dev.${kind}_asnorm" "$calibration/${kind}_asnorm"
    done
    fused=("cosine_asnorm" "${backend_name}_asnorm")
    steps/train_calibration.py "$calibration/trials" "[$dev.${fused[0]},$dev.${fused[1]}]" "$calibration/fusion"
  fi
  for trials in "${trial_lists[@]}"; do # DATA/SET/trials or DATA/SET/trials_KIND, scored in SET.BACKEND or SET_KIND.BACKEND
    set=$(basename "$(dirname "$trials")")
    scores=$exp/scores/$set${trials##*/trials}
    statistics=$embeddings/$set/statistics.scp
    common=(--nj "$nj")
    models=$(dirname "$trials")/enroll.spk2utt
    [ ! -f "$models" ] || common+=(--enroll-spk2utt "$models")
    steps/score_trials.py "$trials" "$statistics" "$statistics" "$scores.statistics" --backend-dir "$backend/statistics" "${common[@]}"
    score "$trials" "$embeddings/$set/xvector.scp" "$scores" "${common[@]}"
    if [ "$calibrate" = true ]; then
      for kind in cosine "$backend_name"; do
        steps/calibrate_scores.py "$calibration/${kind}_asnorm" "$trials" "$scores.${kind}_asnorm" "$scores.${kind}_llr" \
          "${common[@]:2}"
      done
      steps/calibrate_scores.py "$calibration/fusion" "$trials" "[$scores.${fused[0]},$scores.${fused[1]}]" "$scores.fusion" \
        "${common[@]:2}"
    fi
    for protocol in $protocols; do
      crops=$embeddings/$set/$protocol/xvector.scp
      if [[ $protocol == tta* ]]; then
        for measure in euclidean cosine; do
          steps/score_crops.py "$trials" "$crops" "$crops" "$scores.$measure@$protocol" --measure "$measure" \
            --mean "$backend/cosine/mean.vec" "${common[@]}"
        done
      else
        steps/score_trials.py "$trials" "$crops" "$crops" "$scores.cosine@$protocol" --backend-dir "$backend/cosine" "${common[@]}"
      fi
    done
  done
fi

if stage 9 results "$exp" in "$exp/scores" "${trial_lists[@]}" out "$exp/results.json" "$exp/RESULTS.md" "$exp/report.html"; then
  rm -rf "$exp/analysis"
  for trials in "${trial_lists[@]}"; do
    set=$(basename "$(dirname "$trials")")
    steps/analyze_trials.py "$trials" "$exp/scores/$set${trials##*/trials}.${backend_name}_asnorm" "$exp" \
      --data-dir "$feats/$set" --nj "$nj"
  done
  steps/make_results.py "$exp" "[$trial_dirs]" --llr "[$llr]" --nj "$nj" \
    --settings "network $network, objective $objective, features $feats_conf, egs $egs_conf, training $train_conf"
  for set in $eval_sets; do
    steps/plot_embeddings.py "$embeddings/$set/xvector.scp" "$exp/plots/tsne_$set" --labels "$feats/$set/utt2spk" --max-labels 18
  done
  steps/make_report.py "$exp"
fi

if [ "$calibrate" = true ] && stage 9 decision "$exp/decision" in "$exp/model/final.pt" "$backend/backend.yaml" \
  "$calibration/trials" "$vad_conf" out "$exp/decision/pack.yaml"; then
  steps/make_decision_pack.py "$exp/model" "$feats/train" "$backend" "$calibration/trials" "$embeddings/train/xvector.scp" \
    "$exp/decision" --vad "$vad_conf" ${audio_conf:+--audio-conf "$audio_conf"} --cohort-scp "$train_xvectors" \
    --cohort-utt2spk "$feats/train/utt2spk" --top-n "$top_n" --nj "$nj"
fi

if [ "$diarize" = true ] && stage 10 diarize "$exp/diarization" in "$exp/model/final.pt" "$backend/backend.yaml" \
  "$egs/manifest.json" "$audio/{set}/wav.scp" ${conversations_conf:+"$conversations_conf"} \
  out "$exp/diarization/tuned/spectral.yaml"; then
  diar=$exp/diarization
  rm -rf "$diar"
  for set in dev $eval_sets; do # dev: of the speakers that were held out of training
    if [ "$set" = dev ]; then source=(train --speakers "$egs/manifest.json"); else source=("$set"); fi
    steps/simulate_conversations.py "$audio/${source[0]}" "$diar/$set" "${source[@]:1}" --conversations.prefix "$set-" \
      ${conversations_conf:+--conversations "$conversations_conf"} ${noise_dir:+--noise-dir "$noise_dir"} --nj "$nj"
    "steps/make_$features.py" "$diar/$set" "--$features" "$feats_conf" --nj "$nj"
    steps/compute_vad.py "$diar/$set" --vad conf/feats/vad_conversation.yaml --nj "$nj"
    steps/make_windows.py "$diar/$set" "$diar/$set/windows" --windows conf/diar/windows_vad.yaml
    steps/extract_windows.py "$exp/model" "$diar/$set" "$diar/$set/windows" "$diar/$set/windows/xvector" --device "$device"
  done
  for set in $eval_sets; do
    steps/tune_diarization.py "$diar/dev/windows" "$diar/dev/windows/xvector.scp" "$diar/dev/rttm" "$diar/$set/rttm" \
      "$diar/tuned" --method spectral --values '{keep: [0.05, 0.1, 0.15, 0.2, 0.3]}' --backend-dir "$backend" --nj "$nj"
    steps/cluster_windows.py "$diar/$set/windows" "$diar/$set/windows/xvector.scp" "$diar/$set/spectral" --method spectral \
      --spectral "$diar/tuned/spectral.yaml" --backend-dir "$backend" --nj "$nj"
    steps/score_der.py "$diar/$set/rttm" "$diar/$set/spectral/rttm" --out "$diar/$set/spectral/der.json" \
      --tuned-on "$diar/dev/rttm" --plot-dir "$diar/$set/plots"
  done
fi
end_stage
